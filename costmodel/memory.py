"""Bytes: what a plan leaves in the KV cache."""

from __future__ import annotations

from . import formulas
from .architecture import Decoder, Model
from .plan import TokenPlan


def kv_bytes_per_token(decoder: Decoder, bits: int = 16) -> int:
    """Return the bytes that one token adds to the KV cache over all layers.

    T · 2 · h_kv · d_h · bits / 8.
    """
    attention = decoder.attention
    total: int = decoder.num_hidden_layers * formulas.layer_kv_bytes(
        attention.num_key_value_heads, attention.head_dim, bits
    )
    return total


def kv_cache_bytes(model: Model, plan: TokenPlan, bits: int = 16) -> int:
    """Return the KV cache after the prefill, over all layers and the whole batch."""
    attention = model.decoder.attention
    per_token = formulas.layer_kv_bytes(attention.num_key_value_heads, attention.head_dim, bits)
    total: int = plan.batch * per_token * sum(plan.kv_stored)
    return total
