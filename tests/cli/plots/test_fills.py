"""What fills areas is told apart in grey, and means the same in every figure."""

from __future__ import annotations

from itertools import combinations

import pytest
from vlm_tokencost.cli.plots import compare, latency, layers, length, memory, roofline
from vlm_tokencost.cli.plots.fills import Fill

FIGURES = {
    "compare": [fill for fill, _ in compare.PARTS.values()],
    "latency": list(latency.MARKS.values()),
    "layers": list(layers.PARTS.values()),
    "length": list(length.SHARES.values()),
    "memory": [fill for fill, _ in memory.TERMS.values()],
}


def lightness(colour: str) -> float:
    """Return the luma of a colour, as a grey print has it: 0.299 R + 0.587 G + 0.114 B."""
    red, green, blue = (int(colour[first : first + 2], 16) / 255 for first in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


@pytest.mark.parametrize("fills", FIGURES.values(), ids=FIGURES)
def test_fills_of_a_figure_differ_in_grey(fills: list[Fill]):
    for one, other in combinations(fills, 2):
        differ = abs(lightness(one.colour) - lightness(other.colour)) > 0.15
        assert differ or one.hatch != other.hatch, (one, other)


def test_a_hatch_shows():
    for fill in (fill for fills in FIGURES.values() for fill in fills if fill.hatch):
        ink = {"white": "#ffffff"}.get(fill.ink, fill.ink)
        assert abs(lightness(fill.colour) - lightness(ink)) > 0.35, fill


def test_a_part_looks_the_same_in_every_figure():
    selection = compare.PARTS["selection"][0]
    assert selection == length.SHARES["selection"] == latency.MARKS["selection"]
    assert roofline.MARKS["selection"][0] == selection.colour
    assert length.SHARES["LLM attention scores"] == layers.PARTS["attention scores"]
    assert selection.colour != layers.PARTS["attention scores"].colour
    connector = compare.PARTS["connector"][0]
    assert connector == length.SHARES["connector"] == latency.MARKS["connector"]
    for stage in ("vision", "connector", "prefill", "decode"):
        assert roofline.MARKS[stage][0] == latency.MARKS[stage].colour
