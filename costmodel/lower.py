"""TokenPlan → Operators: what transformers executes for the plan, operator by operator."""

from __future__ import annotations

from collections.abc import Iterator

from . import formulas
from .architecture import LinearStage, Merge, Model, Transformer
from .errors import InvalidInput
from .operators import Attention, Component, Convolution, Linear, Operator, Part
from .plan import TokenPlan, alike
from .schedule import Schedule
from .workload import Counting


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
        *_connector(model, plan),
        *_decoder(model, plan, counting),
        _head(model, plan.batch * _head_positions(plan, counting)),
        *selection,
    )


def lower_decode(
    model: Model, plan: TokenPlan, first: int = 1, last: int = 1
) -> tuple[Operator, ...]:
    """List the operators of decode forwards `first` to `last`, summed over them.

    Forward i reads the kept prefill tokens and the i tokens generated so far, its own included:
    kv_read_l + i keys in layer l. Its head prices one position.

    Raises:
        InvalidInput: Forwards that do not exist: `first` below 1, or `last` before `first`.
    """
    if not 1 <= first <= last:
        raise InvalidInput(
            "last", last, f"makes no range with first {first}", "give 1 <= first <= last"
        )
    steps, batch = last - first + 1, plan.batch
    tokens = batch * steps
    operators: list[Operator] = []
    for layers, (kept,) in alike(zip(plan.kv_read, strict=True)):
        pairs = batch * formulas.decode_pairs(kept, first, last, steps)
        operators += _block(model.decoder, "decoder", layers, tokens, tokens, tokens, pairs, pairs)
    return (*operators, _head(model, tokens))


def lower_vision(model: Model, plan: TokenPlan, counting: Counting) -> Iterator[Operator]:
    """Yield the encoder's operators; with "contributing", without the layers that are not read."""
    vision, patch = model.vision, model.vision.patch_embedding
    yield Convolution(
        component="vision",
        layers=(),
        part="patch embedding",
        name="patch embedding",
        positions=plan.batch * plan.encoder_positions,
        in_channels=patch.num_channels,
        out_channels=vision.hidden_size,
        kernel=patch.temporal_patch_size * patch.patch_size**2,
    )
    contributing = counting.encoder_layers == "contributing"
    layers = vision.contributing_layers if contributing else vision.num_hidden_layers
    counts = (plan.encoder_tokens, plan.encoder_ffn, plan.encoder_pairs)
    per_layer = zip(*(count[:layers] for count in counts), strict=True)
    for same, (count, ffn, pairs) in alike(per_layer):
        tokens = plan.batch * count
        yield from _block(
            vision, "vision", same, tokens, tokens, plan.batch * ffn, tokens, plan.batch * pairs
        )


def _connector(model: Model, plan: TokenPlan) -> Iterator[Operator]:
    tokens = plan.batch * plan.connector_tokens * model.connector.merge_size**2
    for index, stage in enumerate(model.connector.stages):
        if isinstance(stage, Merge):
            tokens //= stage.size**2
        elif isinstance(stage, LinearStage):
            yield Linear(
                component="connector",
                layers=(),
                part="connector",
                name=f"stage {index} linear",
                tokens=tokens,
                in_features=stage.in_features,
                out_features=stage.out_features,
            )


def _decoder(model: Model, plan: TokenPlan, counting: Counting) -> Iterator[Operator]:
    batch = plan.batch
    for layers, (query, key, ffn) in alike(zip(plan.query, plan.key, plan.ffn, strict=True)):
        pairs = batch * (formulas.causal_pairs(query) if counting.causal else query * key)
        yield from _block(
            model.decoder,
            "decoder",
            layers,
            query=batch * query,
            key=batch * key,
            ffn=batch * ffn,
            keys_read=batch * key,
            pairs=pairs,
        )


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


def _block(
    stack: Transformer,
    component: Component,
    layers: tuple[int, ...],
    query: int,
    key: int,
    ffn: int,
    keys_read: int,
    pairs: int,
) -> Iterator[Operator]:
    """Yield one block over the given token counts.

    `key` tokens are projected to keys and values; `keys_read` are what attention reads, with
    those that a cache holds.
    """
    attention, hidden = stack.attention, stack.hidden_size
    query_width = attention.num_attention_heads * attention.head_dim
    key_width = attention.num_key_value_heads * attention.head_dim

    def linear(part: Part, name: str, tokens: int, c_in: int, c_out: int) -> Linear:
        return Linear(component, layers, part, name, tokens, c_in, c_out)

    yield linear("attention projections", "query", query, hidden, query_width)
    yield linear("attention projections", "key", key, hidden, key_width)
    yield linear("attention projections", "value", key, hidden, key_width)
    yield Attention(
        component=component,
        layers=layers,
        part="attention scores",
        name="scores and values",
        queries=query,
        keys=keys_read,
        pairs=pairs,
        heads=attention.num_attention_heads,
        query_key_size=attention.head_dim,
        value_size=attention.head_dim,
    )
    yield linear("attention projections", "output", query, query_width, hidden)
    width = stack.feed_forward.intermediate_size
    if stack.feed_forward.gated:
        yield linear("feed-forward", "gate", ffn, hidden, width)
    yield linear("feed-forward", "up", ffn, hidden, width)
    yield linear("feed-forward", "down", ffn, width, hidden)
