"""Merging against the same matrix W·X written densely, in float64.

Which tokens merge is found again here by loops; W has a row per token that is left and a column
per token that there was.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from loops import best, cosine, first_of_largest
from masked_reference import Reference, relative_error
from small_figures import LAYERS
from small_models import (
    FURTHER,
    FURTHER_SEVERAL,
    ONE_IMAGE,
    SEVERAL_IMAGES,
    Attention,
    Small,
    driven,
    own,
    request_of,
)
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.sequence import VISUAL

torch = pytest.importorskip("torch")
EXACT = 1e-12
#: Their connector takes tokens one by one.
ONE_BY_ONE = [*ONE_IMAGE[:3], SEVERAL_IMAGES[1], FURTHER[4]]
#: Qwen3-VL, Idefics3 and Gemma 3 beside the first families.
JOINING = [
    *ONE_IMAGE[3:],
    *SEVERAL_IMAGES[3:],
    FURTHER[0],
    FURTHER[2],
    FURTHER[6],
    *FURTHER_SEVERAL[:2],
]


def both(case: Small) -> tuple[Any, Any, Any]:
    """Return a driver, the model by itself, and a request for two."""
    driver = driven(case.model, "eager", "float64")
    return driver, own(case.model, "eager", "float64"), request_of(driver, case, batch=2)


def vision_of(model: Any) -> Any:
    tower = model.base_model.vision_tower
    return getattr(tower, "vision_model", tower)


def has_class_token(case: Small) -> bool:
    """CLIP has, SigLIP has not; CLIP's last but one states are used, SigLIP's last."""
    return "onevision" not in case.model and "gemma" not in case.model


def feature_of(case: Small, tower: Any) -> Any:
    """Return the states that the connector chooses from, class token first."""
    if "gemma" in case.model:
        return tower.last_hidden_state
    return tower.hidden_states[-2 if has_class_token(case) else -1]


# --- ToMe -----------------------------------------------------------------------------------------


def merging_matrix(keys: Sequence[Any], sizes: Any, merged: int, class_token: bool) -> Any:
    """Return W [n − merged, n]: unmerged even tokens, then odd ones, weighted by size.

    Nothing moves where nothing merges.
    """
    if not merged:
        return torch.eye(len(keys), dtype=torch.float64)
    evens, odds = range(0, len(keys), 2), range(1, len(keys), 2)
    nearest, similarity = {}, []
    for even in evens:
        row = [cosine(keys[even], keys[odd]) for odd in odds]
        nearest[even] = odds[first_of_largest(row)]
        similarity.append(-2.0 if class_token and even == 0 else max(row))
    chosen = [evens[index] for index in best(similarity, merged)]
    parts = [[even] for even in evens if even not in chosen]
    parts += [[odd, *(even for even in chosen if nearest[even] == odd)] for odd in odds]
    matrix = torch.zeros(len(parts), len(keys), dtype=torch.float64)
    for row, members in enumerate(parts):
        matrix[row, members] = sizes[members] / sizes[members].sum()
    return matrix


def merged_tower(model: Any, pixels: Any, merged: Sequence[int], used: int) -> Any:
    """Run one crop [1, …] through `used` blocks with dense W·X and attention written out."""
    vit = vision_of(model)
    states = vit.embeddings(pixels)
    class_token = hasattr(vit.embeddings, "class_embedding")
    if class_token:
        states = vit.pre_layrnorm(states)
    sizes = torch.ones(states.shape[1], dtype=torch.float64)
    for block, amount in zip(vit.encoder.layers[:used], merged, strict=False):
        attention, normed = block.self_attn, block.layer_norm1(states[0])
        query, key, value = (
            projection(normed).view(len(normed), 2, -1).transpose(0, 1)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        # Proportional attention: a token of size s counts s times.
        weights = sizes * (query @ key.mT / key.shape[-1] ** 0.5).exp()
        mixed = (weights / weights.sum(-1, keepdim=True)) @ value
        after = states[0] + attention.out_proj(mixed.transpose(0, 1).flatten(1))
        matrix = merging_matrix(key.mean(0).tolist(), sizes, amount, class_token)
        # A row of W is the sum of equal shares, its members' sizes over their total.
        sizes = (matrix > 0).double() @ sizes
        states = (matrix @ after)[None]
        states = states + block.mlp(block.layer_norm2(states))
    if model.config.model_type == "paligemma":
        states = vit.post_layernorm(states)
    return states[:, 1:] if class_token else states


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("case", ONE_BY_ONE, ids=str)
def test_tome_is_a_matrix_in_every_block(case: Small, attention: Attention) -> None:
    _, model, request = both(case)
    driver = driven(case.model, attention, "float64")
    merged = (2, 3, 0, 1, 2)
    used = 4 if has_class_token(case) else 5
    left = (16 - sum(merged[:used])) * sum(map(len, case.crops))
    reduction = Reduction(merged=merged, entering=left, selection="tome")
    prefilled = driver.prefill(request, reduction)
    with torch.no_grad():
        crops = [
            merged_tower(model, crop[None], merged, used)
            for crop in request.pixels.inputs["pixel_values"]
        ]
        projected = model.base_model.multi_modal_projector(torch.cat(crops))
    expected = projected.reshape(2, left, -1)
    # Eager attention in transformers rounds its softmax to float32.
    bound = EXACT if attention == "sdpa" else 1e-6
    assert relative_error(prefilled.entered.states_of(VISUAL), expected) <= bound
    assert prefilled.lengths == [20 + left] * LAYERS


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("case", ONE_BY_ONE, ids=str)
def test_merging_nothing_is_the_models_own_tower(case: Small, attention: Attention) -> None:
    driver, model = driven(case.model, attention), own(case.model, attention)
    request = request_of(driver, case, batch=2)
    left = 16 * sum(map(len, case.crops))
    reduction = Reduction(merged=(0,) * 5, entering=left, selection="tome")
    made = driver.prefill(request, reduction).entered.states_of(VISUAL)
    first = int(has_class_token(case))
    with torch.no_grad():
        pixels = request.pixels.inputs["pixel_values"]
        tower = model.base_model.vision_tower(pixels, output_hidden_states=True)
        states = feature_of(case, tower)[:, first:]
        projected = model.base_model.multi_modal_projector(states)
    assert torch.equal(made, projected.reshape(2, left, -1))


# --- VisionZip ------------------------------------------------------------------------------------


def zipping_matrix(
    scores: Sequence[float], keys: Sequence[Any], left: int, class_token: bool
) -> Any:
    """Return W [left, n]: dominant tokens, then targets with the mean of what joins them."""
    contextual = left * 10 // 64
    ranked = list(scores)
    if class_token:
        ranked[0] = float("inf")
    dominant = best(ranked, left - contextual)
    rest = [place for place in range(len(keys)) if place not in dominant]
    targets = rest[:: len(rest) // contextual][:contextual]
    joining: dict[int, list[int]] = {target: [] for target in targets}
    for place in rest:
        if place not in targets:
            row = [cosine(keys[place], keys[target]) for target in targets]
            joining[targets[first_of_largest(row)]].append(place)
    matrix = torch.zeros(left, len(keys), dtype=torch.float64)
    for row, place in enumerate([*dominant, *targets]):
        matrix[row, place] = 1
        if joining.get(place):
            matrix[row, joining[place]] = 1 / len(joining[place])
    return matrix


@pytest.mark.parametrize("case", ONE_BY_ONE, ids=str)
def test_visionzip_before_the_connector(case: Small) -> None:
    driver, model, request = both(case)
    crops = sum(map(len, case.crops))
    reduction = Reduction(
        compressed=(13 * crops, "before-connector"), entering=13 * crops, selection="visionzip"
    )
    prefilled = driver.prefill(request, reduction)
    class_token = has_class_token(case)
    block = vision_of(model).encoder.layers[3 if class_token else 4]
    seen: dict[str, Any] = {}
    attention = block.self_attn
    hooks = [
        attention.register_forward_hook(lambda _, args, out: seen.update(map=out[1])),
        attention.k_proj.register_forward_hook(lambda _, args, out: seen.update(keys=out)),
    ]
    with torch.no_grad():
        pixels = request.pixels.inputs["pixel_values"]
        tower = model.base_model.vision_tower(pixels, output_hidden_states=True)
        for hook in hooks:
            hook.remove()
        states = feature_of(case, tower)
        keys = seen["keys"].unflatten(-1, (2, -1)).mean(dim=2)
        # The class token's row, or else all rows.
        rows = seen["map"][:, :, :1] if class_token else seen["map"]
        scores = rows.double().mean(dim=(1, 2))
        zipped = [
            zipping_matrix(*crop, 13, class_token) @ state
            for *crop, state in zip(scores.tolist(), keys.tolist(), states, strict=True)
        ]
        expected = model.base_model.multi_modal_projector(torch.stack(zipped))
    made = prefilled.entered.states_of(VISUAL)
    assert relative_error(made, expected.reshape(2, 13 * crops, -1)) <= EXACT


def groups_of(case: Small, model: Any, grid: tuple[int, int]) -> list[list[int]]:
    """Return which patches, in the tower's order, each connector token joins."""
    rows, columns = grid
    if "internvl" in case.model:
        numbers = torch.arange(rows * columns).view(1, rows, columns, 1)
        joined: list[list[int]] = (
            model.base_model.pixel_shuffle(numbers, 0.5)[0].flatten(0, 1).tolist()
        )
        for patches in joined:
            first = min(patches)
            assert sorted(patches) == [first, first + 1, first + columns, first + columns + 1]
        return joined
    tokens = [(row, column) for row in range(rows // 2) for column in range(columns // 2)]
    if "qwen" not in case.model:  # patches row by row
        return [
            [
                (2 * row + down) * columns + 2 * column + right
                for down in range(2)
                for right in range(2)
            ]
            for row, column in tokens
        ]
    order = tokens
    if "2.5" in case.model:  # windows of 4×4 tokens, one behind the other
        order = sorted(tokens, key=lambda at: (at[0] // 4, at[1] // 4, *at))
    return [[4 * order.index(token) + patch for patch in range(4)] for token in tokens]


def ranking_of(case: Small, model: Any, request: Any) -> list[tuple[Any, Any]]:
    """Return per crop of the batch what its patches receive, and their keys: [n] and [n, d_h]."""
    seen: list[tuple[Any, Any]] = []
    pixels = request.pixels.inputs
    if "qwen" not in case.model:
        base, class_token = model.base_model, "internvl" in case.model
        if class_token:
            attention = base.vision_tower.encoder.layer[-1].attention
        else:
            tower = base.vision_model if "idefics" in case.model else vision_of(model)
            attention = tower.encoder.layers[-1].self_attn
        keys: list[Any] = []
        hooks = [
            attention.k_proj.register_forward_hook(lambda _, args, out: keys.append(out)),
            attention.register_forward_hook(lambda _, args, out: keys.append(out[1])),
        ]
        model.base_model.get_image_features(**pixels)
        found, weights = keys
        found = found.unflatten(-1, (2, -1)).mean(dim=2)
        received = weights.double().mean(dim=(1, 2))
        if class_token:
            found, received = found[:, 1:], weights[:, :, 0, 1:].mean(dim=1).double()
        seen = list(zip(received, found, strict=True))
    else:
        attention = model.base_model.visual.blocks[-1].attn
        family = sys.modules[type(attention).__module__]

        def look(module: Any, args: Any, kwargs: Any, out: Any) -> None:
            states = kwargs.get("hidden_states", args[0] if args else None)
            query, key, _ = module.qkv(states).view(len(states), 3, 2, -1).unbind(1)
            rotate = family.apply_rotary_pos_emb_vision
            query, key = rotate(query, key, *kwargs["position_embeddings"])
            ends = [0, *torch.tensor(sizes).cumsum(0).tolist()]
            for start, end in pairwise(ends):
                one, other = query[start:end].transpose(0, 1), key[start:end].transpose(0, 1)
                full = (one @ other.mT / other.shape[-1] ** 0.5).softmax(-1)
                seen.append((full.mean(dim=(0, 1)), other.mean(dim=0)))

        sizes = [rows * columns for ((rows, columns),) in case.crops] * 2
        hooks = [attention.register_forward_hook(look, with_kwargs=True)]
        model.base_model.get_image_features(**pixels)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("case", JOINING, ids=str)
def test_visionzip_behind_the_connector(case: Small) -> None:
    driver, model, request = both(case)
    grids = [grid for image in case.crops for grid in image]
    reduction = Reduction(
        compressed=(7 * len(grids), "after-connector"),
        entering=7 * len(grids),
        selection="visionzip",
    )
    prefilled = driver.prefill(request, reduction)
    none = torch.zeros(2, 0, dtype=torch.int64)
    reference = Reference(model, driver.model_inputs(request), none, driver.adapter.specials())
    with torch.no_grad():
        rankings = ranking_of(case, model, request)
    made, ids = prefilled.entered.states_of(VISUAL), []
    at = prefilled.entered.places(VISUAL)
    for sequence in range(2):
        places = torch.where(reference.visual[sequence])[0]
        done, zipped, sources = 0, [], []
        beside: list[list[Any]] = [[] for _ in reference.added]
        for crop, grid in enumerate(grids):
            scores, keys = rankings[sequence * len(grids) + crop]
            groups = groups_of(case, model, grid)
            own_places = places[done : done + len(groups)]
            done += len(groups)
            matrix = zipping_matrix(
                [float(scores[group].mean()) for group in groups],
                [keys[group].mean(dim=0).tolist() for group in groups],
                7,
                False,
            )
            zipped.append(matrix @ reference.states[sequence, own_places])
            # What is added behind the first layers is merged alongside.
            for layer, features in enumerate(reference.added):
                beside[layer].append(matrix @ features[sequence, own_places])
            # Both dominant tokens and targets have a weight of 1 of their own, first in its row.
            dominant = [int((row == 1).nonzero()[0]) for row in matrix[:6]]
            sources.append(own_places[dominant])
        assert done == len(places)
        assert relative_error(made[sequence], torch.cat(zipped)) <= EXACT
        for layer, rows in enumerate(beside):
            added = prefilled.entered.added[layer, sequence, at[sequence]]
            assert relative_error(added, torch.cat(rows)) <= EXACT
        ids.append(torch.cat(sources))
    if reference.axes:  # dominant tokens keep their place in the image
        first = at.view(2, len(grids), 7)[..., :6].flatten(1)
        dominant_ids = prefilled.entered.positions.gather(-1, first.expand(3, -1, -1))
        expected = reference.ids.gather(-1, torch.stack(ids).expand(3, -1, -1))
        assert torch.equal(dominant_ids, expected)
    else:
        assert torch.equal(
            prefilled.entered.positions,
            torch.arange(prefilled.entered.length).expand(2, -1),
        )
