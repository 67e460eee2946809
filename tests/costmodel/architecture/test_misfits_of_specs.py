"""Specs that make no model: each is refused in one sentence that names the field.

LLaVA-1.5-7B has an encoder of 24 layers, 23 of which contribute, of 1024 features with a class
token; the decoder of `with_decoder` has 6 layers of hidden size 48.
"""

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from other_decoders import CROSS, FFN, HEADS, with_decoder
from refusals import refusal
from vlm_tokencost.costmodel import InvalidInput, Model
from vlm_tokencost.costmodel.architecture import Attention, FeedForward, PublishedParameters
from vlm_tokencost.costmodel.architecture.decoder import Decoder
from vlm_tokencost.costmodel.architecture.variants import ExtraParameters
from vlm_tokencost.costmodel.connectors import STAGES
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")
EXPERTS = {
    **FFN,
    "kind": "experts",
    "num_experts": 8,
    "num_experts_per_tok": 2,
}
LATENT = {
    **HEADS,
    "kind": "latent",
    "num_key_value_heads": 4,
    "kv_lora_rank": 24,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
}
ADAPTER = {"rank": 4, "stored_ranks": [4]}
CROP_ADAPTERS = {"crops": 4, "attention_rank": 4, "feed_forward_rank": 8}


def misfit(model: Model, **parts) -> InvalidInput:
    """Return the error of a model with parts changed: a table changes fields of a part."""
    changed = {
        name: {**dict(getattr(model, name)), **part} if isinstance(part, dict) else part
        for name, part in parts.items()
    }
    return refusal(Model, **{**dict(model), **changed})


# --- parts of the wrong shape --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"adapter": [ADAPTER]}, "decoder.adapter is not a table of keys; give a table of keys"),
        ({"sliding_window": ()}, "decoder.sliding_window is not a table of keys"),
        ({"sliding_window": 5}, "decoder.sliding_window is not a table of keys"),
        ({"variants": None}, "decoder.variants is not a list; give a list"),
        ({"variants": {"layers": [1]}}, "decoder.variants is not a list"),
        ({"variants": [None]}, "decoder.variants.0 is not a table of keys"),
        ({"extra_parameters": None}, "decoder.extra_parameters is not a list"),
        ({"extra_parameters": "table"}, "decoder.extra_parameters is not a list"),
        ({"adapter": {1: 2}}, "decoder.adapter 1 is not a known key; give keys that are texts"),
        ({"attention": {None: 2}}, "decoder.attention None is not a known key"),
        ({"attention": {**HEADS, ("kind",): 2}}, "decoder.attention ('kind',) is not a known key"),
        (
            {"attention": {**HEADS, "qk_norm": "all"}},
            "decoder.attention.qk_norm all is not a choice",
        ),
        ({"attention": {**HEADS, "qk_norm": 1}}, "decoder.attention.qk_norm 1 is not a choice"),
        (
            {"extra_parameters": [{"name": "x", "count": -3}]},
            "decoder.extra_parameters.0.count -3 is below 0",
        ),
        (
            {"extra_parameters": [{"name": "x", "count": 3.0}]},
            "decoder.extra_parameters.0.count 3.0 is not a whole number",
        ),
        ({"two\nlines": 1}, "decoder.two lines is not a known key"),
        ({"adapter": {"two\nlines": 1}}, "decoder.adapter.two lines is not a known key"),
        ({"attention": [HEADS]}, "decoder.attention is not a table of keys"),
    ],
    ids=str,
)
def test_shapes(changes, sentence):
    error = misfit(LLAVA, decoder=changes)
    assert str(error).startswith(sentence)


def test_absent_parts_stay_absent():
    decoder = with_decoder(
        adapter=None, sliding_window=None, variants=(), extra_parameters=[]
    ).decoder
    assert (decoder.adapter, decoder.sliding_window) == (None, None)
    assert (decoder.variants, decoder.extra_parameters) == ((), ())


def test_parts_that_are_specs_already():
    extra = ExtraParameters(name="table", count=7)
    assert with_decoder(extra_parameters=[extra]).decoder.extra_parameters == (extra,)


def test_a_stage_with_keys_that_are_no_texts():
    error = refusal(STAGES.build, {"kind": "merge", 2: 2})
    assert (error.value, error.problem) == ("2", "is not a known key")


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANYTHING = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(SIMPLE | st.just("kind"), inner, max_size=2)
    ),
    max_leaves=4,
)
TABLE = dict(with_decoder().decoder)


@given(ANYTHING, st.sampled_from([*TABLE]))
def test_anything_wrong_in_a_decoder_is_an_invalid_input(value, field):
    try:
        Decoder(**{**TABLE, field: value})
    except InvalidInput as error:
        assert "\n" not in str(error)


@given(ANYTHING, st.sampled_from([*dict(LLAVA)]))
def test_anything_wrong_in_a_model_is_an_invalid_input(value, field):
    try:
        Model(**{**dict(LLAVA), field: value})
    except InvalidInput as error:
        assert "\n" not in str(error)


# --- specs of another kind than they say ---------------------------------------------------------


def test_a_spec_that_calls_itself_another_kind():
    latent = Attention(**{**HEADS, "kind": "latent"})
    error = misfit(LLAVA, decoder={"attention": latent})
    assert str(error) == (
        "decoder.attention.kind latent is not what Attention describes; "
        "build LatentAttention, or give a table of keys"
    )
    experts = FeedForward(**{**FFN, "kind": "experts"})
    error = misfit(LLAVA, decoder={"feed_forward": experts})
    assert (error.field, error.value) == ("decoder.feed_forward.kind", "experts")
    error = misfit(LLAVA, decoder={"attention": Attention(**{**HEADS, "kind": "latend"})})
    assert "did you mean latent?" in str(error)


def test_a_spec_of_another_part():
    error = misfit(LLAVA, decoder={"attention": LLAVA.decoder.feed_forward})
    assert str(error).startswith(
        "decoder.attention FeedForward is not an attention; choose from heads, latent"
    )


# --- how a problem of a whole part is named ------------------------------------------------------


def test_only_the_outermost_spec_goes_by_its_class():
    rows = [{"name": "a", "out_features": 40, "group_features": 2, "bias": False}]
    tower = {
        "kind": "convolutional",
        "name": "tower",
        "model_type": "none",
        "stem": rows,  # 3 channels in groups of 2
        "stages": [{"depth": 1, "block": {"rows": []}}],
        "source": ["made up for tests"],
    }
    error = refusal(Model, **{**dict(LLAVA), "vision": tower})
    assert error.field == "vision"
    assert str(error).startswith("vision stem: a: group_features 2 makes no groups of 3")
    with pytest.raises(InvalidInput) as caught:
        type(load_model("mini-gemini-7b-hd").second_vision)(**tower)
    assert caught.value.field == "convolutionalencoder"


# --- attention, variants, adapters ---------------------------------------------------------------

NOT_A_DECODER = {
    "heads of cross-attention": (
        {"variants": [{"layers": [1], "cross_attention": {**CROSS, "num_key_value_heads": 3}}]},
        "variants.0.cross_attention.num_key_value_heads 3 does not divide num_attention_heads 4",
    ),
    "sources": (
        {
            "variants": [
                {"layers": [1], "cross_attention": CROSS},
                {"layers": [2], "cross_attention": {**CROSS, "source_size": 64}},
            ]
        },
        "variants attend to sequences of 48 and 64 features",
    ),
    "source of an encoder–decoder": (
        {
            "encoder_layers": 5,
            "variants": [{"layers": [5], "cross_attention": {**CROSS, "source_size": 64}}],
        },
        "variants attend to 64 features, but the LLM's own encoder hands on 48",
    ),
    "cross-attention in the LLM's encoder": (
        {
            "encoder_layers": 4,
            "variants": [{"layers": [3, 4, 5], "cross_attention": CROSS}],
        },
        "encoder_layers 4 does not fit the variants: layer 3 has cross-attention",
    ),
    "cross FFN alone": (
        {"variants": [{"layers": [1], "cross_feed_forward": FFN}]},
        "variants.0.cross_feed_forward is given without cross_attention",
    ),
    "no attention": (
        {"variants": [{"layers": [1], "self_attention": False}]},
        "variants.0.self_attention False leaves layers without attention",
    ),
    "attention that is off": (
        {
            "variants": [
                {
                    "layers": [1],
                    "self_attention": False,
                    "cross_attention": CROSS,
                    "attention": HEADS,
                }
            ]
        },
        "variants.0.attention is given, but self_attention is false",
    ),
    "adapter beside latents": ({"adapter": ADAPTER, "attention": LATENT}, "adapter stands beside"),
    "adapter beside experts": (
        {"adapter": ADAPTER, "feed_forward": EXPERTS},
        "adapter stands beside",
    ),
    "adapter beside experts in one layer": (
        {"adapter": ADAPTER, "variants": [{"layers": [2], "feed_forward": EXPERTS}]},
        "adapter stands beside",
    ),
    "adapter without self-attention": (
        {
            "adapter": ADAPTER,
            "variants": [{"layers": [2], "self_attention": False, "cross_attention": CROSS}],
        },
        "adapter stands beside",
    ),
    "adapters of crops": (
        {"crop_adapters": CROP_ADAPTERS},
        "crop_adapters is not a known key",
    ),
    "no window": (
        {"sliding_window": {"size": 5, "layers": []}},
        "sliding_window.layers names no layer",
    ),
    "window twice": (
        {"sliding_window": {"size": 5, "layers": [1, 1]}},
        "sliding_window.layers names a layer twice",
    ),
    "gate of nothing": (
        {"feed_forward": {**EXPERTS, "shared_gate": True}},
        "feed_forward.shared_gate True is given without shared experts",
    ),
    "untied head stored": ({"head_stored": True}, "head_stored True says that a tied head"),
    "images in no sequence": (
        {"bidirectional": "images", "variants": [{"layers": [1], "cross_attention": CROSS}]},
        "bidirectional images is given, but this decoder reads images by cross-attention",
    ),
}


@pytest.mark.parametrize(("changes", "start"), NOT_A_DECODER.values(), ids=NOT_A_DECODER)
def test_decoders(changes, start):
    assert str(refusal(Decoder, **{**TABLE, **changes})).startswith(start)


def test_decoders_that_differ_from_these_by_little_fit():
    with_decoder(adapter=ADAPTER, variants=[{"layers": [2], "feed_forward": FFN}])
    with_decoder(feed_forward={**EXPERTS, "shared_gate": True, "shared_intermediate_size": 8})
    with_decoder(tie_word_embeddings=True, head_stored=True)
    source = {**CROSS, "source_size": 48}
    crossing = [
        {"layers": [1], "cross_attention": CROSS},
        {"layers": [2], "cross_attention": source},
    ]
    with_decoder(variants=crossing)
    with_decoder(encoder_layers=5, variants=[{"layers": [5], "cross_attention": source}])
    with_decoder(bidirectional="prefix", variants=crossing)


# --- encoders ------------------------------------------------------------------------------------

WINDOWS = {"size": 8, "full_attention_layers": [7]}
NOT_AN_ENCODER = {
    "cross-attention": (
        {"variants": [{"layers": [1], "cross_attention": CROSS}]},
        "vision.variants.0.cross_attention has no other sequence to attend to",
    ),
    "windows beside joint": (
        {"class_token": False, "windows": WINDOWS, "joint": {}},
        "vision.windows stands beside joint",
    ),
    "windows beside registers": (
        {"class_token": False, "register_tokens": 4, "windows": WINDOWS},
        "vision.windows stands beside a class_token or register_tokens",
    ),
    "window layers": (
        {"class_token": False, "windows": {"size": 8, "full_attention_layers": [24]}},
        "vision.windows.full_attention_layers [24] names a layer beyond the last, 23",
    ),
    "layers": (
        {"contributing_layers": 25},
        "vision.contributing_layers 25 exceeds num_hidden_layers 24",
    ),
    "crop adapters beside joint": (
        {"joint": {}, "crop_adapters": CROP_ADAPTERS},
        "vision.crop_adapters stands beside joint",
    ),
    "crop adapters beside experts in one layer": (
        {
            "crop_adapters": CROP_ADAPTERS,
            "variants": [{"layers": [2], "feed_forward": EXPERTS}],
        },
        "vision.crop_adapters stands beside something else than self-attention of kind heads",
    ),
    "crop adapters of no crop": (
        {"crop_adapters": {**CROP_ADAPTERS, "crops": 0}},
        "vision.crop_adapters.crops 0 is below 1",
    ),
    "no class token": (
        {"class_token": False, "class_token_kept": True},
        "vision.class_token_kept True is given, but class_token is false",
    ),
}


@pytest.mark.parametrize(("changes", "start"), NOT_AN_ENCODER.values(), ids=NOT_AN_ENCODER)
def test_encoders(changes, start):
    assert str(misfit(LLAVA, vision=changes)).startswith(start)


# --- names and published counts ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "bell\x07", 7, None, ["a"]], ids=repr)
def test_ids_that_cannot_be_typed(name):
    assert misfit(LLAVA, id=name).field == "id"


@pytest.mark.parametrize("count", [1.0, True, "7", None, 1.5], ids=repr)
def test_differences_are_whole_numbers(count):
    error = refusal(PublishedParameters, count=10, source="made up", difference={"head": count})
    assert error.field == "difference.head"
    assert error.problem == "is not a whole number"


@pytest.mark.parametrize("given", [None, [("head", 7)], "head", {7: 7}], ids=repr)
def test_differences_are_a_table(given):
    error = refusal(PublishedParameters, count=10, source="made up", difference=given)
    assert error.field == "difference"


def test_differences_stay():
    given = {"head": 7, "table": -2}
    published = PublishedParameters(count=10, source="made up", difference=given)
    given["head"] = 8
    assert dict(published.difference) == {"head": 7, "table": -2}
    assert sum(published.difference.values()) == 5
    for change in (
        lambda items: items.update(head=8),
        lambda items: items.setdefault("tail", 8),
        lambda items: items.__setitem__("head", 8),
        lambda items: items.__delitem__("head"),
        lambda items: items.pop("head"),
        lambda items: items.popitem(),
        lambda items: items.clear(),
        lambda items: items.__ior__({"head": 8}),
    ):
        with pytest.raises(TypeError, match="frozen"):
            change(published.difference)
    assert json.loads(json.dumps(published.difference)) == {"head": 7, "table": -2}
    for copied in (copy.deepcopy(published), pickle.loads(pickle.dumps(published))):
        assert copied == published
    same = PublishedParameters(count=10, source="made up", difference={"table": -2, "head": 7})
    assert published == same
    assert hash(published) == hash(same)
    assert published.model_dump()["difference"] == {"head": 7, "table": -2}
    assert PublishedParameters(count=10, source="made up").difference == {}
