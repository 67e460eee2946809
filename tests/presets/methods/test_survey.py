"""Methods of the survey: tokens, budgets and selections, from the papers' numbers.

LLaVA-1.5-7B has M = 576, T = 32, d = 4096, 32 heads of 128 and an encoder of 1024 with 16 heads of
64 over 577 tokens, 23 layers of which are used. Qwen2.5-VL-7B has 1521 tokens of 6084 patches and
28 layers by default.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Counting, Report, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.selection import SelectionCost, report_selection
from vlm_tokencost.presets import load_method, load_model

LLAVA, QWEN = "llava-1.5-7b", "qwen2.5-vl-7b"
TEXT = 64


def asked(name: str, model: str = LLAVA, budget: int | None = None, **work) -> Report:
    workload = Workload(**{"text_tokens": TEXT, **work})
    loaded = load_model(model)
    return evaluate(loaded, workload, load_method(name).schedule(loaded, workload, budget))


def visual(*question, **work) -> tuple[int, ...]:
    return asked(*question, **work).scheduled.visual


def chosen(name: str, counted: str = "ideal", model: str = LLAVA) -> SelectionCost:
    loaded, workload = load_model(model), Workload(text_tokens=TEXT)
    schedule = load_method(name).schedule(loaded, workload)
    report = evaluate(loaded, workload, schedule)
    return report_selection(report, Counting(selection=counted))


#: method, model → visual tokens of the default, as (layers, tokens)
DEFAULTS = [
    # a third from layer 2 on
    ("greedyprune", LLAVA, [(2, 576), (30, 192)]),
    ("greedyprune", QWEN, [(2, 1521), (26, 507)]),
    # in three of four steps half of the tokens: 3/4 · 128, 3/4 · 288, 3/4 · 760
    ("sp-vla", "openvla-7b", [(32, 96)]),
    ("sp-vla", LLAVA, [(32, 216)]),
    ("sp-vla", QWEN, [(28, 570)]),
    ("dgmr", LLAVA, [(32, 576)]),
    ("dgmr", QWEN, [(28, 1521)]),
    # squares of four patches: 576/4, 6084/4
    ("llava-stf", LLAVA, [(32, 144)]),
    ("llava-stf", QWEN, [(28, 1521)]),
    # 0.343 of 576 patches is 197.6
    ("token-transforming", LLAVA, [(32, 197)]),
    ("token-transforming", "llava-1.5-13b", [(40, 197)]),
    # 144 of each slice
    ("llava-meteor", LLAVA, [(32, 144)]),
    ("llava-meteor", "llava-next-vicuna-7b", [(32, 720)]),
    ("llava-meteor", QWEN, [(28, 144)]),
    # 96, then 32; ⌊0.167 · 1521 = 254.007⌋, a third of which is 84.7
    ("vscan", LLAVA, [(16, 96), (16, 32)]),
    ("vscan", QWEN, [(14, 254), (14, 84)]),
    # 28.7 % of 576 = 165.3 and of 1521 = 436.5, from layer 4 on
    ("pact", LLAVA, [(4, 576), (28, 165)]),
    ("pact", QWEN, [(4, 1521), (24, 436)]),
    # 21 %: 120.96 → 121 and the mean of the others; 319.4 → 319 and one
    ("trim", LLAVA, [(32, 122)]),
    ("trim", QWEN, [(28, 320)]),
    # 45 %: 259.2 and 684.45, behind layer 2
    ("topv", LLAVA, [(3, 576), (29, 259)]),
    ("topv", QWEN, [(3, 1521), (25, 684)]),
    # a quarter of the patches: 1024/4 of a tile, 576/4, 6084/4
    ("internvl-x-pvtc", "internvl2-8b", [(32, 256)]),
    ("internvl-x-pvtc", LLAVA, [(32, 144)]),
    ("internvl-x-pvtc", QWEN, [(28, 1521)]),
    # a quarter in the first half: 1521/4 = 380.25
    ("internvl-x-lvtc", LLAVA, [(16, 144), (16, 576)]),
    ("internvl-x-lvtc", QWEN, [(14, 380), (14, 1521)]),
    ("internvl-x-rvtc", LLAVA, [(32, 576)]),
    ("internvl-x-rvtc", QWEN, [(28, 1521)]),
    # the list named 192, without clusters; scaled by 1521/576: 792.2, 528.1, 311.6, in stages
    # that begin at ⌈2.625⌉, ⌈6.125⌉ and 14
    ("sparsevlm-v2", LLAVA, [(3, 576), (4, 300), (9, 200), (16, 118)]),
    ("sparsevlm-v2", QWEN, [(3, 1521), (4, 792), (7, 528), (14, 311)]),
]


@pytest.mark.parametrize(("name", "model", "runs"), DEFAULTS)
def test_default(name, model, runs):
    assert visual(name, model) == tuple(tokens for layers, tokens in runs for _ in range(layers))


#: method, model, budget → visual tokens, as (layers, tokens)
BUDGETS = [
    ("greedyprune", LLAVA, 64, [(2, 576), (30, 64)]),
    # 64 tokens in three of four steps
    ("sp-vla", "openvla-7b", 64, [(32, 48)]),
    ("llava-meteor", LLAVA, 32, [(32, 32)]),
    # averages of 3B/2 and B/2
    ("vscan", LLAVA, 128, [(16, 192), (16, 64)]),
    ("vscan", LLAVA, 192, [(16, 288), (16, 96)]),
    ("vscan", QWEN, 507, [(14, 760), (14, 253)]),
    ("pact", LLAVA, 100, [(4, 576), (28, 100)]),
    ("trim", LLAVA, 64, [(32, 64)]),
    ("topv", LLAVA, 192, [(3, 576), (29, 192)]),
    ("internvl-x-pvtc", "internvl2-8b", 64, [(32, 64)]),
    ("internvl-x-lvtc", LLAVA, 100, [(16, 100), (16, 576)]),
    ("sparsevlm-v2", LLAVA, 64, [(3, 576), (4, 66), (9, 34), (16, 20)]),
]


@pytest.mark.parametrize(("name", "model", "budget", "runs"), BUDGETS)
def test_budget(name, model, budget, runs):
    found = visual(name, model, budget)
    assert found == tuple(tokens for layers, tokens in runs for _ in range(layers))


#: method, budget: a fragment of the refusal on LLaVA-1.5-7B
REFUSED = [
    ("dgmr", 192, "means nothing"),
    ("internvl-x-rvtc", 192, "means nothing"),
    # 3B/2 tokens enter: no more than 576
    ("vscan", 385, "at most 384"),
    ("trim", 1, "give 2 or more"),
]


@pytest.mark.parametrize(("name", "budget", "fragment"), REFUSED)
def test_budgets_that_mean_nothing(name, budget, fragment):
    assert fragment in str(refusal(asked, name, LLAVA, budget))


@pytest.mark.parametrize("budget", [64, 128, 192])
def test_the_first_sparsevlm_is_an_average(budget):
    """Stages behind layers 2, 6, 15 and 19: the largest λ, by trying every thousandth."""

    def stages(step: int) -> tuple[int, ...]:
        kept = [max(1, int(Fraction(step, 1000) ** power * 576)) for power in range(5)]
        runs = zip((3, 4, 9, 4, 12), kept, strict=True)
        return tuple(tokens for layers, tokens in runs for _ in range(layers))

    largest = max(step for step in range(1001) if sum(stages(step)) <= 32 * budget)
    assert visual("sparsevlm-v1", LLAVA, budget) == stages(largest)


def test_the_first_sparsevlm_follows_the_depth():
    # ⌊28 · 3/32⌋, ⌊28 · 7/32⌋, 14, ⌊28 · 5/8⌋
    loaded = load_model(QWEN)
    stages = load_method("sparsevlm-v1").schedule(loaded, Workload(), 507).stages
    assert [stage.first_layer for stage in stages] == [2, 6, 14, 17]


def test_sp_vla_prices_three_steps_of_four():
    """The mean of 3/4 of a prefill at 128 tokens and nothing."""
    half = Schedule(compress={"tokens": 128})
    model, workload = load_model("openvla-7b"), Workload(text_tokens=TEXT)
    running = evaluate(model, workload, half).bill("gated").total
    assert asked("sp-vla", "openvla-7b").bill("gated").total == pytest.approx(
        Fraction(3, 4) * running, rel=1e-9
    )


def test_dgmr_narrows_the_encoder_alone():
    # per CLIP block and token 2 · 1024 · 4096 become 2 · 1024 · 1024 MACs
    report = asked("dgmr")
    parts = {}
    for scheduled in (False, True):
        for (component, _, part), amount in (
            report.bill("exact", scheduled=scheduled).by_part().items()
        ):
            key = (scheduled, component, part)
            parts[key] = parts.get(key, 0) + amount
    assert parts[False, "vision", "feed-forward"] == 24 * 577 * 2 * 2 * 1024 * 4096
    assert parts[True, "vision", "feed-forward"] == 24 * 577 * 2 * 2 * 1024 * 1024
    for key, amount in parts.items():
        if key[0] and key[1:] != ("vision", "feed-forward"):
            assert amount == parts[False, *key[1:]]


def test_token_transforming_thins_the_encoder():
    # 23 used layers: from 5, 11 and 17 on; 403.2, 282.2 and 197.6 patches and the class token
    tokens = asked("token-transforming").scheduled.encoder_tokens
    assert tokens == (577,) * 5 + (404,) * 6 + (283,) * 6 + (198,) * 7
    assert "plain sequence" in str(refusal(asked, "token-transforming", QWEN))


def test_fusion_replaces_the_connector():
    for name in ("llava-stf", "internvl-x-pvtc"):
        components = asked(name).bill("exact").by_component()
        assert not components.get("connector")
        assert components["selection"]


#: image size → tiles with the thumbnail of InternVL2 (at most 12) and of RVTC
TILES = {
    "448x448": (1, 1),  # as many pixels as a tile
    "600x800": (13, 5),  # 3 × 4 tiles of the shape 4 : 3 against ⌈600/448⌉ · ⌈800/448⌉
    "448x1344": (4, 4),  # three tiles in a row either way
}


@pytest.mark.parametrize(("image", "tiles"), TILES.items())
def test_rvtc_limits_tiles_to_the_image(image, tiles):
    dense, limited = tiles
    report = asked("internvl-x-rvtc", "internvl2-8b", images=[image])
    assert len(report.dense.visual_input.crops) == dense
    assert len(report.scheduled.visual_input.crops) == limited
    assert report.scheduled.entering_visual_tokens == 256 * limited


def test_lvtc_caches_fewer_tokens_in_shallow_layers():
    stored = asked("internvl-x-lvtc").scheduled.kv_stored
    assert stored == (144 + TEXT,) * 16 + (576 + TEXT,) * 16


ROWS = TEXT * 640 * 4096  # attention of the text tokens to 640 tokens in one layer
#: method → MACs of the ideal selection, rounds and entries of attention maps on LLaVA-1.5-7B
IDEAL = {
    "greedyprune": (ROWS + 576 * 192 * 4096, 192, 0),
    # scores of 577² pairs in 16 heads of 64 in 23 layers, in three of four steps
    "sp-vla": (23 * 332_929 * 16 * 64 * 3 // 4, 2, 0),
    "dgmr": (0, 0, 0),
    # 21.7 G and 19.3 G
    "llava-stf": (576 * (8192 * 4096 + 4096 * 1024) + 144 * 2 * 4096 * 16384, 4, 0),
    # similarities over 64 and mixtures over 1024 channels
    "token-transforming": ((576 * 403 + 403 * 282 + 282 * 197) * (64 + 1024), 6, 0),
    "llava-meteor": (577 * 1024 + 576 * 4096 * TEXT, 2, 0),
    # two class-token rows, 480 · 96 cosines, one query with 160 keys
    "vscan": (2 * 577 * 1024 + 480 * 96 * 4096 + 161 * 4096**2 + 160 * 4096, 4, 0),
    # a query and 576 keys, their scores, distances of ⌊0.55 · 576⌋ = 316 keys, and of the other
    # 260 to 165 centres
    "pact": (577 * 4096**2 + 576 * 4096 + (316**2 + 260 * 165) * 4096, 165, 0),
    # 12 layers over 77 tokens of 768: 4nd² + 2n²d + 2ndm; projections, products
    "trim": (
        12 * (4 * 77 * 768**2 + 2 * 77**2 * 768 + 2 * 77 * 768 * 3072)
        + 768**2
        + 576 * 1024 * 768
        + 576 * 768,
        14,
        0,
    ),
    # distances, and two updates over 576² in three iterations
    "topv": (576**2 * 4096 + 6 * 576**2, 8, 0),
    "internvl-x-lvtc": (0, 2, 0),
    "internvl-x-rvtc": (0, 0, 0),
    # raters; rows over 640, 364 and 264 tokens in 32 heads of 128, of which 14 then count; ones
    # rotated to the places of text and of 576, 300 and 200 visual tokens
    "sparsevlm-v2": (
        576 * 4096 * TEXT + TEXT * (640 + 364 + 264) * 4096 + TEXT * (576 + 300 + 200) * 128,
        3,
        0,
    ),
}


@pytest.mark.parametrize(("name", "expected"), IDEAL.items())
def test_selection(name, expected):
    work = chosen(name)
    macs, launches, entries = expected
    assert work.flops == 2 * macs
    assert (work.launches, work.attention_map_bytes) == (launches, 2 * entries)


def test_the_point_to_region_projector():
    # 144 cells of 576 patches, d = 4096: three input projections (the second of the class token),
    # then twice: query and output, key and value, 576 pairs, and a gated network of 4d
    inputs = (576 + 1 + 576) * 1024 * 4096
    layer = 144 * 2 * 4096**2 + 576 * 2 * 4096**2 + 576 * 2 * 4096 + 144 * 12 * 4096**2
    work = chosen("internvl-x-pvtc")
    assert work.flops == 2 * (inputs + 2 * layer)
    # weights 4·1024·d, 1024·d twice; norms 4096 and 1024 twice; a scale per cell; two layers of
    # 4d² + 12d² with norms of d, d and d
    weights = 6 * 1024 * 4096 + 6 * 1024 + 144 * 4096 + 2 * (16 * 4096**2 + 3 * 4096)
    assert work.parameters == weights


def test_parameters_of_selections():
    # CLIP's text encoder: 49,408 · 768 + 77 · 768, twelve layers with biases and norms, a norm
    layer = 4 * (768**2 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    text = 49_408 * 768 + 77 * 768 + 12 * layer + 2 * 768
    assert chosen("trim").parameters == text + 768**2 + 1024 * 768
    # four layers with biases
    fusion = 8192 * 4096 + 4096 + 4096 * 1024 + 1024
    fusion += 4096 * 16384 + 16384 + 16384 * 4096 + 4096
    assert chosen("llava-stf").parameters == fusion


#: method → MACs of the released selection, and entries of attention maps
RELEASED = {
    # eager maps of 24 encoder layers, in a step that runs the model; no products beside them
    "sp-vla": (0, 24 * 16 * 332_929),
    # queries, keys and values of 160 tokens again
    "vscan": (480 * 96 * 4096 + 3 * 160 * 4096**2 + 160 * 4096, 24 * 16 * 577**2),
    "pact": (3 * 576 * 4096**2 + 576 * 4096 + (316**2 + 260 * 165) * 4096, 0),
    # ones rotated to all places in all heads; the map of the first stage is the largest: 640 tokens
    "sparsevlm-v2": (576 * 4096 * TEXT + (640**2 + 364**2 + 264**2) * 4096, 32 * 640**2),
}


@pytest.mark.parametrize(("name", "expected"), RELEASED.items())
def test_selection_as_released(name, expected):
    work = chosen(name, "released")
    macs, entries = expected
    assert (work.flops, work.attention_map_bytes) == (2 * macs, 2 * entries)


#: rule known by name → MACs, rounds and entries of attention maps of the released code
NAMED = {
    # the map of layer 1 over 576 + 64 tokens
    "fastv": (0, 1, 32 * 640**2),
    # 576, 288 and 144 visual tokens before the stages
    "pyramiddrop": ((640 + 352 + 208) * (3 * 4096**2 + 4096), 3, 0),
    # 577 − 221 tokens are left for ⌊10 · 221 / 64⌋ = 34 contextual ones
    "visionzip": (356 * 34 * 64, 2, 24 * 16 * 577**2),
    "divprune": (576**2 * 4096, 56, 0),
    # 577, 561, …, 209 in 24 blocks: odd against even tokens; the LLM waits for 23 of them, and the
    # first block has the largest map
    "tome": (sum(-(-n // 2) * (n // 2) * 64 for n in range(577, 208, -16)), 23, 16 * 577**2),
    # 300 of 576, 200 of 309 and 110 of 204 stay as they are, with 9, 4 and 3 clusters: of the
    # 276, 109 and 94 others ⌊0.3 ·⌋ + 1 are clustered
    "sparsevlm": (576 * 4096 * TEXT + (83**2 + 33**2 + 29**2) * 4096, 6, 32 * 640**2),
}


@pytest.mark.parametrize(("name", "expected"), NAMED.items())
def test_rules_known_by_name_as_released(name, expected):
    work = chosen(name, "released")
    macs, launches, entries = expected
    assert (work.flops, work.launches) == (2 * macs, launches)
    assert work.attention_map_bytes == 2 * entries


def test_the_first_sparsevlm_ranks_its_rows():
    """At 192 tokens on average: four stages, each with rows, a rank and clusters.

    Of d dropped tokens ⌊3d/10⌋ + 1 become ⌊(⌊3d/10⌋ + 1)/10⌋ + 1 clusters, so that fewer leave.
    """
    before = 576
    macs = 576 * 4096 * TEXT
    kept = visual("sparsevlm-v1")
    for layer in (3, 7, 16, 20):
        after = kept[layer]
        gone = {
            dropped - (3 * dropped // 10 + 1) // 10 - 1: dropped for dropped in range(576, 0, -1)
        }
        recycled = 3 * gone[before - after] // 10 + 1
        macs += TEXT * (before + TEXT) * 4096 + TEXT * before * TEXT + recycled**2 * 4096
        before = after
    work = chosen("sparsevlm-v1")
    assert (work.flops, work.launches) == (2 * macs, 12)
