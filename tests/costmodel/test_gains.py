"""Speed-ups and their ranges, and what no pruning can exceed."""

from __future__ import annotations

import math

import pytest
from toy_device import timed
from vlm_tokencost.costmodel import Schedule, Stage
from vlm_tokencost.costmodel.gains import like_bounds, possible_speed_up, speed_up
from vlm_tokencost.costmodel.latency import ceiling
from vlm_tokencost.costmodel.timing import Interval

NOTHING = Interval(0.0, 0.0, 0.0)


def test_a_speed_up_lies_between_crossed_bounds():
    # 2 s at best against 4 s at worst is half as fast; 10 s at worst against 1 s, ten times
    before, after = Interval(2.0, 6.0, 10.0), Interval(1.0, 3.0, 4.0)
    assert speed_up(before, after) == Interval(0.5, 2.0, 10.0)
    assert possible_speed_up(before, after) == (0.5, 10.0)


def test_the_same_work_is_as_fast_as_itself():
    some = Interval(2.0, 6.0, 10.0)
    assert speed_up(some, some) == speed_up(NOTHING, NOTHING) == Interval(1.0, 1.0, 1.0)
    # another run may need as long by chance: the bounds of its ratio are 2/10 and 10/2
    assert possible_speed_up(some, some) == (0.2, 5.0)


def test_without_a_lower_bound_there_is_no_upper_one():
    before = Interval(0.0, 6.0, 9.0)
    assert speed_up(before, Interval(0.0, 3.0, 4.5)) == Interval(0.0, 2.0, math.inf)
    assert speed_up(before, NOTHING) == Interval(1.0, math.inf, math.inf)
    assert possible_speed_up(before, NOTHING) == (1.0, math.inf)


def test_like_bounds_compare_lower_with_lower_and_upper_with_upper():
    found = like_bounds(Interval(2.0, 6.0, 9.0), Interval(1.0, 4.0, 3.0))
    assert found == Interval(1.5, 1.5, 3.0)
    found = like_bounds(Interval(0.0, 6.0, 9.0), Interval(0.0, 3.0, 3.0))
    assert found == Interval(1.0, 2.0, 3.0)


@pytest.mark.parametrize("keep", ["0.999", "0.5", "0.01"])
def test_what_is_printed_holds_the_ratios_of_like_bounds(keep):
    found = timed(schedule=Schedule(stages=(Stage(first_layer=2, ratio=keep),)), new_tokens=9)
    for before, after in (
        (found.dense.ttft, found.scheduled.ttft),
        (found.dense.end_to_end, found.scheduled.end_to_end),
    ):
        wide, narrow = speed_up(before, after), like_bounds(before, after)
        assert wide.lower <= narrow.lower <= wide.central == narrow.central
        assert narrow.upper <= wide.upper


def test_no_schedule_exceeds_the_ceiling():
    found = timed(schedule=Schedule(compress={"tokens": 1}), new_tokens=64)
    most = ceiling(found)
    gain = speed_up(found.dense.end_to_end, found.scheduled.end_to_end)
    assert gain.central < most.speed_up.central
    assert most.stage == "decode"
    assert most.limit == "weights"
    assert most.share == pytest.approx(
        found.text_only.stages["decode"].time.central / found.dense.end_to_end.central
    )
    # Whatever runs on either side: the slowest baseline against the fastest run without tokens.
    bound = found.dense.end_to_end.upper / found.text_only.end_to_end.lower
    assert gain.upper <= most.speed_up.upper == bound


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(channels={"ffn": "0.5"}),
        Schedule(bits={"weights": 4}),
        Schedule(channels={"ffn": "0.5"}, compress={"tokens": 9}),
    ],
)
def test_the_ceiling_keeps_what_is_no_pruning(schedule):
    found = timed(schedule=schedule, new_tokens=8)
    gain = speed_up(found.dense.end_to_end, found.scheduled.end_to_end)
    assert gain.central <= ceiling(found).speed_up.central
