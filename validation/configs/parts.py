"""Parts that the configs of several families share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ...costmodel import InvalidInput, Model
from ...costmodel.architecture import Decoder, VisionEncoder

Choice = TypeVar("Choice")
Rule = TypeVar("Rule")

#: What the decoder classes want beyond the common figures: each masks without a window.
_DECODERS: dict[str, Callable[[Decoder], dict[str, Any]]] = {
    "llama": lambda decoder: {
        "head_dim": decoder.attention.head_dim,
        "attention_bias": decoder.attention.qkv_bias,
        "mlp_bias": decoder.feed_forward.bias,
    },
    "mistral": lambda decoder: {"head_dim": decoder.attention.head_dim, "sliding_window": None},
    "qwen2": lambda _: {"use_sliding_window": False},
    "qwen2_vl_text": lambda decoder: {
        "use_sliding_window": False,
        "rope_parameters": _rotary_in_three_axes(decoder.attention.head_dim),
    },
}
_DECODERS["qwen2_5_vl_text"] = _DECODERS["qwen2_vl_text"]

#: Encoders over one square crop, which take the same figures.
_CROP_ENCODERS: dict[str, dict[str, Any]] = {
    "clip_vision_model": {},
    "siglip_vision_model": {"vision_use_head": False},
}


def decoder_config(decoder: Decoder) -> dict[str, Any]:
    """Return the text config of a decoder.

    Random weights end no sentence, so that the special tokens of a checkpoint are left out.
    """
    attention = decoder.attention
    return {
        "model_type": decoder.model_type,
        "hidden_size": decoder.hidden_size,
        "intermediate_size": decoder.feed_forward.intermediate_size,
        "num_hidden_layers": decoder.num_hidden_layers,
        "num_attention_heads": attention.num_attention_heads,
        "num_key_value_heads": attention.num_key_value_heads,
        "vocab_size": decoder.vocab_size,
        "tie_word_embeddings": decoder.tie_word_embeddings,
        "max_position_embeddings": 131_072,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        **choose(_DECODERS, decoder.model_type, "decoder.model_type")(decoder),
    }


def crop_encoder_config(vision: VisionEncoder, image_size: int) -> dict[str, Any]:
    """Return the vision config of a CLIP or SigLIP tower over crops of image_size² pixels."""
    return {
        "model_type": vision.model_type,
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.feed_forward.intermediate_size,
        "num_hidden_layers": vision.num_hidden_layers,
        "num_attention_heads": vision.attention.num_attention_heads,
        "num_channels": vision.patch_embedding.num_channels,
        "patch_size": vision.patch_embedding.patch_size,
        "image_size": image_size,
        **choose(_CROP_ENCODERS, vision.model_type, "vision.model_type"),
    }


def tower_type(vision: VisionEncoder, only: str) -> str:
    """Return the encoder's model type, in a family that has one `only`."""
    choose({only: None}, vision.model_type, "vision.model_type")
    return only


def feature_selection(vision: VisionEncoder) -> dict[str, Any]:
    """Return which hidden states the connector reads, counted from the end, and which tokens."""
    return {
        "vision_feature_layer": vision.contributing_layers - vision.num_hidden_layers - 1,
        "vision_feature_select_strategy": "default" if vision.class_token else "full",
    }


def special_tokens(model: Model, *names: str) -> dict[str, int]:
    """Return ids for the special tokens `names`: the vocabulary's last, in this order."""
    last = model.decoder.vocab_size - 1
    return {name: last - index for index, name in enumerate(names)}


def choose(choices: Mapping[str, Choice], name: str, field: str) -> Choice:
    """Return the choice called `name`.

    Raises:
        InvalidInput: There is none.
    """
    if name not in choices:
        way_out = f"choose from {', '.join(choices)}"
        raise InvalidInput(field, name, "cannot be built in this family", way_out)
    return choices[name]


def require_rule(model: Model, kind: type[Rule]) -> Rule:
    """Return the model's token rule, which has to be of the family's `kind`.

    Raises:
        InvalidInput: It is of another kind.
    """
    rule = model.token_rule
    if not isinstance(rule, kind):
        raise InvalidInput(
            "token_rule.kind",
            rule.kind,
            f"does not belong to {model.model_type}",
            "correct the model's token rule",
        )
    return rule


def _rotary_in_three_axes(head_dim: int) -> dict[str, Any]:
    """Return Qwen's rotary embedding: a quarter of the frequencies for time, the rest for space."""
    frequencies = head_dim // 2
    time = frequencies // 4
    row = (frequencies - time) // 2
    return {
        "rope_type": "default",
        "rope_theta": 1_000_000.0,
        "mrope_section": [time, row, frequencies - time - row],
    }
