"""Every figure that a paper prints about a method, recomputed from the method's schedule."""

from __future__ import annotations

import pytest
from vlm_tokencost.presets import list_methods, load_method
from vlm_tokencost.presets.figures import recompute

FIGURES = [
    pytest.param(method_id, place, id=f"{method_id}-{place}")
    for method_id in list_methods()
    for place in range(len(load_method(method_id).figures))
]


@pytest.mark.parametrize(("method_id", "place"), FIGURES)
def test_a_printed_figure(method_id, place):
    """A figure agrees to its last printed digit, or is a documented mismatch."""
    method = load_method(method_id)
    figure = method.figures[place]
    found = recompute(method, figure)
    assert found.agrees is figure.reproduces, (
        f"{figure.quantity}: printed {figure.printed} {figure.unit}, recomputed "
        f"{float(found.value):.6g} ({figure.source})"
    )
    if not figure.reproduces:
        assert figure.note


def test_there_are_figures_that_do_not_reproduce():
    """The literature's mismatches are kept, so `agrees` can be false."""
    figures = [figure for name in list_methods() for figure in load_method(name).figures]
    assert any(not figure.reproduces for figure in figures)
    assert sum(figure.reproduces for figure in figures) > len(figures) / 2
