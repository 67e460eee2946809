"""Random compositions of all primitives: what holds of every one of them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from vlm_tokencost.costmodel import (
    CONVENTIONS,
    InvalidInput,
    Report,
    Schedule,
    Workload,
    evaluate,
    plan,
)
from vlm_tokencost.costmodel.memory import kv_cache_bytes, kv_read_bytes
from vlm_tokencost.costmodel.tokenplan import TokenPlan, decode_keys, decode_reads
from vlm_tokencost.presets import load_model

MODELS = ("llava-1.5-7b", "qwen2.5-vl-7b", "internvl3-8b", "gemma3-4b")
#: Fewest decoder layers of them, so that every layer below exists.
LAYERS = st.integers(0, 27)
SHARES = st.integers(1, 20).map(lambda twentieths: Fraction(twentieths, 20))
ZERO_SHARES = st.integers(0, 20).map(lambda twentieths: Fraction(twentieths, 20))
WORKLOADS = st.builds(
    Workload,
    images=st.sampled_from([(), ((448, 448), (448, 448))]),
    text_tokens=st.sampled_from([0, 1, 2, 64]),
    new_tokens=st.integers(1, 6),
    batch=st.integers(1, 2),
)
anything = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def _table(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def _stages(pairs: list[tuple[int, Fraction]]) -> list[dict[str, Any]]:
    """Return stages in order of layers that never grow."""
    layers = sorted({layer for layer, _ in pairs})
    ratios = sorted((ratio for _, ratio in pairs), reverse=True)
    return [
        {"first_layer": layer, "ratio": ratio} for layer, ratio in zip(layers, ratios, strict=False)
    ]


LAYER_LISTS = st.sets(LAYERS, min_size=1, max_size=6).map(sorted)
RULES = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("profile"),
            "curve": st.sampled_from(["step", "linear", "exponential", "sigmoid", "cosine"]),
            "layer": LAYERS,
            "ratio": SHARES,
        }
    ),
    st.fixed_dictionaries({"kind": st.sampled_from(["withdraw", "inject"]), "layer": LAYERS}),
    st.fixed_dictionaries({"kind": st.just("freeze"), "layers": LAYER_LISTS}),
    st.fixed_dictionaries({"kind": st.just("sparse"), "pairs": SHARES, "ffn": SHARES}),
    st.fixed_dictionaries({"kind": st.just("subset"), "ratio": SHARES, "layers": LAYER_LISTS}),
    st.fixed_dictionaries({"kind": st.just("expand"), "ratio": SHARES, "layer": LAYERS}),
)
PARTS: dict[str, Any] = {
    "compress": st.fixed_dictionaries({"ratio": SHARES}),
    "stages": st.lists(st.tuples(LAYERS, SHARES), max_size=3).map(_stages),
    "layers": st.lists(RULES, max_size=3),
    "cache": _table(
        stored=SHARES,
        read=SHARES,
        first_layer=LAYERS,
        focal_layers=LAYER_LISTS,
        generated=SHARES,
        shrink=ZERO_SHARES,
        rescan=ZERO_SHARES,
    ),
    "channels": _table(key=SHARES, value=SHARES, ffn=SHARES, encoder_ffn=SHARES),
    "bits": _table(kv=st.integers(1, 16)),
    "rounding": st.sampled_from(["floor", "round", "ceil", "float-floor"]),
}
STREAM = st.fixed_dictionaries({"stride": SHARES}, optional={"refresh": ZERO_SHARES})
ENCODER = {
    "input": st.one_of(
        st.fixed_dictionaries({"patches": SHARES}), st.fixed_dictionaries({"frames": SHARES})
    ),
    "encoder": st.fixed_dictionaries(
        {
            "stages": st.tuples(st.integers(0, 20), SHARES).map(
                lambda stage: [{"first_layer": stage[0], "ratio": stage[1]}]
            )
        }
    ),
}
TERM = {"name": "cosines", "tokens": "M", "in_features": "d", "out_features": "M"}
OTHERS: dict[str, Any] = {
    "stream": STREAM,
    "selection": st.just({"name": "rule", "computes": "cosines", "terms": [TERM]}),
    "training": _table(recompute=st.booleans()),
}
COMPOSITIONS = st.fixed_dictionaries({}, optional={**PARTS, **ENCODER, **OTHERS})


def answered(model: str, workload: Workload, fields: dict[str, Any]) -> Report:
    """Return the answer about a composition, or leave the example if it does not fit."""
    try:
        report = evaluate(load_model(model), workload, Schedule(**fields))
        report.bill("exact", phase="generation")
    except InvalidInput as error:
        # Parts that a model has no place for are refused by name, and amounts that leave nothing.
        assert error.field.split(".")[0] in {*PARTS, *ENCODER, *OTHERS}, str(error)
        assume(False)
    return report


def costs(report: Report) -> Iterator[tuple[str, int]]:
    """Yield all that is priced."""
    known = [name for name in CONVENTIONS if report.obstacle(name) is None]
    for convention in known:
        yield convention, report.bill(convention).total
    yield "generation", report.bill("exact", phase="generation").total
    yield "decode", report.decode_forward().total
    yield "stored", kv_cache_bytes(report.model, report.scheduled)
    yield "read", kv_read_bytes(report.model, report.scheduled)


@pytest.mark.parametrize("model", MODELS)
@anything
@given(workload=WORKLOADS, fields=COMPOSITIONS)
def test_no_layer_has_more_than_the_dense_one(model, workload, fields):
    report = answered(model, workload, fields)
    seen, dense = report.scheduled, report.dense
    for name in ("query", "key", "ffn", "attended", "pairs", "visual", "kv_stored", "kv_read"):
        amounts = zip(getattr(seen, name), getattr(dense, name), strict=True)
        assert all(0 <= amount <= most for amount, most in amounts), name
    for name in ("encoder_tokens", "encoder_ffn", "encoder_pairs", "tower_positions"):
        amounts = zip(getattr(seen, name), getattr(dense, name), strict=True)
        assert all(0 <= amount <= most for amount, most in amounts), name
    assert 1 <= seen.entering_visual_tokens <= seen.available_visual_tokens
    assert 0 <= seen.connector_tokens <= dense.connector_tokens
    for pairs, query, keys in zip(seen.pairs, seen.query, seen.attended, strict=True):
        assert pairs <= query * keys
    for stored, read, visual, read_visual in zip(
        seen.kv_stored, seen.kv_read, seen.visual_stored, seen.visual_read, strict=True
    ):
        assert read <= stored
        assert read_visual <= visual


@pytest.mark.parametrize("model", MODELS)
@anything
@given(workload=WORKLOADS, fields=COMPOSITIONS)
def test_nothing_costs_more_than_the_dense_model(model, workload, fields):
    # What is not reduced costs the same, so no part is needed to save anything.
    report = answered(model, workload, {**fields, "bits": {}})
    dense = dict(costs(evaluate(load_model(model), workload, Schedule())))
    chosen = {
        "exact": report.bill("exact").by_component().get("selection", 0),
        "decode": report.decode_forward().by_component().get("selection", 0),
        "generation": report.bill("exact", phase="generation").by_component().get("selection", 0),
    }
    for name, amount in costs(report):
        assert amount - chosen.get(name, 0) <= dense[name], name


def raised(value: Any, choose: Any) -> tuple[Any, bool]:
    """Return the tables with one ratio raised to the next twentieth, and whether there was one."""
    places: list[tuple[Any, Any]] = []

    def visit(table: Any) -> Any:
        if isinstance(table, dict):
            copy: Any = {key: visit(item) for key, item in table.items()}
            pairs = copy.items()
        elif isinstance(table, list):
            copy = [visit(item) for item in table]
            pairs = list(enumerate(copy))
        else:
            return table
        places.extend((copy, key) for key, item in pairs if isinstance(item, Fraction))
        return copy

    copied = visit(value)
    # Shares of what is dropped, and of forwards that rescan, are no shares of kept tokens.
    usable = [(table, key) for table, key in places if key not in ("shrink", "rescan", "refresh")]
    usable = [(table, key) for table, key in usable if table[key] < 1]
    if not usable:
        return copied, False
    table, key = choose(usable)
    table[key] += Fraction(1, 20)
    return copied, True


@pytest.mark.parametrize("model", MODELS)
@anything
@given(workload=WORKLOADS, fields=COMPOSITIONS, data=st.data())
def test_keeping_more_never_costs_less(model, workload, fields, data):
    if "cache" in fields:
        # A rescan scores what is not read: whoever reads more rescans less.
        fields = {**fields, "cache": {**fields["cache"], "rescan": 0}}
    more, changed = raised(fields, lambda usable: data.draw(st.sampled_from(usable)))
    assume(changed)
    fewer = answered(model, workload, fields)
    larger = dict(costs(answered(model, workload, more)))
    for name, amount in costs(fewer):
        assert amount <= larger[name], name


@pytest.mark.parametrize("model", MODELS)
@anything
@given(rules=st.lists(RULES, min_size=2, max_size=4), stages=PARTS["stages"], data=st.data())
def test_the_order_of_layer_rules_is_immaterial(model, rules, stages, data):
    workload = Workload()
    first = answered(model, workload, {"layers": rules, "stages": stages})
    shuffled = data.draw(st.permutations(rules))
    assert answered(model, workload, {"layers": shuffled, "stages": stages}).scheduled == (
        first.scheduled
    )


@pytest.mark.parametrize("model", MODELS)
@anything
@given(
    workload=WORKLOADS,
    fields=COMPOSITIONS,
    first=st.integers(1, 40),
    count=st.integers(1, 60),
)
def test_reads_of_a_generation_are_those_of_its_forwards(model, workload, fields, first, count):
    seen = answered(model, workload, fields).scheduled
    last = first + count - 1
    for layer in {0, len(seen.layout) // 2, len(seen.layout) - 1}:
        one_by_one = [decode_reads(seen, layer, step, step) for step in range(first, last + 1)]
        summed = tuple(sum(reads) for reads in zip(*one_by_one, strict=True))
        assert decode_reads(seen, layer, first, last) == summed
        assert decode_keys(seen, first)[layer] == one_by_one[0][0]


@pytest.mark.parametrize("model", MODELS)
@anything
@given(workload=WORKLOADS, fields=COMPOSITIONS)
def test_a_generation_is_the_sum_of_its_forwards(model, workload, fields):
    report = answered(model, workload, fields)
    forwards = sum(report.decode_forward(step).total for step in range(1, workload.new_tokens))
    assert report.bill("exact", phase="decode").total == forwards


@pytest.mark.parametrize("model", MODELS)
@anything
@given(
    workload=WORKLOADS,
    first=st.fixed_dictionaries({}, optional=PARTS),
    second=st.fixed_dictionaries({}, optional=PARTS),
    percent=st.integers(1, 98),
)
def test_a_mixture_costs_what_its_ways_do_on_average(model, workload, first, second, percent):
    chance = Fraction(percent, 100)
    rest = (1 - chance) / 2
    mixture = [
        {"probability": chance, "schedule": first},
        {"probability": rest, "schedule": second},
        {"probability": rest, "skipped": True},
    ]
    ways = [answered(model, workload, fields) for fields in (first, second)]
    mixed = evaluate(load_model(model), workload, Schedule(mixture=mixture))
    for phase in ("prefill", "generation"):
        bills = [way.bill("exact", phase=phase) for way in ways]
        expected = chance * bills[0].total + rest * bills[1].total
        bill = mixed.bill("exact", phase=phase)
        # each entry is rounded to the nearest whole FLOP, in each of its layers
        entries = sum(len(entry.layers) or 1 for entry in bill.entries)
        assert abs(bill.total - expected) <= Fraction(entries, 2)
    stored = [kv_cache_bytes(way.model, way.scheduled) for way in ways]
    expected = chance * stored[0] + rest * stored[1]
    assert abs(kv_cache_bytes(mixed.model, mixed.scheduled) - expected) <= Fraction(1, 2)
    for name in ("query", "kv_read", "visual"):
        for mean, one, other in zip(
            *(getattr(report.scheduled, name) for report in (mixed, *ways)), strict=True
        ):
            assert mean == round(chance * one + rest * other)


#: Parts of other kinds: a Q-Former, a convolution, a second tower, crops
#: that are joined, cross-attention.
OTHER_MODELS = (
    "blip2-opt-2.7b",
    "fastvlm-0.5b",
    "mini-gemini-7b",
    "phi-4-multimodal",
    "llama3.2-vision-11b",
)
few = settings(anything, max_examples=8)


@pytest.mark.parametrize("model", OTHER_MODELS)
@few
@given(workload=WORKLOADS, fields=st.fixed_dictionaries({}, optional=PARTS))
def test_other_parts_cost_no_more_than_the_dense_model(model, workload, fields):
    report = answered(model, workload, {**fields, "bits": {}})
    dense = dict(costs(evaluate(load_model(model), workload, Schedule())))
    chosen = report.decode_forward().by_component().get("selection", 0)
    for name, amount in costs(report):
        spare = chosen * max(workload.new_tokens, 1) if name in ("decode", "generation") else 0
        assert amount - spare <= dense[name], name


@pytest.mark.parametrize("model", (*MODELS, *OTHER_MODELS))
@few
@given(
    workload=WORKLOADS,
    first=st.fixed_dictionaries({}, optional=PARTS),
    percent=st.integers(1, 98),
)
def test_no_mixture_costs_less_than_its_floor(model, workload, first, percent):
    answered(model, workload, first)
    chance = Fraction(percent, 100)
    mixture = [
        {"probability": chance, "schedule": first},
        {"probability": (1 - chance) / 2},
        {"probability": (1 - chance) / 2, "skipped": True},
    ]
    mixed = evaluate(load_model(model), workload, Schedule(mixture=mixture))
    assert mixed.floor() <= mixed.total()


KEEP_ALL = [
    Schedule(compress={"ratio": 1}),
    Schedule(compress={"ratio": 1, "at": "before-connector"}),
    Schedule(stages=[{"first_layer": 2, "ratio": 1}]),
    Schedule(layers=[{"kind": "subset", "ratio": 1}]),
    Schedule(layers=[{"kind": "sparse"}]),
    Schedule(layers=[{"kind": "inject", "layer": 0}]),
    Schedule(layers=[{"kind": "expand", "layer": 9, "ratio": 1}]),
    *(
        Schedule(layers=[{"kind": "profile", "curve": curve, "layer": 3, "ratio": 1}])
        for curve in ("step", "linear", "exponential", "sigmoid", "cosine")
    ),
    Schedule(channels={}),
    Schedule(bits={}),
    Schedule(cache={"read": 1}),
    Schedule(stream={"stride": 1}),
    Schedule(input={"patches": 1}),
    Schedule(encoder={"merged_per_layer": 0}),
    Schedule(encoder={"stages": [{"first_layer": 3, "ratio": 1}]}),
    Schedule(mixture=[{"probability": 1}]),
]


#: Parts that a model has no place for, whatever their amounts.
MISFITS = {
    ("gemma3-4b", "cache"): "sliding windows",
    ("gemma3-4b", "stream"): "sliding windows",
    ("gemma3-4b", "input"): "takes whole crops",
    ("gemma3-4b", "encoder"): "leaves no grid",
    ("internvl3-8b", "encoder"): "leaves no grid",
    ("qwen2.5-vl-7b", "encoder"): "no plain sequence over one crop",
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("schedule", KEEP_ALL, ids=lambda one: "-".join(one.primitives))
def test_keeping_all_is_the_dense_model(model, schedule):
    workload = Workload(new_tokens=5, batch=2)
    try:
        report = evaluate(load_model(model), workload, schedule)
    except InvalidInput as error:
        assert MISFITS[model, schedule.primitives[0]] in str(error)
        return
    assert dict(costs(report)) == dict(costs(evaluate(load_model(model), workload, Schedule())))
    _same_counts(report.scheduled, plan(load_model(model), workload))


def _same_counts(seen: TokenPlan, dense: TokenPlan) -> None:
    for name in ("query", "key", "ffn", "attended", "pairs", "kv_stored", "kv_read", "visual"):
        assert getattr(seen, name) == getattr(dense, name), name
