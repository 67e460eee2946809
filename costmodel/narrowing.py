"""What `channels` and `cache` change in decode forwards, and narrower models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from .architecture.model import Model
from .errors import InvalidInput
from .operators import Attention, Operator
from .primitives.widths import Channels
from .tokenplan import TokenPlan

#: How the operators that choose tokens anew in decode forwards are called.
RESCAN = "rescan of stored keys"


def narrow_cache(
    operators: Iterable[Operator], visual: int, channels: Channels
) -> Iterator[Operator]:
    """Yield operators whose visual keys and values have fewer channels.

    Scores and values over p_v visual and p_t other keys take
    h·(p_v·(⌊c_K·d_qk⌋ + ⌊c_V·d_v⌋) + p_t·(d_qk + d_v)) MACs.
    """
    for operator in operators:
        scores = isinstance(operator, Attention) and operator.name == "scores and values"
        if not scores or not visual:
            yield operator
            continue
        assert isinstance(operator, Attention)
        yield operator._replace(keys=operator.keys - visual, pairs=operator.pairs - visual)
        yield operator._replace(
            name="scores and values of narrow visual keys",
            keys=visual,
            pairs=visual,
            query_key_size=int(channels.key * operator.query_key_size),
            value_size=int(channels.value * operator.value_size),
        )


def rescans(model: Model, plan: TokenPlan, first: int, last: int) -> Iterator[Operator]:
    """Yield what choosing the visual tokens anew scores in decode forwards.

    Of the forwards 1 to i, ⌈ρ·i⌉ score the visual tokens that are stored and not read:
    h·⌊c_K·d_qk⌋ MACs for each.
    """
    from .primitives.cache import choosing_forwards  # few schedules have one

    share = Fraction(1) if plan.channels is None else plan.channels.key
    times = choosing_forwards(plan.cache.rescan, first, last)
    for layer, (stored, read) in enumerate(zip(plan.visual_stored, plan.visual_read, strict=True)):
        attention = model.decoder.blocks[layer].attention
        more = plan.batch * times * (stored - read)
        if more and attention is not None:
            yield Attention(
                component="selection",
                layers=(),
                part="selection",
                name=f"{RESCAN} in layer {layer}",
                queries=plan.batch * times,
                keys=more,
                pairs=more,
                heads=attention.num_attention_heads,
                query_key_size=int(share * attention.head_dim),
                value_size=0,
            )


def narrowed(model: Model, channels: Channels | None) -> Model:
    """Return the model whose feed-forward networks have ⌊share · m⌋ channels.

    Raises:
        InvalidInput: Feed-forward networks of experts, or a share that leaves no channel.
    """
    if channels is None:
        return model
    updates = {}
    for part, share in (("decoder", channels.ffn), ("vision", channels.encoder_ffn)):
        stack = getattr(model, part)
        if share == 1:
            continue
        field = "channels.ffn" if part == "decoder" else "channels.encoder_ffn"
        dense = stack.patchwise if part == "vision" else True
        usual = dense and not stack.variants
        if not usual or stack.feed_forward.kind != "dense":
            problem = (
                f"does not fit the {part} of {model.id}, which is not made of equal dense FFNs"
            )
            raise InvalidInput(field, None, problem, "leave it out")
        width = int(share * stack.feed_forward.intermediate_size)
        if width < 1:
            raise InvalidInput(field, None, "leaves no channel", "give a larger share")
        narrow = stack.feed_forward.model_copy(update={"intermediate_size": width})
        updates[part] = stack.model_copy(update={"feed_forward": narrow})
    return model.model_copy(update=updates) if updates else model
