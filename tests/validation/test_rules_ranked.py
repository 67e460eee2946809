"""Described rules inside the LLM: what they keep, against full maps of the model's own layers."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import pytest
from loops import best, cosine
from masked_reference import Reference, rated
from shallow_models import shallow
from slow_ranked import slow_coast, slow_diverse, slow_merge, slow_pact
from small_models import ONE_IMAGE, SEVERAL_IMAGES, Small, driven, own, request_of
from vlm_tokencost.costmodel import InvalidInput, Workload, evaluate
from vlm_tokencost.presets import load_method
from vlm_tokencost.validation.compare import Setting, compare
from vlm_tokencost.validation.layers import Prefilled
from vlm_tokencost.validation.reducers.learnpruner import random_scorer, scores
from vlm_tokencost.validation.reduction import Reduction

torch = pytest.importorskip("torch")

LLAVA, NEXT, ONEVISION, INTERNVL, QWEN, _ = ONE_IMAGE
CASES = [LLAVA, NEXT, QWEN]
LAYERS = 6
each_case = pytest.mark.parametrize("case", CASES, ids=str)


class Run(NamedTuple):
    """A run of the driver and what the same model does at full length."""

    prefilled: Prefilled
    reference: Reference
    visual: list[list[int]]


def run(case: Small, rule: str, *steps: tuple[int, int], compressed: int | None = None) -> Run:
    """Keep, from each (first layer, percent) on, so many percent of what enters, by a rule."""
    driver = driven(case.model, "eager", "float64")
    request = request_of(driver, case, batch=2)
    none = torch.zeros(2, 0, dtype=torch.int64)
    model = own(case.model, "eager", "float64")
    reference = Reference(model, driver.model_inputs(request), none, driver.adapter.specials())
    visual = [torch.where(row)[0].tolist() for row in reference.visual]
    entering = compressed or len(visual[0])
    amounts = [entering] * LAYERS
    for first, percent in steps:
        amounts[first:] = [entering * percent // 100] * (LAYERS - first)
    reduction = Reduction(
        visual=tuple(amounts),
        compressed=None if compressed is None else (compressed, "after-connector"),
        entering=compressed,
        selection=rule,
        described=True,
    )
    return Run(driver.prefill(request, reduction), reference, visual)


def kept_visual(made: Run, layer: int, sequence: int) -> list[int]:
    origin = made.prefilled.stages[layer].origin[sequence].tolist()
    return [place for place in origin if place in made.visual[sequence]]


def of(tokens: list[int], places: list[int]) -> list[int]:
    return [tokens[place] for place in places]


def angles(reference: Reference, sequence: int, base: float) -> Any:
    """Return the rotary angle of each token and pair of channels, [n, d_h / 2].

    Pair i turns by position · base^(−2i/d_h); with three axes, pairs 0–1, 2–3, 4–5 of the 6 turn by
    the places in time, row and column.
    """
    frequency = base ** (-torch.arange(6, dtype=torch.float64) / 6)
    if not reference.axes:
        return reference.ids[sequence][:, None] * frequency
    axis = [0, 0, 1, 1, 2, 2]
    return reference.ids[axis, sequence].T * frequency


def base_of(model: Any) -> float:
    return float(model.config.text_config.rope_parameters["rope_theta"])


def raters_of(reference: Reference, sequence: int) -> list[int]:
    """Return the text tokens behind the images whose relevance exceeds the mean of all text."""
    visual = torch.where(reference.visual[sequence])[0]
    text = torch.where(reference.text[sequence])[0].tolist()
    states = reference.states[sequence]
    relevance = (states[visual] @ states[text].T).softmax(dim=1).mean(dim=0)
    above = (relevance > relevance.mean()).tolist()
    return [at for at, rates in zip(text, above, strict=True) if rates and at > visual[-1]]


@each_case
def test_sparsevlm_1_keeps_what_raters_see_and_recycles(case: Small) -> None:
    made = run(case, "text raters, rank and clusters", (2, 60))
    weights = made.reference.run({}, renumbers=True).maps[1]
    for sequence, visual in enumerate(made.visual):
        scores = rated(made.reference, weights, sequence)
        kept = kept_visual(made, 2, sequence)
        expected = of(visual, best([scores[place] for place in visual], len(kept)))
        assert kept == expected
        dropped = len(visual) - len(kept)
        merged = (3 * dropped // 10 + 1) // 10 + 1
        assert len(kept) + merged == made.prefilled.stages[2].visual == len(visual) * 60 // 100


@each_case
def test_sparsevlm_2_divides_by_what_distance_does(case: Small) -> None:
    """Attention in layers 1 and 3 counts over 2·Σ cos(difference of angles)/√d_h."""
    made = run(case, "text raters in fourteen heads", (2, 60), (4, 30))
    base = base_of(own(case.model, "eager", "float64"))
    done: dict[int, Any] = {}
    for layer in (2, 4):
        weights = made.reference.run(done, renumbers=False).maps[layer - 1]
        for sequence in range(2):
            left = kept_visual(made, 2, sequence) if done else made.visual[sequence]
            turned = angles(made.reference, sequence, base)
            raters = raters_of(made.reference, sequence)
            scores = []
            for token in left:
                values = [
                    weights[sequence, :, rater, token].mean().item()
                    / (2 * (turned[rater] - turned[token]).cos().sum().item() / math.sqrt(12))
                    for rater in raters
                ]
                scores.append(sum(values))
            kept = kept_visual(made, layer, sequence)
            assert kept == of(left, best(scores, len(kept)))
            assert 0 < len(kept) < len(left)
        done[layer] = made.prefilled.stages[layer].origin


@each_case
def test_pact_clusters_by_the_coming_layers_keys(case: Small) -> None:
    made = run(case, "EUTI and DBDPC", (4, 30))
    model = own(case.model, "eager", "float64")
    layer = made.reference.decoder.layers[4]
    entering = made.reference.run({}, renumbers=False).entering[4]
    with torch.no_grad():
        normed = layer.input_layernorm(entering)
        queries, keys = layer.self_attn.q_proj(normed), layer.self_attn.k_proj(normed)
    stage = made.prefilled.stages[4]
    for sequence, visual in enumerate(made.visual):
        query = queries[sequence, visual].view(-1, 4, 12).mean(dim=0)  # 4 heads of 12, 2 of keys
        key = keys[sequence, visual].view(-1, 2, 12)
        logits = torch.stack([key[:, head // 2] @ query[head] for head in range(4)]) / math.sqrt(12)
        states = entering[sequence, visual]
        scores = logits.softmax(dim=1).mean(dim=0) * states.norm(dim=1)
        angle = angles(made.reference, sequence, base_of(model))[visual][:, None]
        first, second = key[..., :6], key[..., 6:]
        turned = torch.cat(
            [
                first * angle.cos() - second * angle.sin(),
                second * angle.cos() + first * angle.sin(),
            ],
            dim=-1,
        ).flatten(1)
        chosen, means, _ = slow_pact(
            states.tolist(), scores.tolist(), turned.tolist(), stage.visual, 0.21
        )
        assert kept_visual(made, 4, sequence) == of(visual, chosen)
        mask = torch.isin(stage.origin[sequence], torch.tensor(visual))
        expected = torch.tensor(means, dtype=torch.float64)
        torch.testing.assert_close(stage.states[sequence][mask], expected, rtol=1e-9, atol=1e-9)


@each_case
def test_coast_reads_the_text_rows_of_the_layer_before(case: Small) -> None:
    made = run(case, "COAST", (2, 45))
    traced = made.reference.run({}, renumbers=False)
    weights = traced.maps[1]
    assert weights is not None
    for sequence, visual in enumerate(made.visual):
        rows = weights[sequence].mean(dim=0)[made.reference.text[sequence]][:, visual]
        states = traced.entering[2][sequence, visual]
        kept = kept_visual(made, 2, sequence)
        expected = slow_coast(
            states.tolist(), rows.amax(dim=0).tolist(), rows[-1].tolist(), len(kept)
        )
        assert kept == of(visual, expected)


@each_case
def test_aim_walks_along_the_layer_before(case: Small) -> None:
    made = run(case, "bipartite merging and PageRank", (1, 75), (3, 50), (5, 25))
    done: dict[int, Any] = {}
    left = list(made.visual)
    for layer in (1, 3, 5):
        weights = made.reference.run(done, renumbers=False).maps[layer - 1]
        assert weights is not None
        for sequence in range(2):
            shown = [
                place
                for place in range(made.reference.length)
                if place in left[sequence] or not made.reference.visual[sequence, place]
            ]
            ranks = []
            for head in weights[sequence]:
                walk = (head[shown][:, shown].log() * 10).softmax(dim=1)
                ranks.append(torch.linalg.matrix_power(walk, 5).mean(dim=0))
            scores = torch.stack(ranks).square().mean(dim=0).sqrt().tolist()
            there = [scores[shown.index(place)] for place in left[sequence]]
            kept = kept_visual(made, layer, sequence)
            assert kept == of(left[sequence], best(there, len(kept)))
            assert 0 < len(kept) < len(left[sequence])
            left[sequence] = kept
        done[layer] = made.prefilled.stages[layer].origin


@pytest.mark.parametrize(
    ("case", "left"), [(LLAVA, 4), (LLAVA, 7), (NEXT, 25), (INTERNVL, 5), (QWEN, 3)], ids=str
)
def test_aim_merges_inside_frames(case: Small, left: int) -> None:
    """What is left over at the end of an image, LLaVA-NeXT's newlines, is kept first to last."""
    made = run(case, "bipartite merging and PageRank", compressed=left)
    frames = sum(map(len, case.crops))
    length, each = len(made.visual[0]) // frames, left // frames
    entered = made.prefilled.entered
    for sequence, visual in enumerate(made.visual):
        rows = made.reference.states[sequence, visual].tolist()
        expected = []
        for frame in range(frames):
            inside = rows[frame * length : (frame + 1) * length]
            expected += slow_merge(inside, each, len(rows[0]))[1]
        whole = frames * length
        expected += rows[whole : whole + left - each * frames]
        states = entered.states[sequence][entered.kinds[sequence] == 2]
        torch.testing.assert_close(
            states, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9
        )
    assert cosine(expected[0], rows[0]) < 1


@pytest.mark.parametrize("case", [LLAVA, NEXT], ids=str)
def test_learnpruner_scores_patches_and_reads_the_text_rows(case: Small) -> None:
    made = run(case, "LearnPruner", (3, 40), compressed=12)
    driver = driven(case.model, "eager", "float64")
    request = request_of(driver, case, batch=2)
    crops = sum(map(len, case.crops))
    with torch.no_grad():
        states = driver.adapter.tower_states(request.pixels)[:, 1:]  # without class token
        tokens = driver.adapter.connect(states).reshape(2, crops * 16, -1)
    features = states.reshape(2, crops * 16, -1)
    ranked = scores(features, random_scorer(features))
    entered, stage = made.prefilled.entered, made.prefilled.stages[3]
    # The others never existed: the sequence that entered is the reference's own here.
    reference = made.reference
    for sequence in range(2):
        kept = slow_diverse(features[sequence].tolist(), ranked[sequence].tolist(), 12)
        visual = torch.where(entered.kinds[sequence] == 2)[0]
        torch.testing.assert_close(entered.states[sequence, visual], tokens[sequence, kept])
    reference.states, reference.length = entered.states, entered.length
    reference.ids = entered.positions
    reference.blocks = torch.full(entered.states.shape[:2], -1)
    weights = reference.run({}, renumbers=False).maps[2]
    assert weights is not None
    for sequence in range(2):
        visual = torch.where(entered.kinds[sequence] == 2)[0].tolist()
        seen = weights[sequence][:, entered.kinds[sequence] == 0].mean(dim=(0, 1))
        expected = of(visual, best(seen[visual].tolist(), 4))  # ⌊12 · 0.4⌋
        left = [place for place in stage.origin[sequence].tolist() if place in visual]
        assert left == expected


def test_learnpruner_needs_patches_one_by_one() -> None:
    with pytest.raises(InvalidInput, match="nothing can score patches in front of the connector"):
        run(QWEN, "LearnPruner", compressed=4)


def test_learnpruner_chooses_in_one_image() -> None:
    with pytest.raises(InvalidInput, match=r"images 2 .* give 1 image"):
        run(SEVERAL_IMAGES[0], "LearnPruner", compressed=12)


def test_aim_shares_alike() -> None:
    with pytest.raises(InvalidInput, match=r"14 cannot be shared equally among 4 crops"):
        run(SEVERAL_IMAGES[3], "bipartite merging and PageRank", compressed=14)


def test_pact_needs_queries_that_can_be_averaged() -> None:
    case = Small("qwen3-vl-8b", ((96, 192),), (((6, 12),),))
    with pytest.raises(InvalidInput, match=r"averages queries, each of which qwen3_vl divides by"):
        run(case, "EUTI and DBDPC", (4, 30))


#: Layers that a model needs for a method's last stage.
DEPTHS = {
    "sparsevlm-v1": 12,
    "sparsevlm-v2": 12,
    "pact": 6,
    "coast": 4,
    "aim": 16,
    "learnpruner": 6,
}
Counter = Literal["torch", "fvcore", "profiler"]


@pytest.mark.parametrize(
    ("counter", "model_id"),
    [("torch", "internvl3-8b"), ("fvcore", "qwen2-vl-7b"), ("profiler", "qwen2-vl-7b")],
)
@pytest.mark.parametrize("method", [name for name in DEPTHS if name != "learnpruner"])
def test_counters_see_what_is_priced(method: str, counter: Counter, model_id: str) -> None:
    rows = selection_rows(method, counter, model_id)
    assert {row.difference for row in rows} == {0}
    assert [row.unseen for row in rows] == [()]
    assert rows[0].counted


@pytest.mark.parametrize("counter", ["torch", "fvcore", "profiler"])
def test_counters_see_what_learnpruner_takes(counter: Counter) -> None:
    rows = selection_rows("learnpruner", counter, "llava-1.5-7b")
    assert [(row.difference, row.unseen) for row in rows] == [(0, ())]


def selection_rows(method: str, counter: Counter, model_id: str) -> list[Any]:
    model = shallow(model_id, num_hidden_layers=DEPTHS[method])
    workload = Workload(images=((168, 168),), text_tokens=9)  # 6×6 visual tokens of Qwen-VL
    report = evaluate(model, workload, load_method(method).schedule(model, workload, None))
    device = "meta" if counter == "torch" else "cpu"
    results = compare(report, Setting(counter, "reduced", device), sides=("scheduled",))
    found = [row for result in results for row in result.rows]
    assert {row.difference for row in found if row.counted is not None} == {0}
    assert not any(row.unrun for row in found)
    return [row for row in found if row.component == "selection"]
