"""What stands between encoder and LLM."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import StrictBool

from ..connectors.base import STAGES, Flow, Stage
from ..kinds import lazily
from ..numeric import Converted, Count, Spec
from ..operators import Operator
from ..tokens.base import Size
from .blocks import Sources

if TYPE_CHECKING:
    from .deepstack import DeepStack
else:
    DeepStack = Any


class Connector(Spec):
    """What stands between encoder and LLM, as the stages that a token passes in turn.

    An MLP is two linear stages; a patch merger or pixel shuffle puts a merge before them.

    Attributes:
        newline: Whether a learned separator of the LLM's width ends image rows (parameters only).
        separators: How many learned separators of that width there are besides.
        deepstack: Further mergers of inner encoder layers, whose outputs are added in the LLM.
    """

    name: str
    stages: Annotated[tuple[Stage, ...], Converted(STAGES.build_all)]
    newline: StrictBool = False
    separators: Count = 0
    deepstack: Annotated[
        DeepStack | None, Converted(lazily(".architecture.deepstack:DeepStack"))
    ] = None
    source: Sources

    @property
    def merge_size(self) -> int:
        """Side of the square of encoder tokens that becomes one connector token."""
        return math.prod(stage.factor for stage in self.stages)

    @property
    def per_token(self) -> bool:
        """Whether every stage works on any set of tokens, those of DeepStack's mergers too."""
        mergers = self.deepstack.stages if self.deepstack is not None else ()
        return all(stage.per_token for stage in (*self.stages, *mergers))

    def connected(self, grid: Size) -> Size:
        """Return the grid of connector tokens that a crop's grid becomes."""
        for stage in self.stages:
            grid = stage.grid(grid)
        return grid

    def flows(self, flow: Flow) -> tuple[Flow, ...]:
        """Return the tokens that reach each stage, and at the end those that leave the last."""
        flows = [flow]
        for stage in self.stages:
            flows.append(stage.flow(flows[-1]))
        return tuple(flows)

    def operators(self, flow: Flow) -> Iterator[Operator]:
        """Yield what the connector computes."""
        for index, (stage, entering) in enumerate(
            zip(self.stages, self.flows(flow)[:-1], strict=True)
        ):
            yield from stage.operators(f"stage {index}", entering)
        if self.deepstack is not None:
            yield from self.deepstack.operators(flow)

    def parameters(self, hidden_size: int) -> int:
        """Return the connector's parameters, its learned separators included."""
        total = hidden_size * (self.newline + self.separators)
        total += sum(stage.parameters() for stage in self.stages)
        return total + (self.deepstack.parameters() if self.deepstack is not None else 0)
