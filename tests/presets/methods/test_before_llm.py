"""Methods that reduce in front of the LLM or in its cache: tokens, from the papers' numbers.

LLaVA-1.5-7B has M = 576 and T = 32, Qwen2.5-VL-7B by default 1521 and 28.
"""

from __future__ import annotations

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Report, Workload, evaluate
from vlm_tokencost.presets import load_method, load_model

LLAVA, QWEN, NEXT = "llava-1.5-7b", "qwen2.5-vl-7b", "llava-next-vicuna-7b"
ONEVISION = "llava-onevision-7b"
ONE_IMAGE = "336x336"


def asked(name, model=LLAVA, budget=None, **work) -> Report:
    workload = Workload(**{"text_tokens": 0, **work})
    loaded = load_model(model)
    return evaluate(loaded, workload, load_method(name).schedule(loaded, workload, budget))


def visual(name, model=LLAVA, budget=None, **work) -> tuple[int, ...]:
    return asked(name, model, budget, **work).scheduled.visual


def layers(runs):
    return tuple(tokens for count, tokens in runs for _ in range(count))


#: method, model → visual tokens of the default, as (layers, tokens)
DEFAULTS = [
    # ⌈0.198 · 576 = 114.0⌉ and ⌈0.198 · 1521 = 301.2⌉
    ("hawk", LLAVA, [(32, 115)]),
    ("hawk", QWEN, [(28, 302)]),
    # 0.15 of the patches: ⌊86.4⌋ and ⌊228.2⌋ in the window
    ("codecsight", LLAVA, [(32, 86)]),
    ("codecsight", QWEN, [(28, 228)]),
    # a tenth, to the nearest: 57.6 and 152.1
    ("forestprune", LLAVA, [(32, 58)]),
    ("forestprune", QWEN, [(28, 152)]),
    # decode steps read fewer, prefills compute all
    ("fastocr", LLAVA, [(32, 576)]),
    ("fastocr", QWEN, [(28, 1521)]),
    # 0.6 pruned: ⌊230.4⌋ and ⌊608.4⌋
    ("omnirefine", LLAVA, [(32, 230)]),
    ("omnirefine", QWEN, [(28, 608)]),
    # a third from layer 2 on
    ("evocomp", LLAVA, [(2, 576), (30, 192)]),
    ("evocomp", QWEN, [(2, 1521), (26, 507)]),
    # a tenth, rounded up in each frame
    ("aot", LLAVA, [(32, 58)]),
    ("aot", QWEN, [(28, 153)]),
    # 5.5 % and one: ⌊31.7⌋ + 1 and ⌊83.7⌋ + 1
    ("llava-prumerge", LLAVA, [(32, 32)]),
    ("llava-prumerge", QWEN, [(28, 84)]),
    # a quarter
    ("llava-prumerge-plus", LLAVA, [(32, 144)]),
    ("llava-prumerge-plus", QWEN, [(28, 380)]),
    # 20 %: ⌊115.2⌋ and ⌊304.2⌋
    ("hired", LLAVA, [(32, 115)]),
    ("hired", QWEN, [(28, 304)]),
    # 0.778 pruned from layer 2 on: 2/9 of 576 and of 1521
    ("dart", LLAVA, [(2, 576), (30, 128)]),
    ("dart", QWEN, [(2, 1521), (26, 338)]),
    # 75 % pruned
    ("fastervlm", LLAVA, [(32, 144)]),
    ("fastervlm", QWEN, [(28, 380)]),
    # so many of each image
    ("vispruner", LLAVA, [(32, 128)]),
    ("vispruner", QWEN, [(28, 128)]),
    ("cdpruner", LLAVA, [(32, 128)]),
    ("cdpruner", QWEN, [(28, 128)]),
    ("holov", LLAVA, [(32, 64)]),
    ("holov", QWEN, [(28, 64)]),
    # a ninth
    ("scope", LLAVA, [(32, 64)]),
    ("scope", QWEN, [(28, 169)]),
    ("mmtok", LLAVA, [(32, 64)]),
    ("mmtok", QWEN, [(28, 64)]),
    # half
    ("g-prune", LLAVA, [(32, 288)]),
    ("g-prune", QWEN, [(28, 760)]),
    # a twelfth and a thirty-sixth: 48 + 16, 126 + 42
    ("visiontrim", LLAVA, [(32, 64)]),
    ("visiontrim", QWEN, [(28, 168)]),
    ("m3", LLAVA, [(32, 9)]),
    ("m3", QWEN, [(28, 9)]),
    ("llava-mini", LLAVA, [(32, 1)]),
    ("llava-mini", QWEN, [(28, 1)]),
    # a ninth and nine: 64 + 9, 169 + 9
    ("flashsloth", LLAVA, [(32, 73)]),
    ("flashsloth", QWEN, [(28, 178)]),
    # everything and the VoCo token
    ("voco-llama", LLAVA, [(32, 577)]),
    ("voco-llama", QWEN, [(28, 1522)]),
    ("freeva", LLAVA, [(32, 576)]),
    ("freeva", QWEN, [(28, 1521)]),
    # a tenth of each frame, cut off
    ("fastvid", LLAVA, [(32, 57)]),
    ("fastvid", QWEN, [(28, 152)]),
    # a quarter
    ("vidcom2", LLAVA, [(32, 144)]),
    ("vidcom2", QWEN, [(28, 380)]),
]


@pytest.mark.parametrize(("name", "model", "runs"), DEFAULTS)
def test_default_leaves_the_published_tokens(name, model, runs):
    assert visual(name, model) == layers(runs)


#: LLaVA-NeXT at 672×672 has five crops of 576 and 48 row-end separators, LLaVA-OneVision 196
#: tokens a frame and one separator.
REQUESTS = [
    # a ninth of a square of 36 × 36 = 1296: ⌈256.6⌉
    ("hawk", QWEN, {"images": ("1008x1008",)}, 257),
    # round(0.1 · 6273)
    ("forestprune", ONEVISION, {"frames": 32}, 627),
    # 20 of 196 tokens, and 17 of 182
    ("aot", ONEVISION, {"frames": 32}, 32 * 20),
    # ⌊5.5 % of 2880⌋ = 158 and one of each crop
    ("llava-prumerge", NEXT, {}, 158 + 5),
    ("llava-prumerge-plus", NEXT, {}, 720),
    ("hired", NEXT, {}, 576),
    ("vispruner", NEXT, {}, 5 * 128),
    ("cdpruner", NEXT, {}, 5 * 128),
    ("holov", NEXT, {}, 64),  # of all crops together
    ("scope", NEXT, {}, 5 * 64),
    # half of the overview, half of the tiles, every separator
    ("g-prune", NEXT, {}, 288 + 1152 + 48),
    ("visiontrim", NEXT, {}, 5 * (48 + 16)),
    ("m3", NEXT, {}, 5 * 9),
    ("llava-mini", NEXT, {}, 1),
    ("llava-mini", ONEVISION, {"frames": 8}, 8),
    ("freeva", LLAVA, {"images": (ONE_IMAGE,) * 4}, 4 * 576),
    # 19 of 196 tokens
    ("fastvid", ONEVISION, {"frames": 32}, 32 * 19),
    ("vidcom2", ONEVISION, {"frames": 32}, 32 * 49),
]


@pytest.mark.parametrize(("name", "model", "work", "tokens"), REQUESTS)
def test_crops_and_frames_share_as_published(name, model, work, tokens):
    assert set(visual(name, model, **work)) == {tokens}


#: method, model, budget, request → visual tokens, as (layers, tokens)
BUDGETS = [
    ("hawk", LLAVA, 64, {}, [(32, 64)]),
    ("omnirefine", LLAVA, 200, {}, [(32, 200)]),
    # in front of the LLM, unlike the default
    ("evocomp", LLAVA, 64, {}, [(32, 64)]),
    ("aot", "llava-video-7b", 26 * 64, {"frames": 64}, [(28, 1664)]),
    ("llava-prumerge", LLAVA, 32, {}, [(32, 32)]),
    ("llava-prumerge-plus", NEXT, 640, {}, [(32, 640)]),
    ("hired", NEXT, 577, {}, [(32, 577)]),  # crops need no equal shares
    ("dart", LLAVA, 64, {}, [(2, 576), (30, 64)]),
    ("fastervlm", LLAVA, 29, {}, [(32, 29)]),
    ("vispruner", NEXT, 160, {}, [(32, 160)]),
    ("visiontrim", LLAVA, 64, {}, [(32, 64)]),
    # scales of 1, 9, 36, 144 and 576 in every crop
    ("m3", LLAVA, 576, {}, [(32, 576)]),
    ("m3", LLAVA, 575, {}, [(32, 144)]),
    ("m3", LLAVA, 35, {}, [(32, 9)]),
    ("m3", LLAVA, 8, {}, [(32, 1)]),
    ("m3", NEXT, 180, {}, [(32, 180)]),
    ("m3", NEXT, 179, {}, [(32, 45)]),
    # squares: 16 ≤ 20 < 25; 8 frames of 4 ≤ 5 < 9
    ("llava-mini", LLAVA, 20, {}, [(32, 16)]),
    ("llava-mini", ONEVISION, 40, {"frames": 8}, [(28, 32)]),
    ("voco-llama", LLAVA, 8, {}, [(32, 584)]),
    # all of four frames, half of them, one
    ("freeva", LLAVA, 2303, {"images": (ONE_IMAGE,) * 4}, [(32, 1152)]),
    ("freeva", LLAVA, 1151, {"images": (ONE_IMAGE,) * 4}, [(32, 576)]),
    ("freeva", LLAVA, 2304, {"images": (ONE_IMAGE,) * 4}, [(32, 2304)]),
    ("freeva", LLAVA, 576, {}, [(32, 576)]),
]


@pytest.mark.parametrize(("name", "model", "budget", "work", "runs"), BUDGETS)
def test_budget_has_the_papers_meaning(name, model, budget, work, runs):
    assert visual(name, model, budget, **work) == layers(runs)


@pytest.mark.parametrize(
    ("name", "model", "budget", "problem"),
    [
        ("codecsight", LLAVA, 64, "means nothing"),
        ("flashsloth", LLAVA, 64, "means nothing"),
        ("llava-prumerge", LLAVA, 1, "is out of reach: the least is 2"),
        ("llava-prumerge", NEXT, 2881, "is more than the 2,880"),
        ("m3", NEXT, 4, "is out of reach: the least is 5"),
        ("freeva", LLAVA, 575, "is out of reach: the least is 576"),
        ("cdpruner", NEXT, 161, "is not a multiple of the 5 crops"),
    ],
)
def test_budget_that_no_setting_meets_is_refused(name, model, budget, problem):
    error = refusal(lambda: asked(name, model, budget))
    assert error.field == "budget"
    assert problem in error.problem


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("llava-prumerge", 32),  # the merged token is projected
        ("hired", 115),
        ("scope", 64),
        ("visiontrim", 64),
        ("flashsloth", 64),  # learned tokens come from no connector
        ("fastervlm", 576),
        ("vispruner", 576),
        ("m3", 576),
        ("voco-llama", 576),
    ],
)
def test_connector_sees_what_the_released_code_projects(name, tokens):
    assert asked(name).scheduled.connector_tokens == tokens


def test_fastocr_reads_a_twentieth_of_what_every_layer_keeps():
    plan = asked("fastocr").scheduled
    assert plan.visual_stored == (576,) * 32
    assert plan.visual_read == (28,) * 32  # ⌊0.05 · 576 = 28.8⌋
    assert asked("fastocr", QWEN).scheduled.visual_read == (76,) * 28  # ⌊0.05 · 1521⌋
    budget = asked("fastocr", budget=100).scheduled
    assert (budget.visual_stored, budget.visual_read) == ((576,) * 32, (100,) * 32)


def test_voco_llama_stores_its_tokens_alone():
    first = asked("voco-llama", text_tokens=64).scheduled
    assert first.query == (576 + 1 + 64,) * 32
    assert first.visual_stored == (1,) * 32
    assert first.kv_stored == (1 + 64,) * 32
    assert asked("voco-llama", budget=128).scheduled.visual_stored == (128,) * 32


def test_codecsight_computes_new_and_refreshed_tokens_of_the_window():
    plan = asked("codecsight", "internvl3-8b", frames=16, text_tokens=10).scheduled
    # 1024 patches a frame, 256 squares of four: ⌊0.15 · 256⌋ = 38 squares, 152 patches; of 16
    # frames ⌈(1/4 + 3/4 · 1/16) · 16 = 4.75⌉ = 5 pass the encoder
    assert plan.encoder_positions == 5 * 152
    # ⌊0.15 · 4096⌋ = 614 in the window, ⌈19/64 · 614 = 182.3⌉ computed
    assert plan.visual == plan.visual_stored == (614,) * 28
    assert {seen - new for seen, new in zip(plan.attended, plan.query, strict=True)} == {614 - 183}
