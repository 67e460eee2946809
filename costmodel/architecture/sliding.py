"""Sliding-window attention in some layers of the LLM."""

from __future__ import annotations

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
