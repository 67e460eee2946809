"""The closed form beside a counter: one real run, by component and kind of product."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..costmodel import Bill, Counting, InvalidInput, Report, evaluate
from ..costmodel.architecture.blocks import Execution
from ..costmodel.mixing import ways
from ..costmodel.narrowing import RESCAN as RESCANS
from ..costmodel.operators import COMPONENTS
from ..costmodel.plan import TokenPlan
from ..costmodel.tokens.base import Size
from .adapters import ADAPTERS, Clip, no_video
from .build import build, make_experts_countable
from .counters import Count, CounterName, count
from .forward import EXPERTS, RESCAN, ROTARY, Driver, Place, component_of
from .layers import Prefilled
from .memory import working_bytes
from .narrow import narrowed
from .reduced import reduced
from .reduction import Reduction
from .rules import not_run

if TYPE_CHECKING:
    from torch import Tensor

Scale = Literal["full", "reduced"]
Side = Literal["baseline", "scheduled"]
Phase = Literal["prefill", "decode"]
#: Decode forwards that a comparison runs at most.
MOST_DECODE_FORWARDS = 64

#: Kinds of product by the cost model's parts; the rest are linear.
_KINDS = {"patch embedding": "convolution", "attention scores": "attention"}
#: Components without attention, where a batched product is a linear layer on a slice; and products
#: that choose tokens, which are of one kind, whatever operator a reducer uses for them.
_WITHOUT_ATTENTION = {
    "connector": "linear",
    "head": "linear",
    "selection": "selection",
    EXPERTS: "linear",
    RESCAN: "rescan",
}


class Setting(NamedTuple):
    """What counts what: a counter, the model's scale and where it runs."""

    counter: CounterName
    scale: Scale
    device: str


class Row(NamedTuple):
    """FLOPs of one component and kind of product in one phase of one side.

    Attributes:
        counted: None where the counter has no formula for what ran; `unseen` names it.
        unseen: Operators that are missing from `counted`, or what did not run at all.
        unrun: Whether it is the latter.
    """

    setting: Setting
    side: Side
    phase: Phase
    component: str
    kind: str
    analytic: int
    counted: int | None
    unseen: tuple[str, ...] = ()
    unrun: bool = False

    @property
    def difference(self) -> int | None:
        """Counted less analytic."""
        return None if self.counted is None else self.counted - self.analytic

    def figures(self) -> dict[str, Any]:
        """Return the row for JSON, without what counted it."""
        return {
            "phase": self.phase,
            "component": self.component,
            "operator": self.kind,
            "analytic": self.analytic,
            "counted": self.counted,
            "difference": self.difference,
            "unseen": list(self.unseen),
        }


class Comparison(NamedTuple):
    """One side's run under one counter.

    Attributes:
        rows: By phase, component and kind.
        unseen: Operators that the counter has no formula for, and how often they ran; they are
            no products, or a row says so.
        tokens_per_layer: Tokens that each decoder layer processed.
        decode_forwards: How many decode forwards were run.
        way: Which way of a mixture it is, and how often it is taken; None without one.
    """

    setting: Setting
    side: Side
    rows: tuple[Row, ...]
    unseen: dict[str, int]
    tokens_per_layer: tuple[int, ...]
    decode_forwards: int
    way: tuple[int, Fraction] | None = None


def check(report: Report) -> None:
    """Refuse what no forward pass can be compared with.

    Raises:
        InvalidInput: A choice that changes the closed form but not what runs, or tokens that are
            left out where the model needs all of them.
    """
    if report.workload.visual_tokens is not None:
        raise InvalidInput(
            "--visual-tokens",
            report.workload.visual_tokens,
            "replaces what the model's encoder makes, so there is nothing to run",
            "choose the image size instead",
        )
    adapter, frames = ADAPTERS.get(report.model.model_type), report.dense.frames
    if frames and adapter is not None and not adapter.takes_videos:
        raise no_video(report.model.model_type, frames)
    if report.counting.execution != Execution() or report.workload.processor.tiles != "padded":
        raise InvalidInput(
            "--implementation or --processor",
            None,
            "prices another implementation than transformers', so there is nothing to run",
            "leave the option out",
        )
    if report.counting.selection != "ideal":
        raise InvalidInput(
            "--implementation",
            "selection=released",
            "prices released code, while the rule of this project is what runs",
            "leave it out",
        )
    if report.counting.causal:
        raise InvalidInput("--causal", None, "hides pairs that every counter sees", "leave it out")
    if report.counting.encoder_layers != "computed":
        raise InvalidInput(
            "--encoder-layers",
            report.counting.encoder_layers,
            "leaves out layers that the model runs",
            "leave it out",
        )
    if min(report.scheduled.query) == 0:
        raise InvalidInput(
            "schedule",
            None,
            "leaves a layer without any token, so there is nothing to run",
            "give at least 1 text token (--text-tokens)",
        )
    if report.workload.new_tokens - 1 > MOST_DECODE_FORWARDS:
        raise InvalidInput(
            "--new-tokens",
            report.workload.new_tokens,
            f"asks for more than {MOST_DECODE_FORWARDS} decode forwards",
            f"give at most {MOST_DECODE_FORWARDS + 1}: each forward adds one key per layer",
        )
    for _, _, way in _ways(report):
        _check_compression(way)


def _check_compression(report: Report) -> None:
    """Refuse tokens that are left out where the model needs all of them."""
    adapter, frames = ADAPTERS.get(report.model.model_type), report.dense.frames
    compressed = Reduction.of(report.schedule, report.scheduled).compressed
    joins = adapter is not None and adapter.connector_joins_neighbours
    pools = adapter is not None and adapter.pools_frames and frames > 0
    if (joins or pools) and compressed and compressed[1] == "before-connector":
        why = "joins or averages neighbouring patches" if joins else "has pooling beside it"
        raise InvalidInput(
            "schedule",
            None,
            f"leaves {compressed[0]} tokens before the connector of {report.model.id}, which "
            f"{why}, so there is nothing to run",
            "compress after-connector (--tokens-at, or compress.at in a file)",
        )


def compare(
    report: Report,
    setting: Setting,
    progress: Callable[[str], None] = lambda _: None,
    sides: tuple[Side, ...] = ("baseline", "scheduled"),
) -> Iterator[Comparison]:
    """Run both sides of a report under a counter, and yield each beside its closed form.

    Every counter runs on eager attention. fvcore drops layers whose output nothing uses, so that
    it is held against the contributing encoder layers.

    Args:
        report: The question.
        setting: The counter, and the model that it counts.
        progress: Is told what is being done.
        sides: Which sides to run; without a schedule there is the baseline alone.

    Raises:
        InvalidInput: A model, schedule or device that cannot be run.
        MissingExtra: A package is missing.
    """
    check(report)
    model = report.model if setting.scale == "full" else reduced(report.model)
    layers: Literal["computed", "contributing"] = (
        "contributing" if setting.counter == "fvcore" else "computed"
    )
    counting = Counting(logits=report.counting.logits, encoder_layers=layers)
    asked = evaluate(model, report.workload, report.schedule, counting)
    progress(f"building {model.id} on {setting.device}")
    dtype = "bfloat16" if setting.device == "cuda" else "float32"
    built = build(
        model,
        setting.device,
        dtype=dtype,
        headroom=_headroom(asked, dtype),
        way_out=_less_memory(setting),
    )
    make_experts_countable(built, asked.dense.batch * max(asked.dense.query))
    driver = Driver(built)
    for side in sides:
        if side == "scheduled" and asked.schedule is None:
            continue
        progress(f"counting the {side} of {model.id} with {setting.counter}")
        if side == "baseline":
            yield _compare_side(driver, asked, setting, side)
            continue
        for number, share, way in _ways(asked):
            result = _compare_side(driver, way, setting, side)
            yield result._replace(way=(number, share)) if share is not None else result


def _ways(report: Report) -> Iterator[tuple[int, Fraction | None, Report]]:
    """Yield number, probability and report of every way of a mixture in which the model runs.

    Without a mixture, that is the report itself.
    """
    schedule = report.schedule
    if schedule is None or not schedule.mixture:
        yield 1, None, report
        return
    for number, (share, way) in enumerate(ways(schedule), 1):
        if way is not None:
            own = way if way.primitives else None
            yield number, share, evaluate(report.model, report.workload, own, report.counting)


def crops_per_image(plan: TokenPlan) -> list[list[Size]]:
    """Return the crops of each image."""
    crops = iter(plan.visual_input.crops)
    return [list(islice(crops, count)) for count in plan.visual_input.crops_per_image]


def clip_of(report: Report) -> Clip | None:
    """Return the video of each request, or None where there are images."""
    if not report.dense.frames:
        return None
    return Clip(report.dense.frames, getattr(report.model.token_rule.video, "newline", "none"))


def _compare_side(driver: Driver, report: Report, setting: Setting, side: Side) -> Comparison:
    import torch

    scheduled = side == "scheduled"
    plan = report.scheduled if scheduled else report.dense
    request = driver.request(
        plan.images, crops_per_image(plan), plan.text_tokens, batch=plan.batch, clip=clip_of(report)
    )
    reduction = Reduction.of(report.schedule if scheduled else None, plan)
    last: list[Prefilled] = []

    def prefill() -> Tensor:
        last.append(driver.prefill(request, reduction, logits=report.counting.logits))
        return last[-1].logits

    new_tokens = report.workload.new_tokens
    forwards = max(1, new_tokens - 1)
    ids = torch.zeros(plan.batch, 1, dtype=torch.int64)

    def decode() -> list[Tensor]:
        logits = [driver.decode(last[-1], ids) for _ in range(forwards)]
        kept = last[-1].kept
        # Tracing drops what is not handed back.
        return logits if kept is None else [*logits, *kept.scores]

    with narrowed(driver.adapter, reduction.channels):
        counts: dict[Phase, Count[Place]] = {
            "prefill": count(prefill, driver.owners(), setting.counter),
            "decode": count(decode, driver.owners(), setting.counter),
        }
    decode_bill = report.decode_forward(1, scheduled=scheduled)
    if new_tokens > 1:
        decode_bill = report.bill("exact", scheduled=scheduled, phase="decode")
    bills: dict[Phase, Bill] = {
        "prefill": report.bill("exact", scheduled=scheduled),
        "decode": decode_bill,
    }
    absent = {} if reduction.selection is None else not_run(reduction.selection)
    unseen: Counter[str] = Counter()
    rows: list[Row] = []
    for phase, counted in counts.items():
        unseen.update(counted.unseen)
        rows += _rows(setting, side, phase, bills[phase], counted, absent.get(phase))
    ranked = dict(sorted(unseen.items(), key=lambda item: (-item[1], item[0])))
    return Comparison(setting, side, tuple(rows), ranked, tuple(last[-1].lengths), forwards)


def _rows(
    setting: Setting,
    side: Side,
    phase: Phase,
    bill: Bill,
    counted: Count[Place],
    absent: str | None,
) -> Iterator[Row]:
    """Yield a row for each component and kind; `absent` says what of the selection did not run."""
    analytic: Counter[tuple[str, str]] = Counter()
    for entry in bill.entries:
        kind = _KINDS.get(entry.part, "linear")
        kind = _WITHOUT_ATTENTION.get(entry.component, kind)
        if entry.name.startswith(RESCANS):
            kind = RESCAN
        analytic[entry.component, kind] += entry.amount
    measured: Counter[tuple[str, str]] = Counter()
    for place, kinds in counted.flops.items():
        if place == ROTARY:
            continue
        component = "outside the components" if place is None else component_of(place)
        for name, flops in kinds.items():
            kind = _WITHOUT_ATTENTION.get(place[0], name) if place else name
            measured[component, kind] += flops
    missing = tuple(counted.unseen_products)
    order = [*COMPONENTS, "outside the components"]
    for component, kind in sorted(
        {*analytic, *measured}, key=lambda key: (order.index(key[0]), key[1])
    ):
        expected, found = analytic[component, kind], measured[component, kind]
        hidden = tuple(name for name in missing if kind == _kind_of_unseen(name))
        # A kind of which nothing was seen, and of which something ran unseen.
        blind = bool(hidden) and not found
        idle = absent is not None and component == kind == "selection" and not found
        if absent is not None and idle:
            hidden, blind = (absent,), True
        if expected or found:
            yield Row(
                setting,
                side,
                phase,
                component,
                kind,
                expected,
                None if blind else found,
                hidden if blind else (),
                idle,
            )


def _kind_of_unseen(name: str) -> str:
    from .counters.kinds import kind_of

    return kind_of(name)


def _less_memory(setting: Setting) -> str:
    ways = ["give --scale reduced"] if setting.scale == "full" else []
    if setting.counter == "torch" and setting.scale == "full":
        ways.append("--device meta")
    return " or ".join(ways) or "give a smaller --batch, --image-size or --text-tokens"


def _headroom(report: Report, dtype: str) -> int:
    """Return bytes that the dense run needs beside the weights, its float32 logits included."""
    plan = report.dense
    positions = max(plan.query) if report.counting.logits == "all" else 1
    logits = plan.batch * positions * report.model.decoder.vocab_size * 4
    dense = report._replace(schedule=None, scheduled=plan)
    return working_bytes(dense, dtype, "eager") + logits
