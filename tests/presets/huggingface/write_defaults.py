"""Write presets/huggingface/defaults.json: class defaults of transformers' config classes.

    python tests/presets/huggingface/write_defaults.py

Fields that change no cost are left out. A test compares the file with the installed transformers.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from vlm_tokencost.presets.huggingface import defaults
from vlm_tokencost.presets.huggingface.families import FAMILIES
from vlm_tokencost.presets.huggingface.ignored import changes_nothing
from vlm_tokencost.presets.huggingface.parts import TEXTS, VISIONS

#: Parts that only some families have, which no registry lists.
OTHERS = (
    "idefics2_perceiver",
    "blip_2_qformer",
    "instructblip_qformer",
    "phi4_multimodal_audio",
    "qwen2_5_omni_thinker",
    "qwen2_5_omni_audio_encoder",
    "qwen2_5_omni_talker",
    "qwen2_5_omni_token2wav",
    "qwen2_5_omni_dit",
    "qwen2_5_omni_bigvgan",
)


def class_defaults() -> dict[str, Any]:
    """Return the defaults of every model type that is read, from the installed transformers."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    wanted = sorted({*FAMILIES, *TEXTS, *VISIONS, *OTHERS})
    return {name: _described(CONFIG_MAPPING[name]) for name in wanted}


def _described(config: Any) -> dict[str, Any]:
    parts = config.sub_configs_defaults
    fields = {
        field.name: _plain(_default(field))
        for field in dataclasses.fields(config)
        if field.name not in parts and not changes_nothing(field.name)
    }
    described: dict[str, Any] = {"class": config.__name__, "fields": fields}
    aliases = {
        name: own
        for name, own in config.attribute_map.items()
        if not (changes_nothing(name) and changes_nothing(own))
    }
    if aliases:
        described["aliases"] = aliases
    if parts:
        described["parts"] = {name: _part(spec) for name, spec in parts.items()}
    return described


def _part(spec: Any) -> dict[str, Any]:
    from transformers import PreTrainedConfig

    kept = {key: _plain(value) for key, value in spec.init_kwargs.items()}
    return {
        "model_type": spec.model_type,
        # a part of one class reads whatever model_type a file names
        "any": not issubclass(spec.config_class, PreTrainedConfig),
        "fields": {key: value for key, value in kept.items() if not changes_nothing(key)},
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    assert field.default is not dataclasses.MISSING, field.name
    return field.default


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def main() -> None:
    """Write the file."""
    path = Path(defaults.__file__).with_suffix(".json")
    text = json.dumps(class_defaults(), indent=1, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
