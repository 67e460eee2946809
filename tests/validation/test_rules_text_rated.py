"""Rules that rate by the question's text: what they keep in a real model, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from loops import best, cosine, dot, first_of_largest
from masked_reference import Reference
from shallow_models import shallow
from small_models import ONE_IMAGE, SEVERAL_IMAGES, Small, driven, own, request_of
from vlm_tokencost.costmodel import InvalidInput, Workload, evaluate
from vlm_tokencost.presets import load_method
from vlm_tokencost.validation.compare import Setting, compare
from vlm_tokencost.validation.reducers import text_tower
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.rules import RULES
from vlm_tokencost.validation.rules.joint_space import VisionTrim

torch = pytest.importorskip("torch")

LLAVA, NEXT, INTERNVL, QWEN2_5 = (ONE_IMAGE[index] for index in (0, 1, 3, 5))
TWO = SEVERAL_IMAGES[0]
TEXT = 20
TRIM, CDPRUNER, MMTOK = "similarity to the question in CLIP", "CDPruner", "MMTok"


@pytest.fixture(scope="module", autouse=True)
def shallow_tower() -> Iterator[None]:
    """Make CLIP's text tower one layer deep."""
    text_tower.tower.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_tower, "_LAYERS", 1)
        yield
    text_tower.tower.cache_clear()


class Looked:
    """A small model's own tensors: the encoder's features, the connector's, and the text's.

    Attributes:
        states: What the connector takes, [crops, patches, d_e] of all requests.
        entered: The sequence that the rule lets enter layer 0.
    """

    def __init__(self, case: Small, rule: str, count: int, at: str, extra: int = 0) -> None:
        """Run the model's own forward pass, and the driver under the rule."""
        driver = driven(case.model, "eager", "float64")
        request = request_of(driver, case, batch=2, text=TEXT)
        self.driver, self.model = driver, own(case.model, "eager", "float64")
        inputs = driver.model_inputs(request)
        seen: list[Any] = []
        connector = driver.adapter.connector
        hook = connector.register_forward_hook(lambda _, args, made: seen.append((args[0], made)))
        with torch.no_grad():
            driver.adapter.features(request.pixels)
        hook.remove()
        ((self.states, self.features),) = seen
        none = torch.zeros(2, 0, dtype=torch.int64)
        self.reference = Reference(self.model, inputs, none, driver.adapter.specials())
        reduction = Reduction(
            compressed=(count, at),  # type: ignore[arg-type]
            entering=count,
            selection=rule,
            described=True,
            extra=extra,
        )
        self.entered = driver.prefill(request, reduction).entered

    def places(self, request: int) -> list[int]:
        """Return which of the visual tokens entered layer 0."""
        visual = torch.where(self.reference.visual[request])[0].tolist()
        return [visual.index(at) for at in self.entered.origin[request].tolist() if at in visual]

    def visual(self, request: int) -> Any:
        """Return the states of the visual tokens that entered layer 0."""
        return self.entered.states_of(2)[request]

    def raw_products(self, patches: int, segments: int, divide: bool) -> list[list[float]]:
        """Return, per request, products of its patches with the question in CLIP's space.

        Sums of the segments' products, or means of their cosines; by loops over patches.
        """
        norm = self.driver.adapter.tower.post_layernorm
        flat = norm(self.states).reshape(2, patches, -1)
        length = text_tower.POSITIONS if not divide else TEXT
        ids = text_tower.questions(2, length, torch.device("cpu"))
        asked = text_tower.pooled(ids, torch.float64)
        assert asked.shape[1] == segments
        matrix = text_tower.patch_projection(flat.shape[-1], "cpu", torch.float64)
        found = []
        for request in range(2):
            projected = (flat[request] @ matrix.T).tolist()
            questions = asked[request].tolist()
            how = cosine if divide else dot
            found.append(
                [math.fsum(how(one, text) for text in questions) / segments for one in projected]
            )
        return found


@pytest.mark.parametrize(("case", "kept"), [(LLAVA, [5]), (NEXT, [12]), (TWO, [4, 5])], ids=str)
def test_trim(case: Small, kept: list[int]) -> None:
    """The patches of the lowest product, image by image, and the mean of all others."""
    looked = Looked(case, TRIM, sum(kept) + 1, "before-connector", extra=1)
    patches = 16 * sum(map(len, case.crops))
    scores = looked.raw_products(patches, 1, divide=False)
    states, ends = looked.states.reshape(2, patches, -1), patches // len(kept)
    for request in range(2):
        chosen: list[int] = []
        for image, count in enumerate(kept):
            own_scores = [-one for one in scores[request][image * ends : (image + 1) * ends]]
            chosen += [image * ends + place for place in best(own_scores, count)]
        rows = states[request]
        others = [place for place in range(patches) if place not in chosen]
        taken = torch.cat([rows[chosen], rows[others].mean(dim=0, keepdim=True)])
        expected = looked.driver.adapter.connect(taken)
        torch.testing.assert_close(looked.visual(request), expected, rtol=1e-9, atol=1e-9)


def by_determinant(features: Any, relevant: list[float], count: int) -> list[int]:
    """Add the token that makes the determinant of weighted cosines largest, again and again."""
    rows = features.tolist()
    kernel = [
        [
            one_r * cosine(one, other) * other_r
            for other, other_r in zip(rows, relevant, strict=True)
        ]
        for one, one_r in zip(rows, relevant, strict=True)
    ]
    table, picks = torch.tensor(kernel, dtype=torch.float64), list[int]()
    while len(picks) < count:
        found = [
            -math.inf if token in picks else _determinant(table, [*picks, token])
            for token in range(len(rows))
        ]
        picks.append(first_of_largest(found))
    return sorted(picks)


def _determinant(table: Any, chosen: list[int]) -> float:
    return float(torch.linalg.det(table[chosen][:, chosen]))


@pytest.mark.parametrize(("case", "count"), [(LLAVA, 4), (NEXT, 15), (TWO, 6)], ids=str)
def test_cdpruner(case: Small, count: int) -> None:
    """In each crop, greedily by determinants of cosines that relevance weighs."""
    looked = Looked(case, CDPRUNER, count, "after-connector")
    crops = sum(map(len, case.crops))
    raw = looked.raw_products(16 * crops, 1, divide=True)
    for request in range(2):
        negated = [-one for one in raw[request]]
        spread = max(negated) - min(negated)
        relevant = [(one - min(negated) + 1e-6) / spread for one in negated]
        expected = []
        for crop in range(crops):
            features = looked.features[request * crops + crop]
            weights = relevant[16 * crop : 16 * crop + 16]
            picks = by_determinant(features, weights, count // crops)
            expected += [features[pick] for pick in picks]
        torch.testing.assert_close(
            looked.visual(request), torch.stack(expected), rtol=1e-9, atol=1e-9
        )
        if case is not NEXT:
            assert len(looked.places(request)) == count


def by_coverage(text: Any, features: Any, states: Any, count: int) -> list[int]:
    """Add the token with which the sum of every row's best share is largest, again and again."""
    rows: list[list[float]] = []
    for others, tokens, heat, weight in (
        (text, features, 0.02, 1 / len(text)),
        (states, states, 0.2, 0.5 / len(states)),
    ):
        for other in others.tolist():
            raised = [math.exp(cosine(other, one) / heat) for one in tokens.tolist()]
            rows.append([weight * one / math.fsum(raised) for one in raised])
    picks: list[int] = []
    while len(picks) < count:
        sums = [
            -1.0
            if token in picks
            else math.fsum(max(row[p] for p in [*picks, token]) for row in rows)
            for token in range(len(rows[0]))
        ]
        picks.append(first_of_largest(sums))
    return sorted(picks)


@pytest.mark.parametrize(
    ("case", "shares"),
    [(LLAVA, [5]), (NEXT, [2, 3, 2, 3, 3]), (TWO, [3, 4]), (INTERNVL, [6]), (QWEN2_5, [7])],
    ids=str,
)
def test_mmtok(case: Small, shares: list[int]) -> None:
    """In each crop, greedily by coverage of the text and of the crop's own tokens."""
    looked = Looked(case, MMTOK, sum(shares), "after-connector")
    crops = len(shares)
    for request in range(2):
        reference = looked.reference
        text = reference.states[request][torch.where(reference.text[request])[0]]
        assert len(text) == TEXT
        expected = []
        for crop, share in enumerate(shares):
            features, states = own_features(looked, case, request * crops + crop)
            picks = by_coverage(text, features, states, share)
            expected += [features[pick] for pick in picks]
        torch.testing.assert_close(
            looked.visual(request), torch.stack(expected), rtol=1e-9, atol=1e-9
        )


def own_features(looked: Looked, case: Small, crop: int) -> tuple[Any, Any]:
    """Return a crop's tokens behind the connector, and the encoder's mean of each one's patches."""
    if case not in (INTERNVL, QWEN2_5):
        return looked.features[crop], looked.states[crop]
    visual = looked.reference.visual[crop]
    features = looked.reference.states[crop][: len(visual)][visual]
    if case is INTERNVL:  # the shuffle puts the four patches of a token side by side
        return features, looked.states[crop].reshape(16, 4, 32).mean(dim=1)
    # 6×12 patches in squares of four; windows shuffle squares, as they do what the merger makes.
    made = looked.features.reshape(2, 18, -1)[crop]
    order = [min(range(18), key=lambda at: float((made[at] - one).abs().max())) for one in features]
    assert sorted(order) == list(range(18)) != order
    return features, looked.states.reshape(2, 18, 4, 32).mean(dim=2)[crop][order]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let VisionTrim know the text of two requests."""

    class Told(VisionTrim):
        text = torch.zeros(2, TEXT, dtype=torch.int64)

    monkeypatch.setitem(RULES, "VisionTrim", Told)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(
    ("case", "kept", "merged"), [(LLAVA, 5, 2), (NEXT, 3, 1), (TWO, 4, 3)], ids=str
)
def test_visiontrim(case: Small, kept: int, merged: int) -> None:
    """In each crop, by attention of the feature layer's block; others merge by the question."""
    crops = sum(map(len, case.crops))
    total, extra = crops * (kept + merged), crops * merged
    looked = Looked(case, "VisionTrim", total, "before-connector", extra)
    own_attention = looked.driver.adapter.ranking_attention
    request = request_of(looked.driver, case, batch=2, text=TEXT)
    weights: list[Any] = []
    hook = own_attention.register_forward_hook(lambda _, args, made: weights.append(made[1]))
    looked.driver.adapter.tower_states(request.pixels)
    hook.remove()
    mean = weights[0].mean(dim=1)
    ids = text_tower.questions(2, TEXT, torch.device("cpu"))
    asked = text_tower.token_by_token(ids, torch.float64)
    for crop in range(2 * crops):
        received = [
            math.fsum(mean[crop, row, at].item() for row in range(1, 17) if row != at)
            for at in range(1, 17)
        ]
        own_row = mean[crop, 0, 1:].tolist()
        lengths = [math.sqrt(math.fsum(one**2 for one in row)) for row in (own_row, received)]
        scores = [
            one / lengths[0] + other / lengths[1]
            for one, other in zip(own_row, received, strict=True)
        ]
        chosen = best(scores, kept)
        rows = looked.states[crop]
        others = rows[[place for place in range(16) if place not in chosen]]
        trimmed = [rows[chosen], by_question(others, asked[crop // crops], merged)]
        expected = looked.driver.adapter.connect(torch.cat(trimmed))
        first = crop % crops * (kept + merged)
        made = looked.visual(crop // crops)[first : first + kept + merged]
        torch.testing.assert_close(made, expected, rtol=1e-9, atol=1e-9)


def by_question(others: Any, asked: Any, count: int) -> Any:
    """Merge into the patches that are most like the question, in three rounds."""
    matrix = text_tower.patch_projection(others.shape[1], "cpu", torch.float64)

    def likeness(rows: Any) -> list[list[float]]:
        projected = (rows @ matrix.T).tolist()
        return [[cosine(one, token) for token in asked.tolist()] for one in projected]

    own_likeness = likeness(others)
    chosen = best([math.fsum(one) for one in own_likeness], count)
    targets, sources = others[chosen], [at for at in range(len(others)) if at not in chosen]
    for _ in range(3):
        of_targets = likeness(targets)
        went = [
            first_of_largest([dot(own_likeness[at], one) for one in of_targets]) for at in sources
        ]
        added = [
            [at for at, where in zip(sources, went, strict=True) if where == target]
            for target in range(count)
        ]
        means = [others[at].mean(dim=0) if at else torch.zeros_like(others[0]) for at in added]
        targets = targets + torch.stack(means)
    return targets


@pytest.mark.usefixtures("told")
def test_visiontrim_costs_what_is_priced(monkeypatch: pytest.MonkeyPatch) -> None:
    check_rows("visiontrim", "llava-next-vicuna-7b", {"text_tokens": TEXT}, monkeypatch)


RUNS = [
    ("trim", "llava-1.5-7b", {}),
    ("trim", "llava-next-vicuna-7b", {}),
    ("cdpruner", "llava-1.5-7b", {"batch": 2, "text_tokens": 100}),
    ("cdpruner", "llava-next-vicuna-7b", {}),
    ("mmtok", "llava-next-vicuna-7b", {"batch": 2}),
    ("mmtok", "qwen2.5-vl-7b", {"images": ((280, 280), (280, 280))}),
    ("mmtok", "internvl2.5-8b", {}),
]


@pytest.mark.parametrize(("method", "model_id", "work"), RUNS)
def test_what_runs_is_what_is_priced(
    method: str, model_id: str, work: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_rows(method, model_id, work, monkeypatch)


def check_rows(
    method: str, model_id: str, work: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, workload = shallow(model_id), Workload(**{"text_tokens": 64, **work})
    monkeypatch.setattr(text_tower, "_LAYERS", 12)  # no other test needs the tower on meta
    report = evaluate(model, workload, load_method(method).schedule(model, workload))
    (result,) = compare(report, Setting("torch", "reduced", "meta"), sides=("scheduled",))
    rows = {row.component: row for row in result.rows if row.phase == "prefill"}
    assert rows["selection"].analytic > 0
    assert [row.difference for row in result.rows] == [0] * len(result.rows)
    assert not any(row.unseen for row in result.rows)


@pytest.mark.parametrize(
    ("case", "rule", "count", "at", "problem"),
    [
        (INTERNVL, TRIM, 6, "after-connector", "its visual tokens are no patches that CLIP"),
        (QWEN2_5, CDPRUNER, 6, "after-connector", "its visual tokens are no patches that CLIP"),
        (NEXT, CDPRUNER, 7, "after-connector", "7 cannot be shared equally by 5 crops"),
        (SEVERAL_IMAGES[5], MMTOK, 6, "after-connector", "images of several sizes"),
    ],
    ids=str,
)
def test_where_a_rule_cannot_work(
    case: Small, rule: str, count: int, at: str, problem: str
) -> None:
    refused(case, rule, count, at, problem, TEXT)


@pytest.mark.parametrize("rule", [CDPRUNER, MMTOK])
def test_no_text(rule: str) -> None:
    refused(LLAVA, rule, 4, "after-connector", "--text-tokens 0 leaves no", 0)


def test_more_means_than_one() -> None:
    driver = driven(LLAVA.model, "eager", "float64")
    reduction = Reduction(
        compressed=(5, "before-connector"), selection=TRIM, described=True, extra=2
    )
    with pytest.raises(InvalidInput, match=r"compress\.extra 2 tokens cannot come of the one mean"):
        driver.prefill(request_of(driver, LLAVA), reduction)


def refused(case: Small, rule: str, count: int, at: Any, problem: str, text: int) -> None:
    driver = driven(case.model, "eager", "float64")
    reduction = Reduction(compressed=(count, at), selection=rule, described=True)
    with pytest.raises(InvalidInput, match=problem):
        driver.prefill(request_of(driver, case, text=text), reduction)
