"""SparseVLM's recycled tokens against the same means written out, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from loops import best
from masked_reference import Reference, Sight, rated, relative_error, run_layer
from small_figures import LAYERS
from small_models import FURTHER, ONE_IMAGE, SEVERAL_IMAGES, Small, driven, own, request_of
from vlm_tokencost.validation.reducers.sparsevlm import cluster
from vlm_tokencost.validation.reduction import Reduction

torch = pytest.importorskip("torch")
EXACT = 1e-12


@pytest.mark.parametrize("case", [*ONE_IMAGE, SEVERAL_IMAGES[5], *FURTHER[:3]], ids=str)
def test_sparsevlm_goes_on_with_the_assembled_sequence(case: Small) -> None:
    """Means of clusters of the best dropped tokens stand behind the last survivor."""
    eager = own(case.model, "eager", "float64")
    driver, model = (of(case.model, "sdpa", "float64") for of in (driven, own))
    request = request_of(driver, case, batch=2)
    new = torch.tensor([[5, 6, 7], [8, 9, 10]])
    reference = Reference(model, driver.model_inputs(request), new, driver.adapter.specials())
    visual = int(reference.visual[0].sum())
    left = visual * 60 // 100
    amounts = (visual,) * 2 + (left,) * (LAYERS - 2)
    prefilled = driver.prefill(request, Reduction(visual=amounts, selection="sparsevlm"))
    stage = prefilled.stages[2]
    watched = Reference(eager, driver.model_inputs(request), new, driver.adapter.specials())
    maps = watched.run({}, renumbers=True).maps
    weights = maps[1]
    states, final = reference.run({}, renumbers=True).entering[2], []
    decoder, length = reference.decoder, stage.length
    for sequence in range(2):
        places = stage.origin[sequence]
        kept = [place for place in places.tolist() if place >= 0]
        merged = stage.states[sequence][places < 0]
        last = [place for place in kept if reference.visual[sequence, place]][-1]
        behind = kept.index(last) + 1
        assert torch.where(places < 0)[0].tolist() == [*range(behind, behind + len(merged))]
        dropped = [
            place
            for place in torch.where(reference.visual[sequence])[0].tolist()
            if place not in kept
        ]
        scores = rated(reference, weights, sequence)
        matrix = averaging_matrix(scores, states[sequence], dropped)
        assert relative_error(merged, matrix @ states[sequence, dropped]) <= EXACT
        assembled = torch.cat(
            [
                states[sequence, kept[:behind]],
                matrix @ states[sequence, dropped],
                states[sequence, kept[behind:]],
                states[sequence, reference.length :],
            ]
        )[None]
        ids = torch.arange(assembled.shape[1])[None]
        if reference.axes:
            sources = [*kept[:behind], *[last] * len(merged), *kept[behind:]]
            sources += range(reference.length, reference.length + 3)
            ids = reference.ids[:, sequence : sequence + 1, sources]
        shown = torch.ones(1, assembled.shape[1], dtype=torch.bool)
        sight = Sight(shown, torch.full_like(shown, -1, dtype=torch.int64))
        with torch.no_grad():
            for layer in range(2, LAYERS):
                assembled, _ = run_layer(decoder, layer, assembled, ids, sight)
                if layer < len(reference.added):  # new tokens get no features of inner layers
                    features = reference.added[layer][sequence]
                    added = [
                        features[kept[:behind]],
                        torch.zeros_like(merged),
                        features[kept[behind:]],
                        features[reference.length :],
                    ]
                    assembled = assembled + torch.cat(added)
            final.append(decoder.norm(assembled))
    expected = torch.cat(final)
    assert relative_error(prefilled.tokens.states, expected[:, :length]) <= EXACT
    for step in range(3):
        decoded = driver.decode(prefilled, new[:, step : step + 1])
        logits = model.lm_head(expected[:, length + step, None])
        assert relative_error(decoded, logits) <= EXACT


def averaging_matrix(scores: Sequence[float], states: Any, dropped: list[int]) -> Any:
    """Return W: 1/size at each member of a cluster, found among the best r of the dropped."""
    recycled = 3 * len(dropped) // 10 + 1
    members = best([scores[place] for place in dropped], recycled)
    chosen = states[[dropped[member] for member in members]]
    clusters = recycled // 10 + 1
    groups = cluster(chosen[None], clusters)[0].tolist()
    matrix = torch.zeros(clusters, len(dropped), dtype=torch.float64)
    for member, group in zip(members, groups, strict=True):
        matrix[group, member] = 1 / groups.count(group)
    return matrix
