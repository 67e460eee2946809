"""FLOPs and MACs: prices under the three conventions, as bills that can be shown term by term."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from . import formulas
from .architecture import Model
from .operators import Component, Operator, Part
from .plan import TokenPlan

Convention = Literal["survey", "gated", "exact"]
CONVENTIONS: tuple[Convention, ...] = ("survey", "gated", "exact")
UNITS: dict[Convention, str] = {"survey": "MAC", "gated": "MAC", "exact": "FLOP"}
#: The formula of one decoder layer, as published; `exact` has no single one.
MEANINGS: dict[Convention, str] = {
    "survey": "4nd² + 2n²d + 2ndm per decoder layer, LLM only (FastV, VisionZip, DivPrune)",
    "gated": "4nd² + 2n²d + 3ndm per decoder layer, LLM only (PyramidDrop, SparseVLM)",
    "exact": "every matrix product, convolution and attention product of the pass, 2 FLOP per MAC",
}


class Entry(NamedTuple):
    """One priced term.

    Attributes:
        component, layer, part, name: Where it belongs.
        formula: Closed form in the symbols of `formulas`.
        values: Value of each symbol.
        amount: Result, in the convention's unit.
    """

    component: Component
    layer: int | None
    part: Part
    name: str
    formula: str
    values: dict[str, int]
    amount: int

    @property
    def substitution(self) -> str:
        """The formula with its numbers in place."""
        return formulas.substitute(self.formula, self.values)


@dataclass(frozen=True)
class Bill:
    """Entries in one unit, with their sums."""

    unit: str
    entries: tuple[Entry, ...]

    @cached_property
    def total(self) -> int:
        """Sum of all entries."""
        return sum(entry.amount for entry in self.entries)

    def by(self, key: Callable[[Entry], Any]) -> dict[Any, int]:
        """Return sums of the entries that share a key, in order of appearance."""
        sums: dict[Any, int] = defaultdict(int)
        for entry in self.entries:
            sums[key(entry)] += entry.amount
        return dict(sums)

    def by_component(self) -> dict[Component, int]:
        """Return sums by component."""
        return self.by(lambda entry: entry.component)

    def by_layer(self) -> dict[tuple[Component, int | None], int]:
        """Return sums by component and layer; None holds what lies outside the layers."""
        return self.by(lambda entry: (entry.component, entry.layer))

    def by_part(self) -> dict[tuple[Component, int | None, Part], int]:
        """Return sums by component, layer and part."""
        return self.by(lambda entry: (entry.component, entry.layer, entry.part))

    def __add__(self, other: Bill) -> Bill:
        """Return one bill over the entries of both."""
        assert self.unit == other.unit, "bills of different units do not add up"
        return Bill(self.unit, self.entries + other.entries)


def exact_bill(operators: Iterable[Operator]) -> Bill:
    """Price operators under `exact`: 2 FLOP per MAC."""
    entries = []
    for operator in operators:
        formula: Any = type(operator).formula
        entries.append(
            Entry(
                operator.component,
                operator.layer,
                operator.part,
                operator.name,
                f"{formulas.FLOPS_PER_MAC} · {formula.text}",
                dict(zip(formula.symbols, operator.terms(), strict=True)),
                formulas.FLOPS_PER_MAC * operator.macs,
            )
        )
    return Bill(UNITS["exact"], tuple(entries))


def published_bill(convention: Literal["survey", "gated"], model: Model, plan: TokenPlan) -> Bill:
    """Price a prefill by a published formula: decoder layers alone, in MACs.

    f(n) = 4nd² + 2n²d + 2ndm (`survey`) or + 3ndm (`gated`), with d the hidden size and m the
    FFN's intermediate size, whatever the model's head counts are; × batch.
    """
    d, m = model.decoder.hidden_size, model.decoder.feed_forward.intermediate_size
    ffn = formulas.plain_ffn_term if convention == "survey" else formulas.gated_ffn_term
    terms: tuple[tuple[Part, Any, tuple[int, ...]], ...] = (
        ("attention projections", formulas.projection_term, (d,)),
        ("attention scores", formulas.score_term, (d,)),
        ("feed-forward", ffn, (d, m)),
    )
    entries = []
    for layer, n in enumerate(plan.query):
        for part, term, sizes in terms:
            values = {"batch": plan.batch, **dict(zip(term.symbols, (n, *sizes), strict=True))}
            entries.append(
                Entry(
                    "decoder",
                    layer,
                    part,
                    part,
                    term.text if plan.batch == 1 else f"batch · {term.text}",
                    values,
                    plan.batch * term(n, *sizes),
                )
            )
    return Bill(UNITS[convention], tuple(entries))
