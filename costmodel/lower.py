"""TokenPlan → Operators: what transformers executes for the plan, operator by operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from . import formulas
from .architecture.blocks import Place, Tokens
from .architecture.model import Model
from .connectors.base import Flow
from .errors import InvalidInput
from .operators import Linear, Operator
from .plan import TokenPlan, alike
from .schedule import Schedule
from .workload import Counting

_DEFAULT = Counting()


def lower(
    model: Model, plan: TokenPlan, counting: Counting, schedule: Schedule | None = None
) -> tuple[Operator, ...]:
    """List the operators of a prefill: encoder, connector, decoder, head; batch included.

    With a schedule that names a selection rule, also what the rule computes.
    """
    selection: tuple[Operator, ...] = ()
    if schedule is not None and schedule.selection is not None:
        from .selection import selection_operators  # few schedules name a rule

        selection = selection_operators(model, plan, schedule, counting)
    return (
        *lower_vision(model, plan, counting),
        *model.connector.operators(connector_flow(model, plan)),
        *_decoder(model, plan, counting),
        _head(model, plan.batch * _head_positions(plan, counting)),
        *selection,
    )


def lower_decode(
    model: Model, plan: TokenPlan, first: int = 1, last: int = 1, counting: Counting = _DEFAULT
) -> tuple[Operator, ...]:
    """List the operators of decode forwards `first` to `last`, summed over them.

    Forward i reads the kept prefill tokens and the i tokens generated so far, its own included:
    kv_read_l + i keys in layer l, no more than its window where it has one. Its head prices one
    position.

    Raises:
        InvalidInput: Forwards that do not exist: `first` below 1, or `last` before `first`.
    """
    if not 1 <= first <= last:
        raise InvalidInput(
            "last", last, f"makes no range with first {first}", "give 1 <= first <= last"
        )
    steps, batch, decoder = last - first + 1, plan.batch, model.decoder
    tokens = batch * steps
    operators: list[Operator] = []
    blocks = decoder.blocks
    shapes = [id(block) for block in blocks]
    for layers, (_, layout, kept, cross) in alike(
        zip(shapes, plan.layout, plan.kv_read, plan.cross, strict=True)
    ):
        if not layout.generates:
            continue
        if layout.window is None:
            pairs = batch * formulas.decode_pairs(kept, first, last, steps)
        else:
            # The last forward that still finds room in the window, or the one before the first.
            growing = min(max(layout.window - kept, first - 1), last)
            pairs = batch * formulas.window_decode_pairs(
                kept, first, growing, growing - first + 1, last - growing, layout.window
            )
        read = tokens * cross
        counts = Tokens(
            query=tokens,
            key=tokens,
            ffn=tokens,
            keys_read=pairs,
            pairs=pairs,
            cross_projected=0 if layout.cross_cached else read,
            cross_keys=read,
            cross_pairs=read,
        )
        place = Place("decoder", layers, counting.execution)
        block = blocks[layers[0]]
        operators += block.operators(place, decoder.hidden_size, counts, decoder.adapter)
    return (*operators, _head(model, tokens))


def lower_vision(model: Model, plan: TokenPlan, counting: Counting) -> Iterator[Operator]:
    """Yield the encoders' operators; with "contributing", without the layers that are not read.

    The layers of a second encoder are numbered behind those of the first.
    """
    seen, first = plan.visual_input, 0
    for index, tower in enumerate(model.towers):
        contributing = counting.encoder_layers == "contributing"
        layers = tower.contributing_layers if contributing else tower.num_hidden_layers
        place = Place("vision", (), counting.execution)
        if tower.kind != "transformer":
            crops = seen.second_crops if index and seen.second_crops else seen.crops
            own: Any = tower  # a convolutional tower lowers itself
            yield from own.lowered(Counter(crops), plan.batch, place, layers, first)
        else:
            yield from tower.embedding(place, plan.batch * plan.tower_positions[index])
            window = slice(first, first + layers)
            counts = (plan.encoder_tokens, plan.encoder_ffn, plan.encoder_pairs)
            per_layer = zip(
                [id(block) for block in tower.blocks[:layers]],
                *(count[window] for count in counts),
                strict=True,
            )
            for same, (_, count, ffn, pairs) in alike(per_layer):
                tokens = plan.batch * count
                here = place._replace(layers=tuple(first + layer for layer in same))
                yield from tower.layer_operators(
                    same[0],
                    here,
                    Tokens(
                        query=tokens,
                        key=tokens,
                        ffn=plan.batch * ffn,
                        keys_read=tokens,
                        pairs=plan.batch * pairs,
                    ),
                )
            if not contributing:
                queries = plan.batch * len(seen.crops)
                patches = plan.batch * plan.tower_positions[index]
                yield from tower.pooling_operators(place, queries, patches)
        first += tower.num_hidden_layers


def connector_flow(model: Model, plan: TokenPlan) -> Flow:
    """Return the tokens that reach the connector, batch included."""
    return Flow(
        grids=dict(plan.connector_grids),
        batch=plan.batch,
        arranged=plan.visual_input.visual_tokens,
        text_tokens=plan.text_tokens,
    )


def _decoder(model: Model, plan: TokenPlan, counting: Counting) -> Iterator[Operator]:
    batch, decoder = plan.batch, model.decoder
    blocks = decoder.blocks
    shapes = [id(block) for block in blocks]
    for layers, (_, layout, visual, query, key, ffn, cross) in alike(
        zip(
            shapes,
            plan.layout,
            plan.visual,
            plan.query,
            plan.key,
            plan.ffn,
            plan.cross,
            strict=True,
        )
    ):
        pairs = query * key
        if counting.causal and layout.generates:
            pairs = _causal_pairs(model, plan, query, visual * layout.in_sequence, layout.window)
        counts = Tokens(
            query=batch * query,
            key=batch * key,
            ffn=batch * ffn,
            keys_read=batch * key,
            pairs=batch * pairs,
            cross_projected=batch * cross,
            cross_keys=batch * cross,
            cross_pairs=batch * query * cross,
        )
        place = Place("decoder", layers, counting.execution)
        block = blocks[layers[0]]
        yield from block.operators(place, decoder.hidden_size, counts, decoder.adapter)


def _causal_pairs(
    model: Model, plan: TokenPlan, query: int, visual: int, window: int | None
) -> int:
    """Return the pairs of self-attention that a mask leaves among the tokens of a layer."""
    bidirectional = model.decoder.bidirectional
    if bidirectional == "prefix":
        return query * query
    reach = query if window is None else window
    pairs: int = formulas.window_pairs(query, max(query - reach, 0))
    if bidirectional == "images":
        blocks = len(plan.visual_input.crops)
        # Survivors lie in the images as evenly as whole numbers allow.
        each, more = divmod(visual, blocks)
        pairs += more * formulas.block_pairs(each + 1, max(each + 1 - reach, 0))
        pairs += (blocks - more) * formulas.block_pairs(each, max(each - reach, 0))
    return pairs


def _head_positions(plan: TokenPlan, counting: Counting) -> int:
    left = plan.query[-1]
    return left if counting.logits == "all" else min(left, 1)


def _head(model: Model, positions: int) -> Linear:
    return Linear(
        component="head",
        layers=(),
        part="head",
        name="language-model head",
        tokens=positions,
        in_features=model.decoder.hidden_size,
        out_features=model.decoder.vocab_size,
    )
