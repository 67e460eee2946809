"""Rules described as data, by hand: LLaVA-1.5-7B (T 32, d 4096, m 11008), M 576, N 64."""

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Counting, Schedule, Workload, evaluate, plan
from vlm_tokencost.costmodel.selection import selection_work
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")
KEEP = [{"first_layer": 2, "ratio": 0.5}, {"first_layer": 16, "ratio": 0.25}]


def schedule(*terms, **others):
    rule = {"name": "rule", "computes": "products", "terms": terms, **others}
    return Schedule(stages=KEEP, selection=rule)


def macs(*terms, counting=None, workload=None):
    counting, workload = counting or Counting(), workload or Workload()
    rule = schedule(*terms)
    work = selection_work(LLAVA, plan(LLAVA, workload, rule), rule, counting)
    assert work.flops % 2 == 0
    return work.flops // 2


def test_products():
    linear = {"name": "cosines", "tokens": "M", "in_features": "d", "out_features": "M"}
    assert macs(linear) == 576 * 4096 * 576
    scores = {"kind": "scores", "queries": "N", "keys": "M + N", "heads": "h", "size": "d_h"}
    assert macs({"name": "rows", **scores}) == 64 * 640 * 32 * 128
    assert macs({**linear, "times": "3"}) == 3 * 576 * 4096 * 576
    assert macs(linear, workload=Workload(batch=2)) == 2 * 576 * 4096 * 576


def test_a_product_for_every_reduction():
    # 576 → 288 before layer 2 and 288 → 144 before layer 16: n is 640, then 352
    term = {"name": "row", "tokens": "1", "in_features": "d", "out_features": "n"}
    assert macs({**term, "per": "reduction"}) == 4096 * (640 + 352)
    removed = {"name": "gone", "tokens": "b - a", "in_features": "1", "out_features": "l"}
    assert macs({**removed, "per": "reduction"}) == 288 * 2 + 144 * 16


def test_layers_of_the_model_itself():
    # 4nd² + 2n²d + 3ndm of each layer; 4 sequences see a quarter of the pairs
    term = {"name": "router", "kind": "layers", "tokens": "M", "layers": "4"}
    n, d, m = 576, 4096, 11008
    layer = 4 * n * d * d + 3 * n * d * m
    assert macs(term) == 4 * (layer + 2 * n * n * d)
    assert macs({**term, "sequences": "4"}) == 4 * (layer + 2 * n * n // 4 * d)


def test_layers_of_another_model():
    term = {
        "name": "aggregator",
        "kind": "transformer",
        "tokens": "100",
        "layers": "12",
        "hidden_size": "64",
        "intermediate_size": "256",
    }
    assert macs(term) == 12 * (4 * 100 * 64**2 + 2 * 100**2 * 64 + 2 * 100 * 64 * 256)
    gated = 12 * (4 * 100 * 64**2 + 2 * 100**2 * 64 + 3 * 100 * 64 * 256)
    assert macs({**term, "gated": True}) == gated


def test_released_code_may_compute_more():
    ideal = {"name": "row", "tokens": "1", "in_features": "d", "out_features": "M", "when": "ideal"}
    more = {**ideal, "name": "rows", "tokens": "M", "when": "released"}
    assert macs(ideal, more) == 4096 * 576
    assert macs(ideal, more, counting=Counting(selection="released")) == 576 * 4096 * 576


def test_rounds_maps_and_weights():
    rule = schedule(
        ideal={"launches": "M"},
        released={"launches": "a", "attention_map": "h * n * n", "per": "reduction"},
        parameters="d * d",
    )
    seen = plan(LLAVA, Workload(), rule)
    ideal = selection_work(LLAVA, seen, rule, Counting())
    assert (ideal.launches, ideal.attention_map_bytes, ideal.parameters) == (576, 0, 4096**2)
    released = selection_work(LLAVA, seen, rule, Counting(selection="released"))
    # rounds add up; of the maps, 16 bits an entry, the larger is the one over 640 tokens
    assert released.launches == 288 + 144
    assert released.attention_map_bytes == 2 * 32 * 640 * 640


def test_bytes_of_a_product():
    # operands and results, 16 bits each: 1·4096 + 4096·576 + 1·576
    term = {"name": "row", "tokens": "1", "in_features": "d", "out_features": "M"}
    rule = schedule(term)
    work = selection_work(LLAVA, plan(LLAVA, Workload(), rule), rule)
    assert work.moved_bytes == 2 * (4096 + 4096 * 576 + 576)


def test_a_product_of_every_decode_forward():
    # FastOCR's indexer: a row over what is stored, in each of 4 forwards
    term = {
        "name": "indexer",
        "kind": "scores",
        "queries": "1",
        "keys": "stored",
        "heads": "1",
        "size": "d_h",
        "per": "step",
    }
    report = evaluate(LLAVA, Workload(new_tokens=5), schedule(term))
    stored = 576 * 2 + 288 * 14 + 144 * 16
    each = 2 * stored * 128
    assert report.decode_forward(3).by_component()["selection"] == each
    assert report.bill("exact", phase="decode").by_component()["selection"] == 4 * each
    assert "selection" not in report.bill("exact").by_component()


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ({"name": "x", "tokens": "M"}, "in_features is missing from a term of kind linear"),
        ({"name": "x", "kind": "scores"}, "queries is missing from a term of kind scores"),
        (
            {"name": "x", "tokens": "M", "in_features": "d", "out_features": "1", "heads": "h"},
            "heads is no operand of a term of kind linear",
        ),
        ({"name": "x", "tokens": "K", "in_features": "d", "out_features": "1"}, "is no symbol"),
    ],
)
def test_terms_that_are_wrong(term, words):
    assert words in str(refusal(schedule, term))


def test_counts_that_come_to_nothing_sensible_are_refused():
    for term, words in (
        ({"tokens": "N - M", "in_features": "d", "out_features": "1"}, "comes below 0"),
        ({"tokens": "b", "in_features": "d", "out_features": "1"}, "has no value here"),
        ({"kind": "layers", "tokens": "M", "layers": "M * M"}, "more layers than any model"),
    ):
        rule = schedule({"name": "x", **term})
        assert words in str(refusal(plan, LLAVA, Workload(), rule))


def test_the_map_of_a_batch():
    # FastV as released: one map of 32 heads over 640 tokens for each sequence, 16 bits an entry
    rule = Schedule(stages=[{"first_layer": 2, "ratio": "1/2"}], selection="fastv")
    seen = plan(LLAVA, Workload(batch=2), rule)
    work = selection_work(LLAVA, seen, rule, Counting(selection="released"))
    assert work.attention_map_bytes == 2 * 32 * 640**2 * 2
