"""Encoders of the timm library: FastViTHD alone, whose layers the presets hold."""

from __future__ import annotations

from ....costmodel.architecture.vision import VisionEncoder
from ...loader import load_model
from ..fields import Fields

#: timm's name, a preset that has it, and the features that leave it.
_ARCHITECTURE, _PRESET, _FEATURES = "fastvit_mci3", "fastvlm-0.5b", 3_072


def timm(fields: Fields) -> VisionEncoder:
    """Return FastViTHD with its branches fused, as inference_mode builds it."""
    fields.choice("architecture", (_ARCHITECTURE,))
    arguments = fields.value("model_args")
    if arguments != {"inference_mode": True}:
        problem = "is not understood: the branches of training cost more"
        way_out = 'only {"inference_mode": true} can be read'
        raise fields.refusal("model_args", arguments, problem, way_out)
    fields.only("hidden_size", _FEATURES, "it is not what leaves the encoder")
    # of the classifier, which is not built
    fields.ignore("do_pooling", "global_pool", "num_classes", "pretrained_cfg")
    encoder = load_model(_PRESET).vision
    return type(encoder)(**{**dict(encoder), "source": (*encoder.source, *fields.sources())})
