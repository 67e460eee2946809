"""Qwen2 and Qwen3, with the decoders of Qwen2-VL, Qwen2.5-VL, Qwen2.5-Omni and Qwen3-VL."""

from __future__ import annotations

from ....costmodel.architecture.decoder import Decoder
from ..fields import Fields
from . import shared

#: Decoders that derive head_dim, whatever a file says.
_DERIVED = ("qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text")


def qwen2(fields: Fields, tied: bool) -> Decoder:
    """Return Qwen2: biases of query, key and value; windows in the layers from the middle on."""
    heads = shared.read_heads(fields, own_head_dim=fields.model_type not in _DERIVED)
    fields.only("attention_bias", True, "the class has these biases")
    fields.only("mlp_bias", False, "the class has none")
    window, layers = _windows(fields)
    return shared.decoder(
        fields,
        heads,
        heads.attention(bias=True),
        shared.gated(fields),
        tie_word_embeddings=tied,
        sliding_window=shared.windowed(window, layers),
    )


def qwen3(fields: Fields, tied: bool) -> Decoder:
    """Return Qwen3: norms of each query and key head, biases if attention_bias says so."""
    heads, bias = shared.read_heads(fields), fields.flag("attention_bias")
    window, layers = _windows(fields)
    return shared.decoder(
        fields,
        heads,
        heads.attention(bias=bias, output_bias=bias, qk_norm=True),
        shared.gated(fields),
        tie_word_embeddings=tied,
        sliding_window=shared.windowed(window, layers),
    )


def qwen3_vl(fields: Fields, tied: bool) -> Decoder:
    """Return Qwen3-VL's decoder: Qwen3 without windows."""
    heads, bias = shared.read_heads(fields), fields.flag("attention_bias")
    fields.only("use_sliding_window", False, "the class has no windows")
    fields.only("sliding_window", None, "the class has no windows")
    return shared.decoder(
        fields,
        heads,
        heads.attention(bias=bias, output_bias=bias, qk_norm=True),
        shared.gated(fields),
        tie_word_embeddings=tied,
    )


def _windows(fields: Fields) -> tuple[int | None, tuple[int, ...]]:
    """Return the window and its layers: those from max_window_layers on, if it is in use."""
    layers = fields.depth("num_hidden_layers")
    if not fields.flag_or_none("use_sliding_window"):
        fields.ignore("sliding_window", "max_window_layers")
        return None, shared.sliding_layers(fields, layers, lambda _: False, None)
    window = fields.positive_or_none("sliding_window")
    first = fields.count("max_window_layers") if window else layers
    fields.ignore("max_window_layers")
    return window, shared.sliding_layers(fields, layers, lambda layer: layer >= first, window)
