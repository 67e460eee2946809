"""Parameter counts from the architecture, component by component."""

from __future__ import annotations

from .architecture import (
    Connector,
    Decoder,
    LinearStage,
    Model,
    Norm,
    NormStage,
    Transformer,
    VisionEncoder,
)


def model_parameters(model: Model) -> dict[str, int]:
    """Return the stored parameters by component; their sum is the checkpoint's total.

    `decoder` includes the embedding and the final norm; a head that is tied to the embedding
    stores nothing of its own.
    """
    return {
        "vision": vision_parameters(model.vision),
        "connector": connector_parameters(model.connector, model.decoder.hidden_size),
        "decoder": decoder_parameters(model.decoder),
        "head": 0 if model.decoder.tie_word_embeddings else head_parameters(model.decoder),
    }


def layer_parameters(model: Model) -> dict[tuple[str, int | None], int]:
    """Return the same parameters by component and layer; None holds what is outside the layers."""
    components = model_parameters(model)
    found: dict[tuple[str, int | None], int] = {}
    for name, stack in (("vision", model.vision), ("decoder", model.decoder)):
        each = stack_layer_parameters(stack)
        found[name, None] = components[name] - stack.num_hidden_layers * each
        found.update({(name, layer): each for layer in range(stack.num_hidden_layers)})
    found["connector", None], found["head", None] = components["connector"], components["head"]
    return found


def stack_layer_parameters(stack: Transformer) -> int:
    """Return the parameters of one layer, learned residual scales included."""
    scales = 2 * stack.hidden_size if isinstance(stack, VisionEncoder) and stack.layer_scale else 0
    return block_parameters(stack) + scales


def linear_parameters(c_in: int, c_out: int, bias: bool) -> int:
    """Return c_in · c_out weights, and c_out biases if there are any."""
    return c_in * c_out + bias * c_out


def norm_parameters(norm: Norm, width: int) -> int:
    """Return width scales, and as many biases in a LayerNorm."""
    return width * (2 if norm == "layer" else 1)


def block_parameters(stack: Transformer) -> int:
    """Return one block's parameters: four projections, two or three FFN matrices, two norms."""
    attention, ffn, hidden = stack.attention, stack.feed_forward, stack.hidden_size
    query = attention.num_attention_heads * attention.head_dim
    key = attention.num_key_value_heads * attention.head_dim
    projections = (
        linear_parameters(hidden, query, attention.qkv_bias)
        + 2 * linear_parameters(hidden, key, attention.qkv_bias)
        + linear_parameters(query, hidden, attention.output_bias)
    )
    head_norms = 2 * norm_parameters(stack.norm, attention.head_dim) if attention.qk_norm else 0
    width = ffn.intermediate_size
    feed_forward = (2 if ffn.gated else 1) * linear_parameters(hidden, width, ffn.bias)
    feed_forward += linear_parameters(width, hidden, ffn.bias)
    return projections + head_norms + feed_forward + 2 * norm_parameters(stack.norm, hidden)


def vision_parameters(vision: VisionEncoder) -> int:
    """Return the encoder's parameters: patch convolution, positions, norms and all blocks."""
    patch, hidden = vision.patch_embedding, vision.hidden_size
    kernel = patch.num_channels * patch.temporal_patch_size * patch.patch_size**2
    outside = linear_parameters(kernel, hidden, patch.bias)
    outside += hidden * (vision.class_token + vision.position_embeddings)
    outside += norm_parameters(vision.norm, hidden) * (vision.embedding_norm + vision.final_norm)
    return outside + vision.num_hidden_layers * stack_layer_parameters(vision)


def connector_parameters(connector: Connector, hidden_size: int) -> int:
    """Return the connector's parameters, its learned separator included."""
    total = hidden_size if connector.newline else 0
    for stage in connector.stages:
        if isinstance(stage, LinearStage):
            total += linear_parameters(stage.in_features, stage.out_features, stage.bias)
        elif isinstance(stage, NormStage):
            total += norm_parameters(stage.norm, stage.width)
    return total


def decoder_parameters(decoder: Decoder) -> int:
    """Return the parameters of embedding, blocks and final norm."""
    hidden = decoder.hidden_size
    return (
        decoder.vocab_size * hidden
        + decoder.num_hidden_layers * block_parameters(decoder)
        + norm_parameters(decoder.norm, hidden)
    )


def head_parameters(decoder: Decoder) -> int:
    """Return hidden_size · vocab_size: the head's matrix, stored or tied."""
    return decoder.hidden_size * decoder.vocab_size
