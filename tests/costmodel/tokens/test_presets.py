"""The presets have the rules that the other tests of this folder are about."""

from vlm_tokencost.costmodel.tokens import visual_input
from vlm_tokencost.presets import load_model

SIZES = [(336, 336), (480, 640), (1500, 700)]


def test_presets_see_what_their_family_s_rule_sees(families, rule_of, seen):
    compared = 0
    for family, tables in families.items():
        rule = rule_of(family)
        for model_id in tables["models"]:
            model = load_model(model_id)
            assert model.token_rule.default_image == rule.default_image, model_id
            assert model.token_rule.default_frames == rule.default_frames, model_id
            for size in SIZES:
                ours = visual_input(model.token_rule, [size], model.geometry)
                assert ours == seen(family, size), (model_id, size)
            if model.token_rule.video is not None:  # the first SmolVLM takes none
                ours = visual_input(model.token_rule, [SIZES[1]], model.geometry, 6)
                assert ours == seen(family, SIZES[1], frames=6), model_id
            compared += 1
    assert compared >= 117
