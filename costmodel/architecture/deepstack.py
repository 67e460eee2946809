"""DeepStack: features of inner encoder layers, merged and added to the first LLM layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from ..connectors.base import STAGES, Flow, Stage
from ..numeric import Converted, Count, Spec
from ..operators import Operator


class DeepStack(Spec):
    """A merger for each tapped encoder layer; the additions in the LLM count 0.

    Attributes:
        encoder_layers: Encoder layers whose output is tapped, in order; the features of the i-th
            are added to the visual tokens behind LLM layer i.
        stages: What each merger is.
    """

    encoder_layers: tuple[Count, ...]
    stages: Annotated[tuple[Stage, ...], Converted(STAGES.build_all)]

    def operators(self, flow: Flow) -> Iterator[Operator]:
        """Yield what the mergers compute."""
        for tap in self.encoder_layers:
            entering = flow
            for index, stage in enumerate(self.stages):
                yield from stage.operators(f"layer {tap} stage {index}", entering)
                entering = stage.flow(entering)

    def parameters(self) -> int:
        """Return the parameters of all mergers."""
        return len(self.encoder_layers) * sum(stage.parameters() for stage in self.stages)
