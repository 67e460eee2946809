"""Parts of the peak that few models and few schedules have, by hand."""

from __future__ import annotations

import pytest
from vlm_tokencost.costmodel import Counting, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.peak import Asking, peak
from vlm_tokencost.costmodel.sharding import Sharding
from vlm_tokencost.costmodel.weights import Storage, largest_linear
from vlm_tokencost.presets import load_method, load_model


def asked(model="llava-1.5-7b", schedule=None, counting=None, **workload):
    return evaluate(load_model(model), Workload(**workload), schedule, counting)


def phase(found, name):
    (one,) = (one for one in found.phases if one.name == name)
    return one


def test_bytes_of_quantised_weights_are_rounded_up():
    # 4.5 bits each: 3 weights are 13.5 bits, 2 bytes; 16 weights 9 bytes; others 2 bytes each
    storage = Storage(4, "nf4")
    assert [storage.bytes(count, 0) for count in (3, 16, 17)] == [2, 9, 10]
    assert storage.bytes(16, 5) == 19
    assert Storage().bytes(3, 5) == 16


def test_the_largest_matrix_is_one_of_the_network():
    model = load_model("llava-1.5-7b")
    assert largest_linear(model, range(32)) == 4096 * 11008
    assert largest_linear(model, ()) == 0
    # Of several widths the largest: DeepSeek-VL2's layer 0 is dense and wider than an expert
    model = load_model("deepseek-vl2-small")
    widths = {block.feed_forward.intermediate_size for block in model.decoder.blocks}
    assert len(widths) > 1
    assert largest_linear(model, range(27)) == 2048 * max(widths)


def test_a_4_bit_prefill_unpacks_one_matrix():
    found = peak(asked(), Asking(Storage(4)))
    assert phase(found, "prefill").terms["unpacked matrix"] == 2 * 4096 * 11008
    assert "unpacked matrix" not in phase(peak(asked(), Asking(Storage(8))), "prefill").terms


def test_of_several_ways_the_fullest_counts():
    pruned = Schedule(compress={"tokens": 8})
    ways = [{"probability": "9/10", "schedule": pruned}, {"probability": "1/10"}]
    mixed = peak(asked(schedule=Schedule(mixture=ways), batch=8))
    assert mixed.total == peak(asked(batch=8)).total
    assert mixed.total > peak(asked(schedule=pruned, batch=8)).total


@pytest.mark.parametrize(("model", "each"), [("llava-1.5-7b", 1), ("qwen2.5-vl-7b", 3)])
def test_rotary_tables_of_a_batch(model, each):
    report = asked(model, batch=3)
    tables = phase(peak(report), "prefill").terms["rotary tables"]
    # cosines and sines of 128 features in 16 bits; images in two dimensions have their own
    assert tables == 2 * 2 * each * report.dense.query[0] * 128


def test_logits_hold_the_embeddings_and_the_last_hidden_states():
    half = Schedule(stages=({"first_layer": 2, "ratio": "1/2"},))
    terms = phase(peak(asked(schedule=half)), "logits").terms
    assert terms["stream"] == 2 * 4096 * (640 + 352)
    assert terms["KV cache"] == 2**14 * (2 * 640 + 30 * 352)
    every = asked(schedule=half, counting=Counting(logits="all"))
    assert phase(peak(every), "logits").terms["logits"] == 2 * 352 * 32064


def test_a_choice_inside_the_llm_stands_beside_the_cache_of_the_layers_before():
    model = load_model("llava-1.5-7b")
    schedule = load_method("pyramiddrop").schedule(model)
    report = evaluate(model, Workload(), schedule)
    layers = [
        layer
        for layer in range(1, 32)
        if report.scheduled.visual[layer] < report.scheduled.visual[layer - 1]
    ]
    choice = phase(peak(report), "selection")
    assert choice.layer == layers[-1]
    before = sum(report.scheduled.query[: layers[-1]])
    assert choice.terms["KV cache"] == 2**14 * before
    assert choice.terms["visual features"] == 2 * 576 * 4096
    # On the second of two stages, its own layers alone, and no pixels
    staged = peak(report, Asking(sharding=Sharding(pp=2)))
    assert staged.stage == 0
    assert layers[-1] >= 16


def test_a_window_ends_the_growth_of_its_cache():
    # Gemma 3's local layers attend to 1024 positions: 1023 are kept beside the one that runs
    report = asked("gemma3-4b", text_tokens=64, new_tokens=2001)
    found = peak(report)
    plan, decoder = report.dense, report.model.decoder
    each = 2 * 2 * decoder.attention.num_key_value_heads * decoder.attention.head_dim
    total = 0
    for layer, shape in enumerate(plan.layout):
        grown = plan.kv_stored[layer] + 2000
        total += each * (grown if shape.window is None else min(grown, 1023))
    assert {shape.window for shape in plan.layout} == {None, 1024}
    assert found.kv_final == total
