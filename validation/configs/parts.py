"""Parts that the configs of several families share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ...costmodel import InvalidInput, Model
from ...costmodel.architecture import Decoder, VisionEncoder
from ..masks import FULL, SLIDING

Choice = TypeVar("Choice")
Rule = TypeVar("Rule")

#: What the decoder classes want beyond the common figures; unless said so, none has a window.
_DECODERS: dict[str, Callable[[Decoder], dict[str, Any]]] = {
    "llama": lambda decoder: {
        "head_dim": decoder.attention.head_dim,
        "attention_bias": decoder.attention.qkv_bias,
        "mlp_bias": decoder.feed_forward.bias,
    },
    "mistral": lambda decoder: {"head_dim": decoder.attention.head_dim, "sliding_window": None},
    "qwen2": lambda _: {"use_sliding_window": False},
    "qwen3": lambda decoder: {**_qwen3(decoder), "use_sliding_window": False},
    "qwen2_vl_text": lambda decoder: {
        "use_sliding_window": False,
        "rope_parameters": _rotary_in_three_axes(decoder.attention.head_dim),
    },
    "qwen3_vl_text": lambda decoder: {**_qwen3(decoder), **_interleaved(decoder)},
    "qwen3_vl_moe_text": lambda decoder: {
        **_qwen3(decoder),
        **_interleaved(decoder),
        **_experts(decoder),
    },
    "gemma": lambda decoder: {"head_dim": decoder.attention.head_dim},
    "gemma2": lambda decoder: {**_gemma(decoder), **_windows(decoder)},
    "gemma3_text": lambda decoder: {**_gemma(decoder), **_windows(decoder)},
    "mllama_text_model": lambda decoder: {
        "bos_token_id": 0,  # its config refuses to have none
        "cross_attention_layers": [
            layer for layer, block in enumerate(decoder.blocks) if block.cross_attention
        ],
    },
}
_DECODERS["qwen2_5_vl_text"] = _DECODERS["qwen2_vl_text"]

#: Encoders over one square crop, which take the same figures.
_CROP_ENCODERS: dict[str, dict[str, Any]] = {
    "clip_vision_model": {},
    "siglip_vision_model": {"vision_use_head": False},
    "idefics3_vision": {},
    "smolvlm_vision": {},
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


def tower_type(vision: VisionEncoder, *known: str) -> str:
    """Return the encoder's model type, which has to be one of the `known` ones."""
    choose(dict.fromkeys(known), vision.model_type, "vision.model_type")
    return vision.model_type


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


def _qwen3(decoder: Decoder) -> dict[str, Any]:
    attention = decoder.attention
    return {"head_dim": attention.head_dim, "attention_bias": attention.qkv_bias}


def _interleaved(decoder: Decoder) -> dict[str, Any]:
    """Return Qwen3-VL's rotary embedding: 5 of 16 frequencies for rows and columns each."""
    frequencies = decoder.attention.head_dim // 2
    space = frequencies * 5 // 16
    sections = [frequencies - 2 * space, space, space]
    return {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5_000_000.0,
            "mrope_section": sections,
        }
    }


def _experts(decoder: Decoder) -> dict[str, Any]:
    experts: Any = decoder.feed_forward
    if experts.kind != "experts":
        raise InvalidInput(
            "decoder.feed_forward.kind", experts.kind, "is no mixture of experts", "add the experts"
        )
    return {
        "moe_intermediate_size": experts.intermediate_size,
        "num_experts": experts.num_experts,
        "num_experts_per_tok": experts.num_experts_per_tok,
    }


def _gemma(decoder: Decoder) -> dict[str, Any]:
    head_dim = decoder.attention.head_dim
    return {"head_dim": head_dim, "query_pre_attn_scalar": head_dim}


def _windows(decoder: Decoder) -> dict[str, Any]:
    sliding = decoder.sliding_window
    if sliding is None:
        raise InvalidInput("decoder.sliding_window", None, "is missing", "add its size and layers")
    return {
        "sliding_window": sliding.size,
        "layer_types": [
            SLIDING if layer in sliding.layers else FULL
            for layer in range(decoder.num_hidden_layers)
        ],
    }
