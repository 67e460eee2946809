"""Figures that the project's references work out, and the questions whose answers they are.

`methods-survey.md` and `methods-citing.md` collect what is known of each method, and recompute
figures of the papers ("[calc]"). A row quotes such a figure as it is printed there.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from vlm_tokencost.costmodel import (
    Counting,
    Report,
    Schedule,
    Workload,
    evaluate,
    kv_cache_bytes,
)
from vlm_tokencost.costmodel.selection import selection_work
from vlm_tokencost.presets import load_method, load_model

LLAVA, LARGE, QWEN = "llava-1.5-7b", "llava-1.5-13b", "qwen2.5-vl-7b"
NEXT, NEXT_LARGE = "llava-next-vicuna-7b", "llava-next-vicuna-13b"
ONEVISION, VIDEO = "llava-onevision-7b", "llava-video-7b"
#: Base units (MAC, FLOP, byte, token, one) of a printed unit.
UNITS = {
    "TMAC": 10**12,
    "GMAC": 10**9,
    "MMAC": 10**6,
    "TFLOP": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "MiB": 2**20,
    "KiB": 2**10,
    "bytes": 1,
    "tokens": 1,
    "layers": 1,
    "%": Fraction(1, 100),
    "×": 1,
    "": 1,
}


class Row(NamedTuple):
    """A figure of a reference.

    Attributes:
        where: Section of the reference, and what the figure is of.
        printed, unit: As the reference prints it.
        ask: Puts the question, and returns the answer in base units.
        reproduces: Whether we arrive at it.
        instead: What comes out instead, in the same unit.
        reason: Why, with the arithmetic.
    """

    where: str
    printed: str
    unit: str
    ask: Callable[[], Fraction | int]
    reproduces: bool = True
    instead: str = ""
    reason: str = ""

    def check(self, sources: dict[str, str]) -> None:
        """Recompute the figure: to its last printed digit, or as documented.

        `sources` names what each section is about.
        """
        value = Fraction(self.ask()) / UNITS[self.unit]
        told = f"{self.where}: {self.printed} {self.unit}, recomputed {float(value):.6g}"
        told += "".join(f" ({sources[section]})" for section in sections(self.where))
        assert prints_as(value, self.printed) is self.reproduces, told
        if self.reproduces:
            assert not self.instead, told
            assert not self.reason, told
        else:
            assert prints_as(value, self.instead), told
            assert self.reason, told


def sections(where: str) -> list[str]:
    """Return the sections of a reference that a row names before its comma."""
    return where.split(",")[0].split(" and ")


def prints_as(value: Fraction, printed: str) -> bool:
    """Tell whether a value prints as a number does, to its last digit.

    "3E+1" has a single digit that counts, the tens.
    """
    number = Decimal(printed)
    step = Fraction(10) ** int(number.as_tuple().exponent)
    return abs(value - Fraction(number)) * 2 <= step


def flat(tokens: object) -> dict[str, Any]:
    """Return the schedule that leaves so many tokens before the LLM, or such a share."""
    return {"compress": {"tokens" if isinstance(tokens, int) else "ratio": tokens}}


def staged(*stages: tuple[int, object]) -> dict[str, Any]:
    """Return the schedule of (first layer, tokens or share) pairs."""
    return {
        "stages": [
            {"first_layer": layer, "tokens" if isinstance(kept, int) else "ratio": kept}
            for layer, kept in stages
        ]
    }


def runs(*parts: tuple[int, int]) -> dict[str, Any]:
    """Return the schedule of (layers, tokens) runs; the first run sees all tokens."""
    first, stages = parts[0][0], []
    for layers, tokens in parts[1:]:
        stages.append((first, tokens))
        first += layers
    return staged(*stages)


def asked(
    model: str,
    tokens: int | None = None,
    schedule: dict[str, Any] | Schedule | None = None,
    text: int = 0,
    counting: Counting | None = None,
    **request: Any,
) -> Report:
    """Price a request, by default of visual tokens alone."""
    if isinstance(schedule, dict):
        schedule = Schedule(**schedule)
    workload = Workload(visual_tokens=tokens, text_tokens=text, **request)
    return evaluate(load_model(model), workload, schedule, counting)


def reduced(
    name: str,
    model: str = LLAVA,
    tokens: int | None = None,
    budget: int | None = None,
    text: int = 0,
    counting: Counting | None = None,
    **request: Any,
) -> Report:
    """Price a method's default or budget; without text, no selection, which may need some."""
    loaded = load_model(model)
    workload = Workload(visual_tokens=tokens, text_tokens=text, **request)
    schedule = load_method(name).schedule(loaded, workload, budget)
    if not text:
        schedule = schedule.model_copy(update={"selection": None})
    return evaluate(loaded, workload, schedule, counting)


def cost(report: Report, convention: Any = "gated", *, scheduled: bool = True) -> Fraction:
    """Return the MACs of a published convention."""
    return Fraction(report.bill(convention, scheduled=scheduled).total)


def ratio(report: Report, convention: Any = "gated") -> Fraction:
    """Return the cost under the schedule over that without."""
    return cost(report, convention) / cost(report, convention, scheduled=False)


def layer(report: Report, convention: Any = "survey") -> Fraction:
    """Return the mean MACs of a decoder layer."""
    return cost(report, convention) / report.model.decoder.num_hidden_layers


def component(report: Report, *names: str, scheduled: bool = True) -> Fraction:
    """Return the exact MACs of components."""
    amounts: dict[Any, int] = dict(report.bill("exact", scheduled=scheduled).by_component())
    return sum((Fraction(amounts[name], 2) for name in names), Fraction(0))


def with_encoder(report: Report) -> Fraction:
    """Return by what encoder and LLM together become cheaper."""
    names = ("vision", "decoder")
    return component(report, *names, scheduled=False) / component(report, *names)


def share(report: Report, part: str, convention: Any = "gated") -> Fraction:
    """Return a part's share of the LLM without reduction."""
    amounts: dict[str, int] = {}
    for (where, _, what), amount in report.bill(convention, scheduled=False).by_part().items():
        if where == "decoder":
            amounts[what] = amounts.get(what, 0) + amount
    return Fraction(amounts[part], sum(amounts.values()))


def saved(report: Report) -> Fraction:
    """Return the share of the LLM's exact cost that goes."""
    return 1 - component(report, "decoder") / component(report, "decoder", scheduled=False)


def average(schedule: dict[str, Any], tokens: int = 576) -> Fraction:
    """Return the mean of LLaVA-1.5-7B's visual tokens over the layers."""
    return asked(LLAVA, tokens, schedule).scheduled.average_visual_tokens


def kv(model: str, tokens: int, schedule: dict[str, Any] | None = None, text: int = 0) -> Fraction:
    """Return the bytes of keys and values after the prefill."""
    report = asked(model, tokens, schedule, text)
    return Fraction(kv_cache_bytes(report.model, report.scheduled))


def chosen(report: Report, *terms: str, released: bool = False) -> Fraction:
    """Return the MACs of a selection's products whose names begin with one of `terms`."""
    counting = Counting(selection="released" if released else "ideal")
    assert report.schedule is not None
    work = selection_work(report.model, report.scheduled, report.schedule, counting)
    found = [one for one in work.operators if one.name.startswith(terms or "")]
    assert found, f"no product {terms}"
    return Fraction(sum(one.macs * (len(one.layers) or 1) for one in found))


def reprojected(*layers: int) -> Fraction:
    """Return what PyramidDrop's code projects again before some layers of LLaVA-1.5-7B, or all."""
    report = reduced("pyramiddrop", text=1)
    whole = [f"queries, keys and values projected again for layer {layer}" for layer in layers]
    text = 3 * 4096**2 * (len(layers) or 3)  # of the one text token that a rule needs
    return chosen(report, *(whole or ["queries, keys and values"]), released=True) - text


def maps(report: Report) -> int:
    """Return the bytes of the attention maps that released code keeps."""
    counting = Counting(selection="released")
    assert report.schedule is not None
    work = selection_work(report.model, report.scheduled, report.schedule, counting)
    return work.attention_map_bytes


#: Half from layer 2 on, and PyramidDrop's halves
HALF = staged((2, "1/2"))
PYRAMID = staged((8, "1/2"), (16, "1/4"), (24, "1/8"))


class Elsewhere(NamedTuple):
    """Figures of a reference that are figures of a method, which test_figures.py recomputes.

    Attributes:
        where: Section of the reference.
        method, quantity: The method, and the quantity of its figures.
        printed: The numbers.
    """

    where: str
    method: str
    quantity: str
    printed: tuple[str, ...]

    def check(self) -> None:
        """Find every number among the method's figures."""
        figures = load_method(self.method).figures
        there = {str(one.printed) for one in figures if one.quantity == self.quantity}
        assert set(self.printed) <= there, f"{self.where}: {self.method} has {sorted(there)}"
