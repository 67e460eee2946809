"""What every connector stage has: how it changes a crop's grid and width, its work, its weights."""

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

from ..kinds import Kinds
from ..numeric import Spec
from ..operators import Convolution, Linear, Operator
from ..tokens.base import Size

STAGES = Kinds(
    "connector stage",
    {
        "merge": ".connectors.merge:Merge",
        "norm": ".connectors.norm:NormStage",
        "linear": ".connectors.linear:LinearStage",
        "gated": ".connectors.gated:GatedStage",
        "pool": ".connectors.pool:PoolStage",
        "pad": ".connectors.pool:PadStage",
        "widen": ".connectors.pool:WidenStage",
        "arrange": ".connectors.pool:ArrangeStage",
        "convolution": ".connectors.convolution:ConvolutionStage",
        "resampler": ".connectors.resampler:ResamplerStage",
        "q-former": ".connectors.qformer:QFormerStage",
        "attention-pool": ".connectors.cells:AttentionPoolStage",
        "token-packer": ".connectors.cells:TokenPackerStage",
        "patch-mining": ".connectors.cells:PatchMiningStage",
    },
)


class Flow(NamedTuple):
    """Tokens that reach a stage.

    Attributes:
        grids: Token grids of the crops, and how many crops have each.
        batch: Equal requests.
        arranged: M, the visual tokens after un-padding with learned separators.
        text_tokens: N, for connectors that read the instruction.
    """

    grids: Mapping[Size, int]
    batch: int
    arranged: int
    text_tokens: int

    @property
    def tokens(self) -> int:
        """Tokens over all crops and requests."""
        return self.batch * sum(math.prod(grid) * crops for grid, crops in self.grids.items())

    @property
    def crops(self) -> int:
        """Crops over all requests."""
        return self.batch * sum(self.grids.values())

    def linear(self, name: str, tokens: int, c_in: int, c_out: int) -> Linear:
        """Return a matrix product of the connector."""
        return Linear("connector", (), "connector", name, tokens, c_in, c_out)

    def convolution(
        self, name: str, positions: int, in_channels: int, out_channels: int, kernel: int
    ) -> Convolution:
        """Return a convolution of the connector; `in_channels` is per group."""
        return Convolution(
            "connector", (), "connector", name, positions, in_channels, out_channels, kernel
        )


class Stage(Spec):
    """One step between encoder and LLM; each kind is a module.

    Class attributes:
        per_token: Whether it works on any set of tokens, so that a schedule may reduce tokens
            before it; else it needs whole crops.
    """

    part: ClassVar[str] = STAGES.part
    per_token: ClassVar[bool] = True

    kind: str

    @property
    def factor(self) -> int:
        """Side of the square of tokens that becomes one."""
        return 1

    @property
    def reads_text(self) -> bool:
        """Whether it processes the text of the prompt too."""
        return False

    def grid(self, grid: Size) -> Size:
        """Return the grid of tokens that a crop's grid becomes."""
        return grid

    def flow(self, flow: Flow) -> Flow:
        """Return the tokens that leave the stage."""
        grids: dict[Size, int] = {}
        for grid, crops in flow.grids.items():
            out = self.grid(grid)
            grids[out] = grids.get(out, 0) + crops
        return flow._replace(grids=grids)

    def leaving(self, width: int) -> int:
        """Return the features that leave the stage when `width` enter it.

        Raises:
            ValueError: It takes another number of features.
        """
        return width

    def operators(self, name: str, flow: Flow) -> Iterator[Operator]:
        """Yield what the stage computes; `name` is its place, for the operators' names."""
        return iter(())

    def parameters(self) -> int:
        """Return its parameters."""
        return 0

    @property
    def text(self) -> str:
        """The stage in words, for tables."""
        figures = [
            f"{name} {str(value).lower() if isinstance(value, bool) else value}"
            for name, value in self
            if name != "kind" and not isinstance(value, Spec | tuple)
        ]
        return f"{self.kind}: {', '.join(figures)}" if figures else self.kind
