"""Relations that hold for every model and schedule: baseline, sums, monotony, normal form."""

import itertools
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from questions import (
    LLAVA,
    SCHEDULES,
    every_convention,
    every_family,
    every_plain_family,
    every_priced_family,
    every_roomy_family,
    every_schedule,
    priced,
)
from vlm_tokencost.costmodel import (
    CONVENTIONS,
    Attention,
    Compress,
    Convolution,
    Counting,
    Linear,
    Report,
    Schedule,
    Stage,
    Workload,
    evaluate,
    lower,
    lower_decode,
    plan,
)
from vlm_tokencost.presets import load_model

# --- keep 1 is the baseline ---------------------------------------------------------------------


@every_family
@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(Schedule(), id="empty"),
        pytest.param(Schedule.keep(1, layer=0), id="layer-0"),
        pytest.param(Schedule.keep("1.0", layer=2), id="layer-2"),
        pytest.param(Schedule.keep(1, layer=2, rounding="float-floor"), id="float-floor"),
        pytest.param(Schedule(compress=Compress(ratio=1)), id="compress"),
    ],
)
def test_keep_1_is_the_baseline(model_id, schedule):
    model, workload = load_model(model_id), Workload(new_tokens=3, batch=2)
    report = evaluate(model, workload, schedule)
    assert report.scheduled == report.dense == plan(model, workload)
    for convention in priced(model_id):
        assert report.total(convention) == report.total(convention, scheduled=False)
        assert report.ratio(convention) == 1.0


@every_priced_family
def test_without_a_schedule_both_sides_are_dense(model_id, convention):
    report = evaluate(load_model(model_id))
    assert report.ratio(convention) == 1.0
    assert report.total(convention) == report.total(convention, scheduled=False)


# --- sums ---------------------------------------------------------------------------------------


def assert_sums_agree(bill):
    assert bill.total == sum(entry.amount for entry in bill.entries)
    assert sum(bill.by_component().values()) == bill.total
    assert sum(bill.by_layer().values()) == bill.total
    assert sum(bill.by_part().values()) == bill.total
    layers, parts = defaultdict(int), defaultdict(int)
    for (component, _), amount in bill.by_layer().items():
        layers[component] += amount
    for (component, layer, _), amount in bill.by_part().items():
        parts[component, layer] += amount
    assert layers == bill.by_component()
    assert parts == bill.by_layer()


@every_roomy_family
@every_schedule
def test_layers_components_and_parts_sum_to_the_total(model_id, schedule):
    report = evaluate(load_model(model_id), Workload(new_tokens=5, batch=2), schedule)
    bills = [report.bill("exact", phase=phase) for phase in ("prefill", "decode", "generation")]
    bills += [report.bill(convention) for convention in priced(model_id)]
    bills += [report.decode_forward(3)]
    for bill in bills:
        assert bill.total > 0
        assert_sums_agree(bill)


@every_family
def test_every_layer_of_both_stacks_is_billed(model_id):
    model = load_model(model_id)
    layers = evaluate(model).bill("exact").by_layer()
    for component, stacks in (("vision", model.towers), ("decoder", (model.decoder,))):
        billed = [layer for owner, layer in layers if owner == component and layer is not None]
        assert billed == list(range(sum(stack.num_hidden_layers for stack in stacks)))


def macs(operator):
    """Price one layer of an operator from its shape, apart from the formulas under test."""
    if isinstance(operator, Linear):
        return operator.tokens * operator.in_features * operator.out_features
    if isinstance(operator, Attention):
        width = operator.query_key_size + operator.value_size
        return operator.pairs * operator.heads * width
    assert isinstance(operator, Convolution)
    per_position = operator.in_channels * operator.out_channels * operator.kernel
    return operator.positions * per_position


@every_roomy_family
@every_schedule
def test_exact_is_two_flops_per_mac(model_id, schedule):
    model, workload = load_model(model_id), Workload(new_tokens=4, batch=3)
    report = evaluate(model, workload, schedule)
    prefill = lower(model, report.scheduled, Counting())
    decode = lower_decode(model, report.scheduled, 1, 3)
    for phase, operators in (("prefill", prefill), ("decode", decode)):
        assert all(operator.macs == macs(operator) for operator in operators)
        total = sum(macs(operator) * (len(operator.layers) or 1) for operator in operators)
        assert report.bill("exact", phase=phase).total == 2 * total


@every_plain_family
@every_schedule
def test_every_layer_executes_every_operator_of_its_block_once(model_id, schedule):
    model = load_model(model_id)
    operators = lower(model, plan(model, Workload(), schedule), Counting())
    projections, plain = ["query", "key", "value", "scores and values", "output"], ["up", "down"]
    for component, stack in (("vision", model.vision), ("decoder", model.decoder)):
        block = projections + (["gate"] if stack.feed_forward.gated else []) + plain
        executed = sorted(
            (layer, operator.name)
            for operator in operators
            if operator.component == component
            for layer in operator.layers
        )
        layers = range(stack.num_hidden_layers)
        assert executed == sorted((layer, name) for layer in layers for name in block)


@every_priced_family
def test_published_bills_cover_the_decoder_alone(model_id, convention):
    components = set(evaluate(load_model(model_id)).bill(convention).by_component())
    assert (components == {"decoder"}) == (convention != "exact")


# --- monotone -----------------------------------------------------------------------------------


@every_priced_family
def test_more_kept_never_costs_less(model_id, convention):
    model = load_model(model_id)
    for layer in (0, 2, model.decoder.num_hidden_layers // 2):
        totals = [
            evaluate(model, Workload(), Schedule.keep(f"0.{tenth}", layer)).total(convention)
            for tenth in range(1, 10)
        ]
        totals.append(evaluate(model).total(convention))
        assert totals == sorted(set(totals))  # strictly: every tenth is some tokens more


@every_priced_family
def test_later_pruning_costs_more(model_id, convention):
    model = load_model(model_id)
    totals = [
        evaluate(model, Workload(), Schedule.keep("0.5", layer)).total(convention)
        for layer in range(model.decoder.num_hidden_layers)
    ]
    totals.append(evaluate(model).total(convention))
    assert totals == sorted(totals)
    if not model.decoder.crosses:  # of whose layers few see the image
        assert len(set(totals)) == len(totals)


@settings(max_examples=100)
@given(
    keeps=st.tuples(st.integers(2, 1000), st.integers(2, 1000)).map(sorted),
    layers=st.tuples(st.integers(0, 31), st.integers(0, 31)).map(sorted),
    text=st.integers(0, 2000),
    new=st.integers(1, 50),
    causal=st.booleans(),
)
def test_cost_grows_with_keep_and_with_the_layer(keeps, layers, text, new, causal):
    model, counting = load_model(LLAVA), Counting(causal=causal)
    workload = Workload(text_tokens=text, new_tokens=new)

    def total(thousandths, layer, convention):
        schedule = Schedule.keep(f"{thousandths / 1000:.3f}", layer)
        return evaluate(model, workload, schedule, counting).total(convention)

    for convention in CONVENTIONS:
        least = total(keeps[0], layers[0], convention)
        assert least <= total(keeps[1], layers[0], convention)
        assert least <= total(keeps[0], layers[1], convention)
        most = evaluate(model, workload, None, counting).total(convention)
        assert total(keeps[1], layers[1], convention) <= most


@every_roomy_family
@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "dense"])
def test_rounding_modes_are_ordered(model_id, name):
    model, schedule = load_model(model_id), SCHEDULES[name]
    floor, nearest, ceil = (
        plan(model, Workload(), schedule.model_copy(update={"rounding": rounding})).visual
        for rounding in ("floor", "round", "ceil")
    )
    for low, middle, high in zip(floor, nearest, ceil, strict=True):
        assert low <= middle <= high <= low + 1


# --- the schedule's normal form -----------------------------------------------------------------


@settings(max_examples=100)
@given(
    amounts=st.lists(st.integers(1, 576), min_size=1, max_size=6),
    layers=st.lists(st.integers(0, 31), min_size=1, max_size=6, unique=True),
)
def test_stages_become_tokens_per_layer(amounts, layers):
    steps = list(zip(sorted(layers), sorted(amounts, reverse=True), strict=False))
    stages = tuple(Stage(first_layer=layer, tokens=tokens) for layer, tokens in steps)
    scheduled = plan(load_model(LLAVA), Workload(), Schedule(stages=stages))
    expected, amount = [], 576
    for layer in range(32):
        amount = dict(steps).get(layer, amount)
        expected.append(amount)
    assert scheduled.visual == tuple(expected)
    assert scheduled.query == scheduled.key == scheduled.ffn
    assert scheduled.query == scheduled.kv_stored == scheduled.kv_read
    assert scheduled.query == tuple(tokens + 64 for tokens in expected)


@every_convention
def test_prices_depend_on_the_plan_not_on_how_it_was_asked(convention):
    model = load_model(LLAVA)
    asked = [
        Schedule.keep("0.5", layer=2),
        Schedule.keep(0.5, layer=2),
        Schedule(name="FastV", stages=(Stage(first_layer=2, tokens=288),)),
        Schedule(stages=(Stage(first_layer=2, tokens=288), Stage(first_layer=9, tokens=288))),
    ]
    totals = {evaluate(model, Workload(), schedule).total(convention) for schedule in asked}
    assert len(totals) == 1


@pytest.mark.parametrize("convention", ["survey", "gated"])
def test_published_ratio_is_the_sum_over_layers(convention):
    """Σ f(n_l) / (T·f(μ)), with f written out."""
    model = load_model("qwen2.5-vl-7b")
    report = evaluate(model, Workload(text_tokens=20), SCHEDULES["pyramid"])
    d, m, matrices = 3584, 18944, 2 if convention == "survey" else 3

    def layer(n):
        return 4 * n * d * d + 2 * n * n * d + matrices * n * d * m

    n = 1521 + 2 + 20
    kept = [tokens + 2 + 20 for tokens in (1521, 760, 380, 190)]  # ⌊1521 / 2⌋, / 4, / 8
    assert report.scheduled.query == tuple(
        itertools.chain.from_iterable([tokens] * 7 for tokens in kept)
    )
    assert report.total(convention, scheduled=False) == 28 * layer(n)
    assert report.total(convention) == 7 * sum(map(layer, kept))


def test_reports_of_equal_questions_are_equal():
    def ask() -> Report:
        return evaluate(load_model(LLAVA), Workload(), Schedule.keep("0.5", layer=2))

    assert ask() == ask()
    assert ask() != evaluate(load_model(LLAVA), Workload(), Schedule.keep("0.5", layer=3))
