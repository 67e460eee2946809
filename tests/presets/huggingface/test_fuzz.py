"""Whatever a file holds, reading it gives a model or one sentence."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vlm_tokencost.costmodel import (
    InvalidInput,
    TokencostError,
    Workload,
    model_parameters,
    plan,
)
from vlm_tokencost.presets.huggingface import read_config, to_toml
from vlm_tokencost.presets.huggingface.files import parse_json

CONFIGS = Path(__file__).parent / "configs"
#: One file of each model type.
FILES = {}
for _path in sorted(CONFIGS.glob("*.json")):
    _content = json.loads(_path.read_text(encoding="utf-8"))
    FILES.setdefault(_content["model_type"], _content)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 5_000)
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["llama", "qwen2", "sliding_attention", "clip_vision_model", "full"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["hidden_size", "model_type"]), inner
        )
    ),
    max_leaves=6,
)


def tables(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a config and every table in it."""
    found = [config]
    for value in config.values():
        if isinstance(value, dict):
            found += tables(value)
    return found


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), name=st.sampled_from(sorted(FILES)))
def test_mutated_files_are_read_or_refused(data: st.DataObject, name: str) -> None:
    config = copy.deepcopy(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        table = data.draw(st.sampled_from([table for table in tables(config) if table]))
        field = data.draw(st.sampled_from(sorted(table)))
        if data.draw(st.booleans()):
            del table[field]
        else:
            table[field] = data.draw(values)
    processor = data.draw(
        st.none()
        | st.dictionaries(
            st.sampled_from(["size", "crop_size", "max_pixels", "min_pixels", "max_patches"]),
            values,
        )
    )
    try:
        model = read_config(config, processor)
    except InvalidInput as error:
        assert "\n" not in str(error)
        assert error.field.startswith(("config", "processor"))
    else:
        assert all(count >= 0 for count in model_parameters(model).values())
        assert to_toml(model)
        with suppress(InvalidInput):  # a default image that this model's patches do not fit
            assert plan(model, Workload()).dense_visual_tokens >= 0


@settings(max_examples=200)
@given(content=st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_object_or_refused(content: bytes) -> None:
    try:
        assert isinstance(parse_json(content, "config.json"), dict)
    except TokencostError as error:
        assert str(error).startswith("config config.json ")
