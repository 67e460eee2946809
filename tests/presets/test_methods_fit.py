"""Every method on every family: it fits, or the refusal is the one that the structure asks for."""

import pytest
from questions import every_family
from vlm_tokencost.costmodel import InvalidInput, Workload, plan
from vlm_tokencost.presets import list_methods, load_method, load_model


def planned(name, budget, model):
    return plan(model, Workload(), load_method(name).schedule(model, Workload(), budget))


def obstacle(name, model):
    """Return the field that refuses a method for a model, from the model's structure alone."""
    decoder, vision, connector = model.decoder, model.vision, model.connector
    joint = vision.joint is not None and vision.joint.over == "image"  # one image has one crop
    plain_tower = vision.kind == "transformer" and not joint
    if name in ("fastv", "pyramiddrop", "sparsevlm") and decoder.crosses:
        return "selection"  # no attention row over visual tokens
    if name == "visionzip" and not connector.per_token and connector.merge_size == 1:
        return "selection"  # queries that stand for whole crops
    if name == "visionzip" and not plain_tower:
        return "selection"
    one_to_one = connector.merge_size == 1 and connector.per_token
    alone = plain_tower and vision.windows is None and model.second_vision is None
    if name == "tome" and not (one_to_one and alone):
        return "encoder.merged_per_layer"
    if name == "tome" and model.id in {"llava-next-video-7b", "llava-video-7b"}:
        return "encoder.merged_per_layer"  # frames are pooled 2×2 on their grid
    return None


@every_family
@pytest.mark.parametrize("name", list_methods())
def test_every_method_fits_every_model_or_says_why(name, model_id):
    model = load_model(model_id)
    dense = plan(model, Workload())
    crops = len(dense.visual_input.crops)
    third = dense.dense_visual_tokens // 3 // crops * crops
    if name == "sparsevlm":  # a share that is published: the nearest whole number of tokens
        third = round(dense.dense_visual_tokens / 3)
    patches = min(rows * columns for rows, columns in dense.visual_input.crops)
    blocks = model.vision.num_hidden_layers
    # By default ToMe merges 16 in every block, and in none more than half of what is left.
    small = name == "tome" and patches - 16 * (blocks - 1) < 2 * 16
    for budget in [third] if small else [None, third]:
        try:
            found = planned(name, budget, model)
        except InvalidInput as error:
            assert error.field == obstacle(name, model)
        else:
            assert obstacle(name, model) is None
            assert found.average_visual_tokens < dense.dense_visual_tokens
            assert found.visual[-1] >= 1
