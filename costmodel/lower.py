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
from .schedule import Schedule
from .tokenplan import Layout, TokenPlan, alike, decode_reads
from .workload import Counting

_DEFAULT = Counting()


def lower(
    model: Model, plan: TokenPlan, counting: Counting, schedule: Schedule | None = None
) -> tuple[Operator, ...]:
    """List the operators of a prefill: encoder, connector, decoder, head; batch included.

    With a schedule that names a selection rule, also what the rule computes.

    >>> from vlm_tokencost.presets import load_model
    >>> model = load_model("llava-1.5-7b")
    >>> from vlm_tokencost.costmodel import Workload, exact_bill, plan
    >>> exact_bill(lower(model, plan(model, Workload()), Counting())).total
    8910375321600
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

    >>> from vlm_tokencost.presets import load_model
    >>> model = load_model("llava-1.5-7b")
    >>> from vlm_tokencost.costmodel import Workload, exact_bill, plan
    >>> exact_bill(lower_decode(model, plan(model, Workload()))).total
    13550747648
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
    reads = [
        decode_reads(plan, layer, first, last) if layout.generates else (0, 0)
        for layer, layout in enumerate(plan.layout)
    ]
    for layers, (_, layout, (pairs, visual), cross) in alike(
        zip(shapes, plan.layout, reads, plan.cross, strict=True)
    ):
        if not layout.generates:
            continue
        pairs, visual = batch * pairs, batch * visual
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
        lowered = block.operators(place, decoder.hidden_size, counts, decoder.adapter)
        if plan.channels is not None:
            from .narrowing import narrow_cache  # few schedules reduce channels

            lowered = narrow_cache(lowered, visual, plan.channels)
        operators += lowered
    if plan.cache is not None:
        from .narrowing import rescans

        operators += rescans(model, plan, first, last)
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
        second = bool(index and seen.second_crops)
        crops = seen.second_crops if second else seen.crops
        if not tower.patchwise:
            own: Any = tower  # a convolutional tower lowers itself
            yield from own.lowered(Counter(crops), plan.batch, place, layers, first)
        else:
            yield from tower.embedding(place, plan.batch * plan.tower_positions[index])
            window = slice(first, first + layers)
            counts = (plan.encoder_tokens, plan.encoder_ffn, plan.encoder_pairs)
            blocks, adapters = tower.blocks, tower.crop_adapters
            per_layer = zip(
                [id(block) for block in blocks[:layers]],
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
                if adapters is not None:
                    images = (1,) * len(crops) if second else seen.crops_per_image
                    sizes = [rows * columns + tower.extra_tokens for rows, columns in crops]
                    adapted = [plan.batch * adapters.tokens(n, sizes, images) for n in (count, ffn)]
                    block, hidden = blocks[same[0]], tower.hidden_size
                    yield from adapters.operators(block, here, hidden, *adapted)
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
        arranged=plan.arranged_tokens,
        text_tokens=plan.text_tokens,
    )


def _decoder(model: Model, plan: TokenPlan, counting: Counting) -> Iterator[Operator]:
    batch, decoder = plan.batch, model.decoder
    blocks = decoder.blocks
    shapes = [id(block) for block in blocks]
    for layers, (_, layout, visual, query, key, ffn, attended, pairs, cross) in alike(
        zip(
            shapes,
            plan.layout,
            plan.visual,
            plan.query,
            plan.key,
            plan.ffn,
            plan.attended,
            plan.pairs,
            plan.cross,
            strict=True,
        )
    ):
        if counting.causal and layout.generates:
            if plan.uniform:
                inside = visual * layout.in_sequence
                pairs = _causal_pairs(model, plan, query, inside, layout.window)
            else:
                if attended != key:
                    problem = "does not go with `stream`, whose new tokens are the window's last"
                    raise InvalidInput("causal", None, problem, "leave it out")
                pairs = causal_subset_pairs(model, plan, layout, query, attended, pairs)
        counts = Tokens(
            query=batch * query,
            key=batch * key,
            ffn=batch * ffn,
            keys_read=batch * attended,
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


def causal_subset_pairs(
    model: Model, plan: TokenPlan, layout: Layout, query: int, attended: int, pairs: int
) -> int:
    """Return the causal pairs of a layer that updates or scores a part of the visual tokens.

    Visual tokens come before the others, and those that are updated lie evenly among the keys:
    ⌊a·q·(k + 1)/2⌋ + t·k + t·(t + 1)/2, the share a being that of all pairs.

    Raises:
        InvalidInput: Sliding windows or blocks that attend both ways, for which it is not known.
    """
    if layout.window is not None or model.decoder.bidirectional is not None:
        problem = f"does not go with this schedule, whose layers {model.id} masks otherwise"
        raise InvalidInput("causal", None, problem, "leave it out")
    others = plan.structural_tokens + plan.text_tokens
    updated, keys = query - others, attended - others
    if updated > 0 and keys > 0:
        scored = pairs - query * attended + updated * keys
        visual = scored * (keys + 1) // (2 * keys)
    else:
        visual = 0
    return visual + others * keys + others * (others + 1) // 2


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
