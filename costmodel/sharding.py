"""A model on several devices: tensor parallelism inside layers, pipeline stages of layers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from .architecture.decoder import Decoder
from .architecture.model import Model
from .errors import InvalidInput
from .numeric import whole
from .tokenplan import TokenPlan

#: Bytes of an activation.
ENTRY = 2
#: More devices than any one model is served on.
MOST_DEVICES = 4096


class PipelineStage(NamedTuple):
    """A pipeline stage.

    Attributes:
        layers: Decoder layers that it holds.
        first: Whether it holds encoder, connector and embedding.
        last: Whether it holds final norm and head.
    """

    layers: range
    first: bool
    last: bool


class Sharding(NamedTuple):
    """How many devices hold a model, and how.

    Attributes:
        tp: Devices that share every decoder layer: attention heads and FFN columns, rows of
            embedding and head; each key/value head on several where there are fewer of them.
        pp: Pipeline stages, of tp devices each.
        encoder: Whether encoder layers are shared too; by default every device of the first stage
            holds all of them. The connector is never shared.

    Source: Megatron-LM (arXiv 1909.08053, section 3; arXiv 2104.04473 for stages); vLLM replicates
    key/value heads and pads vocabularies in the same way.
    """

    tp: int = 1
    pp: int = 1
    encoder: bool = False

    @property
    def devices(self) -> int:
        """How many devices there are."""
        return self.tp * self.pp


def stages(model: Model, sharding: Sharding) -> tuple[PipelineStage, ...]:
    """Return the pipeline stages: layers in equal numbers, what is left over before the last.

    The last stage holds the head as well, so it is the last to get one more.

    Raises:
        InvalidInput: More stages than layers, or an LLM with an encoder of its own.
    """
    layers, pp = model.decoder.num_hidden_layers, sharding.pp
    if pp > layers:
        problem = f"is more than the {layers} decoder layers"
        raise InvalidInput("pp", pp, problem, f"give at most {layers}")
    if pp > 1 and model.decoder.encoder_layers:
        problem = f"does not go with {model.id}, whose LLM has an encoder of its own"
        raise InvalidInput("pp", pp, problem, "leave it out")
    each, more = divmod(layers, pp)
    sizes = [each + (more > 0 and pp - 1 - more <= place < pp - 1) for place in range(pp)]
    starts = [sum(sizes[:place]) for place in range(pp)]
    return tuple(
        PipelineStage(range(start, start + size), first=place == 0, last=place == pp - 1)
        for place, (start, size) in enumerate(zip(starts, sizes, strict=True))
    )


def shard(model: Model, sharding: Sharding) -> Model:
    """Return what one of `tp` devices holds of a model, as a model of narrower layers.

    h/tp query heads, max(1, h_kv/tp) key/value heads, m/tp FFN columns in each expert,
    ⌈vocabulary/tp⌉ rows; norms, routers, latents and adapters are whole on every device.

    Raises:
        InvalidInput: A `tp` that does not divide heads or FFN columns.
    """
    tp = whole(sharding.tp, "tp", minimum=1, maximum=MOST_DEVICES)
    whole(sharding.pp, "pp", minimum=1, maximum=MOST_DEVICES)
    if sharding.encoder and tp == 1:
        problem = "has no devices to share the encoder among"
        raise InvalidInput("shard_encoder", None, problem, "give tp of 2 or more, or leave it out")
    if tp == 1:
        return model
    changed: dict[str, Any] = {"decoder": _shard_decoder(model.decoder, tp)}
    if sharding.encoder:
        for name in ("vision", "second_vision"):
            tower: Any = getattr(model, name)
            if tower is not None:
                if not tower.patchwise:
                    problem = f"cannot split {tower.name}, which is convolutional"
                    raise InvalidInput("shard_encoder", None, problem, "leave it out")
                changed[name] = _narrower(tower, tp, tower.name)
    return model.model_copy(update=changed)


def _shard_decoder(decoder: Decoder, tp: int) -> Decoder:
    rows = decoder.embedding_rows
    stack: Decoder = _narrower(decoder, tp, "the LLM")
    return stack.model_copy(
        update={
            "vocab_size": -(-decoder.vocab_size // tp),
            "embedding_rows": None if rows is None else -(-rows // tp),
        }
    )


def _narrower(stack: Any, tp: int, name: str) -> Any:
    """Return a stack with fewer heads and FFN columns in every layer."""
    parts = ("attention", "cross_attention", "cross_feed_forward", "feed_forward")
    variants = tuple(
        variant.model_copy(update={part: _part(getattr(variant, part), tp, name) for part in parts})
        for variant in stack.variants
    )
    own = {part: _part(getattr(stack, part), tp, name) for part in ("attention", "feed_forward")}
    return stack.model_copy(update={**own, "variants": variants})


def _part(part: Any, tp: int, name: str) -> Any:
    """Return an attention or a feed-forward network as one device has it."""
    if part is None:
        return None
    fields, changed = type(part).model_fields, {}
    if "num_attention_heads" in fields:
        heads, keys = part.num_attention_heads, part.num_key_value_heads
        if heads % tp:
            raise _undivided(tp, heads, f"attention heads of {name}")
        if keys % tp and tp % keys:
            raise _undivided(tp, keys, f"key/value heads of {name}, nor is divided by them")
        changed = {"num_attention_heads": heads // tp, "num_key_value_heads": max(1, keys // tp)}
    for width in ("intermediate_size", "shared_intermediate_size"):
        if width in fields:
            columns = getattr(part, width)
            if columns % tp:
                raise _undivided(tp, columns, f"FFN columns of {name}")
            changed[width] = columns // tp
    return part.model_copy(update=changed)


def _undivided(tp: int, count: int, what: str) -> InvalidInput:
    problem = f"does not divide the {count:,} {what}"
    return InvalidInput("tp", tp, problem, "give a divisor, such as " + _divisors(count))


def _divisors(count: int) -> str:
    small = [str(one) for one in range(1, 17) if count % one == 0]
    return " or ".join(small[-2:]) if len(small) > 1 else "1"


class Communication(NamedTuple):
    """Bytes that one device sends in a forward.

    Attributes:
        tensor: In all-reduces among the devices of a stage: that of the stage that sends most.
        pipeline: Hidden states that a stage hands to the next, all its devices together: the most
            that any does.
        all_reduces: How many all-reduces that stage waits for in a forward.
        stage: Which stage sends most, counted from 0.
    """

    tensor: int
    pipeline: int
    all_reduces: int
    stage: int = 0


def communication(
    model: Model, plan: TokenPlan, sharding: Sharding, *, decode: bool = False
) -> Communication:
    """Return what a forward communicates.

    An all-reduce of the hidden states, n·d values, follows attention, cross-attention and FFN of
    every layer and the embedding; in a ring, each device sends 2·(tp − 1)/tp of them. The last
    stage gathers b·V logits, of which each device sends (tp − 1)/tp. Stages hand on n·d values.
    With shared encoder layers, two all-reduces each. 16 bits a value.

    Source: Megatron-LM (arXiv 1909.08053), section 3; ring all-reduce.
    """
    decoder, batch, tp = model.decoder, plan.batch, sharding.tp
    hidden, blocks = decoder.hidden_size, decoder.blocks
    ring = Fraction(2 * (tp - 1), tp)
    sent: list[tuple[Fraction, int]] = []
    handed = 0
    for stage in stages(model, sharding):
        values, reduces = 0, 0
        if stage.first:
            values, reduces = batch * (1 if decode else plan.query[0]) * hidden, 1
        for layer in stage.layers:
            if decode and not plan.layout[layer].generates:
                continue
            block = blocks[layer]
            attends = (block.attention is not None) + (block.cross_attention is not None)
            query, ffn = (1, 1) if decode else (plan.query[layer], plan.ffn[layer])
            crossed = block.cross_feed_forward is not None
            values += batch * hidden * (query * (attends + crossed) + ffn)
            reduces += attends + crossed + 1
        if stage.first and sharding.encoder and not decode:
            more, count = _encoder_values(model, plan)
            values, reduces = values + more, reduces + count
        own = ring * values * ENTRY
        if stage.last:
            own += Fraction(tp - 1, tp) * batch * decoder.vocab_size * ENTRY
        sent.append((own, reduces))
        if not stage.last:
            tokens = 1 if decode else plan.query[stage.layers[-1] + 1]
            handed = max(handed, batch * tokens * hidden * ENTRY)
    # Bytes and count of one stage: the first of those that send most.
    most = max(range(len(sent)), key=lambda place: sent[place][0])
    amount, reduces = sent[most]
    return Communication(round(amount), handed, reduces if tp > 1 else 0, most)


def _encoder_values(model: Model, plan: TokenPlan) -> tuple[int, int]:
    """Return the values and number of all-reduces of shared encoder layers."""
    values, layer, reduces = 0, 0, 0
    for tower in model.towers:
        for _ in range(tower.num_hidden_layers):
            tokens = plan.encoder_tokens[layer] + plan.encoder_ffn[layer]
            values += plan.batch * tokens * tower.hidden_size
            layer, reduces = layer + 1, reduces + 2
    return values, reduces
