"""Gemma, Gemma 2 and Gemma 3."""

from __future__ import annotations

from ....costmodel.architecture.decoder import Decoder
from ..fields import Fields
from . import shared


def gemma(fields: Fields, tied: bool) -> Decoder:
    """Return Gemma: Llama with heads of their own size."""
    heads, bias = shared.read_heads(fields), fields.flag("attention_bias")
    fields.ignore("use_bidirectional_attention")  # a family says what attends to what
    return shared.decoder(
        fields,
        heads,
        heads.attention(bias=bias, output_bias=bias),
        shared.gated(fields),
        tie_word_embeddings=tied,
    )


def gemma2(fields: Fields, tied: bool) -> Decoder:
    """Return Gemma 2: norms before and behind both branches, a window in every other layer."""
    fields.ignore("use_bidirectional_attention", "cache_implementation")
    return _with_windows(fields, tied, period=2, qk_norm=False)


def gemma3(fields: Fields, tied: bool) -> Decoder:
    """Return Gemma 3: Gemma 2 with norms of query and key, and windows in five of six layers."""
    fields.only("use_bidirectional_attention", False, "it changes the window")
    # the class keeps the pattern under another name than it takes it from
    period = 6
    if fields.has("sliding_window_pattern"):
        period = fields.positive("sliding_window_pattern")
    fields.ignore("sliding_window_pattern", "_sliding_window_pattern")
    return _with_windows(fields, tied, period=period, qk_norm=True)


def _with_windows(fields: Fields, tied: bool, *, period: int, qk_norm: bool) -> Decoder:
    heads, bias = shared.read_heads(fields), fields.flag("attention_bias")
    window = fields.positive_or_none("sliding_window")
    layers = shared.sliding_layers(
        fields,
        fields.depth("num_hidden_layers"),
        lambda layer: bool((layer + 1) % period),
        window,
    )
    if window is None and layers:
        problem = "is null, but layers have windows by default"
        raise fields.refusal("sliding_window", None, problem, "give it, or layer_types")
    return shared.decoder(
        fields,
        heads,
        heads.attention(bias=bias, output_bias=bias, qk_norm=qk_norm),
        shared.gated(fields),
        norms_per_block=4,
        tie_word_embeddings=tied,
        sliding_window=shared.windowed(window, layers),
    )
