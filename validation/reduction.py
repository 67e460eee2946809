"""What a schedule takes away, in the terms in which a forward pass carries it out."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..costmodel import Schedule
from ..costmodel.plan import TokenPlan


class Reduction(NamedTuple):
    """What a schedule takes away, as the driver carries it out.

    Attributes:
        merged: Tokens that each encoder block merges away in each crop; empty for none.
        compressed: Visual tokens left between encoder and LLM, and where; None for all.
        visual: Visual tokens that each decoder layer processes; empty for all.
        entering: Visual tokens that must enter layer 0; None to take what comes.
        selection: The rule's name.
    """

    merged: tuple[int, ...] = ()
    compressed: tuple[int, Literal["after-connector", "before-connector"]] | None = None
    visual: tuple[int, ...] = ()
    entering: int | None = None
    selection: str | None = None

    @classmethod
    def of(cls, schedule: Schedule | None, plan: TokenPlan) -> Reduction:
        """Return what a schedule's plan amounts to."""
        entering = plan.entering_visual_tokens
        if schedule is None:
            return cls(entering=entering)
        encoder, compress = schedule.encoder, schedule.compress
        crops = len(plan.visual_input.crops)
        merged = tuple(
            (before - after) // crops
            for before, after in zip(plan.encoder_tokens, plan.encoder_ffn, strict=True)
        )
        left = plan.dense_visual_tokens if encoder is None else None
        compressed = None if compress is None or entering == left else (entering, compress.at)
        return cls(
            merged if any(merged) else (), compressed, plan.visual, entering, schedule.selection
        )
