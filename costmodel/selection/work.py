"""What a schedule's rule computes: operators, rounds, attention maps and weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..architecture.blocks import Place, Tokens
from ..architecture.model import Model
from ..errors import InvalidInput
from ..operators import Attention, Linear, Operator
from ..schedule import Schedule
from ..tokenplan import TokenPlan
from ..workload import Counting
from .described import Described, Footprint, Term
from .expressions import computed
from .released import NAMED
from .rules import named_operators

_DEFAULT = Counting()
#: Bytes of an entry of an attention map, and of an operand.
ENTRY_BYTES = 2
#: More layers than any model has.
MOST_LAYERS = 10_000


class SelectionWork(NamedTuple):
    """What choosing the tokens takes in a prefill.

    Attributes:
        operators: Its products, batch included.
        moved_bytes: Operands and results of them, each once, at 16 bits.
        launches: Rounds that wait for one another.
        attention_map_bytes: Attention maps that exist at once, at 16 bits.
        parameters: Weights that are added to the model.
    """

    operators: tuple[Operator, ...]
    moved_bytes: int
    launches: int
    attention_map_bytes: int
    parameters: int

    @property
    def flops(self) -> int:
        """2 FLOP per MAC, over all layers that an operator stands for."""
        return sum(2 * operator.macs * (len(operator.layers) or 1) for operator in self.operators)


def selection_operators(
    model: Model, plan: TokenPlan, schedule: Schedule, counting: Counting
) -> tuple[Operator, ...]:
    """List what the schedule's rule computes in a prefill; none without a rule.

    Raises:
        InvalidInput: A rule that does not fit the schedule, the model or the request.
    """
    rule = schedule.selection
    if rule is None:
        return ()
    if isinstance(rule, str):
        ideal = named_operators(model, plan, schedule, counting)  # refuses what does not fit
        if counting.selection == "ideal" or not ideal:
            return ideal
        terms = NAMED[rule]["released_terms"]
        if terms is None:
            return ideal
        rule = Described(name=rule, computes="as released", terms=terms)
    return tuple(_described(model, plan, rule, counting))


def decode_selection(
    model: Model,
    plan: TokenPlan,
    schedule: Schedule,
    first: int,
    last: int,
    counting: Counting = _DEFAULT,
) -> tuple[Operator, ...]:
    """List what a described rule computes in decode forwards `first` to `last`, summed."""
    rule = schedule.selection
    if not isinstance(rule, Described):
        return ()
    values = symbols(model, plan)
    steps = last - first + 1
    return tuple(
        operator
        for term in rule.terms
        if term.per == "step" and term.when in ("both", counting.selection)
        for operator in _operators(model, term, values, plan.batch * steps)
    )


def selection_work(
    model: Model, plan: TokenPlan, schedule: Schedule, counting: Counting = _DEFAULT
) -> SelectionWork:
    """Return all that the schedule's rule takes in a prefill; zeros without a rule.

    Raises:
        InvalidInput: A rule that does not fit the schedule, the model or the request.
    """
    rule = schedule.selection
    operators = selection_operators(model, plan, schedule, counting)
    moved = sum(moved_bytes(operator) * (len(operator.layers) or 1) for operator in operators)
    if rule is None:
        return SelectionWork((), 0, 0, 0, 0)
    if isinstance(rule, str) and not named_operators(model, plan, schedule, counting):
        return SelectionWork((), 0, 0, 0, 0)  # a reduction that removes nothing chooses nothing
    parameters = "0"
    if isinstance(rule, str):
        footprint = Footprint(**NAMED[rule][counting.selection])
    else:
        released = counting.selection == "released" and rule.released is not None
        footprint = rule.released if released and rule.released is not None else rule.ideal
        parameters = rule.parameters
    values = symbols(model, plan)
    places = [values]
    if footprint.per == "reduction":
        places = [{**values, **place} for place in reductions(plan)]
    launches = sum(computed(footprint.launches, place) for place in places)
    maps = max((computed(footprint.attention_map, place) for place in places), default=0)
    return SelectionWork(
        operators,
        moved,
        launches,
        ENTRY_BYTES * plan.batch * maps,
        computed(parameters, values),
    )


def moved_bytes(operator: Operator) -> int:
    """Return the bytes of an operator's operands and results, each once, at 16 bits.

    Linear n·c_in + c_in·c_out + n·c_out; attention (queries + keys)·h·d_qk, and (queries +
    keys)·h·d_v where values are summed.
    """
    if isinstance(operator, Linear):
        n, c_in, c_out = operator.terms
        return ENTRY_BYTES * (n * c_in + c_in * c_out + n * c_out)
    if isinstance(operator, Attention):
        width = operator.heads * (operator.query_key_size + operator.value_size)
        return ENTRY_BYTES * (operator.queries + operator.keys) * width
    n, c_in, c_out, kernel = operator.terms
    return ENTRY_BYTES * (n * (c_in + c_out) + kernel * c_in * c_out)


def symbols(model: Model, plan: TokenPlan) -> dict[str, int]:
    """Return the value of each symbol of an expression, outside a reduction in the LLM."""
    decoder, vision = model.decoder, model.vision
    values = {
        "V": plan.available_visual_tokens,
        "M": plan.entering_visual_tokens,
        "N": plan.text_tokens,
        "S": plan.structural_tokens,
        "T": decoder.num_hidden_layers,
        "d": decoder.hidden_size,
        "m": decoder.feed_forward.active_intermediate_size,
        "h": decoder.attention.num_attention_heads,
        "h_kv": getattr(
            decoder.attention, "num_key_value_heads", decoder.attention.num_attention_heads
        ),
        "d_h": decoder.attention.query_width // decoder.attention.num_attention_heads,
        "P": plan.encoder_positions,
        "crops": len(plan.visual_input.crops),
        "frames": plan.frames or len(plan.images),
        "C": plan.connector_tokens,
        "R": plan.visual_input.separator_tokens,
        "stored": sum(plan.visual_stored),
        "read": sum(plan.visual_read),
    }
    if vision.patchwise:
        last = vision.contributing_layers - 1
        values |= {
            "E": plan.encoder_tokens[last],
            "Q": plan.encoder_pairs[last],
            "d_e": vision.hidden_size,
            "m_e": vision.feed_forward.active_intermediate_size,
            "h_e": vision.attention.num_attention_heads,
            "d_he": vision.attention.head_dim,
            "L_e": vision.contributing_layers,
            "L_a": vision.num_hidden_layers,
            "c": int(vision.class_token),
        }
    return values


def reductions(plan: TokenPlan) -> Iterator[dict[str, int]]:
    """Yield the symbols of every layer that sees fewer visual tokens than the one before it.

    A layer that sees none chooses none.
    """
    before = plan.entering_visual_tokens
    for layer, after in enumerate(plan.visual):
        if 0 < after < before:
            n = before + plan.structural_tokens + plan.text_tokens
            yield {"n": n, "b": before, "a": after, "l": layer}
        before = after


def _described(
    model: Model, plan: TokenPlan, rule: Described, counting: Counting
) -> Iterator[Operator]:
    values = symbols(model, plan)
    for term in rule.terms:
        _refuse_misfit(model, plan, rule, term)
        if term.when not in ("both", counting.selection):
            continue
        if term.per == "prefill":
            yield from _operators(model, term, values, plan.batch)
        elif term.per == "reduction":
            for place in reductions(plan):
                yield from _operators(model, term, {**values, **place}, plan.batch)


def _refuse_misfit(model: Model, plan: TokenPlan, rule: Described, term: Term) -> None:
    """Refuse rows of attention inside the LLM where there is nothing that they could be of.

    Raises:
        InvalidInput: Text tokens rank and there are none, or images are not in the sequence.
    """
    if not any(reductions(plan)):
        return
    if term.kind == "linear" and term.out_features == "N" and not plan.text_tokens:
        problem = "rates visual tokens by text tokens, of which there are none"
        raise InvalidInput("selection", rule.name, problem, "give at least 1 text token")
    if term.kind != "scores" or term.per != "reduction":
        return
    if not all(layer.in_sequence for layer in plan.layout):
        problem = f"ranks tokens of the LLM's own sequence, which {model.id} keeps images out of"
        if model.decoder.encoder_layers:
            problem = f"ranks by query rows of the decoder, which {model.id}'s encoder lacks"
        raise InvalidInput("selection", rule.name, problem, "choose another rule, or leave it out")


def _operators(model: Model, term: Term, values: dict[str, int], batch: int) -> Iterator[Operator]:
    """Yield the products of a term; `batch` counts equal sequences, or decode forwards too."""

    def operand(name: str) -> int:
        return computed(getattr(term, name), values, f"selection.terms.{name}")

    times = batch * operand("times")
    label = f"{term.name} for layer {values['l']}" if "l" in values else term.name
    if term.kind == "linear":
        n, c_in, c_out = (operand(name) for name in ("tokens", "in_features", "out_features"))
        if times * n * c_in * c_out:
            yield Linear("selection", (), "selection", label, times * n, c_in, c_out)
    elif term.kind == "scores":
        q, k, heads, size = (operand(name) for name in ("queries", "keys", "heads", "size"))
        if times * q * k * heads * size:
            yield _attention(label, times * q, times * k, times * q * k, heads, size, 0)
    else:
        tokens, sequences = operand("tokens"), max(operand("sequences"), 1)
        count = operand("layers")
        if count > MOST_LAYERS:
            problem = "comes to more layers than any model has"
            raise InvalidInput("selection.terms.layers", count, problem, "correct the expression")
        layers = tuple(range(count))
        pairs = tokens * tokens // sequences
        if times * tokens and layers:
            whole, scored = times * tokens, times * pairs
            if term.kind == "layers":
                yield from _model_layers(model, label, whole, scored, layers)
            else:
                hidden = operand("hidden_size")
                inner = (3 if term.gated else 2) * operand("intermediate_size")
                yield from _other_layers(label, whole, scored, layers, hidden, inner)


def _model_layers(
    model: Model, label: str, tokens: int, pairs: int, layers: tuple[int, ...]
) -> Iterator[Operator]:
    """Yield the products of the model's own decoder layers."""
    counts = Tokens(query=tokens, key=tokens, ffn=tokens, keys_read=tokens, pairs=pairs)
    decoder, place = model.decoder, Place("selection", layers)
    for operator in decoder.usual_block.operators(place, decoder.hidden_size, counts, None):
        yield operator._replace(part="selection", name=f"{label}: {operator.name}")


def _other_layers(
    label: str, tokens: int, pairs: int, layers: tuple[int, ...], hidden: int, inner: int
) -> Iterator[Operator]:
    """Yield the products of another model's layers; `inner` is the width of all FFN matrices."""
    place = Place("selection", layers)
    yield place.linear("selection", f"{label}: projections", tokens, hidden, 4 * hidden)
    attention = _attention(f"{label}: attention", tokens, tokens, pairs, 1, hidden, hidden)
    yield attention._replace(layers=layers)
    yield place.linear("selection", f"{label}: feed-forward", tokens, hidden, inner)


def _attention(
    name: str, queries: int, keys: int, pairs: int, heads: int, size: int, value_size: int
) -> Attention:
    return Attention(
        "selection", (), "selection", name, queries, keys, pairs, heads, size, value_size
    )
