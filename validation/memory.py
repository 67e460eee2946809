"""An estimate of the memory that a case needs, so that it is refused before it fails."""

from __future__ import annotations

from ..costmodel import Report, kv_cache_bytes, model_parameters
from ..costmodel.tokens.native import NativeRule
from .attention import Implementation
from .build import DTYPES


def weight_bytes(report: Report, dtype: str) -> int:
    """Return the bytes of all weights: parameters · bytes."""
    return sum(model_parameters(report.model).values()) * DTYPES[dtype]


def working_bytes(report: Report, dtype: str, attention: Implementation) -> int:
    """Return an estimate of what a case needs beside the weights.

    Keys and values, twice those of one layer while they grow; the largest attention map in eager
    attention (scores, masked scores and float32 softmax of [B, h, n, n]); ten times the states
    and three times the FFN of one decoder layer; the hidden states of all encoder layers. Encoder
    maps always count, as VisionZip computes one under fused attention too.
    """
    size = DTYPES[dtype]
    per_score = 3 * size + 4
    model, plan = report.model, report.scheduled
    decoder, vision = model.decoder, model.vision
    cache = kv_cache_bytes(model, plan, 8 * size)
    tokens = plan.batch * max(plan.query)
    width = 10 * decoder.hidden_size + 3 * decoder.feed_forward.intermediate_size
    states = tokens * width * size
    scores = 0
    if attention == "eager":
        heads = decoder.attention.num_attention_heads
        scores = plan.batch * heads * max(plan.query) ** 2 * per_score
    native = isinstance(model.token_rule, NativeRule)  # its images pass attention one by one
    pairs = [
        (rows * columns + vision.class_token) ** 2 for rows, columns in plan.visual_input.crops
    ]
    maps = max(pairs) if native else plan.batch * sum(pairs)
    encoded = plan.batch * sum(plan.encoder_tokens) * vision.hidden_size * size
    encoder = maps * vision.attention.num_attention_heads * per_score + 2 * encoded
    per_layer = 2 * cache // decoder.num_hidden_layers
    return cache + per_layer + max(scores + states, encoder)
