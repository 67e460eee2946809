"""What generations store and read, by hand: LLaVA-1.5-7B, 32 layers, 576 visual and 64 others."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusal
from vlm_tokencost.costmodel import Schedule, Workload, evaluate, plan
from vlm_tokencost.costmodel.memory import kv_cache_bytes, kv_read_bytes
from vlm_tokencost.costmodel.primitives.cache import (
    generated_read,
    shrunk,
    sum_of_floors,
)
from vlm_tokencost.costmodel.tokenplan import decode_keys, decode_reads
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")
M, N = 576, 64
#: Bytes of one token over all layers: keys and values of 32 heads of 128 at 16 bits.
TOKEN = 32 * 2 * 32 * 128 * 2


def planned(**cache):
    return plan(LLAVA, Workload(new_tokens=5), Schedule(cache=cache))


def test_stored_and_read_apart():
    # FastOCR: all are stored and 5 % are read, ⌊0.05 · 576⌋ = 28, in all layers but two
    seen = planned(stored=1, read=0.05, focal_layers=[3, 9])
    assert seen.kv_stored == (M + N,) * 32
    assert seen.kv_read[0] == 28 + N
    assert seen.kv_read[3] == seen.kv_read[9] == M + N
    assert kv_cache_bytes(LLAVA, seen) == (M + N) * TOKEN
    assert kv_read_bytes(LLAVA, seen) == (30 * (28 + N) + 2 * (M + N)) * TOKEN // 32


def test_eviction_behind_the_prefill():
    # the prefill computes everything, the cache keeps half of it from layer 2 on
    seen = planned(stored=0.5, first_layer=2)
    assert seen.query == (M + N,) * 32
    assert seen.kv_stored == seen.kv_read == (M + N,) * 2 + (288 + N,) * 30
    assert planned(stored_tokens=0).kv_stored == (N,) * 32
    assert planned(stored_tokens=9999).kv_stored == (M + N,) * 32


def test_generated_tokens_that_are_not_kept():
    # Dynamic-LLaVA keeps half of what it generates: ⌊(i − 1)/2⌋ before each forward, and its own
    seen = planned(generated=0.5)
    assert [decode_keys(seen, step)[0] - M - N for step in range(1, 7)] == [1, 1, 2, 2, 3, 3]
    assert decode_reads(seen, 0, 1, 6) == (6 * (M + N) + 12, 6 * M)


def test_a_cache_that_shrinks():
    # a tenth of M less in each forward: 576, 576 − ⌊57.6⌋ = 519, 576 − ⌊115.2⌋ = 461, …, 0
    seen = planned(shrink=0.1)
    reads = [decode_reads(seen, 0, step, step)[1] for step in range(1, 14)]
    assert reads == [576, 519, 461, 404, 346, 288, 231, 173, 116, 58, 0, 0, 0]
    assert decode_reads(seen, 0, 1, 13)[1] == sum(reads)


def test_rescans_score_what_is_stored_and_not_read():
    # half of the forwards: 1, 3, … score the 288 others of each layer, without values
    workload = Workload(new_tokens=5)
    report = evaluate(LLAVA, workload, Schedule(cache={"read": 0.5, "rescan": 0.5}))
    scan = 2 * 32 * (288 * 32 * 128)
    forwards = [report.decode_forward(step).by_component() for step in (1, 2, 3, 4)]
    assert [forward.get("selection", 0) for forward in forwards] == [scan, 0, scan, 0]
    assert report.bill("exact", phase="decode").by_component()["selection"] == 2 * scan


@given(slope=st.fractions(0, 50, max_denominator=90), count=st.integers(0, 300))
def test_sums_of_floors(slope, count):
    assert sum_of_floors(slope, count) == sum(int(slope * i) for i in range(count))


@given(kept=st.fractions(0, 1, max_denominator=40).filter(bool), first=st.integers(1, 50))
def test_generated_tokens_that_are_read(kept, first):
    for last in (first, first + 1, first + 37):
        steps = range(first, last + 1)
        assert generated_read(kept, first, last) == sum(int(kept * (i - 1)) + 1 for i in steps)


@given(
    shrink=st.fractions(0, 1, max_denominator=60),
    tokens=st.integers(1, 700),
    read=st.integers(0, 700),
    first=st.integers(1, 80),
    count=st.integers(1, 200),
)
def test_visual_tokens_left_by_shrinking(shrink, tokens, read, first, count):
    last = first + count - 1
    expected = sum(max(0, read - int(shrink * tokens * (i - 1))) for i in range(first, last + 1))
    assert shrunk(shrink, tokens, read, first, last) == expected


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        ({"stored": 0.5, "stored_tokens": 3}, "both give what is stored"),
        ({"read": 1.5}, "is outside [0, 1]"),
        ({"focal_layers": []}, "is not a list of layers"),
        ({"first_layer": 32}, "is not a layer of this model"),
        ({"focal_layers": [40]}, "is not a layer of this model"),
    ],
)
def test_caches_that_are_wrong(cache, words):
    assert words in str(refusal(planned, **cache))


def test_models_without_a_place_for_it_say_so():
    for model, words in (
        ("gemma3-4b", "sliding windows"),
        ("llama3.2-vision-11b", "cross-attention"),
        ("blip2-flan-t5-xl", "encoder–decoder"),
    ):
        error = refusal(plan, load_model(model), Workload(), Schedule(cache={"read": 0.5}))
        assert error.field == "cache"
        assert words in str(error)


def test_shares_are_of_what_enters():
    # 144 enter; ⌊0.5 · 144⌋ = 72 are read
    schedule = Schedule(compress={"tokens": 144}, cache={"read": Fraction(1, 2)})
    assert plan(LLAVA, Workload(), schedule).kv_read == (72 + N,) * 32


def test_a_layer_stores_no_more_than_it_exposed():
    # from layer 16 on no visual token is left, whatever is to be stored
    rules = [{"kind": "withdraw", "layer": 16}]
    seen = plan(LLAVA, Workload(), Schedule(layers=rules, cache={"stored": 1}))
    assert seen.kv_stored == (M + N,) * 16 + (N,) * 16
    seen = plan(LLAVA, Workload(), Schedule(layers=rules, cache={"stored": 1, "reserve": True}))
    assert seen.kv_stored == (M + N,) * 32


def test_early_and_focal_layers_do_not_shrink():
    # a tenth of M less in the second forward: 576 − ⌊57.6⌋ = 519, in all layers but 0, 1 and 9
    seen = planned(shrink=0.1, first_layer=2, focal_layers=[9])
    reads = [decode_reads(seen, layer, 2, 2)[1] for layer in range(32)]
    assert reads == [576, 576] + [519] * 7 + [576] + [519] * 22


def test_rescans_score_the_channels_that_are_kept():
    # a quarter of 128 key channels: 288 tokens in 32 layers and 32 heads, 2 FLOP per MAC
    schedule = Schedule(cache={"read": 0.5, "rescan": 1}, channels={"key": 0.25})
    forward = evaluate(LLAVA, Workload(), schedule).decode_forward()
    assert forward.by_component()["selection"] == 2 * 32 * 288 * 32 * 32


def test_latents_are_not_scored_anew():
    schedule = Schedule(cache={"read": 0.5, "rescan": 1})
    error = refusal(plan, load_model("kimi-vl-a3b"), Workload(), schedule)
    assert error.field == "cache.rescan"
    assert "caches latents" in str(error)


def test_a_stream_stores_its_window():
    # a stream computes 144 of 576, and the cache stores and reads what its window has
    schedule = Schedule(stream={"stride": 0.25}, cache={"read": 0.5})
    seen = plan(LLAVA, Workload(), schedule)
    assert seen.visual_stored == (576,) * 32
    assert seen.visual_read == (288,) * 32
