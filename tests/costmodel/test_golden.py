"""Golden figures: published tables and counted passes, each with the arithmetic behind it.

Below, f(n) = 4nd² + 2n²d + 2ndm (`survey`) or + 3ndm (`gated`) is one decoder layer in MACs.
LLaVA-1.5-7B has T = 32, d = 4096, m = 11008, h = 32, d_h = 128 and 32,064 vocabulary rows; its
encoder 24 layers over 577 tokens, d = 1024, m = 4096; its projector 1024 → 4096 → 4096.
"""

from fractions import Fraction

import pytest
from vlm_tokencost.costmodel import (
    Compress,
    Report,
    Schedule,
    Stage,
    Workload,
    evaluate,
    kv_bytes_per_token,
    kv_cache_bytes,
)
from vlm_tokencost.presets import load_model


def visual_only(model_id: str, tokens: int, schedule: Schedule | None = None) -> Report:
    """Price `tokens` visual tokens and no text, as tables without a prompt do."""
    return evaluate(load_model(model_id), Workload(visual_tokens=tokens, text_tokens=0), schedule)


def pyramid(*stages: tuple[int, int]) -> Schedule:
    return Schedule(
        stages=tuple(Stage(first_layer=layer, tokens=tokens) for layer, tokens in stages)
    )


HALF_FROM_LAYER_2 = Schedule.keep("0.5", layer=2)


@pytest.mark.parametrize(
    ("tokens", "convention", "expected"),
    [
        # 32·(4·576·4096² + 2·576²·4096 + 3·576·4096·11008)
        # = 32·(38,654,705,664 + 2,717,908,992 + 77,913,391,104): the survey's "3,817 TFLOPs"
        pytest.param(576, "gated", 3_817_152_184_320, id="gated-576"),
        # 32·(12,884,901,888 + 301,989,888 + 25,971,130,368); 1.2531 T
        pytest.param(192, "gated", 1_253_056_708_608, id="gated-192"),
        # 32·(8,589,934,592 + 134,217,728 + 17,314,086,912); 0.8332 T
        pytest.param(128, "gated", 833_223_655_424, id="gated-128"),
        # 32·(4,294,967,296 + 33,554,432 + 8,657,043,456); 0.4155 T
        pytest.param(64, "gated", 415_538_085_888, id="gated-64"),
        # as the first, with two FFN matrices: 32·(38,654,705,664 + 2,717,908,992 + 51,942,260,736)
        pytest.param(576, "survey", 2_986_076_012_544, id="survey-576"),
    ],
)
def test_llava_visual_tokens_alone(tokens, convention, expected):
    bill = visual_only("llava-1.5-7b", tokens).bill(convention)
    assert bill.total == expected
    assert bill.unit == "MAC"


@pytest.mark.parametrize(
    ("convention", "pruned", "dense", "printed"),
    [
        # 2·f(576) + 30·f(288): f(576) = 93,314,875,392, f(288) = 45,977,960,448
        ("survey", 1_565_968_564_224, 2_986_076_012_544, 0.524424),
        # f(576) = 119,286,005,760, f(288) = 58,963,525,632
        ("gated", 2_007_477_780_480, 3_817_152_184_320, 0.525910),
    ],
)
def test_half_from_layer_2_without_text(convention, pruned, dense, printed):
    report = visual_only("llava-1.5-7b", 576, HALF_FROM_LAYER_2)
    assert report.total(convention) == pruned
    assert report.total(convention, scheduled=False) == dense
    assert report.ratio(convention) == pruned / dense
    assert round(report.ratio(convention), 6) == printed


def test_fastv_prints_99_giga_for_one_layer_and_55_percent():
    # FastV counts 36 text tokens: 612 in all.
    report = evaluate(load_model("llava-1.5-7b"), Workload(text_tokens=36), HALF_FROM_LAYER_2)
    layers = report.bill("survey", scheduled=False).by_layer()
    # 4·612·4096² + 2·612²·4096 + 2·612·4096·11008
    # = 41,070,624,768 + 3,068,264,448 + 55,188,652,032: "99.3 G"
    assert layers == {("decoder", layer): 99_327_541_248 for layer in range(32)}
    # 2·f(612) + 30·f(324) over 32·f(612), with f(324) = 51,820,756,992
    assert report.total("survey") == 1_753_277_792_256
    assert round(report.ratio("survey"), 6) == 0.551609


@pytest.fixture(scope="module")
def example() -> Report:
    """LLaVA-1.5-7B, 576 visual and 64 text tokens, half of the visual ones from layer 2 on."""
    return evaluate(load_model("llava-1.5-7b"), Workload(), HALF_FROM_LAYER_2)


@pytest.mark.parametrize(
    ("convention", "dense", "pruned", "printed"),
    [
        # 32·f(640) → 2·f(640) + 30·f(352); f(640) = 104,018,739,200, f(352) = 56,379,834,368
        pytest.param("survey", 3_328_599_654_400, 1_899_432_509_440, 0.570640, id="survey"),
        # f(640) = 132,875,550,720, f(352) = 72,251,080,704
        pytest.param("gated", 4_252_017_623_040, 2_433_283_522_560, 0.572266, id="gated"),
        # components: see the next two tests
        pytest.param("exact", 8_910_375_321_600, 5_272_907_120_640, 0.591772, id="exact"),
    ],
)
def test_example_of_the_readme(example, convention, dense, pruned, printed):
    assert example.total(convention, scheduled=False) == dense
    assert example.total(convention) == pruned
    assert example.ratio(convention) == pruned / dense
    assert round(example.ratio(convention), 6) == printed


@pytest.mark.parametrize(
    ("scheduled", "decoder"),
    [
        # One layer at n tokens: 2n(4·4096² + 3·4096·11008) + 2·n²·32·(128 + 128).
        # n = 640: 85,899,345,920 + 173,140,869,120 + 6,710,886,400 = 265,751,101,440; × 32
        pytest.param(False, 8_504_035_246_080, id="dense"),
        # n = 352: 144,502,161,408; 2 · 265,751,101,440 + 30 · 144,502,161,408
        pytest.param(True, 4_866_567_045_120, id="pruned"),
    ],
)
def test_example_by_component(example, scheduled, decoder):
    assert example.bill("exact", scheduled=scheduled).by_component() == {
        # patches 2·576·1024·3·14² = 693,633,024; 24 layers of
        # 2·577·(4·1024² + 2·1024·4096) + 2·577²·16·(64 + 64) = 15,884,357,632
        "vision": 381_918_216_192,
        # 2·576·(1024·4096 + 4096·4096)
        "connector": 24_159_191_040,
        "decoder": decoder,
        # 2·1·4096·32,064
        "head": 262_668_288,
    }


def test_example_by_layer(example):
    # in the order of execution; the sums are those of the components above
    assert list(example.bill("exact").by_layer().items()) == [
        (("vision", None), 693_633_024),
        *((("vision", layer), 15_884_357_632) for layer in range(24)),
        (("connector", None), 24_159_191_040),
        *((("decoder", layer), 265_751_101_440) for layer in range(2)),
        *((("decoder", layer), 144_502_161_408) for layer in range(2, 32)),
        (("head", None), 262_668_288),
    ]


def test_example_by_part(example):
    parts = example.bill("exact").by_part()
    assert parts["decoder", 0, "attention projections"] == 85_899_345_920  # 2·640·4·4096²
    assert parts["decoder", 0, "attention scores"] == 6_710_886_400  # 2·640²·32·256
    assert parts["decoder", 0, "feed-forward"] == 173_140_869_120  # 2·640·3·4096·11008
    assert parts["decoder", 2, "attention projections"] == 47_244_640_256  # 2·352·4·4096²
    assert parts["decoder", 2, "attention scores"] == 2_030_043_136  # 2·352²·32·256
    assert parts["decoder", 2, "feed-forward"] == 95_227_478_016  # 2·352·3·4096·11008


def test_example_tokens(example):
    assert example.dense.query == (640,) * 32
    assert example.scheduled.query == (640,) * 2 + (352,) * 30
    # Σ n_l / T = (2·576 + 30·288) / 32
    assert example.scheduled.average_visual_tokens == Fraction(306)


def test_decode_forward_after_640_tokens(example):
    by_component = example.decode_forward(1, scheduled=False).by_component()
    # 32 · (2·1·(4·4096² + 3·4096·11008) + 2·641·32·256): one token, 641 keys with its own
    assert by_component["decoder"] == 13_288_079_360
    assert by_component["head"] == 262_668_288
    assert set(by_component) == {"decoder", "head"}


def test_pyramiddrop_on_llava():
    report = visual_only("llava-1.5-7b", 576, pyramid((8, 288), (16, 144), (24, 72)))
    assert report.scheduled.query == (576,) * 8 + (288,) * 8 + (144,) * 8 + (72,) * 8
    # 8·(f(576) + f(288) + f(144) + f(72)); PyramidDrop prints 1.78 T
    # = 8·(119,286,005,760 + 58,963,525,632 + 29,311,893,504 + 14,613,479,424)
    assert report.total("gated") == 1_777_399_234_560
    assert round(report.total("gated") / 1e12, 4) == 1.7774
    assert round(report.ratio("gated"), 4) == 0.4656
    # (576 + 288 + 144 + 72) / 4
    assert report.scheduled.average_visual_tokens == 270


def test_pyramiddrop_halves_are_relative_to_the_first_layer():
    halves = Schedule(
        stages=(
            Stage(first_layer=8, ratio="0.5"),
            Stage(first_layer=16, ratio="0.25"),
            Stage(first_layer=24, ratio="0.125"),
        )
    )
    assert visual_only("llava-1.5-7b", 576, halves).total("gated") == 1_777_399_234_560


def test_pyramiddrop_on_llava_next():
    # PyramidDrop prints 20.8 → 9.5 T: 5 · 576 tokens without newlines
    report = visual_only("llava-next-vicuna-7b", 2880, pyramid((8, 1440), (16, 720), (24, 360)))
    # 32·(4·2880·4096² + 2·2880²·4096 + 3·2880·4096·11008)
    assert report.total("gated", scheduled=False) == 20_825_222_676_480
    # 8·(f(2880) + f(1440) + f(720) + f(360))
    assert report.total("gated") == 9_464_551_833_600


def test_llava_onevision_survey():
    # d = 3584, m = 18944, 28 layers; 6272 = 32 frames · 196, 627 = ⌊0.1 · 6272⌋
    report = visual_only("llava-onevision-7b", 6272, Schedule(compress=Compress(tokens=627)))
    assert report.total("survey", scheduled=False) == 40_765_480_763_392  # 28·f(6272): 40.77 T
    assert report.total("survey") == 3_364_873_408_512  # 28·f(627): 3.365 T
    by_ratio = visual_only("llava-onevision-7b", 6272, Schedule(compress=Compress(ratio="0.1")))
    assert by_ratio.total("survey") == 3_364_873_408_512


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        pytest.param(None, 14_362_370_637_824, id="full"),  # 32·f(2048): 14.362 T
        # 2·f(2048) + 30·f(1024): 7.372 T
        pytest.param(HALF_FROM_LAYER_2, 7_372_311_363_584, id="fastv"),
        # 8·(f(2048) + f(1024) + f(512) + f(256)): 6.582 T
        pytest.param(pyramid((8, 1024), (16, 512), (24, 256)), 6_582_037_381_120, id="pyramiddrop"),
    ],
)
def test_video_llava_gated(schedule, expected):
    # Video-LLaVA's LLM is LLaVA-1.5-7B's: 32 layers, 4096, 11008; 2048 = 8 frames · 256.
    assert visual_only("llava-1.5-7b", 2048, schedule).total("gated") == expected


#: Mean text tokens of each of DivPrune's benchmarks.
DIVPRUNE_TEXT = (15, 15, 23, 83, 25, 113, 15, 39, 21, 91, 57)


def divprune_mean(model_id: str, runs: list[tuple[int, int, int]]) -> float:
    """Mean over (visual, kept, text) runs of the `survey` ratio."""
    model = load_model(model_id)
    ratios = [
        evaluate(
            model,
            Workload(visual_tokens=visual, text_tokens=text),
            Schedule(compress=Compress(tokens=kept)),
        ).ratio("survey")
        for visual, kept, text in runs
    ]
    return sum(ratios) / len(ratios)


@pytest.mark.parametrize(
    ("model_id", "expected"), [("llava-1.5-7b", 0.156303), ("llava-1.5-13b", 0.157132)]
)
def test_divprune_on_llava(model_id, expected):
    # 9.8 % of 576 are kept: 576 − round(0.902 · 576) = 576 − 520 = 56
    runs = [(576, 56, text) for text in DIVPRUNE_TEXT]
    assert round(divprune_mean(model_id, runs), 6) == expected


def test_divprune_on_llava_next():
    visual = (2225, 1922, 2239, 1927, 2108, 1882, 2292, 2249, 2250, 1598, 2116)
    # V − round(0.902 V), V by V: 2225 − 2007, 1922 − 1734, 2239 − 2020, 1927 − 1738, …
    kept = (218, 188, 219, 189, 207, 184, 225, 220, 220, 157, 207)
    runs = list(zip(visual, kept, DIVPRUNE_TEXT, strict=True))
    assert round(divprune_mean("llava-next-vicuna-7b", runs), 6) == 0.107966


def test_divprune_on_video():
    # LLaVA-NeXT-Video-7B has LLaVA-1.5-7B's LLM; 1152 = 8 frames · 144; ⌊0.1 · 1152⌋ = 115
    runs = [(1152, 115, text) for text in (28, 63, 21, 38, 196)]
    assert round(divprune_mean("llava-1.5-7b", runs), 6) == 0.141044


def test_llava_next_mistral_decoder():
    # 2880 + 64 = 2944 tokens. GQA: 32 query heads, 8 key/value heads of 128; m = 14336.
    # One layer: 2·2944·(2·4096·4096 + 2·4096·1024 + 3·4096·14336) + 2·2944²·32·256
    # = 1,426,197,577,728; × 32
    report = evaluate(load_model("llava-next-mistral-7b"), Workload(visual_tokens=2880))
    layers = report.bill().by_layer()
    assert [layers["decoder", layer] for layer in range(32)] == [1_426_197_577_728] * 32
    assert report.bill().by_component()["decoder"] == 45_638_322_487_296


def test_qwen25_encoder_and_merger():
    # 896×896 px = 64×64 patches = 4096 tokens, 64 windows of 64, 1024 tokens after the merger.
    report = evaluate(load_model("qwen2.5-vl-7b"), Workload(images=("896x896",)))
    components, layers = report.bill().by_component(), report.bill().by_layer()
    # patches: 2·4096·1280·3·2·14²
    assert layers["vision", None] == 12_331_253_760
    # linear 2·4096·(4·1280² + 3·1280·3420) = 161,270,988,800 in every layer;
    # scores 2·4096²·16·160 = 85,899,345,920 in 4 layers, 2·(64·64²)·16·160 = 1,342,177,280 in 28
    full, windowed = 247_170_334_720, 162_613_166_080
    for layer in range(32):
        assert layers["vision", layer] == (full if layer in (7, 15, 23, 31) else windowed)
    assert components["vision"] == 5_554_181_242_880
    # 2·1024·(5120·5120 + 5120·3584)
    assert components["connector"] == 91_268_055_040
    assert components["vision"] + components["connector"] == 5_645_449_297_920


def test_internvl3_one_tile():
    report = evaluate(load_model("internvl3-8b"), Workload(images=("448x448",)))
    components = report.bill().by_component()
    # patches 2·1024·1024·3·14² = 1,233,125,376; 24 layers at 1025 tokens of
    # 2·1025·(4·1024² + 2·1024·4096) + 2·1025²·16·128 = 30,098,329,600
    assert components["vision"] == 1_233_125_376 + 24 * 30_098_329_600
    # 2·256·(4096·3584 + 3584·3584)
    assert components["connector"] == 14_092_861_440
    assert components["vision"] + components["connector"] == 737_685_897_216


@pytest.mark.parametrize(
    ("model_id", "expected"),
    [
        ("llava-1.5-7b", 524_288),  # 32 layers · 2 · 32 heads · 128 · 2 bytes
        ("qwen2.5-vl-7b", 57_344),  # 28 layers · 2 · 4 heads · 128 · 2 bytes
    ],
)
def test_kv_cache_per_token(model_id, expected):
    assert kv_bytes_per_token(load_model(model_id).decoder) == expected


def test_kv_cache_after_a_pruned_prefill(example):
    # (2·640 + 30·352) tokens over the layers · 2 · 32 · 128 · 2 bytes
    assert kv_cache_bytes(example.model, example.scheduled) == 193_986_560
    assert kv_cache_bytes(example.model, example.dense) == 640 * 524_288
    assert kv_cache_bytes(example.model, example.dense, bits=8) == 640 * 262_144
    three = evaluate(example.model, Workload(batch=3)).dense
    assert kv_cache_bytes(example.model, three) == 3 * 640 * 524_288


def test_seven_tenths_of_2880():
    # 0.7 · 2880 = 2016; in binary floats 2015.9999999999998
    exactly = visual_only("llava-next-vicuna-7b", 2880, Schedule.keep("0.7", layer=2))
    assert exactly.scheduled.visual == (2880,) * 2 + (2016,) * 30
    as_released = Schedule.keep("0.7", layer=2, rounding="float-floor")
    released = visual_only("llava-next-vicuna-7b", 2880, as_released)
    assert released.scheduled.visual == (2880,) * 2 + (2015,) * 30
