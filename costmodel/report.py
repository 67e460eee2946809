"""A question and its answer: the dense run beside the scheduled one."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from .architecture.model import Model
from .errors import InvalidInput, UnknownName
from .flops import (
    CONVENTIONS,
    UNITS,
    Bill,
    Convention,
    exact_bill,
    published_bill,
    published_obstacle,
)
from .lower import lower, lower_decode, lower_vision
from .numeric import Spec, whole
from .operators import Operator
from .plan import plan
from .schedule import Schedule
from .tokenplan import TokenPlan
from .workload import Counting, Workload

if TYPE_CHECKING:
    import pandas

Phase = Literal["prefill", "decode", "generation"]


class Report(NamedTuple):
    """What a model, a workload and a schedule cost.

    Attributes:
        model, workload, schedule, counting: What was asked; without a schedule both sides are
            the dense run.
        dense, scheduled: The token plans of both sides.

    >>> from vlm_tokencost.presets import load_model
    >>> report = evaluate(load_model("llava-1.5-7b"), schedule=Schedule.keep(0.5, layer=2))
    >>> report.ratio("survey")
    0.570640120967742
    >>> report.to_dict("survey")["conventions"]["survey"]["scheduled"]
    1899432509440
    """

    model: Model
    workload: Workload
    schedule: Schedule | None
    counting: Counting
    dense: TokenPlan
    scheduled: TokenPlan

    def __repr__(self) -> str:
        """Return the question in one line; the plans alone would fill a page."""
        specs = [_given(spec) for spec in (self.workload, self.schedule, self.counting)]
        return f"Report({self.model.id!r}, {', '.join(specs)})"

    def __str__(self) -> str:
        """Return question and answer in a few lines."""
        from .brief import report_text  # commands print tables

        return report_text(self)

    def _repr_html_(self) -> str:
        """Return the answer as notebooks show it."""
        from .notebook import report_html

        return report_html(self)

    def to_dict(self, *conventions: Convention) -> dict[str, Any]:
        """Return what `tokencost ratio --format json` holds, under all conventions by default.

        Raw integers in base units and unrounded doubles; docs/schemas/ratio.schema.json describes
        it, and `schema_version` tells when a key changes its meaning.

        Raises:
            UnknownName: A convention that there is not.
        """
        from .payload import ratio_payload, ratio_rows

        for name in conventions:
            known_convention(name)
        return ratio_payload(self, ratio_rows(self, conventions or CONVENTIONS))

    def bill_dict(self, *conventions: Convention, step: int = 1) -> dict[str, Any]:
        """Return what `tokencost cost --format json` holds: parameters, every phase, KV cache.

        As `to_dict`, with docs/schemas/cost.schema.json; `step` is the decode forward that is
        priced by itself.

        Raises:
            UnknownName: A convention that there is not.
            InvalidInput: A step below 1.
        """
        from .billing import bill_payload, bill_rows

        step = whole(step, "step", minimum=1)
        for name in conventions:
            known_convention(name)
        return bill_payload(self, bill_rows(self, conventions or CONVENTIONS, step), step)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return one row per convention and component: baseline, scheduled and their ratio.

        Whole numbers stay whole; where a convention has no figure for the model, they are missing.

        Raises:
            MissingExtra: pandas is not installed.
        """
        from .frames import report_frame

        return report_frame(self)

    def bill(
        self, convention: Convention = "exact", *, scheduled: bool = True, phase: Phase = "prefill"
    ) -> Bill:
        """Return the bill of one side.

        The published conventions price prefills only; under `exact`, "decode" is all decode
        forwards of the workload's new tokens and "generation" the prefill with them.

        Raises:
            UnknownName: A convention or a phase that there is not.
            InvalidInput: A published convention for another phase than the prefill, or for a
                model for which it has no meaning (`obstacle`).
        """
        known_convention(convention)
        if phase not in get_args(Phase):
            raise UnknownName("phase", phase, get_args(Phase), "tokencost cost --help")
        if scheduled:
            return self._priced(convention, self.scheduled, phase, self.schedule)
        return self._priced(convention, self.dense, phase)

    def _priced(
        self,
        convention: Convention,
        side: TokenPlan,
        phase: Phase,
        schedule: Schedule | None = None,
    ) -> Bill:
        """Price a side; with its schedule, what the schedule's selection rule computes too."""
        if convention != "exact" and phase != "prefill":
            raise InvalidInput(
                "convention", convention, "prices prefills only", "use the exact convention"
            )
        if side.branches:
            return self._mixed(convention, side, phase, schedule)
        model = self.model if schedule is None else self.scheduled_model
        if convention != "exact":
            return published_bill(convention, model, side)
        prefill, decode = Bill("FLOP", ()), Bill("FLOP", ())
        if phase != "decode":
            prefill = exact_bill(lower(model, side, self.counting))
            if schedule is not None and schedule.selection is not None:
                from .selection import selection_operators

                # The rule sees the model as it is: channels narrow what runs, not what is chosen.
                chosen = selection_operators(self.model, side, schedule, self.counting)
                prefill = prefill.joined(exact_bill(chosen))
        if phase != "prefill" and self.workload.new_tokens > 1:
            decode = exact_bill(
                self._decoded(side, 1, self.workload.new_tokens - 1, schedule, model)
            )
        return prefill.joined(decode)

    def _mixed(
        self, convention: Convention, side: TokenPlan, phase: Phase, schedule: Schedule | None
    ) -> Bill:
        """Return the expectation over the ways of a mixture, and the router's own cost."""
        from .mixing import expected_bill, ways  # few schedules have several ways

        assert schedule is not None
        bills = []
        for (share, way), (_, own) in zip(side.branches, ways(schedule), strict=True):
            if way is not None:
                one = self._replace(schedule=own, scheduled=way)
                bills.append((share, one.bill(convention, phase=phase)))
        expected = expected_bill(bills, UNITS[convention])
        if convention != "exact" or phase == "decode" or schedule.selection is None:
            return expected
        from .selection import selection_operators

        routed = selection_operators(self.model, self.dense, schedule, self.counting)
        return expected.joined(exact_bill(routed))

    @property
    def scheduled_model(self) -> Model:
        """The model that runs under the schedule, whose channels may be fewer."""
        if self.schedule is None or self.schedule.channels is None:
            return self.model
        from .narrowing import narrowed

        return narrowed(self.model, self.schedule.channels)

    def _decoded(
        self,
        side: TokenPlan,
        first: int,
        last: int,
        schedule: Schedule | None = None,
        model: Model | None = None,
    ) -> tuple[Operator, ...]:
        operators = lower_decode(model or self.model, side, first, last, self.counting)
        if schedule is None or schedule.selection is None or isinstance(schedule.selection, str):
            return operators
        from .selection import decode_selection

        chosen = decode_selection(self.model, side, schedule, first, last, self.counting)
        return (*operators, *chosen)

    def obstacle(self, convention: Convention) -> str | None:
        """Return why a convention has no figure for the model; None where it has one."""
        return None if convention == "exact" else published_obstacle(self.model)

    def decode_forward(self, step: int = 1, *, scheduled: bool = True) -> Bill:
        """Return the bill of the `step`-th decode forward: kept + step keys in each layer."""
        step = whole(step, "step", minimum=1)
        if not scheduled:
            return exact_bill(self._decoded(self.dense, step, step))
        if self.scheduled.branches:
            from .mixing import expected_bill, ways

            assert self.schedule is not None
            plans = zip(self.scheduled.branches, ways(self.schedule), strict=True)
            parts = [
                (share, self._replace(schedule=own, scheduled=way).decode_forward(step))
                for (share, way), (_, own) in plans
                if way is not None
            ]
            return expected_bill(parts, UNITS["exact"])
        return exact_bill(
            self._decoded(self.scheduled, step, step, self.schedule, self.scheduled_model)
        )

    def priced_phase(self, convention: Convention) -> Phase:
        """Return what a ratio compares: the generation under `exact`, else the prefill."""
        return "generation" if convention == "exact" else "prefill"

    def total(self, convention: Convention = "exact", *, scheduled: bool = True) -> int:
        """Return what a ratio compares, summed."""
        phase = self.priced_phase(convention)
        return self.bill(convention, scheduled=scheduled, phase=phase).total

    def ratio(self, convention: Convention = "exact") -> float:
        """Return cost with the schedule over cost without."""
        dense = self.total(convention, scheduled=False)
        return self.total(convention) / dense if dense else 1.0

    def floor(self) -> int:
        """Return the exact FLOPs that no pruning inside the LLM can go below.

        Encoder and connector (on the tokens that the schedule leaves them), head and the decoder
        over text and structural tokens alone, for the phases that a ratio compares; no selection.
        Of a mixture, the expectation: a way that skips the model costs nothing.
        """
        return self._floor_bill().total

    def _floor_bill(self) -> Bill:
        if self.scheduled.branches:
            from .mixing import expected_bill, ways

            assert self.schedule is not None
            plans = zip(self.scheduled.branches, ways(self.schedule), strict=True)
            floors = [
                (share, self._replace(schedule=own, scheduled=way)._floor_bill())
                for (share, way), (_, own) in plans
                if way is not None
            ]
            return expected_bill(floors, UNITS["exact"])
        text_only = self.scheduled.without_visual()
        narrow = self._replace(model=self.scheduled_model)
        return narrow._priced("exact", text_only, self.priced_phase("exact"))

    def unused_encoder_flops(self) -> int:
        """Return the exact FLOPs of encoder layers that are computed without contributing."""
        vision = [
            lower_vision(
                self.model, self.dense, self.counting.model_copy(update={"encoder_layers": layers})
            )
            for layers in ("computed", "contributing")
        ]
        computed, contributing = (exact_bill(operators).total for operators in vision)
        return computed - contributing


def known_convention(name: str) -> None:
    """Refuse a convention that there is not.

    Raises:
        UnknownName: There is none of that name.
    """
    if name not in CONVENTIONS:
        raise UnknownName("convention", name, CONVENTIONS, "tokencost ratio --help")


def _given(spec: Spec | None) -> str:
    """Return a spec with the fields that were given."""
    if spec is None:
        return "None"
    fields = [f"{name}={getattr(spec, name)!r}" for name in sorted(spec.model_fields_set)]
    return f"{type(spec).__name__}({', '.join(fields)})"


def evaluate(
    model: Model,
    workload: Workload | None = None,
    schedule: Schedule | None = None,
    counting: Counting | None = None,
) -> Report:
    """Answer what a model costs on a workload, with and without a schedule.

    Raises:
        InvalidInput: A schedule that does not fit the model or the workload, or an argument that
            is something else than its name says.

    >>> from vlm_tokencost.presets import load_model
    >>> evaluate(load_model("llava-1.5-7b"), Workload(text_tokens=64)).total("exact")
    8910375321600
    """
    for field, value, kind in (
        ("model", model, Model),
        ("workload", workload or Workload(), Workload),
        ("schedule", schedule or Schedule(), Schedule),
        ("counting", counting or Counting(), Counting),
    ):
        if not isinstance(value, kind):
            hint = "use load_model(ID)" if kind is Model else f"pass a {kind.__name__} by name"
            raise InvalidInput(field, type(value).__name__, f"is not a {kind.__name__}", hint)
    workload, counting = workload or Workload(), counting or Counting()
    dense = plan(model, workload)
    scheduled = plan(model, workload, schedule) if schedule else dense
    return Report(model, workload, schedule, counting, dense, scheduled)
