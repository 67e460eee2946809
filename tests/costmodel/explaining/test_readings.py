"""Readings of a cost: each against the formula written out by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest
from vlm_tokencost.costmodel import InvalidInput, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.explaining import price, reading, readings
from vlm_tokencost.presets import load_method, load_model

#: LLaVA-1.5-7B: layers, hidden size, FFN size, vocabulary.
T, D, M, VOCABULARY = 32, 4096, 11008, 32064
#: FLOPs of its parts at 576 + 64 tokens, as torch's counter gives them (see docs/conventions.md).
VISION, CONNECTOR, DECODER, HEAD = 381_918_216_192, 24_159_191_040, 8_504_035_246_080, 262_668_288


def f(n: int, matrices: int) -> int:
    """MACs of a layer as papers write them."""
    return 4 * n * D * D + 2 * n * n * D + matrices * n * D * M


@pytest.fixture(scope="module")
def dense():
    return evaluate(load_model("llava-1.5-7b"), Workload(text_tokens=64))


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (("survey", "MAC", "LLM layers"), T * f(640, 2)),
        (("survey", "FLOP", "LLM layers"), 2 * T * f(640, 2)),
        (("survey", "MAC", "one layer"), f(640, 2)),
        (("gated", "MAC", "LLM layers"), T * f(640, 3)),
        (("gated", "MAC", "LLM"), T * f(640, 3) + HEAD // 2),
        (("gated", "FLOP", "LLM and encoder"), 2 * T * f(640, 3) + HEAD + CONNECTOR + VISION),
        (("exact", "FLOP", "LLM layers"), DECODER),
        (("exact", "MAC", "LLM layers"), DECODER // 2),
        (("exact", "FLOP", "one layer"), DECODER // T),
        (("exact", "FLOP", "LLM"), DECODER + HEAD),
        (("exact", "FLOP", "LLM and connector"), DECODER + HEAD + CONNECTOR),
        (("exact", "FLOP", "LLM and encoder"), DECODER + HEAD + CONNECTOR + VISION),
        (("exact", "FLOP", "everything"), DECODER + HEAD + CONNECTOR + VISION),
        (("exact", "FLOP", "encoder"), VISION),
        (("exact", "MAC", "encoder and connector"), (VISION + CONNECTOR) // 2),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_readings_by_hand(dense, words, value):
    assert reading(*words).value(dense) == value
    assert isinstance(reading(*words).value(dense), int)


def test_a_causal_reading_leaves_out_later_keys(dense):
    # Q·Kᵀ and A·V cost 2 · 2 · d FLOPs a pair; 640 · 639 / 2 pairs have a later key.
    causal = reading("exact", "FLOP", "LLM layers", causal=True).value(dense)
    assert DECODER - causal == T * 4 * D * (640 * 639 // 2)


def test_logits_of_all_positions(dense):
    every = reading("exact", "FLOP", "LLM", logits="all").value(dense)
    assert every - (DECODER + HEAD) == 639 * 2 * D * VOCABULARY


@pytest.fixture(scope="module")
def pruned():
    model = load_model("llava-1.5-7b")
    return evaluate(model, Workload(text_tokens=64), Schedule.keep("0.5", layer=2))


def test_the_sides_of_a_schedule(pruned):
    layers = reading("survey", "MAC", "LLM layers")
    assert layers.value(pruned) == 2 * f(640, 2) + 30 * f(352, 2)
    assert layers.value(pruned, scheduled=False) == T * f(640, 2)


def test_one_layer_is_the_mean(pruned):
    one = reading("survey", "MAC", "one layer").value(pruned)
    assert one == Fraction(2 * f(640, 2) + 30 * f(352, 2), T)


def test_layers_from_one_on(pruned):
    assert reading("gated", "MAC", "LLM layers", first_layer=2).value(pruned) == 30 * f(352, 3)
    assert reading("gated", "MAC", "one layer", first_layer=2).value(pruned) == f(352, 3)
    causal = reading("exact", "FLOP", "one layer", causal=True, first_layer=2).value(pruned)
    assert causal == 2 * f(352, 3) - 4 * D * (352 * 351 // 2)


def test_selection_is_part_of_everything_alone():
    model = load_model("llava-1.5-7b")
    workload = Workload(text_tokens=64)
    schedule = load_method("fastv").schedule(model, workload)
    report = evaluate(model, workload, schedule)
    without = reading("exact", "FLOP", "LLM and encoder").value(report)
    selection = report.bill("exact").by_component()["selection"]
    assert selection > 0
    assert reading("exact", "FLOP", "everything").value(report) == without + selection
    assert "everything" in {one.scope for one in readings(report)}


def test_many_readings_cost_what_each_does(pruned):
    wanted = readings(pruned, first_layer=2)
    assert len(wanted) > 60
    for scheduled in (True, False):
        for one, value in price(pruned, wanted, scheduled):
            assert value == one.value(pruned, scheduled), one


def test_readings_come_in_order_and_once(dense):
    listed = readings(dense)
    assert [one.rank for one in listed] == sorted(one.rank for one in listed)
    assert len(set(listed)) == len(listed)
    assert listed[0][:3] == ("survey", "MAC", "LLM layers")
    assert "everything" not in {one.scope for one in listed}, "nothing is selected"


def test_a_model_without_published_formulas_has_exact_readings_alone():
    report = evaluate(load_model("llama3.2-vision-11b"))
    assert {one.convention for one in readings(report)} == {"exact"}
    with pytest.raises(InvalidInput, match="cross-attention"):
        reading("gated", "MAC", "LLM layers").value(report)


def test_batches_are_priced_whole():
    model = load_model("llava-1.5-7b")
    report = evaluate(model, Workload(text_tokens=64, batch=3))
    assert reading("survey", "MAC", "LLM layers").value(report) == 3 * T * f(640, 2)
