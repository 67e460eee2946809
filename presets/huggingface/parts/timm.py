"""Encoders of the timm library: FastViTHD alone, whose layers the presets hold."""

from __future__ import annotations

from typing import Any

from ....costmodel.architecture.vision import TOWERS, VisionEncoder
from ... import loader
from ..fields import Fields

#: timm's name, the part of presets/parts/vision.toml, and the features that leave it.
_ARCHITECTURE, _PART, _FEATURES = "fastvit_mci3", "fastvithd-1024", 3_072


def timm(fields: Fields) -> VisionEncoder:
    """Return FastViTHD with its branches fused, as inference_mode builds it."""
    fields.choice("architecture", (_ARCHITECTURE,))
    arguments = fields.value("model_args")
    if arguments != {"inference_mode": True}:
        problem = "is not understood: the branches of training cost more"
        way_out = 'only {"inference_mode": true} can be read'
        raise fields.refusal("model_args", None, problem, way_out)
    fields.only("hidden_size", _FEATURES, "it is not what leaves the encoder")
    # of the classifier, which is not built
    fields.ignore("do_pooling", "global_pool", "num_classes", "pretrained_cfg")
    part: dict[str, Any] = loader._part(loader.PARTS / "vision.toml", "vision", _PART)
    built: Any = TOWERS.build({**part, "source": [*part["source"], *fields.sources()]})
    tower: VisionEncoder = built
    return tower
