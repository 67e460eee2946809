"""Bytes: what a plan leaves in the KV cache, and what decode forwards read of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

from . import formulas
from .architecture.blocks import Execution
from .architecture.decoder import Decoder
from .architecture.model import Model
from .numeric import whole
from .tokenplan import TokenPlan, decode_reads

_USUAL = Execution()
#: Bytes of every layer; of a mixture, expectations.
_Bytes = list[Fraction]


def kv_bytes_per_token(decoder: Decoder, bits: int = 16, execution: Execution = _USUAL) -> int:
    """Return the bytes that one token of the sequence adds to the KV cache over all layers.

    Σ over the layers with self-attention of ⌈2 · h_kv · d_h · bits / 8⌉; latent attention caches
    other widths, and a layer with a sliding window stops growing at its size.

    >>> from vlm_tokencost.presets import load_model
    >>> kv_bytes_per_token(load_model("llava-1.5-7b").decoder) == 32 * 2 * 32 * 128 * 2
    True
    """
    layers = range(decoder.encoder_layers, decoder.num_hidden_layers)
    return sum(_token_bytes(decoder, layer, bits, execution) for layer in layers)


def kv_cache_bytes(
    model: Model,
    plan: TokenPlan,
    bits: int | None = None,
    execution: Execution = _USUAL,
) -> int:
    """Return the KV cache after the prefill, over all layers and the whole batch.

    Keys and values of cross-attention, where a layer has it, are in the sum. `bits` are those of
    the schedule by default, or 16. Channels that a schedule drops of visual keys and values are
    not stored: h_kv·(⌊c_K·d_h⌋ + ⌊c_V·d_h⌋) values for each visual token and layer. Of a mixture,
    the expectation, rounded to the nearest byte.

    >>> from vlm_tokencost.presets import load_model
    >>> model = load_model("llava-1.5-7b")
    >>> from vlm_tokencost.costmodel import Workload, plan
    >>> kv_cache_bytes(model, plan(model, Workload(text_tokens=64))) == 640 * 524_288
    True
    """
    return round(sum(stored_bytes_per_layer(model, plan, bits, execution)))


def kv_read_bytes(
    model: Model,
    plan: TokenPlan,
    bits: int | None = None,
    execution: Execution = _USUAL,
) -> int:
    """Return the bytes of the prefill's keys and values that the first decode forward reads."""
    return round(sum(read_bytes_per_layer(model, plan, bits, execution)))


def stored_bytes_per_layer(
    model: Model,
    plan: TokenPlan,
    bits: int | None = None,
    execution: Execution = _USUAL,
) -> _Bytes:
    """Return what the prefill leaves in each layer's cache, over the whole batch."""

    def measure(way: TokenPlan) -> Iterator[int]:
        return _kept(model, way, way.kv_stored, way.visual_stored, bits, execution)

    return _expected(plan, measure)


def read_bytes_per_layer(
    model: Model,
    plan: TokenPlan,
    bits: int | None = None,
    execution: Execution = _USUAL,
) -> _Bytes:
    """Return what the first decode forward reads of each layer's cache, over the whole batch."""

    def measure(way: TokenPlan) -> Iterator[int]:
        return _kept(model, way, way.kv_read, way.visual_read, bits, execution)

    return _expected(plan, measure)


def decode_read_bytes(
    model: Model,
    plan: TokenPlan,
    first: int = 1,
    last: int = 1,
    bits: int | None = None,
    execution: Execution = _USUAL,
) -> int:
    """Return the bytes of keys and values that decode forwards `first` to `last` read.

    Forward i hands attention the kept prefill tokens and the i tokens generated so far, its own
    included, no more than a layer's window: with b bytes for each token of layer l and b_v for a
    visual one, whose channels may be fewer,

        batch · Σ_l Σ_i ((keys_l,i − visual_l,i) · b + visual_l,i · b_v + cross_l · b_cross)

    The keys are those whose pairs the FLOPs count. A `cache` may keep fewer generated tokens and
    stop reading visual ones. Of the first i forwards, ⌈ρ · i⌉ choose anew: they score the keys,
    without values, of visual tokens that are stored and not read. Of a mixture, the expectation,
    rounded to the nearest byte. What a selection rule reads besides is not in it.

    Raises:
        InvalidInput: Forwards that do not exist.
    """
    first = whole(first, "first", minimum=1)
    last = whole(last, "last", minimum=first)

    def measure(way: TokenPlan) -> Iterator[int]:
        return _decoded(model, way, first, last, bits, execution)

    return round(sum(_expected(plan, measure)))


def generation_read_bytes(
    model: Model,
    plan: TokenPlan,
    new_tokens: int,
    bits: int | None = None,
    execution: Execution = _USUAL,
) -> int:
    """Return the bytes of keys and values that the decode forwards of `new_tokens` read.

    They are new_tokens − 1, because the prefill gives the first token; see `decode_read_bytes`.
    """
    forwards = whole(new_tokens, "new_tokens", minimum=1) - 1
    if not forwards:
        return 0
    return decode_read_bytes(model, plan, 1, forwards, bits, execution)


def cache_bits(plan: TokenPlan) -> int:
    """Return the bits of a cached value."""
    return 16 if plan.bits is None else int(plan.bits.kv)


def _expected(plan: TokenPlan, measure: Callable[[TokenPlan], Iterator[int]]) -> _Bytes:
    """Return a measure of every layer, or its expectation over the ways of a mixture."""
    if not plan.branches:
        return list(map(Fraction, measure(plan)))
    sums = [Fraction(0)] * len(plan.layout)
    for share, way in plan.branches:
        if way is not None:
            own = measure(way)
            sums = [total + share * amount for total, amount in zip(sums, own, strict=True)]
    return sums


class _Rates(NamedTuple):
    """Bytes of a layer: for any token, for a visual one, for its keys, for a cross-attention key.

    A schedule's channels are those of visual keys and values; a cached latent is read whole.
    """

    token: int
    visual: int
    visual_keys: int
    crossing: int


def _rates(
    model: Model, plan: TokenPlan, bits: int | None, execution: Execution
) -> Iterator[_Rates]:
    bits = cache_bits(plan) if bits is None else bits
    for block in model.decoder.blocks:
        token = visual = visual_keys = crossing = 0
        attention = block.attention
        if attention is not None:
            token = visual = formulas.cached_bytes(attention.cached_values(execution), bits)
            heads, size, kept = attention.num_key_value_heads, attention.head_dim, plan.channels
            key = size if kept is None else int(kept.key * size)
            visual_keys = formulas.cached_bytes(heads * key, bits)
            if attention.kind != "latent" and kept is not None:
                visual = formulas.cached_bytes(heads * (key + int(kept.value * size)), bits)
            elif attention.kind == "latent" and execution.latent != "expanded":
                visual_keys = token
        if block.cross_attention is not None:
            crossing = formulas.cached_bytes(block.cross_attention.cached_values(), bits)
        yield _Rates(token, visual, visual_keys, crossing)


def _kept(
    model: Model,
    plan: TokenPlan,
    tokens: tuple[int, ...],
    visual: tuple[int, ...],
    bits: int | None,
    execution: Execution,
) -> Iterator[int]:
    """Yield each layer's bytes of so many tokens, `visual` of them, and of cross-attention."""
    rates = _rates(model, plan, bits, execution)
    for own, seen, cross, rate in zip(tokens, visual, plan.cross_stored, rates, strict=True):
        seen = min(seen, own)
        each = (own - seen) * rate.token + seen * rate.visual + cross * rate.crossing
        yield plan.batch * each


def _decoded(
    model: Model, plan: TokenPlan, first: int, last: int, bits: int | None, execution: Execution
) -> Iterator[int]:
    """Yield the bytes that decode forwards read in each layer."""
    steps = last - first + 1
    again = 0
    if plan.cache is not None:
        from .primitives.cache import choosing_forwards  # few schedules have one

        again = choosing_forwards(plan.cache.rescan, first, last)
    for layer, rate in enumerate(_rates(model, plan, bits, execution)):
        shape, total = plan.layout[layer], 0
        if shape.generates:
            total += steps * plan.cross_stored[layer] * rate.crossing
        if shape.generates and shape.self_attention:
            keys, visual = decode_reads(plan, layer, first, last)
            total += (keys - visual) * rate.token + visual * rate.visual
            unread = plan.visual_stored[layer] - plan.visual_read[layer]
            total += again * unread * rate.visual_keys
        yield plan.batch * total


def _token_bytes(decoder: Decoder, layer: int, bits: int, execution: Execution) -> int:
    attention = decoder.blocks[layer].attention
    if attention is None:
        return 0
    return int(formulas.cached_bytes(attention.cached_values(execution), bits))
