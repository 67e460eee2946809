"""Llama and its relatives: pre-norm blocks of RMS norms, attention and a gated network."""

from __future__ import annotations

from ....costmodel.architecture.decoder import Decoder
from ..fields import Fields
from . import shared


def llama(fields: Fields, tied: bool) -> Decoder:
    """Return Llama: attention_bias is that of all four projections, mlp_bias of all three."""
    heads, bias = shared.read_heads(fields), fields.flag("attention_bias")
    return shared.decoder(
        fields,
        heads,
        heads.attention(bias=bias, output_bias=bias),
        shared.gated(fields, fields.flag("mlp_bias")),
        tie_word_embeddings=tied,
    )


def mistral(fields: Fields, tied: bool) -> Decoder:
    """Return Mistral: no biases, and a sliding window in every layer unless it is null."""
    heads, window = shared.read_heads(fields), fields.positive_or_none("sliding_window")
    layers = fields.depth("num_hidden_layers")
    # the class takes no layer_types: every layer has the window, or none
    every = shared.sliding_layers(fields, layers, lambda _: window is not None, window)
    if len(every) not in (0, layers) or bool(every) != (window is not None):
        problem = f"differs from sliding_window, which {fields.model_type} has in every layer"
        raise fields.refusal("layer_types", fields.value("layer_types"), problem, "leave it out")
    return shared.decoder(
        fields,
        heads,
        heads.attention(),
        shared.gated(fields),
        tie_word_embeddings=tied,
        sliding_window=shared.windowed(window, every),
    )


#: Ministral 3 and Phi-3 differ from Mistral in defaults and rotary angles alone.
ministral3 = mistral
phi3 = mistral


def glm4v(fields: Fields, tied: bool) -> Decoder:
    """Return GLM-4's decoder: biases of query, key and value, and norms behind both branches."""
    heads = shared.read_heads(fields, own_head_dim=False)
    fields.only("attention_bias", True, "the class has these biases")
    return shared.decoder(
        fields,
        heads,
        heads.attention(bias=True),
        shared.gated(fields),
        norms_per_block=4,
        tie_word_embeddings=tied,
    )
