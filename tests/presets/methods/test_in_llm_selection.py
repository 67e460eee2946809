"""What choosing the tokens costs in methods inside the LLM: products, rounds, maps, weights.

LLaVA-1.5-7B: d = 4,096 = h·d_h = h_kv·d_h, h = 32, 64 text tokens, so that layers run on 64 tokens
more than there are visual ones; CLIP has 577 tokens of 16·64 = 1,024 channels. LLaVA-OneVision-7B:
d = 3,584 = h·d_h, h = 28; SigLIP has 729 tokens of 16·72 = 1,152 channels in each frame.
"""

from itertools import accumulate, pairwise

import pytest
from vlm_tokencost.costmodel import Counting, Workload, evaluate
from vlm_tokencost.costmodel.selection import decode_selection, selection_work
from vlm_tokencost.presets import load_method, load_model

LLAVA, VIDEO, NEXT = "llava-1.5-7b", "llava-onevision-7b", "llava-next-video-7b"
D, OV = 4096, 3584
#: Tokens that FitPrune leaves for 60 %, as released
FITPRUNE = [14, 33, 89, 36, 36, 20, 55, 21, 18, 4, 7, 5, 2, 5, 7, 4, 26, 5, 11, 24, 4, 18, 2, 1]
FITPRUNE += [0, 0, 1, 0, 1, 0, 0, 0]
LEFT = [576 - gone for gone in accumulate(FITPRUNE, initial=0)][:-1]
AIM = [1568, 1372, 1176, 980, 784, 588, 392]

#: (method, model, frames, counting): MACs of a prefill
PRODUCTS = {
    ("random", LLAVA, 0, "ideal"): 0,
    ("vtw", LLAVA, 0, "released"): 0,
    ("shortv", LLAVA, 0, "released"): 0,
    # at 576, 215, 10 and 5 visual tokens: one query, all keys and a row; or 3nd² and the row
    ("hidrop", LLAVA, 0, "ideal"): sum(
        D * D + n * D * D + n * D for n in (640, 64 + 215, 64 + 10, 64 + 5)
    ),
    ("hidrop", LLAVA, 0, "released"): sum(
        3 * n * D * D + n * D for n in (640, 64 + 215, 64 + 10, 64 + 5)
    ),
    # rows of 64 text tokens and of the visual ones over these, wherever some leave
    ("fitprune", LLAVA, 0, "ideal"): sum((64 + b) * b * D for b, a in pairwise(LEFT) if a < b),
    ("fitprune", LLAVA, 0, "released"): 0,
    # d → 1 for all 640 tokens in 24 layers
    ("p-mod", LLAVA, 0, "ideal"): 24 * 640 * D,
    # d → 512, two layers of 512 and 2,048 channels, 512 → 256 → 128 → 2
    ("dynamic-llava", LLAVA, 0, "ideal"): 576 * D * 512
    + 2 * (4 * 576 * 512**2 + 2 * 576**2 * 512 + 2 * 576 * 512 * 2048)
    + 576 * (512 * 256 + 256 * 128 + 128 * 2),
    # n·d·min(n, d) of a decomposition, one row, the lower 96 of 192 against the upper
    ("tokencarve", LLAVA, 0, "ideal"): 576 * D * 576 + 640 * D + 96 * 96 * D,
    ("tokencarve", LLAVA, 0, "released"): 576 * D * 576 + 96 * 96 * D,
    # 64 windows of 9 · 9 pairs, the class token's row, text rows at 576 and thrice at 29 tokens
    ("mustdrop", LLAVA, 0, "ideal"): 64 * 81 * 1024 + 577 * 1024 + 64 * (576 + 3 * 29) * D,
    ("mustdrop", LLAVA, 0, "released"): 64 * 81 * 1024,
    # 16 second frames and 7 third ones of 196 tokens
    ("dycoke", VIDEO, 32, "ideal"): 23 * 196 * OV,
    # neighbours, distances in every second frame, encoder attention, a row, 320 against 320
    ("holitom", VIDEO, 32, "ideal"): 31 * 196 * OV
    + 3136 * OV * 196
    + 32 * 729 * 729 * 1152
    + (640 + 64) * OV
    + 320 * 320 * OV,
    ("holitom", VIDEO, 32, "released"): 31 * 196 * OV + 3136 * OV * 196 + 320 * 320 * OV,
    # 16 · 16 frame means, scenes of four, 144 patches a frame, 64 text rows over 933 tokens
    ("prunevid", NEXT, 16, "ideal"): 16 * 16 * D + 2304 * 4 * D + 2304 * 144 * D + 64 * 933 * D,
    # 31 of 32 frames have one before them
    ("framefusion", VIDEO, 32, "ideal"): 31 * 196 * OV,
    # 98² and 49² cosines of a frame; maps before seven layers, five steps in each of 28 heads
    ("aim", VIDEO, 32, "ideal"): 32 * (98 * 98 + 49 * 49) * OV
    + sum((b + 64) ** 2 * (OV + 5 * 28) for b in AIM),
    ("aim", VIDEO, 32, "released"): 32 * (98 * 98 + 49 * 49) * OV
    + sum((b + 64) ** 2 * 5 * 28 for b in AIM),
    # 64 of 640 tokens probe all in each of 32 layers; keys of 288 others are projected for them
    ("zipvl", LLAVA, 0, "ideal"): 32 * 64 * 640 * D + 32 * 288 * D * D,
    # at 576, 169 and 50 tokens: text and visual rows, and four means to d channels
    ("atp-llava", LLAVA, 0, "ideal"): sum((64 + b) * b * D for b in (576, 169, 50)) + 3 * 4 * D,
}


def worked(name, model=LLAVA, frames=0, counting="ideal"):
    loaded, workload = load_model(model), Workload(frames=frames, text_tokens=64)
    schedule = load_method(name).schedule(loaded, workload)
    priced = evaluate(loaded, workload, schedule, Counting(selection=counting))
    return selection_work(loaded, priced.scheduled, schedule, priced.counting)


@pytest.mark.parametrize(("asked", "macs"), PRODUCTS.items(), ids=lambda value: str(value))
def test_products_of_a_prefill(asked, macs):
    assert worked(*asked).flops == 2 * macs


def test_st3_ranks_wherever_tokens_leave():
    # 30 layers from layer 2 on, each of which sees fewer; the first row has 640 keys
    loaded, workload = load_model(LLAVA), Workload(text_tokens=64)
    schedule = load_method("st3").schedule(loaded, workload)
    visual = evaluate(loaded, workload, schedule).scheduled.visual
    before = [b for b, a in pairwise(visual) if a < b]
    assert before[0] == 576
    assert worked("st3").flops == 2 * sum((b + 64) * D for b in before)


#: (method, model, frames, counting): serial rounds and entries of the largest maps
FOOTPRINTS = {
    ("random", LLAVA, 0, "ideal"): (0, 0),
    ("vtw", LLAVA, 0, "ideal"): (0, 0),
    ("shortv", LLAVA, 0, "ideal"): (0, 0),
    ("hidrop", LLAVA, 0, "released"): (4, 0),
    ("fitprune", LLAVA, 0, "ideal"): (sum(count > 0 for count in FITPRUNE), 0),
    ("fitprune", LLAVA, 0, "released"): (sum(count > 0 for count in FITPRUNE), 32 * 640**2),
    ("p-mod", LLAVA, 0, "ideal"): (24, 0),
    ("tokencarve", LLAVA, 0, "released"): (3, 32 * 640**2),
    # the LLM's map of 640 tokens is larger than the encoder's of 577 in 16 heads
    ("mustdrop", LLAVA, 0, "released"): (6, 32 * 640**2),
    ("dycoke", VIDEO, 32, "released"): (16 + 7, 0),
    # tokens merge one by one, 320 of them; SigLIP's maps of 32 frames are the largest
    ("holitom", VIDEO, 32, "released"): (3 + 320, 16 * 32 * 729**2),
    ("prunevid", NEXT, 16, "ideal"): (4, 0),
    ("framefusion", VIDEO, 32, "ideal"): (1, 0),
    ("aim", VIDEO, 32, "released"): (6 * 7, 28 * 1632**2),
    ("st3", LLAVA, 0, "ideal"): (30, 0),
    ("zipvl", LLAVA, 0, "ideal"): (32, 0),
    ("atp-llava", LLAVA, 0, "ideal"): (3, 0),
}


@pytest.mark.parametrize(("asked", "footprint"), FOOTPRINTS.items(), ids=lambda value: str(value))
def test_rounds_and_maps(asked, footprint):
    work = worked(*asked)
    assert (work.launches, work.attention_map_bytes) == (footprint[0], 2 * footprint[1])


def test_weights_that_are_added():
    # 24 routers of 4,096 weights and a bias
    assert worked("p-mod").parameters == 24 * 4097
    # two inputs d → 512, two layers of 4·512² + 2·512·2,048, two outputs 512 → 256 → 128 → 2
    layers = 2 * (4 * 512**2 + 2 * 512 * 2048)
    outputs = 2 * (512 * 256 + 256 * 128 + 128 * 2)
    assert worked("dynamic-llava").parameters == 2 * D * 512 + layers + outputs
    assert worked("vtw").parameters == 0


def step_macs(name, model, counting, **request):
    loaded, workload = load_model(model), Workload(text_tokens=64, new_tokens=9, **request)
    schedule = load_method(name).schedule(loaded, workload)
    priced = evaluate(loaded, workload, schedule, Counting(selection=counting))
    operators = decode_selection(loaded, priced.scheduled, schedule, 1, 1, priced.counting)
    return sum(operator.macs for operator in operators)


def test_every_decode_forward_chooses():
    # one row over 3,099 visual and 64 text tokens; as released, rows of all 28 layers, of which
    # three read all visual tokens and 25 read 929
    assert step_macs("dycoke", VIDEO, "ideal", frames=32) == (3099 + 64) * OV
    rows = 3 * 3099 + 25 * 929 + 28 * 64
    assert step_macs("dycoke", VIDEO, "released", frames=32) == rows * OV
    # d → 512 → 256 → 128 → 2 for the new token
    small = 512 * 256 + 256 * 128 + 128 * 2
    assert step_macs("dynamic-llava", LLAVA, "ideal") == D * 512 + small


@pytest.mark.parametrize(
    ("counting", "row"), [("ideal", 3099 + 64), ("released", 3 * 3099 + 25 * 929 + 28 * 64)]
)
def test_a_generation_counts_what_its_forwards_choose(counting, row):
    loaded = load_model(VIDEO)
    workload = Workload(frames=32, text_tokens=64, new_tokens=4)
    schedule = load_method("dycoke").schedule(loaded, workload)
    priced = evaluate(loaded, workload, schedule, Counting(selection=counting))
    decode = priced.bill("exact", phase="decode").by_component()
    assert decode["selection"] == 2 * 3 * row * OV
