"""What a schedule takes away, in the terms in which a forward pass carries it out."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

from ..costmodel import InvalidInput, Schedule
from ..costmodel.plan import TokenPlan
from ..costmodel.primitives.widths import Channels
from ..costmodel.schedule import EncoderMerge
from .activity import Active
from .caches import Keeping
from .staged import Op

CompressedAt = Literal["after-connector", "before-connector", "instead-of-connector"]


class Reduction(NamedTuple):
    """What a schedule takes away, as the driver carries it out.

    Attributes:
        merged: Tokens that each encoder block merges away in each crop; empty for none.
        staged: Tokens of a crop in each encoder layer, class token included, and what makes them
            fewer; None for all.
        compressed: Visual tokens left between encoder and LLM, and where; None for all.
        visual: Visual tokens that each decoder layer processes; empty for all.
        entering: Visual tokens that must enter layer 0; None to take what comes.
        selection: The rule's name, or a described rule's.
        described: Whether the schedule describes the rule, which then needs no reducer.
        active: What the visual tokens of each layer do, where not all do everything.
        keeping: What decode forwards store and read; None for everything.
        channels: Shares of feed-forward networks' widths; None for all.
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
    active: Active | None = None
    keeping: Keeping | None = None
    channels: Channels | None = None
    staged: tuple[tuple[int, ...], Op] | None = None

    @classmethod
    def of(cls, schedule: Schedule | None, plan: TokenPlan) -> Reduction:
        """Return what a schedule's plan amounts to."""
        entering = plan.entering_visual_tokens
        if schedule is None:
            return cls(entering=entering)
        _refuse_unrun(schedule)
        compress = schedule.compress
        merged = plan.merged_per_crop
        left = plan.available_visual_tokens
        compressed = None
        if compress is not None and (
            entering != left
            or compress.extra
            or compress.learned
            or compress.at == "instead-of-connector"
        ):
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
            Active.of(plan),
            Keeping.of(plan),
            plan.channels,
            _staged(schedule, plan),
        )

    def check(self, blocks: int, layers: int) -> None:
        """Refuse what no run could carry out.

        Args:
            blocks: Encoder blocks of the model.
            layers: Decoder layers of the model.

        Raises:
            InvalidInput: Lists of another length, or amounts that grow.
        """
        for field, amounts, length in (
            ("reduction.merged", self.merged, blocks),
            ("reduction.visual", self.visual, layers),
        ):
            if amounts and (len(amounts) != length or min(amounts) < 0):
                raise InvalidInput(
                    field, None, f"is no list of {length} amounts", "give one per layer"
                )
        grows = any(later > earlier for earlier, later in pairwise(self.visual))
        if grows and self.active is None:
            raise InvalidInput("reduction.visual", None, "grows", "give amounts that shrink")
        if self.compressed and self.compressed[0] < 1:
            raise InvalidInput(
                "reduction.compressed", self.compressed[0], "leaves no token", "give 1 or more"
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


def _staged(schedule: Schedule, plan: TokenPlan) -> tuple[tuple[int, ...], Op] | None:
    """Return the tokens of a crop in each encoder layer, where the schedule has stages there.

    Raises:
        InvalidInput: Crops of several sizes.
    """
    stages = schedule.encoder
    if stages is None or isinstance(stages, EncoderMerge):
        return None
    if len(set(plan.visual_input.crops)) > 1:
        problem = "has stages, which are run on crops of one size"
        raise InvalidInput("encoder", None, problem, "give images of one size")
    crops = len(plan.visual_input.crops)
    return tuple(tokens // crops for tokens in plan.encoder_tokens), stages.op


#: What the driver carries out; a real run of anything else would not be what the plan says.
_RUN = frozenset(
    {
        "input",
        "encoder",
        "compress",
        "stages",
        "layers",
        "cache",
        "channels",
        "bits",
        "selection",
        "training",
    }
)


def _refuse_unrun(schedule: Schedule) -> None:
    """Refuse primitives and rules that the driver has no operators for.

    Raises:
        InvalidInput: The first of them.
    """
    way_out = "validate another schedule; `tokencost ratio` prices this one"
    for name in schedule.primitives:
        if name not in _RUN:
            raise InvalidInput(name, None, "is run by no forward pass yet", way_out)
    if schedule.input is not None and schedule.input.patches is not None:
        problem = "leaves out patches before the encoder, which no forward pass does yet"
        raise InvalidInput("input.patches", None, problem, way_out)
