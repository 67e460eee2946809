"""Plans and reports of the less usual models by hand: videos, joint attention, layouts, floors."""

import pytest
from other_decoders import CROSS, HEADS, with_decoder
from refusals import refusal
from vlm_tokencost.costmodel import (
    Compress,
    Counting,
    EncoderMerge,
    Schedule,
    Stage,
    Workload,
    evaluate,
    kv_cache_bytes,
    plan,
)
from vlm_tokencost.costmodel.encoder import attends_jointly
from vlm_tokencost.costmodel.flops import published_bill, published_obstacle
from vlm_tokencost.costmodel.lower import lower, lower_decode
from vlm_tokencost.costmodel.plan import Layout, decode_keys, layouts
from vlm_tokencost.costmodel.tokens import Processor
from vlm_tokencost.presets import load_model


def report_of(model_id, schedule=None, **workload):
    return evaluate(load_model(model_id), Workload(**workload), schedule)


def component(report, name, **side):
    return report.bill(**side).by_component()[name]


# --- videos --------------------------------------------------------------------------------------

MLP = 1024 * 4096 + 4096**2


@pytest.mark.parametrize(
    ("model_id", "frames", "tokens"),
    [
        # 24×24 patches are pooled to 12×12 before the projector
        ("llava-next-video-7b", 8, 8 * 144),
        ("llava-next-video-7b", 3, 3 * 144),
        # 16×16 patches and the class token pass it
        ("video-llava-7b", 8, 8 * 257),
        ("video-llava-7b", 1, 257),
    ],
)
def test_the_projector_runs_on_the_tokens_of_the_frames(model_id, frames, tokens):
    report = report_of(model_id, frames=frames)
    assert report.dense.connector_tokens == tokens
    assert report.dense.visual == (tokens,) * 32
    assert component(report, "connector") == 2 * tokens * MLP


def test_images_of_a_video_model_are_not_pooled():
    report = report_of("llava-next-video-7b", images=("672x672",))
    assert report.dense.connector_tokens == 5 * 576
    assert report.dense.connector_grids == (((24, 24), 5),)
    assert component(report, "connector") == 2 * 5 * 576 * MLP
    image = report_of("video-llava-7b", images=("224x224",)).dense
    assert (image.connector_tokens, image.connector_grids) == (256, (((16, 16), 1),))


MERGE = Schedule(encoder=EncoderMerge(merged_per_layer=4))


@pytest.mark.parametrize(
    ("model_id", "frames"),
    # without any frames and images, LLaVA-NeXT-Video prices 8 frames
    [("llava-next-video-7b", 8), ("llava-onevision-7b", 8), ("llava-next-video-7b", 0)],
)
@pytest.mark.parametrize("selection", [None, "tome"])
def test_merged_tokens_lie_on_no_grid_to_pool(model_id, frames, selection):
    schedule = MERGE.model_copy(update={"selection": selection})
    error = refusal(report_of, model_id, schedule, frames=frames)
    assert error.field == "encoder.merged_per_layer"


def test_merging_in_the_image_of_a_video_model():
    merged = report_of("llava-next-video-7b", MERGE, images=("672x672",)).scheduled
    # 4 tokens in each of 23 contributing layers, in each of 5 crops
    assert merged.connector_tokens == 5 * 576 - 5 * 23 * 4


# --- attention over several crops ----------------------------------------------------------------

ZIP = Schedule(compress=Compress(tokens=64, at="before-connector"), selection="visionzip")
TOME = Schedule(encoder=EncoderMerge(merged_per_layer=4), selection="tome")
SQUARE = "512x512"  # 32×32 patches of 16 pixels


@pytest.mark.parametrize(("images", "joint"), [(1, False), (2, True), (3, True)])
def test_pixtral_attends_jointly_over_several_images(images, joint):
    model = load_model("pixtral-12b")
    dense = plan(model, Workload(images=(SQUARE,) * images))
    assert attends_jointly(model.vision, dense.visual_input) is joint
    assert dense.encoder_tokens == (images * 1024,) * 24
    assert dense.encoder_pairs == ((images * 1024) ** 2,) * 24


def test_llamas_tiles_of_one_image_attend_jointly():
    model = load_model("llama3.2-vision-11b")
    dense = plan(model, Workload(images=("560x560",)))
    assert attends_jointly(model.vision, dense.visual_input)
    # 4 tiles, computed even where they are padding, of 1,601 tokens padded to a multiple of 8
    assert dense.encoder_tokens == (4 * 1608,) * 40
    assert dense.encoder_pairs == ((4 * 1608) ** 2,) * 40
    # without padding tiles one crop is left, which is still padded as a joint sequence
    used = Workload(images=("560x560",), processor=Processor(tiles="used"))
    single = plan(model, used)
    assert len(single.visual_input.crops) == 1
    assert attends_jointly(model.vision, single.visual_input)
    assert single.encoder_tokens == (1608,) * 40


def test_an_encoder_that_attends_over_each_crop_alone():
    model = load_model("llava-next-vicuna-7b")
    dense = plan(model, Workload(images=("672x672",)))
    assert not attends_jointly(model.vision, dense.visual_input)
    assert dense.encoder_pairs == (5 * 577**2,) * 24


def test_rules_that_read_the_encoder_fit_one_image_of_pixtral():
    zipped = report_of("pixtral-12b", ZIP, images=(SQUARE,))
    # scores of one layer (no class token); 54 dominant and 10 contextual of 64, the rest merged
    scores = 1024**2 * 16 * 64
    assert component(zipped, "selection") == 2 * (scores + (1024 - 64) * 10 * 64)
    assert zipped.scheduled.connector_tokens == 64
    merged = report_of("pixtral-12b", TOME, images=(SQUARE,))
    assert merged.scheduled.connector_tokens == 1024 - 24 * 4
    # n = 1024 − 4·layer tokens: half of them against the other half, in features of one head
    assert component(merged, "selection") == 2 * sum(
        (512 - 2 * layer) ** 2 * 64 for layer in range(24)
    )


@pytest.mark.parametrize("images", [2, 3])
def test_rules_that_read_the_encoder_do_not_fit_several_images_of_pixtral(images):
    model, workload = load_model("pixtral-12b"), Workload(images=(SQUARE,) * images)
    error = refusal(evaluate, model, workload, ZIP)
    assert (error.field, error.value) == ("selection", "visionzip")
    for schedule in (TOME, MERGE):
        error = refusal(evaluate, model, workload, schedule)
        assert error.field == "encoder.merged_per_layer"
        assert "several crops together" in error.problem


def test_rules_that_read_the_encoder_do_not_fit_llamas_tiles():
    model, workload = load_model("llama3.2-vision-11b"), Workload(images=("560x560",))
    after = ZIP.model_copy(update={"compress": Compress(tokens=64)})
    for schedule in (ZIP, after):
        assert refusal(evaluate, model, workload, schedule).field in ("selection", "compress.at")
    assert refusal(evaluate, model, workload, after).field == "selection"
    assert refusal(evaluate, model, workload, TOME).field == "encoder.merged_per_layer"


def test_a_pooling_head_runs_in_vain():
    report = evaluate(load_model("phi-4-multimodal"))
    crops = len(report.dense.visual_input.crops)
    assert report.dense.encoder_positions == crops * 1024
    # one query in each crop reads 32×32 patches, then passes an FFN
    head = 2 * 1152**2 + 2 * 1024 * 1152**2 + 2 * 1024 * 1152 + 2 * 1152 * 4304
    layer = 1024 * (4 * 1152**2 + 2 * 1152 * 4304) + 2 * 1024**2 * 1152
    # so does the last of 27 layers
    assert report.unused_encoder_flops() == 2 * crops * (head + layer)


# --- layouts -------------------------------------------------------------------------------------

USUAL = Layout(
    in_sequence=True,
    generates=True,
    one_token=False,
    self_attention=True,
    crosses=False,
    crosses_text=False,
    cross_cached=False,
    window=None,
)
#: As Llama-3.2-Vision: two layers attend to images instead of to the sequence.
INSTEAD = [{"layers": [1, 4], "self_attention": False, "cross_attention": CROSS}]
#: As Flamingo: they attend to images before the sequence, and project the keys anew.
BEFORE = [{"layers": [0, 3], "cross_attention": {**CROSS, "cached": False}}]
T5 = {"encoder_layers": 4, "variants": [{"layers": [4, 5], "norms": 3, "cross_attention": CROSS}]}
WINDOW = {"size": 14, "layers": [0, 1, 3, 4]}
LATENT = {
    **HEADS,
    "kind": "latent",
    "num_key_value_heads": 4,
    "kv_lora_rank": 20,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
}


def test_where_visual_tokens_are():
    text_only = USUAL._replace(in_sequence=False)
    instead = text_only._replace(self_attention=False, crosses=True, cross_cached=True)
    before = text_only._replace(crosses=True)
    reads = USUAL._replace(generates=False)
    writes = text_only._replace(one_token=True, crosses=True, crosses_text=True, cross_cached=True)
    short = USUAL._replace(window=14)
    assert layouts(with_decoder()) == (USUAL,) * 6
    assert layouts(with_decoder(variants=INSTEAD)) == (
        *(text_only, instead, text_only),
        *(text_only, instead, text_only),
    )
    assert layouts(with_decoder(variants=BEFORE)) == (
        *(before, text_only, text_only),
        *(before, text_only, text_only),
    )
    assert layouts(with_decoder(**T5)) == (reads,) * 4 + (writes,) * 2
    assert layouts(with_decoder(sliding_window=WINDOW)) == (
        short,
        short,
        USUAL,
        short,
        short,
        USUAL,
    )


@pytest.mark.parametrize(
    ("model_id", "in_sequence", "generate", "start", "cross", "own"),
    [
        ("llava-1.5-7b", 32, 32, 0, 0, 32),
        ("kimi-vl-a3b", 27, 27, 0, 0, 27),
        ("gemma3-4b", 34, 34, 0, 0, 34),
        ("llama3.2-vision-11b", 0, 40, 0, 8, 32),
        ("openflamingo-9b", 0, 32, 0, 8, 32),
        # Flan-T5-XL: 24 layers read, 24 write from the start token on
        ("blip2-flan-t5-xl", 24, 24, 24, 24, 48),
    ],
)
def test_layouts_of_models(model_id, in_sequence, generate, start, cross, own):
    found = layouts(load_model(model_id))
    assert sum(layer.in_sequence for layer in found) == in_sequence
    assert sum(layer.generates for layer in found) == generate
    assert sum(layer.one_token for layer in found) == start
    assert sum(layer.crosses for layer in found) == cross
    assert sum(layer.self_attention for layer in found) == own
    assert sum(layer.crosses_text for layer in found) == start


# --- caches, windows and cross-attention ---------------------------------------------------------

#: 10 visual + 6 text tokens
ASKED = Workload(visual_tokens=10, text_tokens=6)


def test_a_window_bounds_what_is_stored_and_read():
    model = with_decoder(sliding_window=WINDOW)
    report = evaluate(model, ASKED, Schedule.keep(0.5, layer=2))
    # 16 tokens, of which a window of 14 keeps 13; 11 from layer 2 on, which all fit
    assert report.dense.kv_stored == report.dense.kv_read == (13, 13, 16, 13, 13, 16)
    assert report.scheduled.kv_stored == report.scheduled.kv_read == (13, 13, 11, 11, 11, 11)
    assert decode_keys(report.scheduled, 2) == [14, 14, 13, 13, 13, 13]
    assert decode_keys(report.scheduled, 5) == [14, 14, 16, 14, 14, 16]
    # 2 · 2 heads · 16 values of 2 bytes
    assert kv_cache_bytes(model, report.scheduled) == (2 * 13 + 4 * 11) * 2 * 32 * 2


def named(operators, name):
    return [operator for operator in operators if operator.name == name]


def test_pairs_of_cross_attention_are_queries_times_keys():
    model = with_decoder(variants=INSTEAD)
    asked = ASKED.model_copy(update={"batch": 3})
    (cross,) = named(lower(model, plan(model, asked), Counting()), "cross scores and values")
    # 6 text tokens read 10 visual ones, in each of 3 requests
    assert cross.layers == (1, 4)
    assert (cross.queries, cross.keys, cross.pairs) == (18, 30, 3 * 6 * 10)
    (key,) = named(lower(model, plan(model, asked), Counting()), "cross key")
    assert (key.tokens, key.in_features, key.out_features) == (30, 48, 32)


def test_the_start_token_of_an_encoder_decoder_reads_the_whole_prompt():
    model = with_decoder(**T5)
    asked = ASKED.model_copy(update={"batch": 3})
    (cross,) = named(lower(model, plan(model, asked), Counting()), "cross scores and values")
    assert cross.layers == (4, 5)
    assert (cross.queries, cross.keys, cross.pairs) == (3, 48, 3 * 16)


@pytest.mark.parametrize("cached", [True, False])
def test_a_decode_forward_projects_the_keys_that_no_cache_holds(cached):
    variants = [{**INSTEAD[0], "cross_attention": {**CROSS, "cached": cached}}]
    model = with_decoder(variants=variants)
    asked = ASKED.model_copy(update={"batch": 3})
    operators = lower_decode(model, plan(model, asked), 1, 4)
    for name in ("cross key", "cross value"):
        found = [operator.tokens for operator in named(operators, name)]
        assert found == ([] if cached else [3 * 4 * 10])  # 4 forwards
    (cross,) = named(operators, "cross scores and values")
    assert (cross.queries, cross.pairs) == (12, 3 * 4 * 10)


@pytest.mark.parametrize(
    ("attention", "query", "keys"),
    [
        # two key heads of 16 for four query heads
        (HEADS, 48 * 64, 48 * 32),
        # latents and expanded keys, with which the values come
        (LATENT, 48 * 64, 48 * 24 + 20 * 4 * (12 + 8)),
        # queries from a latent of 12
        ({**LATENT, "q_lora_rank": 12}, 48 * 12 + 12 * 64, 48 * 24 + 20 * 4 * (12 + 8)),
    ],
    ids=["grouped", "latent", "latent queries"],
)
def test_query_and_keys_that_pyramiddrop_computes(attention, query, keys):
    schedule = Schedule.keep(0.5, layer=2).model_copy(update={"selection": "pyramiddrop"})
    report = evaluate(with_decoder(attention=attention), ASKED, schedule)
    # the last token's query, the keys of all 16 tokens, and a row of 16 in 4 heads
    macs = query + 16 * keys + 16 * 4 * 16
    assert component(report, "selection") == 2 * macs


# --- published formulas --------------------------------------------------------------------------

OBSTACLES = {
    "encoder–decoder": T5,
    "cross-attention": {"variants": INSTEAD},
    "latent attention": {"attention": LATENT},
    "latent attention in one layer": {"variants": [{"layers": [5], "attention": LATENT}]},
}


@pytest.mark.parametrize("kind", OBSTACLES)
def test_a_published_formula_has_no_figure_for(kind):
    model = with_decoder(**OBSTACLES[kind])
    reason = published_obstacle(model)
    assert reason is not None
    assert kind.removesuffix(" in one layer") in reason
    report = evaluate(model, ASKED)
    assert report.obstacle("survey") == report.obstacle("gated") == reason
    assert report.obstacle("exact") is None
    error = refusal(published_bill, "gated", model, report.dense)
    assert error.field == "convention"
    assert reason in error.problem


def test_a_published_formula_has_a_figure_for_a_plain_stack_with_windows():
    model = with_decoder(sliding_window=WINDOW)
    assert published_obstacle(model) is None
    # 6 · (4nd² + 2n²d + 3ndm) with n = 16, d = 48, m = 96
    expected = 6 * (4 * 16 * 48**2 + 2 * 16**2 * 48 + 3 * 16 * 48 * 96)
    assert evaluate(model, ASKED).total("gated") == expected


# --- floors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "connected"),
    [
        (Schedule(), 576),
        (Schedule(compress=Compress(tokens=64)), 576),
        (Schedule(compress=Compress(tokens=64), selection="divprune"), 576),
        (Schedule(compress=Compress(tokens=64, at="before-connector")), 64),
        (ZIP, 64),
        (
            Schedule(
                compress=Compress(tokens=100, at="before-connector"),
                stages=(Stage(first_layer=9, tokens=10),),
            ),
            100,
        ),
    ],
    ids=["dense", "after", "divprune", "before", "visionzip", "before and stages"],
)
def test_the_floor_has_the_connector_on_the_tokens_that_reach_it(schedule, connected):
    # encoder, connector, head, and 32 layers at 64 tokens
    layers = 32 * (2 * 64 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 2 * 64**2 * 4096)
    expected = 381_918_216_192 + 2 * connected * MLP + 2 * 4096 * 32_064 + layers
    assert report_of("llava-1.5-7b", schedule).floor() == expected


def test_the_floor_below_merging_in_the_encoder():
    report = report_of("llava-1.5-7b", MERGE)
    vision = component(report, "vision")
    assert vision < 381_918_216_192
    layers = 32 * (2 * 64 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 2 * 64**2 * 4096)
    # 576 − 23 · 4 tokens pass the connector
    assert report.floor() == vision + 2 * 484 * MLP + 2 * 4096 * 32_064 + layers


def test_the_floor_of_a_decoder_whose_images_are_keys():
    report = evaluate(with_decoder(variants=INSTEAD), ASKED)
    # 4 layers of 6 text tokens; the other two project queries and outputs, and read no key
    projections, network = 48 * 64 + 2 * 48 * 32 + 64 * 48, 3 * 48 * 96
    own = 6 * (projections + network) + 36 * 4 * 32
    cross = 6 * (48 * 64 + 64 * 48 + network)
    outside = component(report, "vision") + component(report, "connector")
    assert report.floor() == outside + 2 * (4 * own + 2 * cross) + 2 * 48 * 1000
