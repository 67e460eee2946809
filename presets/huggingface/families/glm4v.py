"""GLM-4.1V."""

from __future__ import annotations

from ....costmodel.architecture.connector import Connector
from ..fields import Fields
from ..processor import ImageProcessor
from . import base, rules
from .base import Reading


def glm4v(config: Fields, images: ImageProcessor) -> Reading:
    """Return GLM-4.1V: a convolution joins patches, a gated network follows."""
    fields, encoder = base.vision_of(config)
    text, decoder = base.text_of(config, tied=base.tied_by_either(config))
    size, out = fields.positive("spatial_merge_size"), fields.positive("out_hidden_size")
    if out != decoder.hidden_size:
        problem = f"is not text_config.hidden_size {decoder.hidden_size}"
        raise fields.refusal("out_hidden_size", out, problem, "correct one of them")
    connector = Connector(
        name=f"{size}×{size} convolution and gated network",
        stages=[
            {
                "kind": "convolution",
                "in_features": encoder.hidden_size,
                "out_features": out,
                "kernel_size": size,
                "stride": size,
                "bias": True,
            },
            base.linear(out, out, bias=False),
            base.norm("layer", out),
            {
                "kind": "gated",
                "in_features": out,
                "intermediate_size": fields.positive("intermediate_size"),
                "out_features": out,
                "bias": False,
            },
        ],
        source=fields.sources(),
    )
    least, most = images.videos.pixels(*rules.GLM_VIDEO_LIMITS)
    # the chat template's marks, and how many digits are one token
    rules.estimated(config, "video.structural_per_video", "video.digits_per_token")
    rule = rules.native(
        config,
        images,
        encoder,
        connector,
        limits=rules.GLM_LIMITS,
        cells=39,
        frames=2,
        video={
            "kind": "pairs",
            "min_pixels": least,
            "max_pixels": most,
            "limits": "video",
            "structural_per_video": 2,
            "structural_per_pair": 2,
            "digits_per_token": 3,
            "source": (base.class_source("Glm4vVideoProcessor, Glm4vProcessor"),),
        },
    )
    fields.finish()
    text.finish()
    return Reading("GLM-4.1V", encoder, connector, decoder, rule)
