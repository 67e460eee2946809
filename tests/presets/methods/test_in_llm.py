"""Methods inside the LLM: visual tokens of every layer, for published defaults and for budgets.

LLaVA-1.5-7B has 576 visual tokens and 32 layers, Qwen2.5-VL-7B 1,521 and 28; a frame of
LLaVA-OneVision-7B (28 layers) has 196 tokens, and one separator follows them; a frame of
LLaVA-NeXT-Video-7B (32 layers) has 144.
"""

import math
from fractions import Fraction
from itertools import accumulate

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Workload, plan
from vlm_tokencost.costmodel.tokenplan import decode_reads
from vlm_tokencost.presets import load_method, load_model

LLAVA, QWEN, VIDEO, NEXT = (
    "llava-1.5-7b",
    "qwen2.5-vl-7b",
    "llava-onevision-7b",
    "llava-next-video-7b",
)


def planned(name, model=LLAVA, budget=None, **request):
    loaded, workload = load_model(model), Workload(**{"text_tokens": 0, **request})
    return plan(loaded, workload, load_method(name).schedule(loaded, workload, budget))


def runs(*parts):
    """Return a list from (value, how often) pairs."""
    return tuple(value for value, times in parts for _ in range(times))


#: (method, model, budget, frames): visual tokens of the layers, as (tokens, layers)
TOKENS = {
    # half of 576
    ("random", LLAVA, None, 0): ((288, 32),),
    ("random", QWEN, 100, 0): ((100, 28),),
    # K = 15 of 32; 15 · 28 / 32 = 13.1; a budget of 192 is 10.7 layers of 576
    ("vtw", LLAVA, None, 0): ((576, 15), (0, 17)),
    ("vtw", QWEN, None, 0): ((1521, 13), (0, 15)),
    ("vtw", LLAVA, 192, 0): ((576, 10), (0, 22)),
    # late entry 9, stages 10, 14, 16, 18 and early exit 25, counted from 1 (entry, exit) and 0
    ("hidrop", LLAVA, None, 0): ((0, 8), (576, 2), (215, 4), (10, 2), (5, 2), (1, 6), (0, 8)),
    ("hidrop", LLAVA, 64, 0): ((0, 8), (576, 2), (215, 4), (10, 2), (5, 2), (1, 6), (0, 8)),
    ("hidrop", LLAVA, 48, 0): ((0, 8), (576, 2), (87, 4), (10, 2), (5, 2), (1, 6), (0, 8)),
    ("hidrop", LLAVA, 80, 0): ((0, 8), (576, 2), (453, 3), (10, 3), (5, 3), (1, 5), (0, 8)),
    # 28 layers: 7, 8.75, 12.25, 14, 15.75, 21; 1,521/576 = 2.64 times the tokens, rounded down
    ("hidrop", QWEN, None, 0): ((0, 7), (1521, 1), (567, 4), (26, 2), (13, 1), (2, 6), (0, 7)),
    # 0.2 · 576 = 115.2; 0.2 · 1,521 = 304.2
    ("dynamic-llava", LLAVA, None, 0): ((576, 2), (115, 30)),
    ("dynamic-llava", QWEN, None, 0): ((1521, 2), (304, 26)),
    ("dynamic-llava", LLAVA, 200, 0): ((576, 2), (200, 30)),
    # 22.2 % of 576 is 128, of 1,521 338
    ("tokencarve", LLAVA, None, 0): ((576, 2), (128, 30)),
    ("tokencarve", QWEN, None, 0): ((1521, 2), (338, 26)),
    ("tokencarve", LLAVA, 192, 0): ((576, 2), (192, 30)),
    # 64 on average if two layers see all: (32 · 64 − 2 · 576) / 30 = 29.9, from layer 3 on
    ("mustdrop", LLAVA, None, 0): ((576, 3), (29, 29)),
    ("mustdrop", LLAVA, 192, 0): ((576, 3), (166, 29)),
    # 1,521 / 9 = 169; (28 · 169 − 2 · 1,521) / 26 = 65
    ("mustdrop", QWEN, None, 0): ((1521, 3), (65, 25)),
    # 16 second frames and 7 third ones of 32 keep 58 of 196: 6,273 − 23 · 138
    ("dycoke", VIDEO, None, 32): ((3099, 28),),
    # 4 second frames and 1 third one of 8 keep 43 of 144: 1,152 − 5 · 101
    ("dycoke", NEXT, None, 8): ((647, 32),),
    # ⌈19.6⌉ = 20 of 196 tokens in 32 frames, half from layer 18 on; ⌈14.4⌉ = 15 of 144 in 8
    ("holitom", VIDEO, None, 32): ((640, 18), (320, 10)),
    ("holitom", NEXT, None, 8): ((120, 20), (60, 12)),
    ("holitom", VIDEO, 1000, 32): ((1000, 18), (500, 10)),
    # 16.2 % / 0.4 = 40.5 % of 16 · 144 is 933.1, and 0.4 of that 373.2; layer 10 sees all of them
    ("prunevid", NEXT, None, 16): ((933, 11), (373, 21)),
    ("prunevid", VIDEO, None, 32): ((2540, 11), (1016, 17)),
    ("prunevid", NEXT, 300, 16): ((750, 11), (300, 21)),
    # 6,273 − int(0.7 · 6,273); 1,152 − int(0.7 · 1,152)
    ("framefusion", VIDEO, None, 32): ((6273 - 4391, 28),),
    ("framefusion", NEXT, None, 8): ((1152 - 806, 32),),
    ("framefusion", VIDEO, 500, 32): ((500, 28),),
    # 49 of 196 tokens a frame; an eighth less in each layer from the middle one on
    ("aim", VIDEO, None, 32): (
        *((1568, 14), (1372, 1), (1176, 1), (980, 1)),
        *((784, 1), (588, 1), (392, 1), (196, 1), (0, 7)),
    ),
    ("aim", NEXT, None, 8): (
        *((288, 16), (252, 1), (216, 1), (180, 1), (144, 1), (108, 1), (72, 1), (36, 1), (0, 9)),
    ),
    # λ = 0.295: 169.9, 50.1 and 14.8; 4,606 / 32 ≤ 144, and λ = 0.296 makes 4,616
    ("atp-llava", LLAVA, None, 0): ((576, 4), (169, 10), (50, 10), (14, 8)),
}


@pytest.mark.parametrize(("asked", "expected"), TOKENS.items(), ids=lambda value: str(value))
def test_visual_tokens_of_every_layer(asked, expected):
    name, model, budget, frames = asked
    made = planned(name, model, budget, frames=frames)
    assert made.visual == runs(*expected)


def test_average_of_the_first_published_budget_is_met():
    # 2 · 576 + 4 · 215 + 2 · 10 + 2 · 5 + 6 = 2,048 = 32 · 64
    assert planned("hidrop").average_visual_tokens == 64


#: Layers that the authors list, for 32 and for 40 layers
SHORTV = {
    LLAVA: "31,29,30,28,0,26,27,25,24,22,23,21,2,3,20,18,17,12,19",
    "llava-1.5-13b": "39,32,28,36,27,37,29,30,1,38,25,31,2,26,23,34,0,33,35,22,24,21,20,17",
}


@pytest.mark.parametrize(("model", "listed"), SHORTV.items())
def test_frozen_layers_keep_their_keys(model, listed):
    made = planned("shortv", model)
    frozen = {int(layer) for layer in listed.split(",")}
    expected = tuple(0 if layer in frozen else 576 for layer in range(len(made.visual)))
    assert made.query == made.ffn == expected
    assert set(made.key) == set(made.visual_stored) == {576}


def test_frozen_layers_of_another_depth():
    made = planned("shortv", QWEN)  # 19 · 28 / 32 = 16.6 of 28 layers
    structural = made.structural_tokens
    assert tuple(count - structural for count in made.query) == runs((1521, 12), (0, 16))
    assert {count - structural for count in made.key} == {1521}


#: Tokens that FitPrune drops in each layer for 60 %, as released
DROPPED = [14, 33, 89, 36, 36, 20, 55, 21, 18, 4, 7, 5, 2, 5, 7, 4, 26, 5, 11, 24, 4, 18, 2, 1]
DROPPED += [0, 0, 1, 0, 1, 0, 0, 0]
NEXT_DROPPED = [98, 313, 279, 218, 201, 221, 167, 132, 63, 12, 11, 5, 1, 8, 26, 13, 83, 57, 56, 58]
NEXT_DROPPED += [24, 42, 0, 2, 1, 5, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("model", "tokens", "dropped"),
    [(LLAVA, 576, DROPPED), ("llava-next-vicuna-7b", 2880, NEXT_DROPPED)],
)
def test_fitprune_drops_between_attention_and_ffn(model, tokens, dropped):
    made = planned("fitprune", model, visual_tokens=tokens)
    gone = list(accumulate(dropped))
    assert made.ffn == tuple(tokens - count for count in gone)
    assert made.key == made.query == (tokens, *(tokens - count for count in gone[:-1]))


def test_fitprune_of_another_depth_keeps_shares_of_eighths():
    # means of 576, 562, 529, 440 (527), of the next four (353), … of 576
    kept = [math.ceil(Fraction(share, 576) * 1521) for share in (527, 353, 255, 232)]
    kept += [math.ceil(Fraction(share, 576) * 1521) for share in (195, 142, 129, 127)]
    lengths = (3, 4, 3, 4, 3, 4, 3, 4)  # stages at 0, 3, 7, 10, 14, 17, 21 and 24 of 28 layers
    assert planned("fitprune", QWEN).visual == runs(*zip(kept, lengths, strict=True))


@pytest.mark.parametrize(
    ("model", "tokens", "layers"), [(LLAVA, 576, 32), (QWEN, 1521, 28), ("llava-1.5-13b", 576, 40)]
)
def test_shares_of_mixture_of_depths(model, tokens, layers):
    expected = []
    for layer in range(layers):
        share = round(math.cos(layer * math.pi / (layers - 1)) / 2 + 0.5, 12)  # 1/4 is 0.25
        expected.append(tokens if share > 0.85 else int(tokens * max(share, 0.15)))
    assert planned("p-mod", model).visual == tuple(expected)


def test_skipping_tokens_leave_no_keys():
    made = planned("p-mod")
    assert made.key == made.query == made.ffn
    assert made.visual_stored[31] == 86, "0.15 · 576 = 86.4"


@pytest.mark.parametrize(("model", "tokens", "layers"), [(LLAVA, 576, 32), (QWEN, 1521, 28)])
def test_st3_falls_to_the_printed_share(model, tokens, layers):
    made = planned("st3", model)
    middle = 2 + (layers - 2) // 2 - 1  # half-way down, where √0.027 = 0.1643 is left
    assert made.visual[:2] == (tokens, tokens)
    assert made.visual[middle] == int(tokens * 0.027**0.5)
    assert made.visual[-1] == int(tokens * 0.027)
    assert abs(sum(made.visual_stored) / (tokens * layers) - 0.3) < 0.01


def test_caches_after_the_prefill():
    # MustDrop cuts the cache of layers 2 to 14 to what is left; layers 0 and 1 keep all
    assert planned("mustdrop").visual_stored == runs((576, 2), (29, 30))
    # PruneVid cuts all of it
    assert planned("prunevid", NEXT, frames=16).visual_stored == runs((373, 32))
    # DyCoke frees nothing, and reads 0.3 from layer 3 on: ⌊929.7⌋
    dycoke = planned("dycoke", VIDEO, frames=32)
    assert dycoke.visual_stored == runs((3099, 28))
    assert dycoke.visual_read == runs((3099, 3), (929, 25))


def test_zipvl_attends_among_the_important():
    made = planned("zipvl", budget=100)
    assert set(made.key) == set(made.query) == {100}
    assert set(made.ffn) == {576}
    assert set(made.visual_stored) == {100}


def test_half_of_the_generated_tokens_stay():
    made = planned("dynamic-llava", new_tokens=11)
    # forward 10 reads the 115 kept visual tokens, ⌊9/2⌋ generated ones and its own
    assert decode_reads(made, 31, 10, 10)[0] == 115 + 4 + 1


def test_budgets_out_of_reach():
    # even one token from layer 2 on: (2 · 576 + 30) / 32 = 36.9
    assert "36" not in refusal(planned, "mustdrop", budget=36).way_out
    # all 576 tokens in layers 8 to 13 of 32 are 108 on average
    assert refusal(planned, "hidrop", budget=109).field == "budget"
    # 2 · 576 + 4 · 10 + 2 · 10 + 2 · 5 + 6 = 1,228, 38.4 on average
    assert refusal(planned, "hidrop", budget=38).field == "budget"
    for name in ("shortv", "fitprune", "p-mod", "dycoke", "st3"):
        assert "means nothing" in refusal(planned, name, budget=64).problem


@pytest.mark.parametrize("name", ["mustdrop", "st3", "zipvl", "atp-llava"])
def test_unknown_schedules_say_what_is_assumed(name):
    method = load_method(name)
    assert not method.schedule_known
    model = load_model(LLAVA)
    assert method.schedule(model, Workload()).method.assumed
