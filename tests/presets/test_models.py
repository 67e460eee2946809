"""Model presets: figures of the checkpoints, published counts, sources, and broken files.

The parameter counts are those that the Hugging Face API gives for the checkpoints' safetensors
(mm-evaluation/simple-mmeval, mmeval/model_metadata.json at 7f0faed), written out here so that no
figure of a preset is compared with itself.
"""

import pytest
from vlm_tokencost.costmodel import TokencostError, UnknownName, model_parameters
from vlm_tokencost.presets import list_models, load_model, loader

CLIP = 303_507_456  # CLIP ViT-L/14-336
SIGLIP = 397_747_744  # SigLIP SO400M/14-384 without its last layer
QWEN2_VIT = 631_183_360
QWEN25_VIT = 631_975_680
INTERNVIT = 304_012_288
#: id: (total, vision, connector without newline, newline)
PARAMETERS = {
    "llava-1.5-7b": (7_063_427_072, CLIP, 20_979_712, 0),
    "llava-1.5-13b": (13_351_494_656, CLIP, 31_467_520, 0),
    # the connector's learned newline has the LLM's width
    "llava-next-vicuna-7b": (7_063_431_168, CLIP, 20_979_712, 4_096),
    "llava-next-vicuna-13b": (13_351_499_776, CLIP, 31_467_520, 5_120),
    "llava-next-mistral-7b": (7_566_747_648, CLIP, 20_979_712, 4_096),
    "llava-next-34b": (34_752_083_968, CLIP, 58_734_592, 7_168),
    "llava-onevision-7b": (8_030_807_584, SIGLIP, 16_980_992, 3_584),
    "qwen2-vl-7b": (8_291_375_616, QWEN2_VIT, 44_575_744, 0),
    "qwen2.5-vl-3b": (3_754_622_976, QWEN25_VIT, 36_708_608, 0),
    "qwen2.5-vl-7b": (8_292_166_656, QWEN25_VIT, 44_574_464, 0),
    "internvl2-8b": (8_075_365_376, INTERNVIT, 33_570_816, 0),
    "internvl3-8b": (7_944_373_760, INTERNVIT, 27_540_480, 0),
}

#: id: (layers, hidden size, heads, key/value heads, head size, FFN, vocabulary, tied)
DECODERS = {
    "llava-1.5-7b": (32, 4096, 32, 32, 128, 11008, 32064, False),
    "llava-1.5-13b": (40, 5120, 40, 40, 128, 13824, 32064, False),
    "llava-next-vicuna-7b": (32, 4096, 32, 32, 128, 11008, 32064, False),
    "llava-next-vicuna-13b": (40, 5120, 40, 40, 128, 13824, 32064, False),
    "llava-next-mistral-7b": (32, 4096, 32, 8, 128, 14336, 32064, False),
    "llava-next-34b": (60, 7168, 56, 8, 128, 20480, 64064, False),
    "llava-onevision-7b": (28, 3584, 28, 4, 128, 18944, 152128, False),
    "qwen2-vl-7b": (28, 3584, 28, 4, 128, 18944, 152064, False),
    "qwen2.5-vl-3b": (36, 2048, 16, 2, 128, 11008, 151936, True),
    "qwen2.5-vl-7b": (28, 3584, 28, 4, 128, 18944, 152064, False),
    "internvl2-8b": (32, 4096, 32, 8, 128, 14336, 92553, False),
    "internvl3-8b": (28, 3584, 28, 4, 128, 18944, 151674, False),
}

#: (contributing layers, layers, hidden size, heads, head size, FFN, gated, patch, class token)
CLIP_SHAPE = (23, 24, 1024, 16, 64, 4096, False, 14, True)
SIGLIP_SHAPE = (26, 26, 1152, 16, 72, 4304, False, 14, False)
QWEN2_SHAPE = (32, 32, 1280, 16, 80, 5120, False, 14, False)
QWEN25_SHAPE = (32, 32, 1280, 16, 80, 3420, True, 14, False)
INTERNVIT_SHAPE = (24, 24, 1024, 16, 64, 4096, False, 14, True)
ENCODERS = {
    "llava-1.5-7b": CLIP_SHAPE,
    "llava-1.5-13b": CLIP_SHAPE,
    "llava-next-vicuna-7b": CLIP_SHAPE,
    "llava-next-vicuna-13b": CLIP_SHAPE,
    "llava-next-mistral-7b": CLIP_SHAPE,
    "llava-next-34b": CLIP_SHAPE,
    "llava-onevision-7b": SIGLIP_SHAPE,
    "qwen2-vl-7b": QWEN2_SHAPE,
    "qwen2.5-vl-3b": QWEN25_SHAPE,
    "qwen2.5-vl-7b": QWEN25_SHAPE,
    "internvl2-8b": INTERNVIT_SHAPE,
    "internvl3-8b": INTERNVIT_SHAPE,
}

#: (hf_id, model_type)
NAMES = {
    "llava-1.5-7b": ("llava-hf/llava-1.5-7b-hf", "llava"),
    "llava-1.5-13b": ("llava-hf/llava-1.5-13b-hf", "llava"),
    "llava-next-vicuna-7b": ("llava-hf/llava-v1.6-vicuna-7b-hf", "llava_next"),
    "llava-next-vicuna-13b": ("llava-hf/llava-v1.6-vicuna-13b-hf", "llava_next"),
    "llava-next-mistral-7b": ("llava-hf/llava-v1.6-mistral-7b-hf", "llava_next"),
    "llava-next-34b": ("llava-hf/llava-v1.6-34b-hf", "llava_next"),
    "llava-onevision-7b": ("llava-hf/llava-onevision-qwen2-7b-ov-hf", "llava_onevision"),
    "qwen2-vl-7b": ("Qwen/Qwen2-VL-7B-Instruct", "qwen2_vl"),
    "qwen2.5-vl-3b": ("Qwen/Qwen2.5-VL-3B-Instruct", "qwen2_5_vl"),
    "qwen2.5-vl-7b": ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_5_vl"),
    "internvl2-8b": ("OpenGVLab/InternVL2-8B", "internvl"),
    "internvl3-8b": ("OpenGVLab/InternVL3-8B", "internvl"),
}


def test_every_preset_is_listed_once_and_has_its_figures_here():
    listed = list_models()
    assert len(listed) == len(set(listed))
    assert set(PARAMETERS) == set(listed)
    assert set(DECODERS) == set(ENCODERS) == set(NAMES) == set(listed)


@pytest.mark.parametrize("model_id", PARAMETERS)
def test_parameters_equal_the_published_count(model_id):
    model = load_model(model_id)
    total, vision, projector, newline = PARAMETERS[model_id]
    counted = model_parameters(model)
    assert sum(counted.values()) == total
    assert model.published_parameters.count == total
    assert counted["vision"] == vision
    assert counted["connector"] == projector + newline
    # embedding, blocks, final norm and head are the rest
    assert counted["decoder"] + counted["head"] == total - vision - projector - newline


@pytest.mark.parametrize("model_id", DECODERS)
def test_decoder(model_id):
    decoder = load_model(model_id).decoder
    attention = decoder.attention
    assert DECODERS[model_id] == (
        decoder.num_hidden_layers,
        decoder.hidden_size,
        attention.num_attention_heads,
        attention.num_key_value_heads,
        attention.head_dim,
        decoder.feed_forward.intermediate_size,
        decoder.vocab_size,
        decoder.tie_word_embeddings,
    )
    assert decoder.feed_forward.gated
    assert decoder.norm == "rms"


@pytest.mark.parametrize("model_id", ENCODERS)
def test_encoder(model_id):
    vision = load_model(model_id).vision
    attention = vision.attention
    assert ENCODERS[model_id] == (
        vision.contributing_layers,
        vision.num_hidden_layers,
        vision.hidden_size,
        attention.num_attention_heads,
        attention.head_dim,
        vision.feed_forward.intermediate_size,
        vision.feed_forward.gated,
        vision.patch_embedding.patch_size,
        vision.class_token,
    )
    assert attention.num_key_value_heads == attention.num_attention_heads


@pytest.mark.parametrize("model_id", NAMES)
def test_names(model_id):
    model = load_model(model_id)
    assert model.id == model_id
    assert (model.hf_id, model.model_type) == NAMES[model_id]


@pytest.mark.parametrize(
    ("model_id", "embedding"),
    [
        # 151,936 · 2048, stored once: the head reuses it
        ("qwen2.5-vl-3b", 311_164_928),
        # 152,064 · 3584, stored twice
        ("qwen2.5-vl-7b", 544_997_376),
    ],
)
def test_tied_heads_store_nothing(model_id, embedding):
    model = load_model(model_id)
    head = model_parameters(model)["head"]
    assert head == (0 if model.decoder.tie_word_embeddings else embedding)
    assert model.decoder.vocab_size * model.decoder.hidden_size == embedding


def test_qwen_frames_and_windows():
    for model_id in ("qwen2-vl-7b", "qwen2.5-vl-3b", "qwen2.5-vl-7b"):
        assert load_model(model_id).vision.patch_embedding.temporal_patch_size == 2
        assert load_model(model_id).connector.merge_size == 2
    assert load_model("qwen2-vl-7b").vision.windows is None
    windows = load_model("qwen2.5-vl-7b").vision.windows
    assert (windows.size, windows.full_attention_layers) == (8, (7, 15, 23, 31))


@pytest.mark.parametrize("model_id", list_models())
def test_every_part_names_its_source(model_id):
    model = load_model(model_id)
    for part in (model, model.vision, model.connector, model.decoder, model.token_rule):
        assert part.source
        assert all(isinstance(source, str) and source.strip() for source in part.source)
    if model.published_parameters:
        assert model.published_parameters.source.strip()


@pytest.mark.parametrize("model_id", list_models())
def test_verified_models_match_a_published_count(model_id):
    model = load_model(model_id)
    if model.status == "verified":
        assert sum(model_parameters(model).values()) == model.published_parameters.count
        assert not model.unverified


@pytest.mark.parametrize("model_id", list_models())
def test_loading_twice_gives_the_same(model_id):
    assert load_model(model_id) == load_model(model_id)


def test_a_model_may_override_its_encoder_s_fields(tmp_path, monkeypatch):
    named = 'vision.base = "clip-vit-l-14-336"'
    source = (loader.MODELS / "llava-1.5.toml").read_text(encoding="utf-8")
    changed = source.replace(named, named + "\nvision.contributing_layers = 22", 1)
    (tmp_path / "changed.toml").write_text(changed, encoding="utf-8")
    monkeypatch.setattr(loader, "MODELS", tmp_path)
    vision = load_model("llava-1.5-7b").vision
    assert (vision.contributing_layers, vision.num_hidden_layers) == (22, 24)
    assert load_model("llava-1.5-13b").vision.contributing_layers == 23


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
def broken(tmp_path, monkeypatch):
    """Return a function that breaks one text of a family's file and returns the loader's error."""
    families = loader.MODELS
    monkeypatch.setattr(loader, "MODELS", tmp_path)

    def load(old: str, new: str, family: str = "llava-1.5", model_id: str = "llava-1.5-7b") -> str:
        source = (families / f"{family}.toml").read_text(encoding="utf-8")
        assert old in source
        (tmp_path / "broken.toml").write_text(source.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(TokencostError) as caught:
            load_model(model_id)
        return str(caught.value)

    return load


@pytest.mark.parametrize(
    ("old", "new", "field", "fragment"),
    [
        pytest.param(
            "hidden_size = 4_096", 'hidden_size = "wide"', "decoder.hidden_size", "wide", id="word"
        ),
        pytest.param(
            "hidden_size = 4_096",
            "hidden_size = 4096.0",
            "decoder.hidden_size",
            "4096.0",
            id="float",
        ),
        pytest.param(
            "num_hidden_layers = 32",
            "num_hidden_layers = 0",
            "decoder.num_hidden_layers",
            "below 1",
            id="zero",
        ),
        pytest.param("vocab_size = 32_064", "", "decoder.vocab_size", "is missing", id="missing"),
        pytest.param(
            "vocab_size", "vocab_sise", "decoder.vocab_sise", "did you mean vocab_size?", id="typo"
        ),
        pytest.param(
            "num_key_value_heads = 32,",
            "num_key_value_heads = 5,",
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
            'vision.base = "clip-vit-l-14-336"',
            'vision.base = "clip-vit-l-14-335"',
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
    assert message.startswith("broken.toml: llava-1.5-7b.")
    assert field in message
    assert fragment in message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("[family]", "[family", id="syntax"),
        pytest.param("[family]", "[famly]", id="misspelt-family"),
        pytest.param('vision.base = "clip-vit-l-14-336"', "", id="no-vision"),
        pytest.param('vision.base = "clip-vit-l-14-336"', "vision = 3", id="vision-is-a-number"),
    ],
)
def test_a_malformed_preset_names_the_file(broken, old, new):
    assert "broken.toml" in broken(old, new)


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


def test_a_part_without_a_file_names_the_preset(broken):
    named = '[models."llava-1.5-7b".decoder]'
    message = broken(named, named + '\nbase = "vicuna-7b"')
    assert message.startswith("broken.toml: llava-1.5-7b.decoder.base vicuna-7b is not known")


def test_an_id_that_needs_no_quotes_is_found(tmp_path, monkeypatch):
    text = (loader.MODELS / "internvl3.toml").read_text(encoding="utf-8")
    (tmp_path / "bare.toml").write_text(text.replace('"internvl3-8b"', "internvl3-8b"))
    monkeypatch.setattr(loader, "MODELS", tmp_path)
    assert list_models() == ["internvl3-8b"]
    assert load_model("internvl3-8b").id == "internvl3-8b"


def test_a_broken_preset_leaves_the_others_alone(broken):
    broken("hidden_size = 4_096", "hidden_size = 0")
    assert load_model("llava-1.5-13b").decoder.hidden_size == 5120
    assert list_models() == ["llava-1.5-7b", "llava-1.5-13b"]
