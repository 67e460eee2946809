"""Methods that cite PyramidDrop: tokens, caches and budgets, from the papers' numbers.

LLaVA-1.5-7B has M = 576 and T = 32, Qwen2.5-VL-7B by default 1521 and 28.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Report, Workload, evaluate
from vlm_tokencost.costmodel.memory import kv_cache_bytes, kv_read_bytes
from vlm_tokencost.presets import load_method, load_model

LLAVA, QWEN = "llava-1.5-7b", "qwen2.5-vl-7b"


def asked(name, model=LLAVA, budget=None, **work) -> Report:
    workload = Workload(**{"text_tokens": 0, **work})
    loaded = load_model(model)
    return evaluate(loaded, workload, load_method(name).schedule(loaded, workload, budget))


def visual(name, model=LLAVA, budget=None, **work) -> tuple[int, ...]:
    return asked(name, model, budget, **work).scheduled.visual


#: method, model → visual tokens of the default, as (layers, tokens)
DEFAULTS = [
    # 80 % fewer: ⌊0.2 · 576 = 115.2⌋, ⌊0.2 · 1521 = 304.2⌋
    ("eventprune", LLAVA, [(32, 115)]),
    ("eventprune", QWEN, [(28, 304)]),
    # a narrower cache, no token fewer
    ("rotatek", LLAVA, [(32, 576)]),
    ("rotatek", QWEN, [(28, 1521)]),
    # 1/18 of 576 is 32: R1 = 32 · 96/56 = 54.9, R2 = 32 · 32/56 = 18.3, from layer 12 on
    ("learnpruner", LLAVA, [(12, 54), (20, 18)]),
    # 1/18 of 1521 is 84.5; ⌊3 · 28/8⌋ = 10: 84 · 84/48 = 147, 84 · 28/48 = 49
    ("learnpruner", QWEN, [(10, 147), (18, 49)]),
    # a sigmoid of steepness 10 around ⌊T/4⌋ = 8 from all to a third: 1/2 of each in its middle
    ("vispco", LLAVA, [(8, 576), (1, 384), (23, 192)]),
    # ⌊28/4⌋ = 7; (1521 + 507)/2 = 1014; one layer on 507 + 4.5e-5 · 1014 is 507.05
    ("vispco", QWEN, [(7, 1521), (1, 1014), (20, 507)]),
    # FastV's layer 2 with a third
    ("dstp", LLAVA, [(2, 576), (30, 192)]),
    ("dstp", QWEN, [(2, 1521), (26, 507)]),
    # 42.4 times fewer: 576/42.4 = 13.6, 1521/42.4 = 35.9
    ("dualcomp", LLAVA, [(32, 13)]),
    ("dualcomp", QWEN, [(28, 35)]),
    ("adaspark", LLAVA, [(32, 576)]),
    ("adaspark", QWEN, [(28, 1521)]),
    # 22.2 %: 2/9 of 576 and of 1521
    ("sppruner", LLAVA, [(32, 128)]),
    ("sppruner", QWEN, [(28, 338)]),
    # 88.9 % fewer: a ninth
    ("lrcp", LLAVA, [(32, 64)]),
    ("lrcp", QWEN, [(28, 169)]),
    # 77.8 % fewer from layer 2 on: mean (2·576 + 30·128)/32 = 156
    ("coast", LLAVA, [(2, 576), (30, 128)]),
    # layer 14 of the 28
    ("coast", QWEN, [(14, 1521), (14, 338)]),
    # 576 patches / 16
    ("llava-uhd-v4", LLAVA, [(32, 36)]),
    # 1024 patches in a tile, four of which InternVL's shuffle merges: 1024/16
    ("llava-uhd-v4", "internvl3-8b", [(28, 64)]),
    # 5262/16384 = 32.1 % of 576 = 184.99, of 1521 = 488.5
    ("videorouter", LLAVA, [(32, 184)]),
    ("videorouter", QWEN, [(28, 488)]),
    # 640/6272 of 576 = 58.8, of 1521 = 155.2
    ("geo3dpruner", LLAVA, [(32, 58)]),
    ("geo3dpruner", QWEN, [(28, 155)]),
    # 30 % in every layer: 172.8 and 456.3
    ("quota", LLAVA, [(32, 172)]),
    ("quota", QWEN, [(28, 456)]),
    # 8 of each frame; an image is one
    ("points-long", LLAVA, [(32, 8)]),
    ("points-long", QWEN, [(28, 8)]),
    ("desap", LLAVA, [(32, 64)]),
    ("desap", QWEN, [(28, 169)]),
]


@pytest.mark.parametrize(("name", "model", "layers"), DEFAULTS)
def test_defaults(name, model, layers):
    expected = [tokens for count, tokens in layers for _ in range(count)]
    assert list(visual(name, model)) == expected


def test_videos():
    # InternVL3-8B: 64 frames of 256 tokens, of which 5262 are left
    routed = asked("videorouter", "internvl3-8b", frames=64)
    assert routed.dense.dense_visual_tokens == 64 * 256
    assert set(routed.scheduled.visual) == {5262}
    # 8 frames at 8 learned tokens each
    assert set(visual("points-long", "llava-onevision-7b", frames=8)) == {64}


BUDGETS = [
    # (12·R1 + 20·R2)/32 = 64 with R1 = 3·R2: 64 · 32/56 = 36.6
    ("learnpruner", LLAVA, 64, [(12, 109), (20, 36)]),
    # LLaVA-NeXT's 2880 tokens at 160: 160 · 96/56 = 274.3, 91.4
    ("learnpruner", LLAVA, 160, [(12, 274), (20, 91)]),
    # 8·576 + (576 + x)/2 + 23·x = 32·300: 2·9600 − 17·576 = 9408 = 47·x, x = 200.2
    ("vispco", LLAVA, 300, [(8, 576), (1, 388), (23, 200)]),
    # 7·1521 + (1521 + x)/2 + 20·x = 28·600: 33600 − 15·1521 = 10785 = 41·x, x = 263.05
    ("vispco", QWEN, 600, [(7, 1521), (1, 892), (20, 263)]),
    ("dstp", LLAVA, 192, [(2, 576), (30, 192)]),
    ("coast", LLAVA, 192, [(2, 576), (30, 192)]),
    ("quota", LLAVA, 173, [(32, 173)]),
    ("eventprune", LLAVA, 115, [(32, 115)]),
    ("dualcomp", LLAVA, 14, [(32, 14)]),
    ("sppruner", LLAVA, 192, [(32, 192)]),
    ("lrcp", LLAVA, 64, [(32, 64)]),
    ("videorouter", LLAVA, 192, [(32, 192)]),
    ("geo3dpruner", LLAVA, 58, [(32, 58)]),
    ("points-long", LLAVA, 32, [(32, 32)]),
    ("desap", LLAVA, 64, [(32, 64)]),
]


@pytest.mark.parametrize(("name", "model", "budget", "layers"), BUDGETS)
def test_budgets(name, model, budget, layers):
    dense = 2880 if (name, budget) == ("learnpruner", 160) else None
    expected = [tokens for count, tokens in layers for _ in range(count)]
    assert list(visual(name, model, budget, visual_tokens=dense)) == expected


@pytest.mark.parametrize(
    ("name", "least"),
    # R2 = 1 needs 32·B ≥ 56; x = 1 needs 64·B ≥ 17·576 + 47 = 9839
    [("learnpruner", 2), ("vispco", 154)],
)
def test_least_budgets(name, least):
    assert f"the least is {least}" in refusal(visual, name, LLAVA, least - 1).problem
    assert min(visual(name, LLAVA, least)) >= 1


def test_learnpruner_enters_no_more_than_there_is():
    # R1 ≤ 576 needs 96·B ≤ 576 · 56: B ≤ 336
    assert visual("learnpruner", LLAVA, 336) == (576,) * 12 + (192,) * 20
    assert "336" in refusal(visual, "learnpruner", LLAVA, 337).problem


@pytest.mark.parametrize("name", ["rotatek", "adaspark", "llava-uhd-v4"])
def test_methods_without_budgets(name):
    assert refusal(visual, name, LLAVA, 64).field == "budget"


@pytest.mark.parametrize(
    # a token's bytes over all layers, 2·h_kv·128·2: 32 layers of 32 heads, 28 layers of 4
    ("model", "token"),
    [(LLAVA, 524_288), (QWEN, 57_344)],
)
def test_rotatek_caches_a_quarter_of_the_key_channels(model, token):
    report = asked("rotatek", model)
    structural, tokens = report.dense.structural_tokens, report.dense.dense_visual_tokens
    # keys 32 of 128 channels, values 128: 160/256
    assert kv_cache_bytes(report.model, report.scheduled) == token * (
        tokens * Fraction(5, 8) + structural
    )


def test_dstp_stores_everything_and_reads_a_third():
    found = asked("dstp", "qwen3-vl-8b").scheduled
    assert found.visual_stored == (1024,) * 36
    assert found.visual_read == (1024,) * 2 + (341,) * 34
    budget = asked("dstp", "qwen3-vl-8b", 500).scheduled
    assert budget.visual_stored == (1024,) * 36
    assert budget.visual_read == (1024,) * 2 + (500,) * 34
    report = asked("dstp", LLAVA)
    assert kv_cache_bytes(report.model, report.scheduled) == 576 * 524_288
    # a layer's token is 16,384 bytes
    assert kv_read_bytes(report.model, report.scheduled) == 16_384 * (2 * 576 + 30 * 192)


def test_adaspark_scores_fewer_pairs_and_keeps_the_cache():
    report = asked("adaspark")
    found = report.scheduled
    # 30 % of 576² = 99,532.8 pairs; half of the tokens in the feed-forward network
    assert set(found.pairs) == {99_532}
    assert set(found.ffn) == {288}
    assert set(found.query) == set(found.key) == {576}
    assert kv_cache_bytes(report.model, found) == kv_cache_bytes(report.model, report.dense)


def test_quota_stores_four_bits():
    report = asked("quota")
    # 172 tokens of 524,288 bytes at 16 bits
    assert kv_cache_bytes(report.model, report.scheduled) == 172 * 524_288 // 4


@pytest.mark.parametrize(
    ("model", "layer", "assumed"),
    [(LLAVA, 2, False), (QWEN, 14, False), ("llava-1.5-13b", 2, True)],
)
def test_coast_is_known_for_two_depths(model, layer, assumed):
    # a third party's notes: layer 2 of 32, layer 14 of 28; nothing of 40 layers
    for budget in (None, 64):
        report = asked("coast", model, budget)
        assert report.schedule.stages[0].first_layer == layer
        assert any("another depth" in text for text in report.schedule.method.assumed) is assumed
