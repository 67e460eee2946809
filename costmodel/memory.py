"""Bytes: what a plan leaves in the KV cache."""

from __future__ import annotations

from . import formulas
from .architecture.blocks import Execution
from .architecture.decoder import Decoder
from .architecture.model import Model
from .tokenplan import TokenPlan

_USUAL = Execution()


def kv_bytes_per_token(decoder: Decoder, bits: int = 16, execution: Execution = _USUAL) -> int:
    """Return the bytes that one token of the sequence adds to the KV cache over all layers.

    Σ over the layers with self-attention of ⌈2 · h_kv · d_h · bits / 8⌉; latent attention caches
    other widths, and a layer with a sliding window stops growing at its size.
    """
    layers = range(decoder.encoder_layers, decoder.num_hidden_layers)
    return sum(_self_bytes(decoder, layer, bits, execution) for layer in layers)


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
    """
    return _cache_bytes(model, plan, plan.kv_stored, plan.visual_stored, bits, execution)


def kv_read_bytes(
    model: Model,
    plan: TokenPlan,
    bits: int | None = None,
    execution: Execution = _USUAL,
) -> int:
    """Return the bytes of kept keys and values that the first decode forward reads."""
    return _cache_bytes(model, plan, plan.kv_read, plan.visual_read, bits, execution)


def _cache_bytes(
    model: Model,
    plan: TokenPlan,
    tokens: tuple[int, ...],
    visual: tuple[int, ...],
    bits: int | None,
    execution: Execution,
) -> int:
    if plan.branches:
        measure = kv_cache_bytes if tokens is plan.kv_stored else kv_read_bytes
        return round(
            sum(
                share * measure(model, way, bits, execution)
                for share, way in plan.branches
                if way is not None
            )
        )
    if bits is None:
        bits = 16 if plan.bits is None else plan.bits.kv
    decoder, total = model.decoder, 0
    for layer, (own, seen, cross) in enumerate(zip(tokens, visual, plan.cross_stored, strict=True)):
        narrow = 0
        attention = decoder.blocks[layer].attention
        if plan.channels is not None and attention is not None:
            channels, size = plan.channels, attention.head_dim
            kept = int(channels.key * size) + int(channels.value * size)
            dropped = attention.num_key_value_heads * (2 * size - kept)
            narrow = min(seen, own) * formulas.cached_bytes(dropped, bits)
        total += own * _self_bytes(decoder, layer, bits, execution) - narrow
        crossing = decoder.blocks[layer].cross_attention
        if cross and crossing is not None:
            total += cross * formulas.cached_bytes(crossing.cached_values(), bits)
    return plan.batch * total


def _self_bytes(decoder: Decoder, layer: int, bits: int, execution: Execution) -> int:
    attention = decoder.blocks[layer].attention
    if attention is None:
        return 0
    return int(formulas.cached_bytes(attention.cached_values(execution), bits))
