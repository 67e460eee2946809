"""What the methods that reduce in front of the LLM compute to choose tokens, by hand.

LLaVA-1.5-7B: 576 tokens, d = 4096, m = 11008, 32 layers of 32 heads of 128; its encoder has 577
tokens, 23 contributing layers, d_e = 1024 and 16 heads. 64 text tokens. LLaVA-NeXT has five such
crops and 48 separators, LLaVA-NeXT-Video 8 frames of 576 patches, pooled to 144 tokens.
"""

from __future__ import annotations

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Counting, Report, Workload, evaluate
from vlm_tokencost.costmodel.selection import selection_work
from vlm_tokencost.presets import load_method, load_model

LLAVA, NEXT, VIDEO = "llava-1.5-7b", "llava-next-vicuna-7b", "llava-next-video-7b"
QWEN = "qwen2.5-vl-7b"
#: One query row over a crop, and all rows, in one encoder layer; maps of one and of all layers.
ROW, FULL = 577 * 1024, 577 * 577 * 1024
MAP, MAPS = 16 * 577**2, 24 * 16 * 577**2
D, M = 4096, 11008


def asked(name, model=LLAVA, budget=None, **work) -> Report:
    workload = Workload(**{"text_tokens": 64, **work})
    loaded = load_model(model)
    return evaluate(loaded, workload, load_method(name).schedule(loaded, workload, budget))


def worked(report: Report, selection="ideal"):
    counting = Counting(selection=selection)
    return selection_work(report.model, report.scheduled, report.schedule, counting)


def macs(name, model=LLAVA, selection="ideal", budget=None, **work):
    flops = worked(asked(name, model, budget, **work), selection).flops
    assert flops % 2 == 0
    return flops // 2


def text_tower(tokens):
    """CLIP ViT-L/14: 12 layers of width 768, four square projections, all pairs, FFN of 3072."""
    return 12 * (4 * tokens * 768**2 + 2 * tokens**2 * 768 + 2 * tokens * 768 * 3072)


#: 49,408 words and 77 positions of width 768, 12 layers with biases and two norms, the last norm
TEXT_WEIGHTS = (
    (49408 + 77) * 768
    + 12 * (4 * (768**2 + 768) + 768 * 3072 + 3072 + 3072 * 768 + 768 + 2 * 2 * 768)
    + 2 * 768
)
#: the text's projection and the patches'
CLIP_WEIGHTS = TEXT_WEIGHTS + 768**2 + 1024 * 768

#: VisPruner keeps 64 by attention; 512 others become 64, eight a round: the round from 64 + 8j
#: tokens compares every other one with those between
ROUNDS = 1024 * sum(((64 + 8 * j) // 2) ** 2 for j in range(1, 57))

#: name → MACs, rounds, entries of attention maps, weights, on LLaVA-1.5-7B
IDEAL = {
    # keys, queries and scores of layer 0
    "hawk": (576 * D * D + 64 * D * D + 64 * 576 * D, 1, 0, 32),
    "codecsight": (0, 32, 0, 0),
    "fastocr": (0, 0, 0, 0),
    # two neighbours of each token
    "omnirefine": (576 * D * 2, 1, 0, 0),
    # one layer on 576 + 64 tokens
    "evocomp": (
        4 * 640 * D**2 + 2 * 640**2 * D + 3 * 640 * D * M + 640 * D,
        1,
        0,
        4 * D**2 + 3 * D * M + 2 * D + D + 1,
    ),
    # ⌊126 · 576/729⌋ = 99 anchors: cosines of 477 with them, twice 100 steps, means; 99 with 99
    "aot": (
        2 * ROW
        + 477 * D * 99
        + 200 * 477 * 99
        + 477 * 99 * D
        + 99 * D * 99
        + 200 * 99 * 99
        + 99 * 99 * D,
        400,
        0,
        0,
    ),
    # 31 patches against the 575 others
    "llava-prumerge": (ROW + 31 * 1024 * 575, 2, 0, 0),
    "llava-prumerge-plus": (ROW + 143 * 1024 * 575, 2, 0, 0),
    # one crop: nothing to share, no early layer
    "hired": (ROW, 1, 0, 0),
    "dart": (576 * D * 8, 8, 0, 0),
    "fastervlm": (ROW, 1, 0, 0),
    "vispruner": (ROW + ROUNDS, 1 + 56, 0, 0),
    # cosines, text tower on 77 tokens, its and the patches' projections, relevance, Cholesky rows
    "cdpruner": (
        576 * D * 576
        + text_tower(77)
        + 768**2
        + 576 * 1024 * 768
        + 576 * 768
        + 576 * sum(range(127)),
        128,
        0,
        CLIP_WEIGHTS,
    ),
    # 16 runs of 36
    "holov": (ROW + 16 * 36 * 36 * D, 2, 0, 0),
    "scope": (ROW + 576 * 1024 * 576, 64, 0, 0),
    # text against projected tokens, encoder features of a crop against one another
    "mmtok": (64 * D * 576 + 576 * 1024 * 576, 64, 0, 0),
    # one graph: five steps of 576²
    "g-prune": (576 * D * 576 + 5 * 576**2, 5, 0, 0),
    # 48 kept, 16 targets that 512 are merged into, in three rounds
    "visiontrim": (
        FULL
        + text_tower(64)
        + 64 * 768**2
        + 528 * 1024 * 768
        + 528 * 768 * 64
        + 3 * (16 * 1024 * 768 + 16 * 768 * 64 + 512 * 64 * 16),
        4,
        0,
        CLIP_WEIGHTS,
    ),
    "m3": (0, 1, 0, 0),
    # four layers on 576 + 1 + 64 tokens; a query over 576 patches; the connector once more
    "llava-mini": (
        4 * (4 * 641 * D**2 + 2 * 641**2 * D + 3 * 641 * D * M)
        + 576 * 1024 * 2048
        + 2 * 1024**2
        + 2 * 576 * 1024
        + 1024 * D
        + D**2,
        5,
        0,
        # biases of four projections, two norms of two, one query
        4 * (4 * D**2 + 3 * D * M + 2 * D) + 4 * 1024**2 + (4 + 4 + 1) * 1024,
    ),
    # scorer; 9 + 64 tokens and the patches to half width; two attentions of nine queries; back
    "flashsloth": (
        576 * 1024 * (1024 + 1)
        + 73 * D * 512
        + 576 * 1024 * 512
        + (9 + 64 + 64) * 512**2
        + 2 * 9 * 64 * 512
        + (9 + 576) * 512**2
        + 576 * 1024**2
        + 9 * 576 * (512 + 1024)
        + 9 * 1024 * D,
        3,
        0,
        (1024**2 + 1024 + 1024 + 1)  # scorer
        + (D * 512 + 512 + 1024 * 512 + 512)  # to half width
        + 5
        * (512**2 + 512)  # queries, keys and values of the question, queries and keys of patches
        + (1024**2 + 1024)  # values of patches
        + 3 * 2 * 512  # norms
        + (1024 * D + D)  # back
        + 9 * D,  # the tokens
    ),
    "voco-llama": (0, 0, 0, 0),
    "freeva": (0, 1, 0, 0),
    "vidcom2": (0, 2, 0, 0),
}


@pytest.mark.parametrize("name", IDEAL)
def test_selection(name):
    products, rounds, entries, weights = IDEAL[name]
    found = worked(asked(name))
    assert found.flops == 2 * products
    assert found.launches == rounds
    assert found.attention_map_bytes == 2 * entries
    assert found.parameters == weights


#: name → MACs, rounds and entries of attention maps of the released code, on LLaVA-1.5-7B
RELEASED = {
    # queries and keys of all 640 tokens
    "hawk": (640 * D * 2 * D + 64 * 576 * D, 1, 32 * 64 * 576),
    "aot": (IDEAL["aot"][0] - 2 * ROW, 400, MAP),
    # a row of the factor behind the last choice
    "cdpruner": (IDEAL["cdpruner"][0] + 576 * 127, 128, 0),
    # full attention in a single head of 1024; patch by patch
    "llava-prumerge": (FULL + 31 * 1024 * 575, 31, 577**2),
    "llava-prumerge-plus": (FULL + 143 * 1024 * 575, 143, 577**2),
    "hired": (FULL, 1, MAP),
    "fastervlm": (0, 1, MAPS),
    "vispruner": (ROUNDS, 57, MAPS),
    "holov": (16 * 36 * 36 * D, 16, MAPS),
    "scope": (576 * 1024 * 576, 64, MAPS),
    # A², A⁴ and A⁵, and a row through the last
    "g-prune": (576 * D * 576 + 3 * 576**3 + 576**2, 4, 0),
    # distances and projections of all patches, which nothing uses; similarities again: once, and
    # in each round; sums as products
    "visiontrim": (
        IDEAL["visiontrim"][0]
        - FULL
        + 576 * 1024 * 9
        + 576 * 1024 * 768
        + 528 * 768 * 64
        + 3 * 512 * 16 * 1024
        + 3 * (512 * 1024 * 768 + 16 * 768 * 64 + 512 * 768 * 64),
        576 + 4,
        MAPS,
    ),
    # 64 squares one by one
    "flashsloth": (IDEAL["flashsloth"][0], 2 + 64, 0),
    "vidcom2": (0, 3, 0),
    "dart": (576 * D * 8, 8, 0),
}


@pytest.mark.parametrize("name", RELEASED)
def test_selection_as_released(name):
    products, rounds, entries = RELEASED[name]
    found = worked(asked(name), "released")
    assert found.flops == 2 * products
    assert found.launches == rounds
    assert found.attention_map_bytes == 2 * entries


def test_forestprune_links_each_frame_to_all_before_it():
    # 8 frames of 144 tokens, 72 of which are linked: 0 + 1 + … + 7 = 28 earlier frames
    cosines = 8 * 144 * 144 * D + 28 * 72 * 72 * D
    assert macs("forestprune", VIDEO) == cosines + 5 * 8 * 144**2
    assert macs("forestprune", VIDEO, "released") == cosines + 8 * (3 * 144**3 + 144**2)
    assert worked(asked("forestprune", VIDEO)).launches == 8
    # the separator of LLaVA-OneVision is in no frame: d = 3584, 196 tokens, halves of 98
    other = 4 * 196 * 196 * 3584 + 6 * 98 * 98 * 3584 + 5 * 4 * 196**2
    assert macs("forestprune", "llava-onevision-7b", frames=4) == other


def test_fastvid_compares_every_fourth_frame():
    # 14 of 144 tokens of 8 frames are 112, 44 of them anchors, ⌈44/8⌉ = 6 in each segment
    head = 8 * 576 * 1024 * 1024 + 8 * 576 * 1024
    assert macs("fastvid", VIDEO) == head + 2 * 144 * D * 144 + 8 * 144 * D * 6
    assert worked(asked("fastvid", VIDEO)).launches == 8


def test_vidcom2_takes_its_frames_one_by_one():
    assert worked(asked("vidcom2", VIDEO), "released").launches == 2 + 8


def test_crops_are_compared_within_themselves():
    # five crops of 576 patches and 577 tokens
    assert macs("fastervlm", NEXT) == 5 * ROW
    assert macs("hired", NEXT, "released") == 2 * 5 * FULL
    assert macs("hired", NEXT) == (5 + 1) * ROW  # the early row of the whole image alone
    assert macs("scope", NEXT) == 5 * (ROW + 576 * 1024 * 576)
    # runs of the whole sequence: 2880/16 = 180
    assert macs("holov", NEXT) == 5 * ROW + 16 * 180 * 180 * D
    # 32 of each crop: 16 by attention, 544 others become 16 in 68 rounds
    rounds = sum(((16 + 8 * j) // 2) ** 2 for j in range(1, 69))
    assert macs("vispruner", NEXT, budget=160) == 5 * (ROW + 1024 * rounds)
    # similarities of 2880 tokens in five blocks, 30 + 29 + … rows of the Cholesky factor in each
    relevance = text_tower(77) + 768**2 + 2880 * 1024 * 768 + 2880 * 768
    blocks = 5 * (576 * 576 * D + 576 * sum(range(31)))
    assert macs("cdpruner", NEXT, budget=160) == blocks + relevance
    # encoder features of each crop against one another
    assert macs("mmtok", NEXT) == 2880 * (64 * D + 576 * 1024)
    # overview and tiles are a graph each
    graphs = (576**2 + 2304**2) * D + 5 * (576**2 + 2304**2)
    assert macs("g-prune", NEXT) == graphs


def rounds(tokens, kept):
    """Pairs of tokens that VisPruner's rounds compare in one crop."""
    last, left, pairs = kept - kept // 2, tokens - kept // 2, 0
    while left > last:
        pairs += ((left + 1) // 2) * (left // 2)
        left -= min(8, left - last)
    return pairs


@pytest.mark.parametrize("budget", [64, 65, 101, 128, 300, 575, 576])
def test_rounds_of_eight_and_what_is_left(budget):
    assert macs("vispruner", budget=budget) == ROW + 1024 * rounds(576, budget)


def test_rounds_behind_a_connector_that_merges():
    # 1521 tokens of width 3584, of 6084 patches of 16 heads of 80; 128 stay
    assert macs("vispruner", QWEN) == 6084**2 * 1280 + 3584 * rounds(1521, 128)
    # three tiles of 256 tokens of width 4096, each of 1025 encoder tokens; 128 of each stay
    tiles = macs("vispruner", "internvl2.5-8b", images=["448x896"])
    assert tiles == 3 * (1025 * 1024 + 4096 * rounds(256, 128))


def test_prumerge_behind_a_connector_that_merges():
    # 83 of 1521 tokens, whose keys are compared with 1520 others
    assert macs("llava-prumerge", QWEN) == 6084**2 * 1280 + 83 * 1520 * 1280


def test_runs_that_differ_by_one():
    # 1521 = 15 · 95 + 96 tokens
    assert macs("holov", QWEN) == 6084**2 * 1280 + (15 * 95**2 + 96**2) * 3584


def test_images_of_different_sizes_are_ranked_each_in_itself():
    # 32×32 and 32×64 patches, 16 heads of 80
    images = ["448x448", "448x896"]
    assert macs("fastervlm", QWEN, images=images) == (1024**2 + 2048**2) * 1280


def test_every_crop_keeps_as_many():
    # a quarter of 576 tokens of five crops, separators left aside
    assert asked("fastervlm", NEXT).scheduled.entering_visual_tokens == 5 * 144
    # 0.167 of them, then a third of all; 480 others are compared with 96 in each crop
    vscan = asked("vscan", NEXT)
    assert vscan.scheduled.visual == (480,) * 16 + (160,) * 16
    row = D * D + (480 + 64) * (D * D + D)  # query, keys and row of layer 16
    assert worked(vscan).flops == 2 * (2 * 5 * ROW + 5 * 480 * 96 * D + row)
    assert refusal(lambda: asked("fastervlm", NEXT, budget=721)).way_out == "give 720 or 725"


def test_encoder_without_a_class_token_scores_every_pair():
    # SigLIP at 384 px: 27² = 729 patches, 16 heads of 72, in an overview and one tile
    assert macs("fastervlm", "llava-onevision-7b") == 2 * 729**2 * 1152


def test_hawk_with_fewer_key_heads():
    # Qwen2.5-VL-7B: d = 3584, 28 query and 4 key heads of 128, 1521 tokens
    keys, queries = 1521 * 3584 * 512, 64 * 3584 * 3584
    assert macs("hawk", QWEN) == keys + queries + 64 * 1521 * 3584
    assert worked(asked("hawk", QWEN)).parameters == 28


def test_long_questions_fill_segments_of_clip():
    # 78 text tokens are two segments of 77
    more = macs("cdpruner", text_tokens=78) - macs("cdpruner", text_tokens=77)
    assert more == text_tower(77) + 768**2 + 576 * 768
    # VisionTrim cuts off instead
    assert macs("visiontrim", text_tokens=78) == macs("visiontrim", text_tokens=77)


def test_evocomp_costs_a_layer_of_32():
    # without text: a layer and 576 scores, beside 32 layers on 576 tokens
    dense = evaluate(load_model(LLAVA), Workload(text_tokens=0))
    layer = dense.bill("exact").by_component()["decoder"] // 32
    assert 2 * macs("evocomp", text_tokens=0) == layer + 2 * 576 * D


def test_methods_that_rank_by_the_encoder_need_its_layers():
    error = refusal(lambda: asked("fastervlm", "fastvlm-0.5b"))  # a convolutional encoder
    assert error.field.startswith("selection.terms")
    assert "transformer layers" in error.way_out
