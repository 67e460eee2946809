"""A model as a preset file: what the loader reads from it is the model."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput, Model
from vlm_tokencost.presets import list_models, load_model, loader
from vlm_tokencost.presets.huggingface import read_config, to_toml

Contents = Callable[[str], dict[str, Any]]
NAMES = sorted(path.stem for path in (Path(__file__).parent / "configs").glob("*.json"))


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Model], Model]:
    """Return a function that writes a model's preset file and loads the model from it."""

    def write_and_load(model: Model) -> Model:
        folder = tmp_path / "models"
        folder.mkdir(exist_ok=True)
        (folder / "family.toml").write_text(to_toml(model), encoding="utf-8")
        monkeypatch.setattr(loader, "MODELS", folder)
        loader._read.cache_clear()
        return load_model(model.id)

    return write_and_load


@pytest.mark.parametrize("model_id", list_models())
def test_a_preset_comes_back_as_it_is(model_id: str, loaded: Callable[[Model], Model]) -> None:
    model = load_model(model_id)
    assert loaded(model) == model


@pytest.mark.parametrize("name", NAMES)
def test_an_import_comes_back_as_it_is(
    name: str, content: Contents, loaded: Callable[[Model], Model]
) -> None:
    model = read_config(content(name), model_id=name)
    assert loaded(model) == model
    assert to_toml(loaded(model)) == to_toml(model)


def test_texts_are_escaped(content: Contents, loaded: Callable[[Model], Model]) -> None:
    model = read_config(content("llava-1.5-7b"), model_id="é.1 x")
    odd = 'a "quote", a \\, a\ttab,\na line, \x7f and ∑'
    model = type(model)(**{**dict(model), "source": (odd,), "hf_id": odd})
    assert loaded(model) == model
    assert tomllib.loads(to_toml(model))["models"]["é.1 x"]["source"] == [odd]


def test_lines_are_short_and_in_order(content: Contents) -> None:
    text = to_toml(read_config(content("gemma3-4b"), model_id="mine"))
    headings = [line for line in text.splitlines() if line.startswith("[")]
    assert headings == [
        "[family]",
        '[models."mine"]',
        '[models."mine".vision]',
        '[models."mine".connector]',
        '[models."mine".decoder]',
        '[models."mine".token_rule]',
    ]
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    long_list = "layers = [0, 1, 2, 3, 4, 6, 7"  # of the sliding window: in an inline table
    assert long_list in text


def test_an_id_that_is_no_key_is_refused(content: Contents) -> None:
    model = read_config(content("llava-1.5-7b"))
    with pytest.raises(InvalidInput, match="is no id for a model"):
        to_toml(type(model)(**{**dict(model), "id": 'a"]b'}))
