"""Where a gain passes a threshold: whole numbers, few and many."""

from __future__ import annotations

from itertools import pairwise

import pytest
from vlm_tokencost.costmodel.crossing import EXHAUSTIVE, crossing


def test_few_numbers_are_all_tried():
    found = crossing(lambda n: n / 10, 1, 100, 5)
    assert found is not None
    assert (found.value, found.below, found.tried, found.exhaustive) == (51, 50, 100, True)
    assert found.lasting


@pytest.mark.parametrize("answer", [2, 3, 257, 99_999, 131_071, 131_072])
def test_many_numbers_are_bisected(answer):
    calls = []

    def gain(n):
        calls.append(n)
        return 1.5 if n >= answer else 0.5

    found = crossing(gain, 1, 131_072)
    assert found is not None
    assert (found.value, found.below) == (answer, answer - 1)
    assert found.lasting
    assert not found.exhaustive
    assert found.tried == len(calls) < 64 + 17 + 65


def test_nothing_pays():
    found = crossing(lambda n: 1 - 1 / n, 1, 10_000)
    assert found is not None
    assert found.value is None
    assert (found.best, found.at) == (1 - 1 / 10_000, 10_000)
    assert not found.lasting


def test_numbers_that_cannot_be_had_are_passed_over():
    found = crossing(lambda n: None if n < 64 else n / 100, 1, 131_072)
    assert found is not None
    assert found.first >= 64
    assert (found.value, found.below) == (101, 100)
    assert crossing(lambda n: None, 1, 9) is None


def test_a_gain_that_falls_again_is_told():
    found = crossing(lambda n: 2.0 if 10 <= n < 20 else 0.5, 1, 100)
    assert found is not None
    assert found.value == 10
    assert not found.lasting


def test_the_smallest_of_a_ragged_edge():
    # Every other number pays right below the answer of a bisection.
    found = crossing(lambda n: 2.0 if n >= 1000 or (n > 990 and n % 2) else 0.5, 1, 10**5)
    assert found is not None
    assert (found.value, found.below) == (991, 990)
    assert not found.lasting


def test_a_range_of_one_number():
    found = crossing(lambda n: 2.0, 5, 5)
    assert found is not None
    assert (found.value, found.below, found.first, found.last) == (5, None, 5, 5)


def test_the_limit_of_trying_all():
    for last, exhaustive in ((EXHAUSTIVE, True), (EXHAUSTIVE + 1, False)):
        found = crossing(lambda n: float(n), 1, last, 1e9)
        assert found is not None
        assert found.exhaustive is exhaustive


@pytest.mark.parametrize(("before", "found"), [(31, True), (32, True), (33, False)])
def test_numbers_beside_the_answer_are_tried(before, found):
    # Passes from 54,321 on, and at one number before it that the bisection does not meet
    def gain(number):
        return 2.0 if number >= 54_321 or number == 54_321 - before else 0.5

    own = crossing(gain, 1, 10**6)
    assert own.value == 54_321 - before * found
    assert own.lasting is not found


def test_probes_grow_evenly_in_ratio_from_the_lowest_number():
    tried = []

    def gain(number):
        tried.append(number)
        return 0.5

    own = crossing(gain, 1000, 3000)
    distances = [number - 999 for number in sorted(tried)]
    assert (distances[0], distances[-1]) == (1, 2001)
    # 2001 = r^63: each distance is r = 1.128 times the one before, but for rounding
    far = [later / earlier for earlier, later in pairwise(distances) if earlier > 100]
    assert len(far) > 20
    assert all(1.11 < ratio < 1.15 for ratio in far)
    assert own.tried == len(set(tried)) <= 64
