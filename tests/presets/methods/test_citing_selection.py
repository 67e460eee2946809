"""What the methods that cite PyramidDrop compute to choose tokens, by hand.

LLaVA-1.5-7B: 576 tokens, d = 4096, m = 11008, 32 layers of 32 heads of 128; its encoder has 577
tokens, 23 contributing layers, d_e = 1024, m_e = 4096 and 16 heads. 64 text tokens.
"""

from __future__ import annotations

import pytest
from vlm_tokencost.costmodel import Counting, Report, Workload, evaluate
from vlm_tokencost.costmodel.selection import selection_work
from vlm_tokencost.presets import load_method, load_model

LLAVA = "llava-1.5-7b"


def asked(name, model=LLAVA, **work) -> Report:
    workload = Workload(**{"text_tokens": 64, **work})
    loaded = load_model(model)
    return evaluate(loaded, workload, load_method(name).schedule(loaded, workload))


def worked(report: Report, selection="ideal"):
    counting = Counting(selection=selection)
    return selection_work(report.model, report.scheduled, report.schedule, counting)


#: name → MACs, rounds, entries of attention maps, weights, on LLaVA-1.5-7B
WORK = {
    # text rows of one layer over all tokens
    "eventprune": (64 * 576 * 4096, 3, 32 * 64 * 576, 0),
    # a scorer 1024 → 512 → 1; 54 tokens enter, 5 of them diverse: 576 − 49 others against 49 and
    # four of the five; text rows over 54 + 64 tokens in layer 12
    "learnpruner": (
        576 * 1024 * 512 + 576 * 512 + 527 * 1024 * 53 + 64 * 118 * 4096,
        2 + 5,
        32 * 64 * 118,
        1024 * 512 + 512 + 512 + 1,  # 0.53 M
    ),
    # a pooled question through a million weights; eight neighbours in the encoder's features
    "dualcomp": (10**6 + 576 * 1024 * 8 + 576 * 4096 * 64, 2 + 13, 0, 10**6),
    # 9 cubes of 64 tokens, half of which precede a token: 576/128 = 4.5
    "adaspark": (32 * 576 * 4 * 4096, 2 * 32, 32 * 576 * 4, 0),
    "sppruner": (576 * 4096 * 64 + 576 * 4096 * 9, 3, 576 * 64, 0),
    # n·d·min(n, d), then four vectors there and back, then 512 dropped against 64 kept
    "lrcp": (576 * 4096 * 576 + 576 * 4096 * 2 * 4 + 512 * 4096 * 64, 3, 0, 0),
    # text rows over 640 tokens; 576 − 102 against ⌊0.8 · 128⌋ = 102 anchors and a mean
    "coast": (64 * 640 * 4096 + (576 - 102) * 4096 * (102 + 1), 3, 32 * 64 * 640, 0),
    # windows of 4 patches: 4d² + 2·4·d; 144 patches through 4096 → 16384 → 1024
    "llava-uhd-v4": (
        576 * (4 * 1024**2 + 8 * 1024) + 144 * 16384 * (4096 + 1024),
        2,
        0,
        4 * 1024**2 + 16384 * (4096 + 1024),
    ),
    # one row
    "quota": (576 * 4096, 2, 0, 0),
    # 8 tokens through 23 layers, beside 576 patches; in 5 layers 8 frames of 8 tokens
    "points-long": (
        23 * 8 * (4 * 1024**2 + 2 * 1024 * 4096)
        + 23 * 8 * (576 + 8) * 2 * 1024
        + 5 * 8 * 64 * 2 * 1024,
        5,
        0,
        23 * 2 * 1024 * 4096,
    ),
    # 577² pairs, scores and values; 64 text tokens; 512 merged into 64
    "desap": (577**2 * 1024 * 2 + 576 * 4096 * 64 + 512 * 4096 * 64, 4, 16 * 577**2, 0),
    "dstp": (0, 1, 0, 0),
}


@pytest.mark.parametrize("name", WORK)
def test_selection(name):
    macs, rounds, entries, weights = WORK[name]
    found = worked(asked(name))
    assert found.flops == 2 * macs
    assert found.launches == rounds
    assert found.attention_map_bytes == 2 * entries
    assert found.parameters == weights


def test_desap_is_a_percent_of_a_prefill():
    # a reading note says 0.5 to 1 % of a prefill with 576 tokens, of which 7.6 TFLOP are the LLM's
    report = asked("desap")
    share = worked(report).flops / report.bill(scheduled=False).total
    assert 0.0002 < share < 0.01


def test_rotatek():
    # Qwen2.5-VL-7B: 1521 tokens, 28 layers of 4 key/value heads and 28 query heads of 128
    head = (
        1521 * 128 * 128  # covariance
        + 5 * 128 * 128 * 32  # five rounds of products
        + 5 * 32 * 128 * 32  # Gram matrices
        + 5 * 128 * 32 * 32 // 2  # triangular solves
        + 1521 * 128 * 32  # keys in the basis
        + 2 * 128 * 32  # the mean there and back
    )
    report = asked("rotatek", "qwen2.5-vl-7b")
    assert worked(report).flops == 2 * 28 * 4 * head
    assert worked(report).launches == 28 * (1 + 5 * 4 + 1)
    step = 28 * 28 * (128 * 32 + 128)
    assert report.decode_forward(1).by_component()["selection"] == 2 * step
    # dossier of the method: 0.064 GMAC for each of 4 heads and 28 layers at 3000 tokens
    longer = asked("rotatek", "qwen2.5-vl-7b", visual_tokens=3000)
    assert abs(worked(longer).flops / 2e9 - 7.2) < 0.4


def test_vispco_s_predictor():
    # Qwen2.5-VL-3B: d = 2048, 16 heads; 1521 visual, 64 text and 2 structural tokens
    def linear(before, after):
        return before * after + after

    d, tokens = 2048, 1521 + 64 + 2
    blocks = 2 * (d // 2) * (d // 4) + 2 * (d // 4) * (d // 8)  # each with its shortcut
    budget = (d // 4) + (d // 4) ** 2 + (d // 4) * (d // 2) + (d // 4) * (d // 4)
    head = (d // 8) * 256 + 256 * 128 + 128 * 2
    found = worked(asked("vispco", "qwen2.5-vl-3b"))
    assert found.flops == 2 * (tokens * (d * d // 2 + blocks) + budget + head)
    weights = linear(d, d // 2) + 2 * linear(d // 2, d // 4) + 2 * linear(d // 4, d // 8)
    weights += linear(1, d // 4) + linear(d // 4, d // 4)  # code of the budget
    weights += linear(d // 4, d // 2) + linear(d // 4, d // 4)  # modulation of both blocks
    weights += linear(d // 8, 256) + linear(256, 128) + linear(128, 2)
    weights += 2 * (d // 2 + d // 4 + d // 8)  # norms of both blocks and of the head
    assert found.parameters == weights
    # eager attention where tokens become fewer; the first time over all of them
    released = worked(asked("vispco", "qwen2.5-vl-3b"), "released")
    assert (found.attention_map_bytes, released.attention_map_bytes) == (0, 2 * 16 * tokens**2)
    assert found.launches == 2, "at layer T/4 and behind it"


def test_dstp_while_decoding():
    # Qwen3-VL-8B: 36 layers of 32 heads of 128; 341 of 1024 tokens are read from layer 2 on
    report = asked("dstp", "qwen3-vl-8b", new_tokens=3)
    rescan = 34 * (1024 - 341) * 32 * 128
    drift = 2 * (2 * 1024 + 34 * 341)
    assert report.decode_forward(1).by_component()["selection"] == 2 * (rescan + drift)
    decode = report.bill(phase="decode").by_component()["selection"]
    assert decode == 2 * 2 * (rescan + drift), "two forwards"


def test_videorouter_s_four_layers():
    # InternVL3-8B: d = 3584, m = 18944, 28 heads and 4 for keys and values of 128; two frames
    d, m, kv, text, frames = 3584, 18944, 512, 64, 2
    weights = 2 * d * d + 2 * d * kv + 3 * d * m
    tokens = frames * (256 + text)
    policy = text * weights + 2 * text**2 * d
    relevance = tokens * weights + 2 * frames * (256 + text) ** 2 * d
    found = worked(asked("videorouter", "internvl3-8b", frames=frames))
    assert found.flops == 2 * 4 * (policy + relevance)
    assert found.parameters == 4 * weights


def test_videorouter_is_a_seventh_of_the_llm_at_most():
    # four of 28 layers over all frames; frames that do not see one another are cheaper
    report = asked("videorouter", "internvl3-8b", frames=64)
    llm = report.bill(scheduled=False).by_component()["decoder"]
    assert 0.07 < worked(report).flops / llm < 4 / 28 * 1.3


def test_geo3dpruner_s_vggt():
    # 16 frames of 37² + 5 tokens, d = 1024, m = 4096: 72 layers, 24 of which see all frames
    tokens = 16 * (37 * 37 + 5)
    layers = 72 * tokens * (4 + 2 * 4) * 1024**2
    pairs = 48 * 16 * (37 * 37 + 5) ** 2 + 24 * tokens**2
    report = asked("geo3dpruner", "llava-onevision-7b", frames=16)
    found = worked(report)
    assert found.flops == 2 * (layers + 2 * pairs * 1024)
    assert abs(found.flops / 1e12 - 93) < 1, "93 TFLOPs, more than the LLM's 43"
    assert found.flops > report.bill(scheduled=False).by_component()["decoder"]
    # 16·196 + 1 tokens, a tenth of them in rounds of eight
    entering = 3137 * 5 // 49
    assert report.scheduled.entering_visual_tokens == entering
    assert found.launches == 73 + -(-entering // 8)
    assert found.attention_map_bytes == 2 * 3137**2


def test_uhd_windows_of_each_crop_run_alone_in_the_released_code():
    report = asked("llava-uhd-v4", "internvl3-8b", frames=8)
    assert worked(report).launches == 2
    assert worked(report, "released").launches == 8 + 1


def test_layers_of_a_term_are_all_counted():
    # what `selection_work` sums is what the bill charges
    report = asked("geo3dpruner", "llava-onevision-7b", frames=8)
    assert worked(report).flops == report.bill().by_component()["selection"]
    # operands and results, 16 bits: projections, scores and values, feed-forward network
    n, d, m = 8 * 1374, 1024, 4096
    projections = n * d + d * 4 * d + n * 4 * d
    attention = 2 * n * 2 * d
    ffn = n * d + d * 2 * m + n * 2 * m
    assert worked(report).moved_bytes == 72 * 2 * (projections + attention + ffn)
