"""Command R and R7B (Cohere, Cohere 2): attention and feed-forward network side by side."""

from __future__ import annotations

from ....costmodel.architecture.decoder import Decoder
from ..fields import Fields
from . import shared


def cohere(fields: Fields, tied: bool) -> Decoder:
    """Return Cohere: one LayerNorm with a scale alone feeds both branches."""
    heads, bias = shared.read_heads(fields), fields.flag("attention_bias")
    qk_norm = "all heads" if fields.flag_or_none("use_qk_norm") else False
    return shared.decoder(
        fields,
        heads,
        heads.attention(bias=bias, output_bias=bias, qk_norm=qk_norm),
        shared.gated(fields),
        norm="layer without bias",
        norms_per_block=1,
        tie_word_embeddings=tied,
    )


def cohere2(fields: Fields, tied: bool) -> Decoder:
    """Return Cohere 2: windows in three of four layers."""
    heads, bias = shared.read_heads(fields), fields.flag("attention_bias")
    fields.only("use_qk_norm", False, "the class has no such norms")
    window, period = fields.positive_or_none("sliding_window"), 4
    if fields.has("sliding_window_pattern"):
        period = fields.positive("sliding_window_pattern")
    fields.ignore(
        "sliding_window_pattern", "_sliding_window_pattern", "order_of_interleaved_layers"
    )
    layers = shared.sliding_layers(
        fields,
        fields.depth("num_hidden_layers"),
        lambda layer: window is not None and bool((layer + 1) % period),
        window,
    )
    return shared.decoder(
        fields,
        heads,
        heads.attention(bias=bias, output_bias=bias),
        shared.gated(fields),
        norm="layer without bias",
        norms_per_block=1,
        tie_word_embeddings=tied,
        sliding_window=shared.windowed(window, layers),
    )
