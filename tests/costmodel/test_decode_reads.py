"""Bytes of keys and values that decode forwards read, by hand.

LLaVA-1.5-7B: 32 layers of 32 heads of 128, so a token has 2·32·128·2 = 16,384 bytes in a layer at
16 bit; M = 576 visual and N = 64 other tokens.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput, Report, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.memory import (
    decode_read_bytes,
    generation_read_bytes,
    kv_cache_bytes,
    kv_read_bytes,
    read_bytes_per_layer,
)
from vlm_tokencost.presets import load_model

TOKEN, LAYERS = 16_384, 32


def asked(model: str = "llava-1.5-7b", batch: int = 1, **primitives: Any) -> Report:
    schedule = Schedule(**primitives) if primitives else None
    return evaluate(load_model(model), Workload(text_tokens=64, batch=batch), schedule)


def read(report: Report, new_tokens: int) -> int:
    return generation_read_bytes(report.model, report.scheduled, new_tokens)


def test_forwards_read_the_prompt_and_what_they_have_generated():
    dense = asked()
    assert read(dense, 1) == 0, "the prefill gives the first token"
    assert read(dense, 3) == LAYERS * TOKEN * (641 + 642)
    assert decode_read_bytes(dense.model, dense.dense, 2, 2) == LAYERS * TOKEN * 642
    assert read(asked(batch=3), 3) == 3 * read(dense, 3)
    # FastV: 2 layers of 640 tokens, 30 of 288 + 64
    fastv = asked(stages=[{"first_layer": 2, "ratio": 0.5}])
    assert read(fastv, 2) == TOKEN * (2 * 641 + 30 * 353)


def test_with_as_many_heads_as_keys_a_byte_is_a_flop():
    # 4·h·d_h FLOP for each query–key pair, and 2·h·d_h values of two bytes for each key
    report = evaluate(
        load_model("llava-1.5-7b"), Workload(new_tokens=37), Schedule.keep(0.3, layer=5)
    )
    bill = report.bill(phase="decode")
    scores = sum(one.amount for one in bill.entries if one.part == "attention scores")
    assert read(report, 37) == scores


def test_half_of_the_generated_tokens():
    # Dynamic-LLaVA: forwards 1 to 4 find ⌊(i − 1)/2⌋ generated tokens and their own: 1, 1, 2, 2
    report = asked(cache={"generated": 0.5})
    assert read(report, 5) == LAYERS * TOKEN * (4 * 640 + 1 + 1 + 2 + 2)


def test_stored_tokens_that_are_not_read():
    # FastOCR: ⌊0.05 · 576⌋ = 28 visual tokens are read but in focal layers, all 576 are stored
    report = asked(cache={"read": 0.05, "focal_layers": [0, 10]})
    assert kv_cache_bytes(report.model, report.scheduled) == LAYERS * TOKEN * 640
    assert kv_read_bytes(report.model, report.scheduled) == TOKEN * (2 * 640 + 30 * 92)
    layers = read_bytes_per_layer(report.model, report.scheduled)
    assert [layers[0], layers[1], layers[10]] == [640 * TOKEN, 92 * TOKEN, 640 * TOKEN]
    assert read(report, 3) == TOKEN * (2 * (641 + 642) + 30 * (93 + 94))


def test_one_stored_token():
    # VoCo-LLaMA: decode forwards see one token instead of the image
    report = asked(cache={"stored_tokens": 1})
    assert kv_cache_bytes(report.model, report.scheduled) == LAYERS * TOKEN * 65
    assert read(report, 4) == LAYERS * TOKEN * (66 + 67 + 68)


def test_a_reserve_whose_keys_are_scored_now_and_then():
    # DSTP: ⌊0.25 · 576⌋ = 144 stored, ⌊0.1 · 576⌋ = 57 read; of 16 forwards 2 score the other 87,
    # whose keys have 32·128·2 = 8,192 bytes
    report = asked(cache={"stored": 0.25, "read": 0.1, "rescan": "1/8"})
    usual = 16 * (57 + 64) + 16 * 17 // 2
    assert read(report, 17) == LAYERS * (usual * TOKEN + 2 * 87 * 8_192)


def test_tokens_that_stop_being_read():
    # A quarter of M less after each forward: 576, 432, 288, 144, 0, 0
    report = asked(cache={"shrink": 0.25})
    visual = 576 + 432 + 288 + 144
    assert read(report, 7) == LAYERS * TOKEN * (visual + 6 * 64 + 6 * 7 // 2)


def test_fewer_channels_and_bits():
    # RotateK: a visual key has 64 of 128 channels: 32·(64 + 128)·2 = 12,288 bytes with its value
    report = asked(channels={"key": 0.5})
    assert read(report, 2) == LAYERS * (576 * 12_288 + 65 * TOKEN)
    assert kv_cache_bytes(report.model, report.scheduled) == LAYERS * (576 * 12_288 + 64 * TOKEN)
    # 4 bits are a quarter of 16; 3 bits of 32·128·2 values are 3,072 bytes
    assert read(asked(bits={"kv": 4}), 2) == LAYERS * TOKEN // 4 * 641
    assert read(asked(bits={"kv": 3}), 2) == LAYERS * 3_072 * 641


def test_sliding_windows():
    # Gemma 3 4B: layers 5, 11, 17, 23, 29 of 34 see all, 29 see 1,024 tokens; 4 key/value heads of
    # 256: 2·4·256·2 = 4,096 bytes. A prompt of 256 + 4 + 64 = 324 fills a window after 700 forwards
    report = asked("gemma3-4b")
    full = 1999 * 324 + 1999 * 2000 // 2
    windowed = 700 * 324 + 700 * 701 // 2 + (1999 - 700) * 1024
    assert read(report, 2000) == 4_096 * (5 * full + 29 * windowed)


def test_cross_attention_reads_its_cache_in_every_forward():
    # Llama-3.2-Vision-11B: 32 layers over 65 tokens, 8 over 6,404 keys; 2·8·128·2 = 4,096 bytes
    report = asked("llama3.2-vision-11b")
    assert read(report, 3) == 4_096 * (32 * (66 + 67) + 8 * 2 * 6_404)


def test_a_mixture_reads_its_expectation():
    # Half of the requests dense, a quarter with one stored token, a quarter not run
    ways = [
        {"probability": 0.5},
        {"probability": 0.25, "schedule": {"cache": {"stored_tokens": 1}}},
        {"probability": 0.25, "skipped": True},
    ]
    expected = Fraction(641, 2) + Fraction(66, 4)
    assert read(asked(mixture=ways), 2) == LAYERS * TOKEN * expected


@pytest.mark.parametrize(
    "primitives",
    [
        {},
        {"cache": {"stored": 0.25, "read": 0.1, "rescan": "3/7", "generated": "2/3"}},
        {"cache": {"shrink": "1/9"}, "channels": {"value": 0.25}},
    ],
    ids=["dense", "reserve", "shrinking"],
)
def test_single_forwards_add_up(primitives):
    report = asked(**primitives)
    model, plan = report.model, report.scheduled
    each = [decode_read_bytes(model, plan, step, step) for step in range(1, 21)]
    assert read(report, 21) == sum(each)
    assert decode_read_bytes(model, plan, 6, 20) == sum(each[5:])


@pytest.mark.parametrize(("first", "last"), [(0, 1), (3, 2), (1.5, 2)])
def test_forwards_that_do_not_exist(first, last):
    report = asked()
    with pytest.raises(InvalidInput):
        decode_read_bytes(report.model, report.dense, first, last)
