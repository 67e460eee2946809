"""LLaVA-1.5, LLaVA-NeXT, its video model, LLaVA-OneVision: crops, a two-layer MLP, any decoder."""

from __future__ import annotations

from typing import Any

from ...costmodel import Model
from ...costmodel.connectors.linear import LinearStage
from ...costmodel.tokens.anyres import AnyresRule
from ...costmodel.tokens.fixed import FixedRule
from ...costmodel.tokens.frames import FramesVideo
from .parts import (
    crop_encoder_config,
    decoder_config,
    feature_selection,
    require_rule,
    special_tokens,
)


def llava(model: Model) -> dict[str, Any]:
    """Return the figures of LLaVA-1.5: one crop per image."""
    return {
        **_llava(model, require_rule(model, FixedRule).image_size),
        **special_tokens(model, "image_token_index"),
    }


def llava_next(model: Model) -> dict[str, Any]:
    """Return the figures of LLaVA-NeXT: anyres crops."""
    rule = require_rule(model, AnyresRule)
    return {
        **_llava(model, rule.crop_size),
        **special_tokens(model, "image_token_index"),
        "image_grid_pinpoints": [list(canvas) for canvas in rule.resolutions],
    }


def llava_next_video(model: Model) -> dict[str, Any]:
    """Return the figures of LLaVA-NeXT-Video: as LLaVA-NeXT, frames averaged before the MLP."""
    video = require_rule(model, AnyresRule).video
    return {
        **llava_next(model),
        **special_tokens(model, "image_token_index", "video_token_index"),
        "spatial_pool_mode": "average",
        "spatial_pool_stride": video.pool if isinstance(video, FramesVideo) else 1,
    }


def llava_onevision(model: Model) -> dict[str, Any]:
    """Return the figures of LLaVA-OneVision: anyres crops, shrunk beyond a number of them."""
    rule = require_rule(model, AnyresRule)
    return {
        **llava_next(model),
        **special_tokens(model, "image_token_index", "video_token_index"),
        "vision_aspect_ratio": f"anyres_max_{rule.max_crops}",
    }


def _llava(model: Model, crop_size: int) -> dict[str, Any]:
    stages = model.connector.stages
    return {
        "vision_config": crop_encoder_config(model.vision, crop_size),
        "text_config": decoder_config(model.decoder),
        **feature_selection(model.vision),
        "multimodal_projector_bias": any(
            stage.bias for stage in stages if isinstance(stage, LinearStage)
        ),
        "tie_word_embeddings": model.decoder.tie_word_embeddings,
    }
