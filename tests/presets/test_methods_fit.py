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


#: Methods whose rules are known by name, and are refused by the rule itself.
NAMED = ("divprune", "fastv", "pyramiddrop", "sparsevlm", "tome", "visionzip")


@every_family
@pytest.mark.parametrize("name", NAMED)
def test_every_named_rule_fits_every_model_or_says_why(name, model_id):
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


def refusing_fields(model, primitives, described):
    """Return the fields that may refuse a schedule of these primitives, from structure alone."""
    decoder, vision = model.decoder, model.vision
    fields = set()
    if decoder.crosses or decoder.encoder_layers:
        fields |= {"layers", "cache", "channels", "stream"} & primitives
    if any(decoder.window(layer) is not None for layer in range(decoder.num_hidden_layers)):
        fields |= {"cache", "channels", "stream"} & primitives
    if any(block.attention and block.attention.kind == "latent" for block in decoder.blocks):
        fields |= {"channels", "cache"} & primitives
    plain = vision.kind == "transformer" and vision.windows is None and vision.joint is None
    per_token = model.connector.per_token and model.connector.merge_size == 1
    pooled = model.id in {"llava-next-video-7b", "llava-video-7b", "video-llava-7b"}
    if not (plain and per_token) or model.second_vision is not None or pooled:
        fields |= {"encoder", "input"} & primitives
    if described and (decoder.crosses or decoder.encoder_layers):
        fields |= {"selection"}  # ranks by rows of the LLM's own sequence
    if vision.kind != "transformer":
        fields |= {"mixture"} & primitives  # whose ways price a rule in the encoder
    if described and vision.kind != "transformer":
        fields |= {"selection"}  # prices widths that a convolutional tower has not
        fields |= {"encoder_ffn"}
    if not model.connector.per_token:
        fields |= {"compress", "input"} & primitives
    return fields


@every_family
@pytest.mark.parametrize("name", sorted(set(list_methods()) - set(NAMED)))
def test_every_described_method_fits_every_model_or_says_why(name, model_id):
    model, method = load_model(model_id), load_method(name)
    usual = method.schedule(load_model(method.reference.model), method.reference.workload)
    dense = plan(model, Workload())
    try:
        found = planned(name, None, model)
    except InvalidInput as error:
        few = dense.dense_visual_tokens < 257  # a default for more tokens cannot be met
        described = not isinstance(usual.selection, str | None)
        fields = refusing_fields(model, set(usual.primitives), described)
        fields |= {"budget", "compress", "stages", "layers"} if few else set()
        crops = sum(model.geometry.tokens(crop) for crop in dense.visual_input.crops)
        if crops != dense.dense_visual_tokens:
            fields |= {"input"}  # separators or overlaps: tokens of crops do not add up
        if model.decoder.num_hidden_layers < 16:
            fields |= {
                "budget",
                "stages",
                "layers",
                "cache",
            }  # stages collide, or are beyond the last layer
        odd = any(side % 2 for crop in dense.visual_input.crops for side in crop)
        if usual.encoder and odd:
            fields |= {"encoder"}  # no squares of patches fit
        fields |= {"compress"} if usual.encoder and usual.compress else set()  # few are left
        assert error.field.partition(".")[0] in fields, str(error)
        assert error.way_out
        return
    text = dense.text_tokens + dense.structural_tokens
    compress = usual.compress
    extra = 0 if compress is None else compress.extra + compress.learned
    for tokens in (found.query, found.key, found.ffn):
        assert all(0 < count <= dense.dense_visual_tokens + text + extra for count in tokens)
    for stored, read in zip(found.kv_stored, found.kv_read, strict=True):
        assert 0 <= read <= stored
    assert found.average_visual_tokens <= dense.dense_visual_tokens + extra
