"""Figures that papers print about a method, beside what we recompute from its schedule."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import StrictBool

from ..costmodel import Counting, InvalidInput, Report, Workload, evaluate
from ..costmodel.memory import kv_cache_bytes
from ..costmodel.numeric import Converted, Count, Positive, Spec
from ..costmodel.schedule import Schedule
from .loader import load_model

if TYPE_CHECKING:
    from .method import Method

Quantity = Literal[
    "prefill",
    "layer",
    "ratio",
    "reduction",
    "speed-up bound",
    "average visual tokens",
    "entering visual tokens",
    "token ratio",
    "token reduction",
    "final visual tokens",
    "final token reduction",
    "token factor",
    "KV bytes",
    "KV ratio",
    "KV reduction",
    "KV factor",
    "visual read ratio",
    "vision layers",
    "vision layers ratio",
    "vision",
    "connector",
    "selection",
    "encoding",
    "encoding reduction",
]
#: How many base units (MAC, FLOP, token, byte, one) a printed unit has.
UNITS: dict[str, Fraction] = {
    "TMAC": Fraction(10**12),
    "GMAC": Fraction(10**9),
    "TFLOP": Fraction(10**12),
    "GFLOP": Fraction(10**9),
    "%": Fraction(1, 100),
    "×": Fraction(1),
    "tokens": Fraction(1),
    "MB": Fraction(10**6),
    "MiB": Fraction(2**20),
    "GB": Fraction(10**9),
}


def _printed(value: object) -> Decimal:
    text = str(value)
    try:
        number = Decimal(text)
    except ArithmeticError:
        number = Decimal("NaN")
    if not isinstance(value, str | Decimal) or not number.is_finite():
        raise InvalidInput("", value, "is not a printed number", 'write it as "1.78"')
    return number


class Figure(Spec):
    """A printed figure, and the question whose answer it claims to be.

    Attributes:
        quantity: What is printed. "prefill" is a total, "layer" its mean over the decoder layers;
            "vision", "connector" and "selection" are components of `exact`, in MACs or FLOPs;
            "encoding" is vision with selection, for methods that work inside the encoder;
            "reduction" is 1 − ratio, "speed-up bound" 1/ratio; a token "ratio" is of the average
            over the layers, and a "factor" is dense/scheduled; "final" ones are of the last layer;
            "vision layers" is vision without its embedding; "visual read ratio" is of the visual
            tokens that a decode forward reads.
        term: Of a component, the products whose name begins so.
        printed, unit: As in the source; MAC units of `exact` halve its FLOPs.
        cut: Whether the source cuts digits off instead of rounding.
        convention: Of the published figure.
        model, images, frames, visual_tokens, text_tokens: The request.
        text_lengths, visual_lengths: Several requests, whose mean is printed.
        budget, schedule: The setting; the method's default without both. `dense` is the model
            without the method.
        encoder_layers, selection: As in `Counting`.
        reproduces: Whether we arrive at it; a mismatch is documented in `note`.
        source: Where it stands.
    """

    quantity: Quantity
    printed: Annotated[Decimal, Converted(_printed)]
    unit: Literal["TMAC", "GMAC", "TFLOP", "GFLOP", "%", "×", "tokens", "MB", "MiB", "GB"]
    term: str = ""
    cut: StrictBool = False
    convention: Literal["survey", "gated", "exact"] = "gated"
    model: str
    images: tuple[str, ...] = ()
    frames: Count = 0
    visual_tokens: Positive | None = None
    text_tokens: Count = 0
    text_lengths: tuple[Count, ...] = ()
    visual_lengths: tuple[Positive, ...] = ()
    budget: Positive | None = None
    schedule: dict[str, Any] | None = None
    dense: StrictBool = False
    encoder_layers: Literal["computed", "contributing"] = "computed"
    selection: Literal["ideal", "released"] = "ideal"
    reproduces: StrictBool = True
    note: str = ""
    source: str


class Recomputed(NamedTuple):
    """A figure beside its recomputation, both in the printed unit."""

    figure: Figure
    value: Fraction

    @property
    def agrees(self) -> bool:
        """Whether the value prints as the figure does, to its last digit."""
        exponent = self.figure.printed.as_tuple().exponent
        assert isinstance(exponent, int)
        step, printed = Fraction(10) ** exponent, Fraction(self.figure.printed)
        if self.figure.cut:
            return printed <= self.value < printed + step
        return abs(self.value - printed) * 2 <= step


def recompute(method: Method, figure: Figure) -> Recomputed:
    """Answer a figure's question.

    Raises:
        InvalidInput: A question without an answer, such as a component of a published convention.
    """
    texts = figure.text_lengths or (figure.text_tokens,)
    visuals = figure.visual_lengths or (figure.visual_tokens,) * len(texts)
    values = [
        _value(_answer(method, figure, visual, text), figure)
        for visual, text in zip(visuals, texts, strict=True)
    ]
    return Recomputed(figure, sum(values, Fraction(0)) / len(values) / UNITS[figure.unit])


def _answer(method: Method, figure: Figure, visual: int | None, text: int) -> Report:
    """Price one request of a figure."""
    model = load_model(figure.model)
    workload = Workload(
        images=figure.images, frames=figure.frames, visual_tokens=visual, text_tokens=text
    )
    schedule: Schedule | None = None
    if figure.schedule is not None:
        schedule = Schedule(**figure.schedule)
    elif not figure.dense:
        schedule = method.schedule(model, workload, figure.budget)
        if figure.convention != "exact":
            # Published conventions price no selection, and rules refuse requests without text.
            schedule = schedule.model_copy(update={"selection": None})
    counting = Counting(encoder_layers=figure.encoder_layers, selection=figure.selection)
    return evaluate(model, workload, schedule, counting)


def _value(report: Report, figure: Figure) -> Fraction:
    """Return a figure's value in base units."""
    plan, quantity = report.scheduled, figure.quantity
    ratio = Fraction(1)
    if quantity in ("ratio", "reduction", "speed-up bound"):
        ratio = Fraction(
            report.bill(figure.convention).total,
            report.bill(figure.convention, scheduled=False).total,
        )
    halved = 2 if figure.convention == "exact" and figure.unit.endswith("MAC") else 1
    match quantity:
        case "prefill":
            return Fraction(report.bill(figure.convention).total, halved)
        case "layer":
            total = report.bill(figure.convention).total
            return Fraction(total, halved * report.model.decoder.num_hidden_layers)
        case "ratio":
            return ratio
        case "reduction":
            return 1 - ratio
        case "speed-up bound":
            return 1 / ratio
        case "average visual tokens":
            return plan.average_visual_tokens
        case "entering visual tokens":
            return Fraction(plan.entering_visual_tokens)
        case "token ratio":
            return plan.average_visual_tokens / plan.dense_visual_tokens
        case "final visual tokens":
            return Fraction(plan.visual[-1])
        case "final token reduction":
            return 1 - Fraction(plan.visual[-1], plan.dense_visual_tokens)
        case "token reduction":
            return 1 - plan.average_visual_tokens / plan.dense_visual_tokens
        case "token factor":
            return plan.dense_visual_tokens / plan.average_visual_tokens
        case "KV bytes":
            return Fraction(kv_cache_bytes(report.model, plan))
        case "KV ratio":
            dense = kv_cache_bytes(report.model, report.dense)
            return Fraction(kv_cache_bytes(report.model, plan), dense)
        case "KV reduction":
            dense = kv_cache_bytes(report.model, report.dense)
            return 1 - Fraction(kv_cache_bytes(report.model, plan), dense)
        case "KV factor":
            dense = kv_cache_bytes(report.model, report.dense)
            return Fraction(dense, kv_cache_bytes(report.model, plan))
        case "visual read ratio":
            return Fraction(sum(plan.visual_read), sum(report.dense.visual_read))
    if figure.convention != "exact":
        raise InvalidInput("quantity", quantity, "is a component of exact alone", "say so")
    if quantity == "vision layers ratio":
        return Fraction(_layers(report, scheduled=True), _layers(report, scheduled=False))
    if quantity == "vision layers":
        return Fraction(_layers(report, scheduled=True), halved)
    amounts: dict[str, int] = defaultdict(int)
    for entry in report.bill("exact").entries:
        if entry.name.startswith(figure.term):
            amounts[entry.component] += entry.amount
    amounts["encoding"] = amounts["vision"] + amounts["selection"]
    if quantity == "encoding reduction":
        dense = report.bill("exact", scheduled=False).by_component()["vision"]
        return 1 - Fraction(amounts["encoding"], dense)
    return Fraction(amounts[quantity], halved)


def _layers(report: Report, *, scheduled: bool) -> int:
    """Return the FLOPs of the encoder's layers, without its embedding."""
    entries = report.bill("exact", scheduled=scheduled).entries
    return sum(one.amount for one in entries if one.component == "vision" and one.layers)
