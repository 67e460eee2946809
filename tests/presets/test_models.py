"""Model presets in general: which there are, what each must say, parts, and broken files.

Figures of each model are tested in test_models_*.py.
"""

import tomllib

import pytest
from vlm_tokencost.costmodel import TokencostError, UnknownName, model_parameters
from vlm_tokencost.presets import list_models, load_model, loader

#: Every model that the research record describes down to its language model.
MODELS = """
    llava-1.5-7b llava-1.5-13b llava-next-vicuna-7b llava-next-vicuna-13b llava-next-mistral-7b
    llava-next-34b llava-next-llama3-8b llava-next-72b llava-onevision-0.5b llava-onevision-7b
    llava-onevision-72b llava-video-7b video-llava-7b llava-next-video-7b blip2-opt-2.7b
    blip2-opt-6.7b blip2-flan-t5-xl blip2-flan-t5-xxl instructblip-vicuna-7b
    instructblip-vicuna-13b instructblip-flan-t5-xl qwen2-vl-2b qwen2-vl-7b qwen2-vl-72b
    qwen2.5-vl-3b qwen2.5-vl-7b qwen2.5-vl-32b qwen2.5-vl-72b qwen2.5-omni-7b qwen3-vl-2b
    qwen3-vl-4b qwen3-vl-8b qwen3-vl-32b qwen3-vl-30b-a3b qwen3-vl-235b-a22b internvl2-1b
    internvl2-2b internvl2-4b internvl2-8b internvl2-26b internvl2-40b internvl2-76b
    internvl2.5-1b internvl2.5-2b internvl2.5-4b internvl2.5-8b internvl2.5-26b internvl2.5-38b
    internvl2.5-78b internvl3-1b internvl3-2b internvl3-8b internvl3-14b internvl3-38b
    internvl3-78b internvl3.5-1b internvl3.5-2b internvl3.5-4b internvl3.5-8b internvl3.5-14b
    internvl3.5-38b idefics2-8b idefics3-8b smolvlm-2.2b smolvlm-500m smolvlm-256m smolvlm2-2.2b
    smolvlm2-500m smolvlm2-256m paligemma-3b-224 paligemma-3b-448 paligemma-3b-896
    paligemma2-3b-224 paligemma2-10b-224 paligemma2-28b-224 gemma3-4b gemma3-12b gemma3-27b
    llama3.2-vision-11b llama3.2-vision-90b pixtral-12b mistral-small-3.1-24b glm-4.1v-9b
    ovis2-1b ovis2-2b ovis2-4b ovis2-8b ovis2-16b ovis2-34b aya-vision-8b
    fastvlm-0.5b fastvlm-1.5b fastvlm-7b phi-4-multimodal qwen-vl-7b monkey phi-3.5-vision
    minicpm-v-2.6 molmo-7b-d openvla-7b kimi-vl-a3b deepseek-vl2-tiny deepseek-vl2-small
    deepseek-vl2 mobilevlm-v2-1.7b mobilevlm-v2-3b mobilevlm-v2-7b tokenpacker-7b mini-gemini-7b
    mini-gemini-7b-hd vila-1.5-3b vila-1.5-8b vila-1.5-13b vila-1.5-40b llava-uhd-13b
    openflamingo-3b openflamingo-9b flamingo-80b
"""
#: What the record mentions as another resolution of one of them.
FURTHER = {"tokenpacker-7b-hd"}


def test_every_preset_is_listed_once():
    listed = list_models()
    assert len(listed) == len(set(listed))
    assert set(listed) == {*MODELS.split(), *FURTHER}


@pytest.mark.parametrize("model_id", list_models())
def test_every_part_names_its_source(model_id):
    model = load_model(model_id)
    for part in (model, *model.towers, model.connector, model.decoder, model.token_rule):
        assert part.source
        assert all(isinstance(source, str) and source.strip() for source in part.source)
    if model.published_parameters:
        assert model.published_parameters.source.strip()


@pytest.mark.parametrize("model_id", list_models())
def test_published_counts_close_to_the_integer(model_id):
    model = load_model(model_id)
    published = model.published_parameters
    assert published is not None or model.status != "verified"
    if model.status == "verified":
        counted = sum(model_parameters(model).values())
        assert published.count - counted == sum(published.difference.values())


@pytest.mark.parametrize("model_id", list_models())
def test_unverified_figures_are_figures_of_the_model(model_id):
    model = load_model(model_id)
    for field in model.unverified:
        found = model
        for name in field.split("."):
            found = getattr(found, name)
        assert found is not None, field
    # a parameter count that closes leaves little to doubt
    if model.status == "verified":
        assert all(
            field.startswith("token_rule.") or field == "decoder.sliding_window"
            for field in model.unverified
        )


@pytest.mark.parametrize("model_id", list_models())
def test_loading_twice_gives_the_same(model_id):
    assert load_model(model_id) == load_model(model_id)


# --- families and parts --------------------------------------------------------------------------


@pytest.fixture
def altered(tmp_path, monkeypatch):
    """Return a function that replaces one text of a family's file, which then stands alone."""
    families = loader.MODELS
    monkeypatch.setattr(loader, "MODELS", tmp_path)

    def alter(old: str, new: str, family: str = "llava-1.5") -> None:
        source = (families / f"{family}.toml").read_text(encoding="utf-8")
        assert old in source
        (tmp_path / "altered.toml").write_text(source.replace(old, new, 1), encoding="utf-8")

    return alter


def test_a_model_may_override_fields_of_its_family_s_encoder(altered):
    named = 'hf_id = "llava-hf/llava-1.5-7b-hf"'
    altered(named, f"{named}\nvision.contributing_layers = 22")
    vision = load_model("llava-1.5-7b").vision
    assert (vision.name, vision.contributing_layers) == ("CLIP ViT-L/14-336", 22)
    assert load_model("llava-1.5-13b").vision.contributing_layers == 23


def test_a_model_may_override_fields_within_a_part_s_tables(altered):
    altered("vocab_size = 32_064", "vocab_size = 32_064\nattention.num_key_value_heads = 8")
    attention = load_model("llava-1.5-7b").decoder.attention
    assert (attention.num_attention_heads, attention.num_key_value_heads) == (32, 8)
    assert load_model("llava-1.5-13b").decoder.attention.num_key_value_heads == 40


def test_sources_of_part_family_and_model_add_up(altered):
    altered('base = "clip-vit-l-14-336"', 'base = "clip-vit-l-14-336"\nsource = ["a book"]')
    source = load_model("llava-1.5-7b").vision.source
    assert len(source) == 2
    assert source[1] == "a book"


@pytest.mark.parametrize("section", ["vision", "decoder"])
def test_a_part_read_alone_is_that_of_the_whole_file(section):
    path = loader.PARTS / f"{section}.toml"
    parts = tomllib.loads(path.read_text(encoding="utf-8"))
    assert len(parts) > 10
    for name, part in parts.items():
        assert loader._part(path, section, name) == part


def test_every_part_is_some_model_s():
    used = {"vision": set(), "decoder": set()}
    for path in loader.MODELS.glob("*.toml"):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        for table in (content["family"], *content["models"].values()):
            for section in ("vision", "second_vision", "decoder"):
                base = table.get(section, {}).get("base")
                used[section.removeprefix("second_")].add(base)
    for section, names in used.items():
        parts = tomllib.loads((loader.PARTS / f"{section}.toml").read_text(encoding="utf-8"))
        assert set(parts) == names - {None}


# --- unknown ids ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("llava-1.5-7", "llava-1.5-7b"),
        ("LLaVA-1.5-7B", "llava-1.5-7b"),
        ("qwen2.5vl-7b", "qwen2.5-vl-7b"),
        ("internvl3_8b", "internvl3-8b"),
    ],
)
def test_unknown_model_suggests(wrong, meant):
    with pytest.raises(UnknownName) as caught:
        load_model(wrong)
    assert (caught.value.field, caught.value.value) == ("model", wrong)
    assert caught.value.way_out == f"did you mean {meant}?"


@pytest.mark.parametrize("wrong", ["gpt", "", " ", '"]', "models", "../llava", "x" * 5_000])
def test_unlike_model_lists(wrong):
    with pytest.raises(UnknownName, match="is not known; see `tokencost models list`"):
        load_model(wrong)


# --- broken files --------------------------------------------------------------------------------


@pytest.fixture
def broken(altered):
    """Return a function that breaks one text of a family's file and returns the loader's error."""

    def load(old: str, new: str, family: str = "llava-1.5", model_id: str = "llava-1.5-7b") -> str:
        altered(old, new, family)
        with pytest.raises(TokencostError) as caught:
            load_model(model_id)
        return str(caught.value)

    return load


@pytest.mark.parametrize(
    ("old", "new", "field", "fragment"),
    [
        pytest.param(
            "vocab_size = 32_064", 'vocab_size = "wide"', "decoder.vocab_size", "wide", id="word"
        ),
        pytest.param(
            "vocab_size = 32_064",
            "vocab_size = 32064.0",
            "decoder.vocab_size",
            "32064.0",
            id="float",
        ),
        pytest.param(
            "vocab_size = 32_064",
            "num_hidden_layers = 0",
            "decoder.num_hidden_layers",
            "below 1",
            id="zero",
        ),
        pytest.param('hf_id = "llava-hf/llava-1.5-7b-hf"', "", "hf_id", "is missing", id="missing"),
        pytest.param(
            "vocab_size", "vocab_sise", "decoder.vocab_sise", "did you mean vocab_size?", id="typo"
        ),
        pytest.param(
            "vocab_size = 32_064",
            "attention.num_key_value_heads = 5",
            "decoder.attention",
            "does not divide",
            id="heads",
        ),
        pytest.param(
            "out_features = 4_096, bias = true },\n]",
            "out_features = 5_120, bias = true },\n]",
            "",
            "5120",
            id="widths",
        ),
        pytest.param(
            'source = ["transformers 5.23.0 LlavaMultiModalProjector"]',
            "source = []",
            "connector.source",
            "",
            id="no-source",
        ),
        pytest.param('status = "verified"', 'status = "sure"', "status", "sure", id="status"),
        pytest.param(
            'base = "clip-vit-l-14-336"',
            'base = "clip-vit-l-14-335"',
            "vision.base",
            "did you mean clip-vit-l-14-336?",
            id="base",
        ),
        pytest.param('kind = "fixed"', 'kind = "fixt"', "token_rule", "fixt", id="rule"),
        pytest.param("image_size = 336", "image_size = -1", "image_size", "below 1", id="image"),
    ],
)
def test_a_broken_preset_names_file_model_and_field(broken, old, new, field, fragment):
    message = broken(old, new)
    assert message.startswith("altered.toml: llava-1.5-7b.")
    assert field in message
    assert fragment in message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("[family]", "[family", id="syntax"),
        pytest.param("[family]", "[famly]", id="misspelt-family"),
        pytest.param('[family.vision]\nbase = "clip-vit-l-14-336"', "", id="no-vision"),
        pytest.param(
            '[family.vision]\nbase = "clip-vit-l-14-336"', "vision = 3", id="vision-is-a-number"
        ),
        pytest.param('base = "clip-vit-l-14-336"', "base = [3]", id="base-is-a-list"),
    ],
)
def test_a_malformed_preset_names_the_file(broken, old, new):
    assert "altered.toml" in broken(old, new)


@pytest.mark.parametrize(
    ("family", "model_id", "old", "new", "meant"),
    [
        ("internvl3", "internvl3-8b", "max_tiles", "max_tile", "max_tiles"),
        ("qwen2-vl", "qwen2-vl-7b", "max_pixels", "max_pixel", "max_pixels"),
        ("llava-next", "llava-next-34b", "several_images", "several_image", "several_images"),
    ],
)
def test_a_misspelt_key_of_a_rule_suggests_a_key_of_that_rule(
    broken, family, model_id, old, new, meant
):
    message = broken(old, new, family, model_id)
    assert "token_rule" in message
    assert f"{new} is not a known key; did you mean {meant}?" in message


def test_a_misspelt_key_of_a_connector_stage_suggests_one(broken):
    message = broken("out_features", "out_feature")
    assert "connector.stages.0" in message
    assert "out_feature is not a known key; did you mean out_features?" in message


@pytest.mark.parametrize(
    ("table", "wrong", "hint"),
    [
        ("[family.token_rule]", "llava", ""),  # which has no file of parts
        ('[models."llava-1.5-7b".decoder]', "vicuna-70b", "did you mean vicuna-7b?"),
        ('[models."llava-1.5-7b".decoder]', "", ""),
    ],
)
def test_an_unknown_part_names_the_preset(broken, table, wrong, hint):
    section = table.strip("[]").split(".")[-1]
    message = broken(
        f'{table}\nbase = "vicuna-7b"' if "models" in table else table, f'{table}\nbase = "{wrong}"'
    )
    assert message.startswith(f"altered.toml: llava-1.5-7b.{section}.base {wrong}")
    assert "is not known" in message
    assert hint in message


def test_an_id_that_needs_no_quotes_is_found(altered):
    altered('"idefics2-8b"]', "idefics2-8b]", "idefics2")
    text = (loader.MODELS / "altered.toml").read_text(encoding="utf-8")
    (loader.MODELS / "altered.toml").write_text(text.replace('"idefics2-8b"', "idefics2-8b"))
    assert list_models() == ["idefics2-8b"]
    assert load_model("idefics2-8b").id == "idefics2-8b"


def test_a_broken_preset_leaves_the_others_alone(broken):
    broken("vocab_size = 32_064", "vocab_size = 0")
    assert load_model("llava-1.5-13b").decoder.hidden_size == 5120
    assert list_models() == ["llava-1.5-7b", "llava-1.5-13b"]
