"""The range of a speed-up wherever a command gives one, and how times are written."""

from __future__ import annotations

import csv
import io
import re

import pytest
from timed_answers import FASTV, LLAVA, asked, told
from vlm_tokencost.cli.latency_rows import bounds, times_between
from vlm_tokencost.cli.latency_tables import milliseconds
from vlm_tokencost.costmodel.timing import Interval

BOUNDS = ("lower", "central", "upper")


def crossed(row):
    """Return the range by hand: lower over upper, central over central, upper over lower."""
    before, after = row["baseline"], row["scheduled"]
    if "time" in before:
        before, after = before["time"], after["time"]
    if before == after:
        return dict.fromkeys(BOUNDS, 1.0)
    others = zip(BOUNDS, reversed(BOUNDS), strict=True)
    return {mine: before[mine] / after[its] for mine, its in others}


def alike(row):
    """Return the ratios of like bounds in order."""
    ratios = [row["baseline"][bound] / row["scheduled"][bound] for bound in BOUNDS]
    return dict(zip(BOUNDS, (min(ratios), ratios[1], max(ratios)), strict=True))


def test_ranges_of_speed_ups_are_crossed(tokencost):
    answer = asked(tokencost, "latency", *FASTV, "--new-tokens", 20)
    assert set(answer["totals"]) > {"time_to_first_token", "end_to_end"}
    for row in answer["totals"].values():
        assert row["speed_up"] == pytest.approx(crossed(row))
        assert row["like_bounds_speed_up"] == pytest.approx(alike(row))
        possible = row["possible_speed_up"]
        assert (possible["least"], possible["most"]) == (
            row["speed_up"]["lower"],
            row["speed_up"]["upper"],
        )
    for name in ("vision", "connector", "prefill", "decode"):
        row = answer["stages"][name]
        assert row["speed_up"] == pytest.approx(crossed(row)), name
    # FastV leaves the encoder as it is: the same work in the same software.
    assert answer["stages"]["vision"]["speed_up"] == dict.fromkeys(BOUNDS, 1.0)
    assert answer["stages"]["selection"]["speed_up"] is None


def test_the_ceiling_is_a_bound(tokencost):
    words = (*LLAVA, "--visual-tokens", 2880, "--tokens", 64, "--new-tokens", 2)
    answer = asked(tokencost, "latency", *words)
    found = answer["ceiling"]
    assert found["like_bounds_speed_up"]["upper"] < found["speed_up"]["upper"]
    central, most = found["speed_up"]["central"], found["speed_up"]["upper"]
    said = f"no pruning in the LLM can exceed {central:.2f}× in the central estimate, nor"
    assert f"{said} {most:.2f}× whatever runs on either side; this" in found["sentence"]
    assert answer["totals"]["end_to_end"]["speed_up"]["upper"] <= most


def test_tables_csv_and_sentence_give_the_same_range(tokencost):
    found = asked(tokencost, "latency", *FASTV)["totals"]["time_to_first_token"]["speed_up"]
    rows = list(csv.DictReader(io.StringIO(tokencost("latency", *FASTV, "--format", "csv").out)))
    (row,) = [row for row in rows if row["name"] == "time to first token"]
    assert [float(row[f"speed_up_{bound}"]) for bound in BOUNDS] == [found[one] for one in BOUNDS]
    shown = f"{found['central']:.2f}× {found['lower']:.2f} – {found['upper']:.2f}×"
    text = told(tokencost, "latency", *FASTV)
    assert shown in text
    assert "speed-up: from the baseline's lower over the schedule's upper" in text
    narrow = asked(tokencost, "latency", *FASTV)["totals"]["time_to_first_token"]
    narrow = narrow["like_bounds_speed_up"]
    assert f"span {narrow['lower']:.2f} – {narrow['upper']:.2f}× of time to first token" in text
    assert float(row["like_bounds_speed_up_upper"]) == narrow["upper"]
    latex = tokencost("latency", *FASTV, "--format", "latex").out
    assert f"as fast [{found['lower']:.2f} -- {found['upper']:.2f}$\\times$]" in latex


def test_a_run_beside_itself_has_no_range(tokencost):
    answer = asked(tokencost, "latency", *LLAVA, "--prune-layer", 2, "--keep", 1)
    for row in answer["totals"].values():
        assert row["speed_up"] == row["like_bounds_speed_up"] == dict.fromkeys(BOUNDS, 1.0)
    text = told(tokencost, "latency", *LLAVA, "--prune-layer", 2, "--keep", 1)
    assert "1.00× 1.00 – 1.00×" in text
    assert "speed-up: from" not in text


def test_a_search_gives_the_same_range(tokencost):
    answer = asked(tokencost, "crossover", *FASTV)
    for row in answer["times"]:
        assert row["speed_up"] == pytest.approx(crossed(row))
        assert row["like_bounds_speed_up"] == pytest.approx(alike(row))
    text = told(tokencost, "crossover", *FASTV)
    found = answer["times"][-1]["speed_up"]
    assert f"{found['lower']:.2f} – {found['upper']:.2f}×" in text
    assert "where it reaches below 1, the schedule may be slower" in text


def test_a_sweep_gives_the_same_range(tokencost):
    words = (*LLAVA, "--prune-layer", 2, "--keep", "0.5", "--new-tokens", 4)
    (row,) = csv.DictReader(io.StringIO(tokencost("sweep", *words).out))
    totals = asked(tokencost, "latency", *words)["totals"]
    for name in ("time_to_first_token", "end_to_end"):
        for bound in BOUNDS:
            assert float(row[f"{name}_speed_up_{bound}"]) == totals[name]["speed_up"][bound]


def test_a_figure_gives_the_same_range(tokencost, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "times.svg"
    answer = tokencost("plot", "latency", *FASTV, "--output", path)
    assert answer.status == 0, answer.err
    found = asked(tokencost, "latency", *FASTV)["totals"]["time_to_first_token"]["speed_up"]
    said = re.sub(r"\s+", " ", path.read_text())
    assert f"{found['central']:.2f}× as fast" in said
    assert f"({found['lower']:.2f} – {found['upper']:.2f}×" in said


def test_a_speed_up_without_a_bound_is_null():
    assert bounds(Interval(0.0, 2.0, float("inf"))) == {"lower": 0, "central": 2, "upper": None}
    assert times_between(0.0, float("inf")) == "0.00 – >1,000×"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "0"),
        (0.00012344, "0.000123"),
        (0.0999499, "0.0999"),
        (0.54, "0.540"),
        (1.0, "1.00"),
        (9.994, "9.99"),
        (9.995, "10.0"),
        (17.0, "17.0"),
        (17.04, "17.0"),
        (99.96, "100.0"),
        (106.0, "106.0"),
        (1936.84, "1,936.8"),
    ],
)
def test_milliseconds_have_three_digits_or_one_decimal(amount, text):
    assert milliseconds(amount / 1000) == text


def test_both_ends_of_a_range_have_one_rule(tokencost):
    # 16.98 ms at best and 106 ms at worst were "17 – 106.0" once.
    text = told(tokencost, "latency", *FASTV, "--new-tokens", 8)
    pairs = re.findall(r"([0-9,.]+) – ([0-9,.]+)([^0-9,.])", text)
    ends = {end for *pair, after in pairs if after != "×" for end in pair}
    assert len(ends) >= 8
    for end in ends:
        amount = float(end.replace(",", ""))
        decimals = len(end.partition(".")[2])
        assert decimals == (1 if amount >= 10 else 2 if amount >= 1 else 3), end
