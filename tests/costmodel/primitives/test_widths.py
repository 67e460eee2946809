"""Channels and bits, by hand."""

from fractions import Fraction

from refusals import refusal
from vlm_tokencost.costmodel import Schedule, Workload, evaluate, plan
from vlm_tokencost.costmodel.memory import kv_cache_bytes
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")
WITHOUT_TEXT = Workload(text_tokens=0, visual_tokens=6000)


def kv_ratio(workload=WITHOUT_TEXT, **schedule):
    report = evaluate(LLAVA, workload, Schedule(**schedule))
    dense = kv_cache_bytes(LLAVA, report.dense)
    return Fraction(kv_cache_bytes(LLAVA, report.scheduled), dense)


def test_rotatek_stores_a_quarter_of_the_keys():
    # 0.45 of the tokens, a quarter of the key channels: 0.45 · (1 + 0.25)/2 = 0.28125
    ratio = kv_ratio(compress={"ratio": 0.45}, channels={"key": 0.25})
    assert ratio == Fraction(28125, 100000)
    # text keeps all its channels: (2700 · 160 + 64 · 256)/(6064 · 256) with 32 + 128 of 256
    with_text = kv_ratio(
        Workload(visual_tokens=6000), compress={"ratio": 0.45}, channels={"key": 0.25}
    )
    assert with_text == Fraction(2700 * 160 + 64 * 256, 6064 * 256)


def test_forwards_score_the_narrow_keys():
    # in each of 32 layers 32 heads: 576 narrow keys (32 + 128) and 65 wide ones (128 + 128)
    workload = Workload(new_tokens=2)
    report = evaluate(LLAVA, workload, Schedule(channels={"key": 0.25}))
    parts = report.decode_forward().by_part()
    scores = sum(amount for (_, _, part), amount in parts.items() if part == "attention scores")
    assert scores == 2 * 32 * 32 * (576 * (32 + 128) + 65 * 256)
    # the prefill computes all channels
    assert report.bill("exact").total == report.bill("exact", scheduled=False).total


def test_narrow_feed_forward_networks():
    # ⌊0.3 · 11008⌋ = 3302 of the three matrices' width in 32 layers, over 640 tokens
    report = evaluate(LLAVA, Workload(), Schedule(channels={"ffn": 0.3}))
    bills = [report.bill("exact", scheduled=side) for side in (True, False)]
    parts = [
        sum(
            amount
            for (component, _, part), amount in bill.by_part().items()
            if component == "decoder" and part == "feed-forward"
        )
        for bill in bills
    ]
    assert parts == [2 * 32 * 3 * 640 * 4096 * width for width in (3302, 11008)]
    assert bills[1].total - bills[0].total == parts[1] - parts[0]


def test_narrow_feed_forward_networks_of_the_encoder():
    # CLIP ViT-L: 24 layers, 577 tokens, two matrices of 1024 × 4096
    report = evaluate(LLAVA, Workload(), Schedule(channels={"encoder_ffn": 0.5}))
    saved = report.bill("exact", scheduled=False).total - report.bill("exact").total
    assert saved == 2 * 24 * 577 * 2 * 1024 * 2048


def test_bits_change_bytes_alone():
    assert kv_ratio(bits={"kv": 4}) == Fraction(1, 4)
    report = evaluate(LLAVA, Workload(), Schedule(bits={"weights": 4, "kv": 4}))
    assert report.bill("exact").total == report.bill("exact", scheduled=False).total


def test_bits_may_be_any_number():
    # 2 · 32 heads of 128 are 8,192 values of each token and layer: at 3 bits 3,072 bytes
    seen = plan(LLAVA, Workload(), Schedule(bits={"kv": 3}))
    assert kv_cache_bytes(LLAVA, seen) == 640 * 32 * 3072


def test_models_without_a_place_for_it_say_so():
    cases = (
        ("kimi-vl-a3b", {"key": 0.5}, "caches latents"),
        ("kimi-vl-a3b", {"ffn": 0.5}, "not made of equal dense FFNs"),
        ("llava-1.5-7b", {"ffn": 0.00001}, "leaves no channel"),
    )
    for model, channels, words in cases:
        schedule = Schedule(channels=channels)

        def priced(model=model, schedule=schedule):
            return evaluate(load_model(model), Workload(), schedule).bill("exact")

        assert words in str(refusal(priced))
