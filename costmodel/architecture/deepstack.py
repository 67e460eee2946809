"""DeepStack: features of inner encoder layers, merged and added to the first LLM layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import model_validator

from ..connectors.base import STAGES, Flow, Stage
from ..errors import InvalidInput
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

    @model_validator(mode="after")
    def _taps_differ(self) -> Self:
        taps = self.encoder_layers
        if not taps or len(set(taps)) < len(taps):
            problem = "names a layer twice" if taps else "names no layer"
            way_out = "name each tapped layer once" if taps else "name one, or drop deepstack"
            raise InvalidInput("encoder_layers", taps or None, problem, way_out)
        return self

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
