"""Parts that make no model together: each is refused in one sentence that names the field.

The decoder of `with_decoder` has 6 layers of hidden size 48; its encoder is LLaVA-1.5-7B's, of 24
layers, 23 of which contribute, of 1024 features with a class token.
"""

import pytest
from other_decoders import CROSS, with_decoder
from refusals import refusal
from vlm_tokencost.costmodel import InvalidInput, Model
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")


def misfit(model: Model, **parts) -> InvalidInput:
    """Return the error of a model with parts changed: a table changes fields of a part."""
    changed = {
        name: {**dict(getattr(model, name)), **part} if isinstance(part, dict) else part
        for name, part in parts.items()
    }
    return refusal(Model, **{**dict(model), **changed})


# --- connectors ----------------------------------------------------------------------------------

MERGE = {"kind": "merge", "size": 2}
TO_48 = {"kind": "linear", "in_features": 4096, "out_features": 48, "bias": True}


def test_a_class_token_and_squares_of_tokens():
    # 24 · 24 patches and a class token are a row of 577
    error = misfit(
        with_decoder(), vision={"class_token_kept": True}, connector={"stages": [MERGE, TO_48]}
    )
    assert str(error).startswith("connector.stages.0 merge makes squares of tokens")
    norm = {"kind": "norm", "norm": "layer", "width": 1024}
    stages = [norm, MERGE, TO_48]
    error = misfit(with_decoder(), vision={"class_token_kept": True}, connector={"stages": stages})
    assert error.field == "connector.stages.1"
    one = Model(
        **{**dict(with_decoder()), "vision": {**dict(LLAVA.vision), "class_token_kept": True}}
    )
    assert one.vision.output_grid((24, 24)) == (1, 577)


def test_features_that_do_not_meet():
    error = misfit(with_decoder(), connector={"stages": [TO_48]})
    assert str(error).startswith("connector.stages.0 takes 4096 features but gets 1024;")
    error = misfit(with_decoder(), connector={"stages": [MERGE]})
    assert str(error).startswith(
        "connector.stages end in 4096 features but decoder.hidden_size is 48;"
    )
    crossing = [{"layers": [1], "cross_attention": {**CROSS, "source_size": 64}}]
    error = misfit(with_decoder(), decoder={"variants": crossing})
    assert "end in 48 features but cross_attention.source_size is 64" in str(error)


def deepstack(**changes) -> dict:
    merger = [{"kind": "linear", "in_features": 1024, "out_features": 48, "bias": True}]
    return {"encoder_layers": [5, 11], "stages": merger, **changes}


def test_deepstack_that_fits():
    connector = {**dict(with_decoder().connector), "deepstack": deepstack()}
    model = Model(**{**dict(with_decoder()), "connector": connector})
    assert model.connector.deepstack.parameters() == 2 * (1024 * 48 + 48)
    assert model.connector.per_token


def test_mergers_on_whole_crops_count_for_the_connector():
    pool = {"kind": "pool", "size": 1}
    stages = [*deepstack()["stages"], pool]
    connector = {**dict(with_decoder().connector), "deepstack": deepstack(stages=stages)}
    assert not Model(**{**dict(with_decoder()), "connector": connector}).connector.per_token


NOT_A_DEEPSTACK = {
    "none": ({"encoder_layers": []}, "encoder_layers names no layer"),
    "twice": ({"encoder_layers": [5, 5]}, "encoder_layers (5, 5) names a layer twice"),
    # 24 layers, the last of which no one reads
    "vain": ({"encoder_layers": [5, 23]}, "encoder_layers 23 is beyond the last layer"),
    "more than the LLM's 6": (
        {"encoder_layers": [1, 2, 3, 4, 5, 6, 7]},
        "encoder_layers names 7 layers for the 6 of the LLM",
    ),
    "too wide": ({"stages": [TO_48]}, "stages.0 takes 4096 features but gets 1024"),
    "unprojected": ({"stages": []}, "stages end in 1024 features but decoder.hidden_size is 48"),
    "merged": (
        {"stages": [MERGE, TO_48]},
        "stages merge squares of side 2, but connector.stages of side 1",
    ),
}


@pytest.mark.parametrize(("changes", "start"), NOT_A_DEEPSTACK.values(), ids=NOT_A_DEEPSTACK)
def test_deepstack_that_does_not_fit(changes, start):
    error = misfit(with_decoder(), connector={"deepstack": deepstack(**changes)})
    assert str(error).startswith(f"connector.deepstack.{start}")


def test_deepstack_without_a_place():
    crossing = [{"layers": [1], "cross_attention": CROSS}]
    error = misfit(
        with_decoder(), connector={"deepstack": deepstack()}, decoder={"variants": crossing}
    )
    assert str(error).startswith("connector.deepstack adds to visual tokens of the LLM")
    tower = load_model("mini-gemini-7b-hd").second_vision  # ConvNeXt
    into = [{"kind": "linear", "in_features": tower.features, "out_features": 48, "bias": True}]
    error = misfit(
        with_decoder(), vision=tower, connector={"stages": into, "deepstack": deepstack()}
    )
    assert str(error).startswith("connector.deepstack taps the layers of a transformer")


# --- two encoders --------------------------------------------------------------------------------


def test_patch_mining_reads_a_second_encoder():
    model = load_model("mini-gemini-7b-hd")
    error = misfit(model, second_vision=None)
    assert str(error).startswith("connector.stages.0 patch-mining reads a second encoder")
    mining, *others = model.connector.stages
    wider = {**dict(mining), "source_features": mining.source_features + 1}
    error = misfit(model, connector={"stages": [wider, *others]})
    assert error.field == "connector.stages.0.source_features"
    assert str(mining.source_features) in error.problem
    error = misfit(model, token_rule={"second_patch_size": 16})
    assert str(error).startswith(
        "token_rule.second_patch_size 16 is not the patch_size 32 of second_vision"
    )


def test_encoders_whose_tokens_are_joined():
    model = load_model("openvla-7b")
    patch = {**dict(model.second_vision.patch_embedding), "patch_size": 16}
    error = misfit(model, second_vision={"patch_embedding": patch})
    assert str(error).startswith(
        "second_vision.patch_embedding.patch_size 16 is not the first encoder's 14"
    )
    kept = {"class_token": True, "class_token_kept": True}
    for tower in ("vision", "second_vision"):
        error = misfit(model, **{tower: kept})
        assert str(error).startswith(f"{tower}.class_token_kept True hands on a token")
    # An image of its own leaves the second encoder free.
    rule = {**dict(model.token_rule), "second_size": 256, "second_patch_size": 16}
    second = {**dict(model.second_vision), "patch_embedding": patch}
    other = Model(**{**dict(model), "second_vision": second, "token_rule": rule})
    assert other.token_rule.second_crop == ((16, 16),)


def test_an_image_of_no_encoder():
    error = misfit(LLAVA, token_rule={"second_size": 768, "second_patch_size": 32})
    assert str(error).startswith("token_rule.second_size 768 is of no encoder")
