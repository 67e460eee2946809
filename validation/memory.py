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
    attention (scores, masked scores and float32 softmax of [B, h, n, n], or of n tokens and the
    keys of cross-attention); ten times the states and three times the FFN that a token passes of
    one decoder layer; DeepStack's features; the hidden states of all encoder layers. Encoder maps
    always count, as VisionZip computes one under fused attention too.
    """
    size = DTYPES[dtype]
    per_score = 3 * size + 4
    model, plan = report.model, report.scheduled
    decoder, vision = model.decoder, model.vision
    cache = kv_cache_bytes(model, plan, 8 * size)
    tokens = plan.batch * max(plan.query)
    deepstack = model.connector.deepstack
    taps = len(deepstack.encoder_layers) if deepstack is not None else 0
    width = (10 + taps) * decoder.hidden_size
    width += 3 * decoder.feed_forward.active_intermediate_size
    keys = plan.batch * max(plan.cross) * decoder.hidden_size
    states = (tokens * width + keys) * size
    scores = 0
    if attention == "eager":
        heads = decoder.attention.num_attention_heads
        most = max(max(query, cross) for query, cross in zip(plan.query, plan.cross, strict=True))
        scores = plan.batch * heads * max(plan.query) * most * per_score
    native = isinstance(model.token_rule, NativeRule)  # its images pass attention one by one
    pairs = [
        (rows * columns + vision.class_token) ** 2 for rows, columns in plan.visual_input.crops
    ]
    maps = max(pairs) if native else plan.batch * sum(pairs)
    if vision.joint is not None:
        maps = plan.batch * max(plan.encoder_pairs)
    encoded = plan.batch * sum(plan.encoder_tokens) * vision.hidden_size * size
    encoder = maps * vision.attention.num_attention_heads * per_score + 2 * encoded
    per_layer = 2 * cache // decoder.num_hidden_layers
    return cache + per_layer + max(scores + states, encoder)
