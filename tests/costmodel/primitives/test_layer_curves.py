"""Bounds of layer profiles, and freezing from a layer on."""

import math
from fractions import Fraction

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Schedule
from vlm_tokencost.costmodel.primitives.layers import Freeze, Profile


def curve(depth, **fields):
    return Profile(**fields).shares(depth)[0]


def test_a_curve_may_end_at_nothing():
    # from layer 2 of 6 on, a quarter less in each
    falling = (1, 1, Fraction(3, 4), Fraction(1, 2), Fraction(1, 4), 0)
    assert curve(6, curve="linear", layer=2, ratio=0) == falling
    assert curve(3, curve="step", layer=1, ratio=0) == (1, 0, 0)


def test_bounds_of_a_curve():
    # (1 + cos(π·i/4))/2 is 1, 0.854, 1/2, 0.146 and 0
    found = curve(5, curve="cosine", ratio=0, least=0.15, full_above=0.85)
    assert found == (1, 1, Fraction(1, 2), Fraction("0.15"), Fraction("0.15"))
    free = curve(5, curve="cosine", ratio=0, full_above=0.86)
    assert free[0] == 1
    assert math.isclose(free[1], (1 + math.cos(math.pi / 4)) / 2, rel_tol=1e-11)
    assert free[4] == 0


def test_freezing_from_a_layer_on():
    query, key, ffn, pairs = Freeze(first_layer=2).shares(4)
    assert query == ffn == (1, 1, 0, 0)
    assert key == pairs == (1, 1, 1, 1)
    assert Freeze(layers=[2, 3]).shares(4) == Freeze(first_layer=2).shares(4)


@pytest.mark.parametrize("fields", [{}, {"layers": [1], "first_layer": 2}])
def test_freezing_needs_one_way_to_say_where(fields):
    error = refusal(Schedule, layers=[{"kind": "freeze", **fields}])
    assert "layers or first_layer" in error.way_out


def test_freezing_from_a_layer_that_there_is_not():
    error = refusal(Freeze(first_layer=4).shares, 4)
    assert (error.field, error.value) == ("first_layer", 4)
