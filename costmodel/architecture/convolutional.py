"""Vision encoders of convolutions, with attention in some stages or in none."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, StrictBool, model_validator

from ..kinds import optional
from ..numeric import Converted, Count, Positive, Spec
from ..operators import Operator, Part
from ..tokens.base import Size
from .blocks import Attention, Place, Sources
from .convolutional_rows import ROWS, AttentionRow, FeatureMap, Positions, Row
from .tower import TowerTokens
from .vision import TOWERS, PatchEmbedding

Rows = Annotated[tuple[Row, ...], Converted(ROWS.build_all)]


class ConvolutionalBlock(Spec):
    """A block: rows that a feature map passes in turn, and what its residual branches have.

    Attributes:
        rows: The main path.
        shortcut: A row on the path around it; a step between positions is pooled before it.
        scales: Learned scales of as many features as leave the block.
        extra_parameters: Parameters that belong to none of these.
    """

    rows: Rows
    shortcut: Annotated[Row | None, Converted(optional(ROWS))] = None
    scales: Count = 0
    extra_parameters: Count = 0

    def leaving(self, entering: FeatureMap) -> FeatureMap:
        """Return the map that leaves the block.

        Raises:
            ValueError: Rows that do not fit the map, or a shortcut that ends in another one.
        """
        leaving = entering
        for row in self.rows:
            leaving = row.leaving(leaving)
        if self.shortcut is not None:
            around = self.shortcut.leaving(FeatureMap(entering.features, leaving.stride))
            if around != leaving:
                raise ValueError(
                    f"the shortcut ends in {around.features} features, the rows in "
                    f"{leaving.features}"
                )
        return leaving

    def operators(
        self, place: Place, part: Part, entering: FeatureMap, positions: Positions
    ) -> Iterator[Operator]:
        """Yield what the rows compute, then the shortcut."""
        here = entering
        for row in self.rows:
            yield from row.operators(place, part, here, positions)
            here = row.leaving(here)
        if self.shortcut is not None:
            pooled = FeatureMap(entering.features, here.stride)
            yield from self.shortcut.operators(place, part, pooled, positions)

    def parameters(self, entering: FeatureMap) -> int:
        """Return the parameters of rows, shortcut and scales."""
        total, here = self.extra_parameters, entering
        for row in self.rows:
            total += row.parameters(here)
            here = row.leaving(here)
        if self.shortcut is not None:
            total += self.shortcut.parameters(entering)
        return total + self.scales * here.features


class ConvolutionalStage(Spec):
    """Blocks on maps of one size.

    Attributes:
        entry: Rows before the first block: smaller maps, position convolutions.
        depth: Blocks.
        first_block: What the first block is, if it differs from the others.
        block: What the others are; a map leaves them as it enters.
    """

    entry: Rows = ()
    depth: Positive
    first_block: ConvolutionalBlock | None = None
    block: ConvolutionalBlock


class _Section(NamedTuple):
    """Equal blocks, or rows outside the blocks (no layers)."""

    layers: tuple[int, ...]
    stage: str
    block: ConvolutionalBlock
    entering: FeatureMap
    leaving: FeatureMap


class ConvolutionalEncoder(Spec):
    """A vision encoder that works on feature maps instead of a sequence of patches.

    A patch is a position of the last map: `patch_embedding.patch_size` is the total stride, and a
    crop's grid counts such positions. Blocks are numbered through all stages as layers; stem,
    entries of stages and head lie outside them. MACs are those of the rows' products; norms,
    activations, pooling and interpolation count 0. Convolutions of blocks are priced as
    "feed-forward", those that mix positions among them.

    Attributes:
        name: The tower's usual name.
        model_type: transformers' name of the part, or timm's.
        num_channels: Channels of the image.
        stem: Rows before the first stage.
        stages: Stages in turn.
        head: Rows behind the last.
        pyramid: Whether the connector gets the maps of all stages, each enlarged to the grid of
            the first and concatenated; else what leaves the head.
    """

    part: ClassVar[str] = TOWERS.part
    patchwise: ClassVar[bool] = False
    class_token: ClassVar[bool] = False
    class_token_kept: ClassVar[bool] = False
    extra_tokens: ClassVar[int] = 0
    windows: ClassVar[None] = None
    joint: ClassVar[None] = None

    kind: Literal["convolutional"] = "convolutional"
    name: str
    model_type: str
    num_channels: Positive = 3
    stem: Rows
    stages: Annotated[tuple[ConvolutionalStage, ...], Field(min_length=1)]
    head: Rows = ()
    pyramid: StrictBool = False
    source: Sources

    @model_validator(mode="after")
    def _maps_fit(self) -> Self:
        for section in self._sections:
            if len(section.layers) > 1 and section.leaving != section.entering:
                raise ValueError(f"{section.stage}: the map that leaves its block cannot enter it")
        if self.pyramid and self.head:
            raise ValueError("pyramid takes the maps of the stages, but there is a head")
        return self

    @cached_property
    def _sections(self) -> tuple[_Section, ...]:
        parts: list[tuple[tuple[int, ...], str, ConvolutionalBlock]] = []
        parts.append(((), "stem", ConvolutionalBlock(rows=self.stem)))
        layer = 0
        for index, stage in enumerate(self.stages):
            where, behind = f"stages.{index}", layer + stage.depth
            parts.append(((), where, ConvolutionalBlock(rows=stage.entry)))
            if stage.first_block is not None:
                parts.append(((layer,), where, stage.first_block))
                layer += 1
            if layer < behind:
                parts.append((tuple(range(layer, behind)), where, stage.block))
            layer = behind
        parts.append(((), "head", ConvolutionalBlock(rows=self.head)))
        found, here = [], FeatureMap(self.num_channels, 1)
        for layers, where, block in parts:
            try:
                leaving = block.leaving(here)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            found.append(_Section(layers, where, block, here, leaving))
            here = leaving
        return tuple(found)

    @cached_property
    def _by_layer(self) -> tuple[_Section, ...]:
        return tuple(section for section in self._sections for _ in section.layers)

    @property
    def num_hidden_layers(self) -> int:
        """Blocks over all stages."""
        return len(self._by_layer)

    @property
    def contributing_layers(self) -> int:
        """All blocks."""
        return self.num_hidden_layers

    @cached_property
    def _stage_maps(self) -> tuple[FeatureMap, ...]:
        last = {section.stage: section.leaving for section in self._by_layer}
        return tuple(last.values())

    @cached_property
    def patch_embedding(self) -> PatchEmbedding:
        """Position of the last map as a patch; it stands for its stride alone."""
        stride = self._sections[-1].leaving.stride
        return PatchEmbedding(patch_size=stride, num_channels=self.num_channels, bias=False)

    @property
    def hidden_size(self) -> int:
        """Features per token that the connector gets."""
        if self.pyramid:
            return sum(each.features for each in self._stage_maps)
        return self._sections[-1].leaving.features

    @property
    def features(self) -> int:
        """Features per token that the connector gets."""
        return self.hidden_size

    @property
    def attention(self) -> Attention | None:
        """The last block's attention, if it has any."""
        rows = self._by_layer[-1].block.rows
        return next((row.attention for row in rows if isinstance(row, AttentionRow)), None)

    def output_grid(self, crop: Size) -> Size:
        """Return the tokens of a crop that the connector gets, as a grid."""
        if not self.pyramid:
            return crop
        finer = self.patch_embedding.patch_size // self._stage_maps[0].stride
        return crop[0] * finer, crop[1] * finer

    def lowered(
        self, crops: Mapping[Size, int], batch: int, place: Place, layers: int, first_layer: int
    ) -> Iterator[Operator]:
        """Yield the encoder's operators; its layers are numbered from `first_layer`."""
        assert layers == self.num_hidden_layers, "every block contributes"
        positions = Positions(crops, batch, self.patch_embedding.patch_size)
        for section in self._sections:
            outside: Part = "feed-forward" if section.stage == "head" else "patch embedding"
            part: Part = "feed-forward" if section.layers else outside
            where = section.stage.replace(".", " ").replace("stages", "stage")
            here = place._replace(layers=tuple(first_layer + layer for layer in section.layers))
            for operator in section.block.operators(here, part, section.entering, positions):
                yield operator._replace(name=f"{where} {operator.name}")

    def counted(self, crops: Sequence[Size], crops_per_image: Sequence[int]) -> TowerTokens:
        """Count the positions that leave each block, and the pairs of its attention."""
        grids, patches = Counter(crops), sum(rows * columns for rows, columns in crops)
        return TowerTokens(patches, self.layer_tokens(grids), self.layer_pairs(grids))

    def layer_tokens(self, crops: Mapping[Size, int]) -> tuple[int, ...]:
        """Return the positions that leave each block, over all crops."""
        positions = Positions(crops, 1, self.patch_embedding.patch_size)
        return tuple(positions.at(section.leaving.stride) for section in self._by_layer)

    def layer_pairs(self, crops: Mapping[Size, int]) -> tuple[int, ...]:
        """Return the pairs that each block's attention scores, over all crops."""
        positions = Positions(crops, 1, self.patch_embedding.patch_size)
        return tuple(
            positions.pairs(section.entering.stride)
            if any(isinstance(row, AttentionRow) for row in section.block.rows)
            else 0
            for section in self._by_layer
        )

    def layer_parameters(self, layer: int) -> int:
        """Return the parameters of one block."""
        section = self._by_layer[layer]
        return section.block.parameters(section.entering)

    def outside_parameters(self) -> int:
        """Return the parameters of stem, entries of stages and head."""
        outside = [section for section in self._sections if not section.layers]
        return sum(section.block.parameters(section.entering) for section in outside)
