"""Bytes: what a plan leaves in the KV cache."""

from __future__ import annotations

from . import formulas
from .architecture.blocks import Execution
from .architecture.decoder import Decoder
from .architecture.model import Model
from .plan import TokenPlan

_USUAL = Execution()


def kv_bytes_per_token(decoder: Decoder, bits: int = 16, execution: Execution = _USUAL) -> int:
    """Return the bytes that one token of the sequence adds to the KV cache over all layers.

    Σ over the layers with self-attention of ⌈2 · h_kv · d_h · bits / 8⌉; latent attention caches
    other widths, and a layer with a sliding window stops growing at its size.
    """
    layers = range(decoder.encoder_layers, decoder.num_hidden_layers)
    return sum(_self_bytes(decoder, layer, bits, execution) for layer in layers)


def kv_cache_bytes(
    model: Model, plan: TokenPlan, bits: int = 16, execution: Execution = _USUAL
) -> int:
    """Return the KV cache after the prefill, over all layers and the whole batch.

    Keys and values of cross-attention, where a layer has it, are in the sum.
    """
    decoder, total = model.decoder, 0
    for layer, (own, cross) in enumerate(zip(plan.kv_stored, plan.cross_stored, strict=True)):
        total += own * _self_bytes(decoder, layer, bits, execution)
        attention = decoder.blocks[layer].cross_attention
        if cross and attention is not None:
            total += cross * formulas.cached_bytes(attention.cached_values(), bits)
    return plan.batch * total


def _self_bytes(decoder: Decoder, layer: int, bits: int, execution: Execution) -> int:
    attention = decoder.blocks[layer].attention
    if attention is None:
        return 0
    return int(formulas.cached_bytes(attention.cached_values(execution), bits))
