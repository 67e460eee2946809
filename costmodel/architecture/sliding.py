"""Sliding-window attention in some layers of the LLM."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from ..errors import InvalidInput
from ..numeric import Count, Positive, Spec


class SlidingWindow(Spec):
    """Layers whose attention reaches back `size` tokens, the token itself included.

    Their cache holds the last size − 1 tokens; a prefill is handed the whole sequence.

    Attributes:
        size: Tokens that a query sees.
        layers: Layers with the window (0-based); the others see everything.
    """

    size: Positive
    layers: tuple[Count, ...]

    @model_validator(mode="after")
    def _layers_differ(self) -> Self:
        if not self.layers or len(set(self.layers)) < len(self.layers):
            problem = "names a layer twice" if self.layers else "names no layer"
            way_out = "name each layer once" if self.layers else "name one, or drop sliding_window"
            raise InvalidInput("layers", None, problem, way_out)
        return self
