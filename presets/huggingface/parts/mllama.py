"""Llama-3.2-Vision: an encoder over all tiles together, and an LLM with cross-attention layers."""

from __future__ import annotations

from ....costmodel.architecture.blocks import FeedForward
from ....costmodel.architecture.decoder import Decoder
from ....costmodel.architecture.joint import JointTiles
from ....costmodel.architecture.variants import CrossAttention, ExtraParameters, Variant
from ....costmodel.architecture.vision import VisionEncoder
from ..fields import Fields
from . import shared, towers

#: Rows of the embedding beyond those of the head.
_EXTRA_ROWS = 8
#: Tokens of a tile are padded to a multiple of this.
_MULTIPLE = 8


def text(fields: Fields, tied: bool) -> Decoder:
    """Return the LLM: cross-attention stands in place of self-attention in some layers."""
    heads, layers = (
        shared.read_heads(fields, own_head_dim=False),
        fields.depth("num_hidden_layers"),
    )
    name = "cross_attention_layers"
    if fields.has(name):
        crossing = fields.layers(name, layers)
    else:  # the class's list is for forty layers
        listed = _listed(fields, name, (3, 8, 13, 18, 23, 28, 33, 38))
        crossing = tuple(layer for layer in listed if layer < layers)
    if not crossing:
        given = fields.value(name)
        raise fields.refusal(name, given, "names no layer", "give at least one layer")
    cross = CrossAttention(
        num_attention_heads=heads.num_attention_heads,
        num_key_value_heads=heads.num_key_value_heads,
        head_dim=heads.head_dim,
        qk_norm=True,
        gates=2,
    )
    vocabulary = fields.positive("vocab_size")
    return shared.decoder(
        fields,
        heads,
        heads.attention(),
        shared.gated(fields),
        variants=(Variant(layers=crossing, self_attention=False, cross_attention=cross),),
        embedding_rows=vocabulary + _EXTRA_ROWS,
        tie_word_embeddings=tied,
    )


def vision(fields: Fields) -> VisionEncoder:
    """Return the encoder: local layers, then gated global ones, over all tiles of an image."""
    hidden = fields.positive("hidden_size")
    local, gated = fields.depth("num_hidden_layers"), fields.depth("num_global_layers", 0)
    tiles, positions = fields.positive("max_num_tiles"), towers.grid(fields) ** 2 + 1
    taps = _listed(fields, "intermediate_layers_indices", (3, 7, 15, 23, 30))
    features = fields.positive("vision_output_dim")
    if features != hidden * (1 + len(taps)):
        problem = f"is not hidden_size {hidden} for each of {len(taps)} tapped layers and the last"
        raise fields.refusal("vision_output_dim", features, problem, "correct one of them")
    ratios = fields.value("supported_aspect_ratios")
    shapes = 8 if ratios is None else len(ratios) if isinstance(ratios, list | tuple) else 0
    if not shapes:
        way_out = "give pairs of rows and columns"
        raise fields.refusal("supported_aspect_ratios", ratios, "is not a list of pairs", way_out)
    fields.only("max_aspect_ratio_id", shapes, "it differs from supported_aspect_ratios")
    rows = (shapes + 1) * tiles * hidden
    return towers.tower(
        fields,
        "Mllama ViT",
        local + gated,
        hidden_size=hidden,
        class_token=True,
        class_token_kept=True,
        output_features=features,
        position_embeddings=positions,
        embedding_norm=True,
        final_norm=True,
        joint=JointTiles(multiple=_MULTIPLE),
        patch_embedding=towers.patches(fields, bias=False),
        attention=towers.attention(
            fields, hidden, heads="attention_heads", qkv_bias=False, output_bias=False
        ),
        feed_forward=FeedForward(
            intermediate_size=fields.positive("intermediate_size"), gated=False, bias=True
        ),
        variants=(
            (Variant(layers=tuple(range(local, local + gated)), extra_parameters=2),)
            if gated
            else ()
        ),
        extra_parameters=(
            ExtraParameters(name="positions in each tile, by aspect ratio", count=rows * positions),
            ExtraParameters(
                name="tile embeddings before and after the local layers", count=2 * rows
            ),
            ExtraParameters(name="gates of these three", count=3),
        ),
    )


def _listed(fields: Fields, name: str, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    """Return a list of layers, or what the class takes for null."""
    if fields.value(name) is None:
        return otherwise
    return tuple(sorted(set(fields.integers(name))))
