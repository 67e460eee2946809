"""Rules that choose tokens unlike one another: what they keep in a real model, and their cost.

What they should keep is picked by loops from tensors of the model's own forward pass.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import pytest
from diverse_loops import (
    slow_contributions,
    slow_dart,
    slow_gathered,
    slow_lrcp,
    slow_residuals,
    slow_scope,
    slow_tokencarve,
)
from loops import best
from masked_reference import Reference
from shallow_models import shallow
from small_figures import LAYERS
from small_models import CROP, ONE_IMAGE, SEVERAL_IMAGES, Small, driven, own, request_of
from vlm_tokencost.costmodel import InvalidInput, Workload, evaluate
from vlm_tokencost.presets import load_method
from vlm_tokencost.validation.adapters import Clip
from vlm_tokencost.validation.compare import Setting, compare
from vlm_tokencost.validation.layers import Prefilled
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.rules.diverse import RULES
from vlm_tokencost.validation.sequence import VISUAL

torch = pytest.importorskip("torch")

LLAVA, NEXT, ONEVISION, INTERNVL, QWEN2, QWEN2_5 = ONE_IMAGE
METHODS = {
    "DART": "dart",
    "SCOPE": "scope",
    "G-Prune": "g-prune",
    "LRCP": "lrcp",
    "information-preserving selection": "tokencarve",
}
each_layered = pytest.mark.parametrize(
    "case", [LLAVA, NEXT, INTERNVL, QWEN2_5, SEVERAL_IMAGES[0]], ids=str
)


class Dense(NamedTuple):
    """A model's own pass without reduction, two requests.

    Attributes:
        visual, text: Places of the visual tokens, and of the text behind them.
        entering: States that enter layers 0 and 2, [2, n, d].
        normed: The latter behind the final norm.
        keys: Of layer 1, [2, h_kv, n, d_h].
        last_row: What the last token attends to in layer 1, mean over heads, [2, n].
    """

    visual: list[list[int]]
    text: list[list[int]]
    entering: tuple[Any, Any]
    normed: Any
    keys: Any
    last_row: Any


@cache
def dense(case: Small) -> Dense:
    driver, model = driven(case.model, "eager", "float64"), own(case.model, "eager", "float64")
    inputs = driver.model_inputs(request_of(driver, case, batch=2))
    none = torch.zeros(2, 0, dtype=torch.int64)
    reference = Reference(model, inputs, none, driver.adapter.specials())
    with torch.no_grad():
        out = model(**inputs, use_cache=True, output_hidden_states=True, output_attentions=True)
        states = out.hidden_states
        normed = reference.decoder.norm(states[2])
    visual = [torch.where(row)[0].tolist() for row in reference.visual]
    text = [
        [place for place in torch.where(row)[0].tolist() if place > places[-1]]
        for row, places in zip(reference.text, visual, strict=True)
    ]
    return Dense(
        visual,
        text,
        (reference.states, states[2]),
        normed,
        out.past_key_values.layers[1].keys,
        out.attentions[1].mean(dim=1)[:, -1],
    )


def staged(case: Small, rule: str, count: int) -> Prefilled:
    """Keep `count` visual tokens from layer 2 on."""
    driver = driven(case.model, "eager", "float64")
    visual = len(dense(case).visual[0])
    amounts = (visual,) * 2 + (count,) * (LAYERS - 2)
    reduction = Reduction(visual=amounts, selection=rule, described=True)
    return driver.prefill(request_of(driver, case, batch=2), reduction)


def compressed(case: Small, rule: str, count: int, at: str = "after-connector") -> Prefilled:
    driver = driven(case.model, "eager", "float64")
    reduction = Reduction(compressed=(count, at), selection=rule, described=True)  # type: ignore[arg-type]
    return driver.prefill(request_of(driver, case, batch=2), reduction)


def origins(tokens: Any, sequence: int) -> list[int]:
    """Return where the visual tokens that are left stood."""
    places: list[int] = tokens.origin.gather(1, tokens.places(VISUAL))[sequence].tolist()
    return places


@pytest.mark.parametrize("count", [4, 13])
@each_layered
def test_dart(case: Small, count: int) -> None:
    run, made = dense(case), staged(case, "DART", count)
    lengths = run.keys.abs().sum(dim=(1, 3))
    for sequence in range(2):
        visual, text = run.visual[sequence], run.text[sequence]
        kept = slow_dart(
            run.normed[sequence, visual].tolist(),
            run.normed[sequence, text].tolist(),
            lengths[sequence, visual].tolist(),
            lengths[sequence, text].tolist(),
            count,
        )
        assert origins(made.stages[2], sequence) == [visual[place] for place in kept]


def test_dart_keeps_position_ids() -> None:
    left = staged(LLAVA, "DART", 6).stages[2]
    assert torch.equal(left.positions, left.origin)


@pytest.mark.parametrize("count", [1, 7])
@each_layered
def test_tokencarve(case: Small, count: int) -> None:
    run, made = dense(case), staged(case, "information-preserving selection", count)
    for sequence in range(2):
        visual = run.visual[sequence]
        states = run.entering[1][sequence, visual]
        expected = slow_tokencarve(
            states.tolist(),
            run.last_row[sequence, visual].tolist(),
            slow_contributions(states),
            count,
        )
        left = made.stages[2]
        assert origins(left, sequence) == [visual[place] for place in sorted(expected)]
        rows = left.states_of(VISUAL)[sequence]
        assert rows.tolist() == [
            pytest.approx(expected[place], rel=1e-9, abs=1e-12) for place in sorted(expected)
        ]


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("case", [*ONE_IMAGE, SEVERAL_IMAGES[3]], ids=str)
def test_lrcp(case: Small, count: int) -> None:
    run, made = dense(case), compressed(case, "LRCP", count)
    for sequence in range(2):
        visual = run.visual[sequence]
        states = run.entering[0][sequence, visual]
        expected = slow_lrcp(states.tolist(), slow_residuals(states), count)
        assert origins(made.entered, sequence) == [visual[place] for place in sorted(expected)]
        rows = made.entered.states_of(VISUAL)[sequence]
        assert rows.tolist() == [
            pytest.approx(expected[place], rel=1e-9, abs=1e-12) for place in sorted(expected)
        ]


@pytest.mark.parametrize("case", [LLAVA, NEXT, SEVERAL_IMAGES[0]], ids=str)
def test_scope_before_the_connector(case: Small) -> None:
    """LLaVA's own encoder, in eager attention, gives features and the class token's row."""
    model, crops = own(case.model, "eager", "float64").base_model, sum(map(len, case.crops))
    driver = driven(case.model, "eager", "float64")
    made = compressed(case, "SCOPE", 5 * crops, "before-connector").entered
    pixels = driver.model_inputs(request_of(driver, case, batch=2))["pixel_values"]
    with torch.no_grad():
        out = model.vision_tower(
            pixels.flatten(0, -4), output_hidden_states=True, output_attentions=True
        )
        features = out.hidden_states[-2][:, 1:]
        seen = out.attentions[-2][:, :, 0, 1:].sum(dim=1)
        expected = []
        for crop in range(2 * crops):
            kept = slow_scope(features[crop].tolist(), seen[crop].tolist(), 5)
            expected.append(model.multi_modal_projector(features[crop, kept]))
    wanted = torch.stack(expected).reshape(2, 5 * crops, -1)
    torch.testing.assert_close(made.states_of(VISUAL), wanted, rtol=1e-9, atol=1e-12)
    assert torch.equal(made.positions, torch.arange(made.length).expand(2, -1))


def test_scope_on_images_of_different_sizes() -> None:
    case = SEVERAL_IMAGES[5]
    with pytest.raises(InvalidInput, match="images differ in size"):
        compressed(case, "SCOPE", 6)


@pytest.mark.parametrize("case", [INTERNVL, SEVERAL_IMAGES[3], QWEN2], ids=str)
def test_scope_behind_a_merging_connector(case: Small) -> None:
    """What a token receives is the mean over its patches, which the adapter's ranking makes."""
    from vlm_tokencost.validation.attention import watching
    from vlm_tokencost.validation.reducers.visionzip import class_token_scores, received_scores

    driver, run = driven(case.model, "eager", "float64"), dense(case)
    crops = sum(map(len, case.crops))
    made = compressed(case, "SCOPE", 3 * crops).entered
    request = request_of(driver, case, batch=2)
    with torch.no_grad(), watching(driver.adapter.ranking_attention) as seen:
        features = driver.adapter.features(request.pixels)

    def score(call: Any) -> Any:
        if driver.adapter.has_class_token:
            return class_token_scores(call.query[:, :, :1], call.key, call.scaling)
        return received_scores(call.query, call.key, call.scaling)

    places: list[list[int]] = [[], []]
    done = 0
    rankings = driver.adapter.rankings(request.pixels, features, seen, score)
    for of_image, (states, scores, _) in zip(case.crops, rankings, strict=True):
        for crop in range(len(of_image)):
            for sequence in range(2):
                row = sequence * len(of_image) + crop
                kept = slow_scope(states[row].tolist(), scores[row].tolist(), 3)
                visual = run.visual[sequence]
                places[sequence] += [visual[done + place] for place in kept]
            done += states.shape[1]
    for sequence in range(2):
        states = run.entering[0][sequence, places[sequence]]
        torch.testing.assert_close(made.states_of(VISUAL)[sequence], states)


#: 40×110 pixels: of 4×8 patches in 1×2 tiles, 2×8 are left; ⌊40 · 8/110⌋ = 2 rows of 4.
FLAT = Small("llava-next-mistral-7b", ((40, 110),), ((CROP,) * 3,))


@pytest.mark.parametrize(
    ("case", "rows", "columns", "counts"),
    [
        (LLAVA, 0, 0, (7, 0)),
        (QWEN2_5, 0, 0, (7, 0)),
        (NEXT, 8, 8, (5, 22)),  # ⌊(35 − 8) · 16/80⌋ of the overview
        (FLAT, 2, 8, (9, 10)),  # ⌊(21 − 2) · 16/32⌋
    ],
    ids=str,
)
def test_gprune(case: Small, rows: int, columns: int, counts: tuple[int, int]) -> None:
    run = dense(case)
    total = len(run.visual[0])
    overview = total - rows * (columns + 1)
    places = range(overview, total)
    separators = [place for place in places if (place - overview) % (columns + 1) == columns]
    tiles = [place for place in places if place not in separators]
    assert (len(separators), len(tiles)) == (rows, rows * columns)
    made = compressed(case, "G-Prune", sum(counts) + rows).entered
    for sequence in range(2):
        visual = run.visual[sequence]
        states = run.entering[0][sequence, visual]
        kept = list(separators)
        for graph, count in zip((list(range(overview)), tiles), counts, strict=True):
            picks = best(slow_gathered(states[graph].tolist()), count) if graph else []
            kept += [graph[pick] for pick in picks]
        assert torch.equal(made.states_of(VISUAL)[sequence], states[sorted(kept)])


def test_gprune_finds_the_overview_behind_the_tiles() -> None:
    case = Small("internvl3-8b", ((224, 112),), (((8, 8),) * 3,))
    run, made = dense(case), compressed(case, "G-Prune", 12).entered  # 4 of 16, and 8 of 32
    for sequence in range(2):
        states = run.entering[0][sequence, run.visual[sequence]]
        kept = best(slow_gathered(states[:32].tolist()), 8)
        kept += [32 + place for place in best(slow_gathered(states[32:].tolist()), 4)]
        assert torch.equal(made.states_of(VISUAL)[sequence], states[kept])


@pytest.mark.parametrize(
    ("case", "rule", "count", "sentence"),
    [
        (LLAVA, "G-Prune", 17, "count 17 is impossible with 16 tokens; give 1 to 16"),
        (NEXT, "G-Prune", 8, "count 8 is impossible with 88 tokens; give 9 to 88"),
        (SEVERAL_IMAGES[0], "G-Prune", 8, "images 2 are more than the one .*; give one image"),
        (
            Small("idefics3-8b", ((120, 336),), (((8, 8),) * 7,)),
            "G-Prune",
            20,
            "cannot be run on idefics3: G-Prune needs overview and tiles",
        ),
    ],
)
def test_what_gprune_cannot_run(case: Small, rule: str, count: int, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        compressed(case, rule, count)


def test_gprune_knows_no_overview_of_a_video() -> None:
    driver = driven("internvl3-8b", "eager", "float64")
    clip = Clip(frames=2)
    request = driver.request([(112, 112)], [[(8, 8)] * 2], 20, clip=clip)
    reduction = Reduction(compressed=(8, "after-connector"), selection="G-Prune", described=True)
    with pytest.raises(InvalidInput, match="frames 2 are no tiles of one image"):
        driver.prefill(request, reduction)


def test_dart_needs_text() -> None:
    driver = driven("llava-1.5-7b")
    request = request_of(driver, LLAVA, text=3)
    reduction = Reduction(visual=(16, 16, 8, 8, 8, 8), selection="DART", described=True)
    with pytest.raises(InvalidInput, match="text_tokens 3 leaves DART without its 4 text pivots"):
        driver.prefill(request, reduction)


@pytest.mark.parametrize("model_id", ["llava-1.5-7b", "llava-next-vicuna-7b", "qwen2-vl-7b"])
@pytest.mark.parametrize("rule", RULES)
def test_no_difference_in_the_selection(rule: str, model_id: str) -> None:
    model = shallow(model_id)
    workload = Workload(images=((140, 170),), text_tokens=9, batch=2)
    schedule = load_method(METHODS[rule]).schedule(model, workload, None)
    report = evaluate(model, workload, schedule)
    setting = Setting("torch", "reduced", "cpu")
    (made,) = compare(report, setting, sides=("scheduled",))
    rows = [row for row in made.rows if row.component == "selection"]
    assert [row.difference for row in rows] == [0]
    assert rows[0].analytic > 0
    assert not rows[0].unseen
    assert not [row for row in made.rows if row.difference]
