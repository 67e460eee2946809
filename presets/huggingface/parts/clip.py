"""CLIP, SigLIP and their relatives: LayerNorms, learned positions, two matrices with biases."""

from __future__ import annotations

from typing import Any

from ....costmodel.architecture.blocks import FeedForward
from ....costmodel.architecture.vision import VisionEncoder
from ..fields import Fields
from . import towers


def clip(fields: Fields) -> VisionEncoder:
    """Return CLIP's encoder; its last norm is stored and runs on the unused class token alone."""
    fields.ignore("projection_dim", "vocab_size")
    return _tower(
        fields,
        "CLIP ViT",
        class_token=True,
        position_embeddings=towers.grid(fields) ** 2 + 1,
        embedding_norm=True,
        patch_embedding=towers.patches(fields, bias=False),
    )


def siglip(fields: Fields) -> VisionEncoder:
    """Return SigLIP's encoder, with its pooling head, which runs in vain, if the file has it."""
    # other families write these into the encoder's table; the class has no use for them
    fields.ignore("projection_dim", "vocab_size", "num_image_tokens", "projector_hidden_act")
    return _siglip(fields, "SigLIP ViT", head=fields.flag("vision_use_head"))


def idefics(fields: Fields) -> VisionEncoder:
    """Return the encoder of Idefics 2, Idefics 3 and SmolVLM: SigLIP without a pooling head."""
    fields.ignore("size", "max_image_size", "use_base_siglip")
    return _siglip(fields, "SigLIP ViT", head=False)


def phi4(fields: Fields) -> VisionEncoder:
    """Return the encoder of Phi-4-multimodal: SigLIP with its pooling head."""
    fields.ignore("crop_size", "feature_layer")
    return _siglip(fields, "SigLIP ViT", head=True)


def eva(fields: Fields) -> VisionEncoder:
    """Return the encoder of BLIP-2 and InstructBLIP: EVA-CLIP, whose class token is handed on."""
    fields.only("num_channels", 3, "the class has three")
    fields.ignore("projection_dim")
    return _tower(
        fields,
        "EVA-CLIP ViT",
        qkv_bias=fields.flag("qkv_bias"),
        class_token=True,
        class_token_kept=True,
        position_embeddings=towers.grid(fields) ** 2 + 1,
        patch_embedding=towers.patches(fields, bias=True, channels=None),
    )


def _siglip(fields: Fields, label: str, *, head: bool) -> VisionEncoder:
    return _tower(
        fields,
        label,
        position_embeddings=towers.grid(fields) ** 2,
        patch_embedding=towers.patches(fields, bias=True),
        pooling_head=head,
    )


def _tower(fields: Fields, label: str, *, qkv_bias: bool = True, **own: Any) -> VisionEncoder:
    hidden = fields.positive("hidden_size")
    return towers.tower(
        fields,
        label,
        fields.depth("num_hidden_layers"),
        hidden_size=hidden,
        attention=towers.attention(fields, hidden, qkv_bias=qkv_bias, output_bias=True),
        feed_forward=FeedForward(
            intermediate_size=fields.positive("intermediate_size"), gated=False, bias=True
        ),
        final_norm=True,
        **own,
    )
