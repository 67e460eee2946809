"""Schedules of a frontier that are priced over arrays, against each priced on its own."""

from __future__ import annotations

from fractions import Fraction

import pytest
from vlm_tokencost.costmodel import Counting, TokencostError, Workload, evaluate
from vlm_tokencost.costmodel.frontier import Cache, Flops, Grid, Importance, frontier
from vlm_tokencost.costmodel.frontier.together import figures, priced_together
from vlm_tokencost.presets import load_model

TENTHS = [Fraction(step, 10) for step in range(1, 10)]


def solved(model="llava-1.5-7b", measure=None, counting=None, **workload):
    report = evaluate(load_model(model), Workload(**workload), counting=counting)
    grid = Grid.of(report.dense, range(1, 12, 3), TENTHS, (1, 2))
    weights = Importance.uniform(report.dense.layout)
    return frontier(report, grid, weights, measure or Flops())


def test_a_stage_by_hand():
    found = solved(measure=Cache())
    together = priced_together(found, found.standing)
    # 57 of 576 tokens, and 64 of text: layer 0 stores 640 of them, layers 1 to 31 store 121;
    # 2 · 4096 values of 2 bytes for each.
    assert found.standing[0].point.stages == ((1, 0),)
    assert together[0].kv_cache_bytes == (640 + 31 * 121) * 2 * 4096 * 2
    assert together[0].average_visual_tokens == Fraction(576 + 31 * 57, 32)


@pytest.mark.parametrize(
    ("model", "measure", "workload"),
    [
        ("llava-1.5-7b", Flops("gated"), {"batch": 3}),
        ("qwen2.5-vl-7b", Flops(), {"new_tokens": 5}),
        ("llama3.2-vision-11b", Cache(), {}),
        ("blip2-flan-t5-xl", Flops(), {}),
    ],
)
def test_all_are_those_of_the_scalar_path(model, measure, workload):
    found = solved(model, measure, **workload)
    together = priced_together(found, found.standing)
    assert together == [figures(found.priced(one), None) for one in found.standing]
    assert len(together) > 10


def test_what_arrays_do_not_price_is_left_to_the_scalar_path():
    # causal pairs inside images that attend both ways
    causal = solved("gemma3-4b", counting=Counting(causal=True))
    assert priced_together(causal, causal.standing) is None
    narrow = solved(measure=Cache(bits=8))
    assert priced_together(narrow, narrow.standing) is None
    # 2^53 FLOPs are 9e15: a batch of 10^4 costs more, and is no whole number of float64 any more
    large = solved(batch=10_000)
    assert priced_together(large, large.standing) is None


def test_what_does_not_agree_is_told():
    found = solved()
    one = found.standing[3]
    dearer = one._replace(point=one.point._replace(cost=one.point.cost + 1))
    with pytest.raises(TokencostError, match="the search prices"):
        priced_together(found, [found.standing[0], dearer])
    wrong = one._replace(retention=one.retention / 2)
    with pytest.raises(TokencostError, match="the search prices"):
        priced_together(found, [found.standing[0], wrong])
