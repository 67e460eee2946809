"""What each rule keeps inside the LLM, against full attention maps of the model's own layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from loops import best, cosine, first_of_largest
from masked_reference import Reference, rated
from small_figures import LAYERS
from small_models import (
    FURTHER,
    FURTHER_SEVERAL,
    ONE_IMAGE,
    SEVERAL_IMAGES,
    Small,
    driven,
    own,
    request_of,
)
from vlm_tokencost.validation.layers import Prefilled
from vlm_tokencost.validation.reduction import Reduction

torch = pytest.importorskip("torch")

CASES = [*ONE_IMAGE, SEVERAL_IMAGES[5], *FURTHER, *FURTHER_SEVERAL]
each_case = pytest.mark.parametrize("case", CASES, ids=str)


def run(case: Small, rule: str, *steps: tuple[int, int]) -> tuple[Prefilled, Reference]:
    """Keep, from each (first layer, percent) on, so many percent of M by a rule."""
    driver = driven(case.model, "eager", "float64")
    request = request_of(driver, case, batch=2)
    none = torch.zeros(2, 0, dtype=torch.int64)
    model = own(case.model, "eager", "float64")
    reference = Reference(model, driver.model_inputs(request), none, driver.adapter.specials())
    visual = int(reference.visual[0].sum())
    amounts = [visual] * LAYERS
    for first, percent in steps:
        amounts[first:] = [visual * percent // 100] * (LAYERS - first)
    return driver.prefill(request, Reduction(visual=tuple(amounts), selection=rule)), reference


def kept_visual(reference: Reference, origin: Any, sequence: int) -> list[int]:
    visual = reference.visual[sequence].tolist()
    return [place for place in origin[sequence].tolist() if place >= 0 and visual[place]]


def best_of(scores: Sequence[float], places: list[int], count: int) -> list[int]:
    return [places[index] for index in best([scores[place] for place in places], count)]


@pytest.mark.parametrize(
    ("rule", "before", "renumbers"), [("fastv", 1, False), ("pyramiddrop", 0, True)]
)
@each_case
def test_the_last_tokens_row(case: Small, rule: str, before: int, renumbers: bool) -> None:
    """FastV reads layer K − 1, PyramidDrop layer K on the sequence before the stage."""
    prefilled, reference = run(case, rule, (1, 75), (3, 50), (5, 25))
    assert sorted(prefilled.stages) == [1, 3, 5]
    done: dict[int, Any] = {}
    left = [torch.where(row)[0].tolist() for row in reference.visual]
    for layer, tokens in sorted(prefilled.stages.items()):
        weights = reference.run(done, renumbers).maps[layer - before]
        assert weights is not None
        scores = weights[:, :, -1].mean(dim=1).tolist()
        for sequence in range(2):
            kept = kept_visual(reference, tokens.origin, sequence)
            assert kept == best_of(scores[sequence], left[sequence], tokens.visual)
            assert 0 < len(kept) < len(left[sequence])
            left[sequence] = kept
        done[layer] = tokens.origin


@each_case
def test_sparsevlm_raters(case: Small) -> None:
    """The rows of text tokens of more than mean relevance, in layer K − 1, choose survivors."""
    prefilled, reference = run(case, "sparsevlm", (2, 60))
    weights = reference.run({}, renumbers=True).maps[1]
    assert weights is not None
    for sequence in range(2):
        visual = torch.where(reference.visual[sequence])[0].tolist()
        scores = rated(reference, weights, sequence)
        kept = kept_visual(reference, prefilled.stages[2].origin, sequence)
        assert kept == best_of(scores, visual, len(kept))
        merged = int((prefilled.stages[2].origin[sequence] < 0).sum())
        dropped = len(visual) - len(kept)
        assert len(kept) + merged == len(visual) * 60 // 100
        assert merged == (3 * dropped // 10 + 1) // 10 + 1


@each_case
def test_divprune_is_greedy_max_min(case: Small) -> None:
    driver = driven(case.model, "eager", "float64")
    request = request_of(driver, case, batch=2)
    reduction = Reduction(compressed=(6, "after-connector"), entering=6, selection="divprune")
    prefilled = driver.prefill(request, reduction)
    none = torch.zeros(2, 0, dtype=torch.int64)
    model = own(case.model, "eager", "float64")
    reference = Reference(model, driver.model_inputs(request), none, driver.adapter.specials())
    for sequence in range(2):
        visual = torch.where(reference.visual[sequence])[0].tolist()
        rows = reference.states[sequence, visual].tolist()
        far = [[1 - cosine(one, other) for other in rows] for one in rows]
        for place, row in enumerate(far):
            row[place] = float("inf")
        picks = [first_of_largest([min(row) for row in far])]
        while len(picks) < 6:
            nearest = [
                -1.0 if place in picks else min(far[place][pick] for pick in picks)
                for place in range(len(rows))
            ]
            picks.append(first_of_largest(nearest))
        expected = [visual[pick] for pick in sorted(picks)]
        assert kept_visual(reference, prefilled.entered.origin, sequence) == expected
