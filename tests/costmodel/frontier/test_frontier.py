"""Frontiers of models: against closed forms by hand, and every schedule priced by the library."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from every_schedule import best_of, every_schedule, per_layer
from vlm_tokencost.costmodel import Counting, InvalidInput, TokencostError, Workload, evaluate
from vlm_tokencost.costmodel.clock import Running
from vlm_tokencost.costmodel.frontier import (
    Cache,
    Flops,
    Grid,
    Importance,
    Point,
    Standing,
    frontier,
)
from vlm_tokencost.costmodel.frontier.first_token import FirstToken
from vlm_tokencost.costmodel.latency import latency
from vlm_tokencost.costmodel.memory import kv_cache_bytes
from vlm_tokencost.presets import load_model
from vlm_tokencost.presets.device import load_device

HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
#: LLaVA-1.5-7B: layers, hidden and FFN size, visual and text tokens.
T, D, M, V, N = 32, 4096, 11008, 576, 64
#: A model of each kind of decoder.
KINDS = {
    "equal layers": "llava-1.5-7b",
    "sliding windows, images both ways": "gemma3-4b",
    "a prefix both ways": "paligemma2-3b-224",
    "windows alone": "idefics2-8b",
    "experts": "qwen3-vl-30b-a3b",
    "latent attention": "kimi-vl-a3b",
    "cross-attention in some layers": "llama3.2-vision-11b",
    "gated cross-attention": "openflamingo-3b",
    "encoder and decoder": "blip2-flan-t5-xl",
}


def dense(model: str = "llava-1.5-7b", **workload):
    return evaluate(load_model(model), Workload(**workload))


def survey(tokens: int) -> int:
    """Return 4nd² + 2n²d + 2ndm of one layer, in MACs, of so many visual tokens and the text."""
    n = tokens + N
    return 4 * n * D * D + 2 * n * n * D + 2 * n * D * M


def test_two_levels_by_hand():
    # Stages at layers 8 and 16, keeping 288 or 144 of 576; R = Σ n_l / (576 · 32), in sixteenths
    # of a quarter of the layers each (8 layers of 576 tokens are 1/4):
    #   keep 1/4 @ 8          8·576 + 24·144             R = 1/4 + 3/16 = 7/16
    #   keep 1/2 @ 8 | 1/4 @ 16   8·576 + 8·288 + 16·144  R = 1/4 + 1/8 + 1/8 = 1/2
    #   keep 1/4 @ 16         16·576 + 16·144            R = 1/2 + 1/8 = 5/8
    #   keep 1/2 @ 8          8·576 + 24·288             R = 1/4 + 3/8 = 5/8, and cheaper: n² is
    #                         smaller where the same tokens are spread over more layers
    #   keep 1/2 @ 16         16·576 + 16·288            R = 3/4
    report = dense()
    grid = Grid.of(report.dense, (16, 8), (HALF, QUARTER), (1, 2))
    uniform = Importance.uniform(report.dense.layout)
    found = frontier(report, grid, uniform, Flops("survey"))
    full, half, quarter = survey(576), survey(288), survey(144)
    expected = [
        ("keep 0.25 @ 8", 8 * full + 24 * quarter, Fraction(7, 16)),
        ("keep 0.5 @ 8 | keep 0.25 @ 16", 8 * full + 8 * half + 16 * quarter, Fraction(1, 2)),
        ("keep 0.5 @ 8", 8 * full + 24 * half, Fraction(5, 8)),
        ("keep 0.5 @ 16", 16 * full + 16 * half, Fraction(3, 4)),
    ]
    rows = [(grid.text(one.point.stages), one.cost, one.retention) for one in found.standing]
    assert rows == expected
    assert 16 * full + 16 * quarter > expected[2][1]
    # all the weight on the last layer: 144 tokens in it cost least at layer 8, 288 too
    last = Importance.of("the last", [Fraction(layer == 31) for layer in range(32)])
    found = frontier(report, grid, last, Flops("survey"))
    rows = [(grid.text(one.point.stages), one.cost, one.retention) for one in found.standing]
    assert rows == [
        ("keep 0.25 @ 8", expected[0][1], QUARTER),
        ("keep 0.5 @ 8", 8 * full + 24 * half, HALF),
    ]


def test_a_cache_by_hand():
    # 4 · 32 · 128 = 16,384 B for each token and layer; 8 layers of 640 tokens, 24 of 352 or 208
    report = dense()
    grid = Grid.of(report.dense, (8,), (HALF, QUARTER), (1,))
    found = frontier(report, grid, Importance.uniform(report.dense.layout), Cache())
    assert [one.cost for one in found.standing] == [
        16_384 * (8 * 640 + 24 * 208),
        16_384 * (8 * 640 + 24 * 352),
    ]
    limit = Fraction(16_384 * (8 * 640 + 24 * 352))
    for budget, count in ((limit, 2), (limit - 1, 1), (Fraction(1), 0)):
        within = frontier(report, grid, Importance.uniform(report.dense.layout), Cache(), budget)
        assert len(within.standing) == count
        assert within.least == 16_384 * (8 * 640 + 24 * 208)


def random_case(model: str, seed: int, most: int):
    """Return a report, a small grid of it, and weights of its layers."""
    rng = random.Random(f"{model} {seed}")
    report = evaluate(
        load_model(model),
        Workload(
            text_tokens=rng.randint(0, 80),
            new_tokens=rng.choice([1, 1, 5]),
            batch=rng.choice([1, 3]),
        ),
        None,
        Counting(causal=rng.random() < 0.4, logits=rng.choice(["last", "all"])),
    )
    depth = len(report.dense.layout)
    while True:
        layers = rng.sample(range(depth), rng.randint(2, 4))
        layers = sorted({*layers, *rng.sample([0, depth - 1], 1)})
        keeps = {Fraction(rng.randint(1, 16), 16) for _ in range(rng.randint(2, 4))}
        counts = rng.choice([(1,), (1, 2), (2, 3), (1, 2, 3)])
        rounding = rng.choice(["floor", "ceil", "round", "float-floor"])
        try:
            grid = Grid.of(report.dense, layers, sorted(keeps), counts, rounding)
        except InvalidInput:  # more stages than levels
            continue
        if grid.space.size <= most:
            break
    weights = Importance.uniform(report.dense.layout)
    if rng.random() < 0.7:
        top = rng.choice([1, 3, 10**6])
        drawn = [Fraction(rng.randint(0, top), 7) * weight for weight in weights.weights]
        weights = Importance.of("drawn", [*drawn[:-1], drawn[-1] + weights.weights[-1]])
    return report, grid, weights


def by_brute_force(report, grid, weights, price):
    """Return every schedule of a grid with the price that `evaluate` leads to, and its R."""
    priced = []
    depth, tokens = len(report.dense.layout), [level.tokens for level in grid.levels]
    total = sum(weights.weights) * grid.entering
    for stages in every_schedule(grid.layers, len(tokens), grid.stages):
        schedule = grid.schedule(stages) if stages else None
        answered = evaluate(report.model, report.workload, schedule, report.counting)
        levels = per_layer(stages, depth, len(tokens))
        left = [[*tokens, grid.entering][level] for level in levels]
        kept = sum(w * n for w, n in zip(weights.weights, left, strict=True))
        priced.append((price(answered), Fraction(kept, total), stages))
    return priced


@pytest.mark.parametrize("model", ["llava-1.5-7b", "gemma3-4b"])
@pytest.mark.parametrize("kind", ["uniform", "drawn"])
def test_against_hundreds_of_thousands_priced_over_arrays(model, kind):
    import numpy as np
    from vlm_tokencost.costmodel.sweeping import Combinations, StagePricer

    report = dense(model)
    depth, entering = len(report.dense.layout), report.dense.entering_visual_tokens
    layers, ratios = tuple(range(1, depth, 2)), [Fraction(n, 16) for n in range(1, 16)]
    weights = Importance.uniform(report.dense.layout)
    if kind == "drawn":
        draw = random.Random(7)
        weights = Importance("drawn", tuple(draw.randint(0, 10**6) for _ in range(depth)))
    behind = np.array([sum(weights.weights[layer:]) for layer in range(depth + 1)])
    pricer, costs, values = StagePricer(report.model), [], []
    for count in (1, 2, 3):
        rows = Combinations(layers, tuple(range(1, 16)), count)
        firsts, shares = rows.reader().read(0, rows.rows)
        costs.append(pricer.price(firsts, shares, 16).exact.astype(np.int64))
        kept = [
            np.full(rows.rows, entering),
            *(share.astype(int) * entering // 16 for share in shares),
        ]
        value = np.full(rows.rows, entering * behind[0])
        for first, before, after in zip(firsts, kept, kept[1:], strict=False):
            value += (after - before) * behind[first.astype(int)]
        values.append(value)
    cost, value = np.concatenate(costs), np.concatenate(values)
    order = np.lexsort((-value, cost))
    cost, value = cost[order], value[order]
    highest = np.r_[-1, np.maximum.accumulate(value)[:-1]]
    expected = list(zip(cost[value > highest], value[value > highest], strict=True))
    grid = Grid.of(report.dense, layers, ratios, (1, 2, 3))
    assert grid.space.size == len(cost) > 250_000
    found = frontier(report, grid, weights, Flops())
    assert [(one.point.cost, one.point.value) for one in found.standing] == expected
    assert len(expected) > 100


def exact(report):
    return report.total("exact")


def survey_total(report):
    return report.total("survey")


def cache(report):
    return kv_cache_bytes(report.model, report.scheduled, 8, report.counting.execution)


MEASURES = {"exact": (Flops(), exact), "survey": (Flops("survey"), survey_total)}
MEASURES["cache"] = (Cache(8), cache)


def as_rows(found):
    """Return a frontier as `best_of` does, with the layers and levels of its stages."""
    return [(one.cost, one.retention, one.point.stages, one.point.ties) for one in found.standing]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
def test_against_every_schedule_of_every_kind_of_model(model, measure, seed):
    report, grid, weights = random_case(model, seed, 90)
    own, price = MEASURES[measure]
    if measure == "survey" and report.obstacle("survey"):
        with pytest.raises(InvalidInput, match="has no figure"):
            frontier(report, grid, weights, own)
        return
    priced = by_brute_force(report, grid, weights, price)
    amounts = sorted(amount for amount, _, _ in priced)
    for budget in (None, amounts[0] - 1, amounts[len(amounts) // 2]):
        limit = None if budget is None else Fraction(budget)
        found = frontier(report, grid, weights, own, limit)
        assert as_rows(found) == best_of(priced, budget)
        assert found.least == amounts[0]
        for one in found.standing:
            assert price(found.priced(one)) == one.cost


@pytest.mark.parametrize("runtime", ["graph", "eager"])
@pytest.mark.parametrize("model", ["llava-1.5-7b", "smolvlm-256m", "llama3.2-vision-11b"])
def test_times_against_every_schedule(model, runtime):
    report, grid, weights = random_case(model, 5, 40)
    device, running = load_device("a100-80gb", "--device"), Running(runtime)
    measure = FirstToken(report, device, running)

    def price(answered):
        # as `tokencost latency` has it; sums in another order differ in the last digits
        return float(f"{latency(answered, device, running).scheduled.ttft.central:.12g}")

    priced = by_brute_force(report, grid, weights, price)
    amounts = sorted(amount for amount, _, _ in priced)
    for budget in (None, amounts[len(amounts) // 2]):
        limit = None if budget is None else Fraction(budget) * (1 + Fraction(1, 10**11))
        found = frontier(report, grid, weights, measure, limit)
        rows = [(float(f"{float(cost):.12g}"), *rest) for cost, *rest in as_rows(found)]
        expected = best_of(priced, None if limit is None else float(limit))
        # schedules that wait for the host alike tie there, and not in the search
        assert [row[:2] for row in rows] == [row[:2] for row in expected]
        for one in found.standing:
            found.priced(one)
    if model == "smolvlm-256m" and runtime == "eager":
        assert len(rows) == 1, "30 layers wait for the host whatever they keep"


def test_a_time_below_the_host_is_out_of_reach():
    report = dense()
    measure = FirstToken(report, load_device("a100-80gb", "--device"), Running())
    host = 32 * 0.85e-3  # eager Python's launches of 32 layers
    assert measure.most(Fraction(host)) is None
    grid = Grid.of(report.dense, (1,), (Fraction(1, 100),), (1,))
    uniform = Importance.uniform(report.dense.layout)
    found = frontier(report, grid, uniform, measure, Fraction(host))
    assert not found.standing
    # the encoder and the connector come on top
    assert float(found.least) > host
    assert len(frontier(report, grid, uniform, measure, found.least).standing) == 1


def test_what_does_not_add_up_is_told():
    class Squared(Flops):
        """A cost that is no sum over layers."""

        def layers(self, report):
            return report.total("survey") ** 2

    report = dense()
    grid = Grid.of(report.dense, (2, 8), (HALF, QUARTER), (2,))
    uniform = Importance.uniform(report.dense.layout)
    found = frontier(report, grid, uniform, Squared("survey"))
    with pytest.raises(TokencostError, match=r"'keep 0\.5 @ 2 \| keep 0\.25 @ 8' at "):
        found.priced(found.standing[0])
    whole = frontier(report, grid, uniform, Flops())
    one = whole.standing[0]
    wrong = Standing(one.point, one.cost, one.retention / 2)
    with pytest.raises(TokencostError, match="the search prices"):
        whole.priced(wrong)
    dearer = Point(one.point.cost + 1, *one.point[1:])
    with pytest.raises(TokencostError, match="the search prices"):
        whole.priced(one._replace(point=dearer))


def test_levels_of_equal_tokens_are_one():
    report = dense(visual_tokens=10)
    # ⌊0.201 · 10⌋ = ⌊0.21 · 10⌋ = ⌊0.25 · 10⌋ = 2; 0.95 leaves 9, 1 all 10
    ratios = [Fraction(1, 4), Fraction(201, 1000), Fraction(21, 100), Fraction(95, 100)]
    grid = Grid.of(report.dense, (3,), [*ratios, Fraction(1)], (1,))
    assert grid.levels == ((2, Fraction(21, 100)), (9, Fraction(95, 100)))
    assert grid.stages == (0, 1)
    # rounded up, 0.95 leaves all 10 as well, and the others 3
    grid = Grid.of(report.dense, (3,), ratios, (1,), "ceil")
    assert grid.levels == ((3, Fraction(21, 100)),)
    assert grid.stages == (0, 1)


def test_grids_that_are_refused():
    plan = dense().dense
    with pytest.raises(InvalidInput, match="prune_layer 32 is not a layer of this model"):
        Grid.of(plan, (1, 32), (HALF,), (1,))
    with pytest.raises(InvalidInput, match=r"keep 0\.001 leaves none of the 576"):
        Grid.of(plan, (1,), (Fraction(1, 1000),), (1,))
    with pytest.raises(InvalidInput, match="stages 2 makes no schedule"):
        Grid.of(plan, (1,), (HALF, QUARTER), (2,))
    with pytest.raises(InvalidInput, match="makes no schedule"):  # but the dense run
        Grid.of(plan, (1, 2), (HALF, Fraction(1)), (2,))


def test_weights():
    assert Importance.of("x", [Fraction(1, 4), Fraction(3, 10)]).weights == (5, 6)
    assert Importance.of("x", [Fraction(4), Fraction(6)]).weights == (2, 3)
    # 1 : 3·10⁻¹² rounds to 10⁹ : 0, and 1/3 to 333,333,333
    rounded = Importance.of("x", [Fraction(1), Fraction(3, 10**12), Fraction(1, 3)])
    assert rounded.weights == (10**9, 0, 333_333_333)
    assert not rounded.exact
    with pytest.raises(InvalidInput, match="has no weight above 0"):
        Importance.of("x", [Fraction(0)] * 3)
    with pytest.raises(InvalidInput, match="has a weight below 0"):
        Importance.of("x", [Fraction(1), Fraction(-1)])


def test_weights_of_another_model_are_refused():
    report = dense("llama3.2-vision-11b")
    grid = Grid.of(report.dense, (3,), (HALF,), (1,))
    with pytest.raises(InvalidInput, match="has 32 weights for 40 layers"):
        frontier(report, grid, Importance("x", (1,) * 32), Flops())
    with pytest.raises(InvalidInput, match="weighs layer 0, which has no visual tokens"):
        frontier(report, grid, Importance("x", (1,) * 40), Flops())
    # cross-attention in layers 3, 8, 13, …, 38: eight of them
    uniform = Importance.uniform(report.dense.layout)
    assert [layer for layer, weight in enumerate(uniform.weights) if weight] == [*range(3, 40, 5)]
