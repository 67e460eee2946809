"""FLOPs and MACs: prices under the three conventions, as bills that can be shown term by term."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from . import formulas
from .architecture.model import Model
from .errors import InvalidInput, UnknownName
from .operators import COMPONENTS, Component, Operator, Part
from .tokenplan import TokenPlan, alike

Convention = Literal["survey", "gated", "exact"]
CONVENTIONS: tuple[Convention, ...] = ("survey", "gated", "exact")
UNITS: dict[Convention, str] = {"survey": "MAC", "gated": "MAC", "exact": "FLOP"}
#: The formula of one decoder layer, as published; `exact` has no single one.
MEANINGS: dict[Convention, str] = {
    "survey": "4nd² + 2n²d + 2ndm per decoder layer, LLM only (FastV, VisionZip, DivPrune)",
    "gated": "4nd² + 2n²d + 3ndm per decoder layer, LLM only (PyramidDrop, SparseVLM)",
    "exact": "every matrix product, convolution and attention product of the pass, 2 FLOP per MAC",
}


#: The published conventions, told apart by their FFN: two matrices or three.
_FFN_TERMS = {"survey": formulas.plain_ffn_term, "gated": formulas.gated_ffn_term}


class Entry(NamedTuple):
    """One priced term.

    Attributes:
        component, layers, part, name: Where it belongs; `layers` share the same arithmetic and
            are empty for what lies outside the layers.
        formula: Closed form in the symbols of `formulas`.
        values: Value of each symbol.
        each: Result for one layer, in the convention's unit.

    >>> from vlm_tokencost.costmodel import Linear
    >>> head = Linear("head", (), "head", "lm_head", tokens=1, in_features=4096, out_features=32064)
    >>> exact_bill([head]).entries[0].substitution
    '2 · 1 · 4096 · 32064'
    """

    component: Component
    layers: tuple[int, ...]
    part: Part
    name: str
    formula: str
    values: dict[str, int]
    each: int

    @property
    def amount(self) -> int:
        """Result over all its layers."""
        return self.each * (len(self.layers) or 1)

    @property
    def substitution(self) -> str:
        """The formula with its numbers in place."""
        return formulas.substitute(self.formula, self.values)


class Bill(NamedTuple):
    """Entries in one unit, with their sums.

    >>> from vlm_tokencost.costmodel import Linear
    >>> head = Linear("head", (), "head", "lm_head", tokens=1, in_features=4096, out_features=32064)
    >>> exact_bill([head]).by_component()
    {'head': 262668288}
    """

    unit: str
    entries: tuple[Entry, ...]

    def __str__(self) -> str:
        """Return total and components; the entries alone would fill a page."""
        parts = ", ".join(f"{name} {amount:,}" for name, amount in self.by_component().items())
        return f"{self.total:,} {self.unit}" + (f" ({parts})" if parts else "")

    @property
    def total(self) -> int:
        """Sum of all entries."""
        return sum(entry.amount for entry in self.entries)

    def by_component(self) -> dict[Component, int]:
        """Return sums by component."""
        sums: dict[Component, int] = defaultdict(int)
        for entry in self.entries:
            sums[entry.component] += entry.amount
        return dict(sums)

    def by_part(self) -> dict[tuple[Component, int | None, Part], int]:
        """Return sums by component, layer and part; layer None is what lies outside the layers."""
        sums: dict[tuple[Component, int | None, Part], int] = defaultdict(int)
        for entry in self.entries:
            for layer in entry.layers or (None,):
                sums[entry.component, layer, entry.part] += entry.each
        return dict(sums)

    def by_layer(self) -> dict[tuple[Component, int | None], int]:
        """Return sums by component and layer, layers in order."""
        sums: dict[tuple[Component, int | None], int] = defaultdict(int)
        for (component, layer, _), amount in self.by_part().items():
            sums[component, layer] += amount
        order = {component: place for place, component in enumerate(COMPONENTS)}
        outside = -1  # a component's patch embedding, connector or head comes before its layers
        return dict(
            sorted(sums.items(), key=lambda item: (order[item[0][0]], _place(item[0][1], outside)))
        )

    def joined(self, other: "Bill") -> "Bill":
        """Return one bill over the entries of both, which have the same unit."""
        assert self.unit == other.unit, "bills of different units do not add up"
        return Bill(self.unit, self.entries + other.entries)


def _place(layer: int | None, outside: int) -> int:
    return outside if layer is None else layer


def exact_bill(operators: Iterable[Operator]) -> Bill:
    """Price operators under `exact`: 2 FLOP per MAC.

    >>> from vlm_tokencost.costmodel import Linear
    >>> head = Linear("head", (), "head", "lm_head", tokens=1, in_features=4096, out_features=32064)
    >>> exact_bill([head, head]).total
    525336576
    """
    entries = []
    for operator in operators:
        component, layers, part, name = operator[:4]
        form = operator.formula
        values = dict(zip(form.symbols, operator.terms, strict=True))
        formula = f"{formulas.FLOPS_PER_MAC} · {form.text}"
        each = formulas.FLOPS_PER_MAC * operator.macs
        entries.append(Entry(component, layers, part, name, formula, values, each))
    return Bill(UNITS["exact"], tuple(entries))


def published_obstacle(model: Model) -> str | None:
    """Return why the published formulas have no meaning for a model; None where they have one."""
    decoder = model.decoder
    if decoder.encoder_layers:
        return "the formula has no term for an encoder–decoder LLM"
    if decoder.crosses:
        return "the formula has no term for cross-attention layers"
    if any(block.attention and block.attention.kind == "latent" for block in decoder.blocks):
        return "the formula has no term for latent attention"
    return None


def published_bill(convention: Literal["survey", "gated"], model: Model, plan: TokenPlan) -> Bill:
    """Price a prefill by a published formula: decoder layers alone, in MACs.

    f(n) = 4nd² + 2n²d + 2ndm (`survey`) or + 3ndm (`gated`), with d the hidden size and m the
    FFN's intermediate size, whatever the model's head counts are; × batch. In layers of experts
    m is (top_k + shared) · expert width. Where a layer updates q tokens, exposes k, scores p pairs
    and feeds f to its FFN, the terms are 2(q + k)d², 2pd and 2fdm or 3fdm, which is the same
    formula at q = k = f = n and p = n².

    Raises:
        UnknownName: A convention that is no published one.
        InvalidInput: A model for which the formula has no meaning.

    >>> from vlm_tokencost.presets import load_model
    >>> model = load_model("llava-1.5-7b")
    >>> from vlm_tokencost.costmodel import Schedule, Workload, plan
    >>> tokens = plan(model, Workload(), Schedule.keep(0.5, layer=2))
    >>> published_bill("survey", model, tokens).total
    1899432509440
    """
    decoder, d = model.decoder, model.decoder.hidden_size
    if convention not in _FFN_TERMS:  # "exact" would get the gated amounts as FLOPs
        raise UnknownName("convention", convention, tuple(_FFN_TERMS), "tokencost ratio --help")
    obstacle = published_obstacle(model)
    if obstacle:
        problem = f"has no figure for {model.id}: {obstacle}"
        raise InvalidInput("convention", convention, problem, "use the exact convention")
    ffn = _FFN_TERMS[convention]
    widths = [block.feed_forward.active_intermediate_size for block in decoder.blocks]
    entries = []
    counts = zip(plan.query, plan.key, plan.ffn, plan.pairs, widths, strict=True)
    for layers, (n, k, f, pairs, m) in alike(counts):
        projections: tuple[Any, ...] = (formulas.projection_term, n, d)
        scores: tuple[Any, ...] = (formulas.score_term, n, d)
        if not (n == k == f and pairs == n * n):
            projections = (formulas.parted_projection_term, n, k, d)
            scores = (formulas.pair_term, pairs, d)
        terms: tuple[tuple[Part, tuple[Any, ...]], ...] = (
            ("attention projections", projections),
            ("attention scores", scores),
            ("feed-forward", (ffn, f, d, m)),
        )
        for part, (term, *operands) in terms:
            values = {"batch": plan.batch, **dict(zip(term.symbols, operands, strict=True))}
            formula = term.text if plan.batch == 1 else f"batch · {term.text}"
            each = plan.batch * term(*operands)
            entries.append(Entry("decoder", layers, part, part, formula, values, each))
    return Bill(UNITS[convention], tuple(entries))
