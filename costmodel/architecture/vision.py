"""Vision encoders: transformers over patches; towers of other kinds are modules of their own."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import StrictBool, model_validator

from ..errors import InvalidInput
from ..formulas import square_pairs
from ..kinds import Kinds, lazily
from ..numeric import Converted, Count, Positive, Spec
from ..operators import Convolution, Operator
from ..tokens.base import Size
from .blocks import (
    Place,
    Tokens,
    Transformer,
    linear_parameters,
    norm_parameters,
    unadaptable,
)
from .tower import TowerTokens

if TYPE_CHECKING:
    from .adapters import CropAdapters
    from .joint import JointTiles
else:
    CropAdapters = JointTiles = Any

TOWERS = Kinds(
    "vision encoder",
    {
        "transformer": ".architecture.vision:VisionEncoder",
        "convolutional": ".architecture.convolutional:ConvolutionalEncoder",
    },
    default="transformer",
)


class PatchEmbedding(Spec):
    """Patch convolution: kernel and stride patch_size², over `temporal_patch_size` frames."""

    patch_size: Positive
    temporal_patch_size: Positive = 1
    num_channels: Positive = 3
    bias: StrictBool


class Windows(Spec):
    """Windowed attention of the encoder.

    Attributes:
        size: Side of a window in patches; right and bottom windows may be smaller.
        full_attention_layers: Layers that attend over the whole image instead.
    """

    size: Positive
    full_attention_layers: tuple[Count, ...]

    def pairs(self, crop: Size) -> int:
        """Return Σ n_i² over the windows of a crop; edge windows hold the remainder."""
        rows, columns = (
            (side // self.size) * self.size**2 + (side % self.size) ** 2  # Σ of squared sides
            for side in crop
        )
        return rows * columns


class VisionEncoder(Transformer):
    """A vision transformer.

    Attributes:
        name: The tower's usual name.
        contributing_layers: Layers whose output the connector uses; the rest are computed in vain.
        class_token: Whether a class token joins the patches inside the encoder.
        register_tokens: Further tokens that join them and are dropped behind the encoder.
        class_token_kept: Whether the connector gets the class token too.
        output_features: Features per token that the connector gets, where several layers are
            concatenated; None is hidden_size.
        position_embeddings: Learned positions; 0 with rotary ones.
        embedding_norm, final_norm: Norms before the first and after the last block.
        layer_scale: Whether each residual branch has a learned scale of hidden_size.
        pooling_head: Whether an attention-pooling head runs behind the last layer (SigLIP's), whose
            output no connector reads.
        windows: Windowed attention, or None for full attention over each image or crop.
        joint: Attention over all tiles of an image together.
        crop_adapters: Low-rank adapters of some crops, each crop's own.
    """

    part: ClassVar[str] = TOWERS.part
    patchwise: ClassVar[bool] = True

    kind: str = "transformer"
    name: str
    contributing_layers: Positive
    patch_embedding: PatchEmbedding
    class_token: StrictBool
    register_tokens: Count = 0
    class_token_kept: StrictBool = False
    output_features: Positive | None = None
    position_embeddings: Count
    embedding_norm: StrictBool
    final_norm: StrictBool
    layer_scale: StrictBool
    pooling_head: StrictBool = False
    windows: Windows | None = None
    joint: Annotated[JointTiles | None, Converted(lazily(".architecture.joint:JointTiles"))] = None
    crop_adapters: Annotated[
        CropAdapters | None, Converted(lazily(".architecture.adapters:CropAdapters"))
    ] = None

    @model_validator(mode="after")
    def _layers_exist(self) -> Self:
        if self.contributing_layers > self.num_hidden_layers:
            raise InvalidInput(
                "contributing_layers",
                self.contributing_layers,
                f"exceeds num_hidden_layers {self.num_hidden_layers}",
                f"give at most {self.num_hidden_layers}",
            )
        for place, variant in enumerate(self.variants):
            if variant.cross_attention is not None:
                raise InvalidInput(
                    f"variants.{place}.cross_attention",
                    None,
                    "has no other sequence to attend to in a vision encoder",
                    "leave it out",
                )
        return self

    @model_validator(mode="after")
    def _tokens_fit(self) -> Self:
        if self.windows is not None:
            full, last = self.windows.full_attention_layers, self.num_hidden_layers - 1
            if max(full, default=0) > last:
                raise InvalidInput(
                    "windows.full_attention_layers",
                    list(full),
                    f"names a layer beyond the last, {last}",
                    f"name layers from 0 to {last}",
                )
            if self.extra_tokens:
                raise InvalidInput(
                    "windows",
                    None,
                    "stands beside a class_token or register_tokens, which belong to no window",
                    "leave one of them out",
                )
            if self.joint is not None:
                raise InvalidInput(
                    "windows",
                    None,
                    "stands beside joint, but windows lie inside one crop",
                    "leave one of the two out",
                )
        if self.class_token_kept and not self.class_token:
            raise InvalidInput(
                "class_token_kept",
                True,
                "is given, but class_token is false",
                "set both, or neither",
            )
        return self

    @model_validator(mode="after")
    def _adapters_fit(self) -> Self:
        if self.crop_adapters is None:
            return self
        if not all(block.adaptable for block in self.blocks):
            raise unadaptable("crop_adapters")
        if self.joint is not None:
            raise InvalidInput(
                "crop_adapters",
                None,
                "stands beside joint, but a crop in a longer sequence is not told apart",
                "leave one of the two out",
            )
        return self

    @property
    def extra_tokens(self) -> int:
        """Tokens besides the patches in each crop: class token and registers."""
        return self.class_token + self.register_tokens

    @property
    def features(self) -> int:
        """Features per token that the connector gets."""
        return self.output_features or self.hidden_size

    @property
    def _scales(self) -> int:
        return 2 * self.hidden_size if self.layer_scale else 0

    def counted(self, crops: Sequence[Size], crops_per_image: Sequence[int]) -> TowerTokens:
        """Count the tokens and pairs of every layer, without any reduction: Σ n_i² pairs."""
        patches, layers = sum(rows * columns for rows, columns in crops), self.num_hidden_layers
        own = [rows * columns + self.extra_tokens for rows, columns in crops]
        if self.joint is not None:
            if self.joint.over == "prompt":  # the patch convolution sees images of one size
                rows, columns = (max(side) for side in zip(*crops, strict=True))
                patches = len(crops) * rows * columns
            own = self.joint.sequences(own, crops_per_image)
        full = sum(square_pairs(n) for n in own)
        if self.windows is None:
            pairs = (full,) * layers
        else:
            windowed = sum(self.windows.pairs(crop) for crop in crops)
            everywhere = self.windows.full_attention_layers
            pairs = tuple(full if one in everywhere else windowed for one in range(layers))
        return TowerTokens(patches, (sum(own),) * layers, pairs)

    def output_grid(self, crop: Size) -> Size:
        """Return the tokens of a crop that the connector gets, as a grid."""
        rows, columns = crop
        return (1, rows * columns + 1) if self.class_token_kept else crop

    def embedding(self, place: Place, positions: int) -> Iterator[Operator]:
        """Yield the patch convolution."""
        patch = self.patch_embedding
        yield Convolution(
            component=place.component,
            layers=(),
            part="patch embedding",
            name="patch embedding",
            positions=positions,
            in_channels=patch.num_channels,
            out_channels=self.hidden_size,
            kernel=patch.temporal_patch_size * patch.patch_size**2,
        )

    def layer_operators(self, layer: int, place: Place, tokens: Tokens) -> Iterator[Operator]:
        """Yield a block's operators, for all layers of the place."""
        return self.blocks[layer].operators(place, self.hidden_size, tokens, self.adapter)

    def layer_parameters(self, layer: int) -> int:
        """Return the parameters of one layer, all crops' adapters included."""
        total = super().layer_parameters(layer)
        if self.crop_adapters is not None:
            total += self.crop_adapters.parameters(self.blocks[layer], self.hidden_size)
        return total

    def pooling_operators(self, place: Place, crops: int, patches: int) -> Iterator[Operator]:
        """Yield the pooling head: a learned query per crop reads its patches and passes an FFN."""
        if not self.pooling_head:
            return
        tokens = Tokens(query=crops, key=patches, ffn=crops, keys_read=patches, pairs=patches)
        hidden = self.hidden_size
        for operator in self.attention.operators(place, hidden, tokens):
            yield operator._replace(name=f"pooling head's {operator.name}")
        for operator in self.feed_forward.operators(place, hidden, tokens.ffn):
            yield operator._replace(name=f"pooling head's {operator.name}")

    def outside_parameters(self) -> int:
        """Return the parameters outside the blocks: patch convolution, positions, norms."""
        patch, hidden = self.patch_embedding, self.hidden_size
        kernel = patch.num_channels * patch.temporal_patch_size * patch.patch_size**2
        total = linear_parameters(kernel, hidden, patch.bias) + self.extra
        total += hidden * (self.extra_tokens + self.position_embeddings)
        if self.pooling_head:  # learned query, attention, norm and FFN
            total += hidden + self.attention.parameters(hidden, self.norm)
            total += norm_parameters(self.norm, hidden) + self.feed_forward.parameters(hidden)
        norms = self.embedding_norm + self.final_norm
        return total + norm_parameters(self.norm, hidden) * norms
