"""What a schedule takes away, in the terms in which a forward pass carries it out."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

from ..costmodel import InvalidInput, Schedule
from ..costmodel.plan import TokenPlan
from ..costmodel.schedule import EncoderMerge

CompressedAt = Literal["after-connector", "before-connector", "instead-of-connector"]


class Reduction(NamedTuple):
    """What a schedule takes away, as the driver carries it out.

    Attributes:
        merged: Tokens that each encoder block merges away in each crop; empty for none.
        compressed: Visual tokens left between encoder and LLM, and where; None for all.
        visual: Visual tokens that each decoder layer processes; empty for all.
        entering: Visual tokens that must enter layer 0; None to take what comes.
        selection: The rule's name, or a described rule's.
        described: Whether the schedule describes the rule, which then needs no reducer.
        extra, learned: Tokens of `compressed` that a rule makes on top of those that it keeps,
            before and behind the connector.
    """

    merged: tuple[int, ...] = ()
    compressed: tuple[int, CompressedAt] | None = None
    visual: tuple[int, ...] = ()
    entering: int | None = None
    selection: str | None = None
    described: bool = False
    extra: int = 0
    learned: int = 0

    @classmethod
    def of(cls, schedule: Schedule | None, plan: TokenPlan) -> Reduction:
        """Return what a schedule's plan amounts to."""
        entering = plan.entering_visual_tokens
        if schedule is None:
            return cls(entering=entering)
        _refuse_unrun(schedule)
        compress = schedule.compress
        merged = plan.merged_per_crop
        left = None if any(merged) else plan.dense_visual_tokens
        compressed = None
        if compress is not None and (entering != left or compress.at == "instead-of-connector"):
            compressed = (entering, compress.at)
        rule = schedule.selection
        described = rule is not None and not isinstance(rule, str)
        return cls(
            merged if any(merged) else (),
            compressed,
            plan.visual,
            entering,
            rule.name if described else rule,
            described,
            compress.extra if compress is not None else 0,
            compress.learned if compress is not None else 0,
        )

    def check(self, blocks: int, layers: int, text_tokens: int) -> None:
        """Refuse what no run could carry out.

        Args:
            blocks: Encoder blocks of the model.
            layers: Decoder layers of the model.
            text_tokens: Text tokens of the request.

        Raises:
            InvalidInput: Lists of another length, amounts that grow, or a rule without what it
                looks at.
        """
        for field, amounts, length in (
            ("reduction.merged", self.merged, blocks),
            ("reduction.visual", self.visual, layers),
        ):
            if amounts and (len(amounts) != length or min(amounts) < 0):
                raise InvalidInput(
                    field, None, f"is no list of {length} amounts", "give one per layer"
                )
        if any(later > earlier for earlier, later in pairwise(self.visual)):
            raise InvalidInput("reduction.visual", None, "grows", "give amounts that shrink")
        if self.compressed and self.compressed[0] < 1:
            raise InvalidInput(
                "reduction.compressed", self.compressed[0], "leaves no token", "give 1 or more"
            )
        if self.selection == "sparsevlm" and not text_tokens:
            raise InvalidInput(
                "selection", self.selection, "rates by text tokens", "give at least 1 of them"
            )

    def check_amount(self, field: str, tokens: int, most: int) -> None:
        """Refuse to keep more visual tokens than there are.

        Raises:
            InvalidInput: `tokens` exceeds `most`.
        """
        if tokens > most:
            raise InvalidInput(
                f"reduction.{field}", tokens, f"exceeds the {most:,} visual tokens", "give fewer"
            )


#: What the driver carries out; a real run of anything else would not be what the plan says.
_RUN = frozenset({"encoder", "compress", "stages", "selection", "training"})


def _refuse_unrun(schedule: Schedule) -> None:
    """Refuse primitives and rules that the driver has no operators for.

    Raises:
        InvalidInput: The first of them.
    """
    way_out = "validate another schedule; `tokencost ratio` prices this one"
    for name in schedule.primitives:
        if name not in _RUN:
            problem = f"leads to {name}, which no forward pass runs yet"
            raise InvalidInput("schedule", None, problem, way_out)
    if not isinstance(schedule.encoder, EncoderMerge | None):
        raise InvalidInput("encoder", None, "has stages that no forward pass runs yet", way_out)
