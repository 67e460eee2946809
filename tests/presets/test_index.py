"""The index of presets: equal to the presets, and enough to find a model's file."""

import pytest
from vlm_tokencost.presets import built as lines
from vlm_tokencost.presets import list_models, load_model
from vlm_tokencost.presets.index import NAME, file_of, read_index
from vlm_tokencost.presets.indexing import built_text, index_text
from vlm_tokencost.presets.loader import MODELS, index_entries, load_file


def test_the_index_is_that_of_the_presets():
    assert (MODELS / NAME).read_text(encoding="utf-8") == index_text()
    assert [entry.id for entry in index_entries()] == list_models()


def test_every_model_is_found_in_its_file():
    for entry in index_entries():
        path = file_of(MODELS, entry.id)
        assert path == MODELS / entry.file
        assert f'"{entry.id}"' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("model_id", ["", "llava", 'llava-1.5-7b", "x', "llava-1.5-7b\n"])
def test_what_is_no_id_has_no_file(model_id):
    assert file_of(MODELS, model_id) is None


def test_a_folder_without_an_index(tmp_path):
    assert file_of(tmp_path, "llava-1.5-7b") is None
    assert read_index(tmp_path) == {}


def test_a_file_is_loaded_whole():
    models = load_file(MODELS / "llava-1.5.toml")
    assert [model.id for model in models] == ["llava-1.5-7b", "llava-1.5-13b"]
    assert models[0] == load_model("llava-1.5-7b")


def test_the_lines_are_those_of_the_presets():
    assert (MODELS / lines.NAME).read_text(encoding="utf-8") == built_text()


@pytest.mark.parametrize("model_id", list_models())
def test_a_line_is_its_preset(model_id):
    path = file_of(MODELS, model_id)
    (preset,) = [model for model in load_file(path) if model.id == model_id]
    read = lines.built(MODELS, model_id)
    assert read == preset
    assert repr(read) == repr(preset)  # equal numbers of other types, a list for a tuple
    assert read.model_dump() == preset.model_dump()
    assert read.model_fields_set == preset.model_fields_set
    assert load_model(model_id) == preset
    assert hash(load_model(model_id)) == hash(preset)


def test_a_line_of_other_sources_is_not_used(tmp_path):
    folder = tmp_path / "presets" / "models"
    folder.mkdir(parents=True)
    source = folder / "own.toml"
    source.write_text("[family]\n", encoding="utf-8")
    own = load_model("llava-1.5-7b").model_copy(update={"id": "own-1b"})
    text = lines.line(own, (source,))
    (folder / lines.NAME).write_text(f"{text}\n", encoding="utf-8")
    assert lines.built(folder, "own-1b") == own
    assert lines.built(folder, "own-1") is None
    source.write_text("[family]\nfamily = 3\n", encoding="utf-8")
    assert lines.built(folder, "own-1b") is None
    source.unlink()
    assert lines.built(folder, "own-1b") is None
