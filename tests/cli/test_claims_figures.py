"""The report's figures: where marks stand, what they are, what is left out."""

from __future__ import annotations

import pytest
from verdicts import a_claim, a_verdict, every_kind
from vlm_tokencost.cli.claim_words import counts
from vlm_tokencost.cli.claims_report.axes import Axis, Panel, Point, axis_of, panel, ticks
from vlm_tokencost.cli.claims_report.charts import MOST_BARS, agreement, bounds, by_method
from vlm_tokencost.cli.claims_report.picture import (
    COLOURS,
    SHAPES,
    Bar,
    Disc,
    Label,
    Line,
    Picture,
    Shape,
    marker,
)
from vlm_tokencost.cli.claims_report.svg import as_svg
from vlm_tokencost.presets.auditing import VERDICTS

SPEED = {"quantity": "speed-up", "unit": "×"}


def tips(picture: Picture) -> list[str]:
    return [mark.tip for mark in picture.marks if isinstance(mark, Bar | Disc | Shape) and mark.tip]


def test_every_verdict_has_a_look():
    assert list(COLOURS) == list(SHAPES) == list(VERDICTS) or set(COLOURS) == set(VERDICTS)
    assert list(COLOURS) == list(VERDICTS), "bars are stacked in the order of the verdicts"
    for verdict in VERDICTS:
        assert marker(verdict, 0, 0, "a tip")
    assert len(set(SHAPES.values())) == len(SHAPES), "shapes tell verdicts apart without colour"


def test_bars_are_as_long_as_their_counts():
    rows = {
        "A": {**dict.fromkeys(VERDICTS, 0), "reproduced": 6, "impossible": 2},
        "B": {**dict.fromkeys(VERDICTS, 0), "plausible": 4},
        "none": dict.fromkeys(VERDICTS, 0),
    }
    picture = by_method(rows)
    assert picture is not None
    bars = [mark for mark in picture.marks if isinstance(mark, Bar) and mark.tip]
    assert [bar.tip for bar in bars] == ["A: 6 reproduced", "A: 2 impossible", "B: 4 plausible"]
    gap = 0.8  # between neighbours
    unit = (bars[0].width + gap) / 6
    assert bars[1].width + gap == pytest.approx(2 * unit)
    assert bars[2].width + gap == pytest.approx(4 * unit)
    assert bars[1].x == pytest.approx(bars[0].x + 6 * unit)
    assert bars[1].x + bars[1].width <= picture.width
    labels = [mark.text for mark in picture.marks if isinstance(mark, Label)]
    assert {"A", "B", "8", "4"} <= set(labels) and "none" not in labels


def test_many_methods_are_drawn_together():
    rows = {f"m{place}": {"reproduced": 1} for place in range(MOST_BARS + 3)}
    picture = by_method({name: {**dict.fromkeys(VERDICTS, 0), **row} for name, row in rows.items()})
    assert picture is not None
    assert "3 others: 3 reproduced" in tips(picture)


def test_nothing_is_drawn_of_nothing():
    assert by_method({"A": counts([])}) is None
    assert agreement([]) is None
    assert bounds([]) is None


def test_agreement_holds_recomputed_figures_alone():
    share = {"quantity": "flops ratio", "unit": "%"}
    verdicts = [
        *every_kind(),
        a_verdict(a_claim("share", value="50", **share), value=51.0),
        a_verdict(a_claim("zero", value="0", **share), value=1.0),
    ]
    picture = agreement(verdicts)
    assert picture is not None
    assert sorted(tips(picture)) == [
        "fitted: printed 2.0 TFLOP, recomputed 2.01 TFLOP",
        "good: printed 1.50 TFLOP, recomputed 1.504 TFLOP",
        "other: printed 55 %, recomputed 15.2 %",
        "share: printed 50 %, recomputed 51 %",
    ]


def test_reductions_of_time_are_drawn_as_factors():
    saved = a_claim("saved", quantity="time reduction", unit="%", value="50")
    verdicts = [
        a_verdict(saved, verdict="plausible", bound=75.0),  # 1/(1 − 0.5) = 2, 1/(1 − 0.75) = 4
        a_verdict(a_claim("fast", value="9", **SPEED), verdict="impossible", bound=3.0),
        a_verdict(a_claim("free", value="2", **SPEED), verdict="plausible"),
        a_verdict(a_claim("cost", value="2"), bound=3.0),
    ]
    picture = bounds(verdicts)
    assert picture is not None
    assert sorted(tips(picture)) == [
        "fast: claimed 9×, bound 3×",
        "saved: claimed 2×, bound 4×",
    ]


def test_a_point_on_the_diagonal_is_on_the_diagonal():
    points = (Point(1, 1, "reproduced", "low"), Point(100, 100, "reproduced", "high"))
    marks = panel(
        Panel("title", "x", "y", (*points, Point(10, 10, "plausible", ""))), 0, 0, 244, 240
    )
    diagonal = next(mark for mark in marks if isinstance(mark, Line) and mark.dashed)
    discs = [mark for mark in marks if isinstance(mark, Disc)]
    rise = (diagonal.y2 - diagonal.y1) / (diagonal.x2 - diagonal.x1)
    for disc in discs:
        assert disc.y == pytest.approx(diagonal.y1 + rise * (disc.x - diagonal.x1))
        assert diagonal.x1 < disc.x < diagonal.x2
    (triangle,) = (mark for mark in marks if isinstance(mark, Shape))
    middle = sum(disc.x for disc in discs) / 2  # 10 is half-way between 1 and 100
    assert triangle.points[0][0] == pytest.approx(middle)


@pytest.mark.parametrize(
    ("low", "high", "linear", "wanted"),
    [
        (1.0, 1.0, False, [1]),
        (1.0, 40.0, False, [1, 2, 5, 10, 20]),
        (1e9, 4e13, False, [1e9, 1e10, 1e11, 1e12, 1e13]),
        (2.0, 95.0, True, [0, 20, 40, 60, 80]),
    ],
)
def test_ticks_are_round(low, high, linear, wanted):
    axis = axis_of((Point(low, high, "reproduced", ""),), linear=linear)
    assert ticks(axis) == wanted
    assert 0 <= axis.share(low) < axis.share(high) <= 1 or low == high


def test_a_share_of_an_axis():
    assert Axis(1, 100, False).share(10) == pytest.approx(0.5)
    assert Axis(0, 200, True).share(50) == 0.25


def test_pictures_as_svg():
    picture = Picture(
        10, 20, "A < B", (Bar(1, 2, 3.456, 4, "#000000", "a & b"), Label(0, 0, "x < y"))
    )
    text = as_svg(picture, "figure-1", "A & B")
    assert 'viewBox="0 0 10 20"' in text
    assert '<title id="figure-1-title">A &amp; B</title>' in text
    assert '<desc id="figure-1-desc">A &lt; B</desc>' in text
    assert (
        '<rect x="1" y="2" width="3.46" height="4" fill="#000000"><title>a &amp; b</title>' in text
    )
    assert ">x &lt; y</text>" in text
