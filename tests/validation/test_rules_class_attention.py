"""Rules that rank by the encoder's attention: what enters the LLM, and what choosing it costs.

The expected tokens are picked by loops from attention maps and features of the model's own encoder,
which runs by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from crop_loops import (
    hawk_scores,
    merged_into_nearest,
    slow_hired,
    slow_holov,
    slow_prumerge,
    slow_vispruner,
    slow_vscan,
)
from loops import best
from masked_reference import Reference
from small_models import (
    CROSSED,
    FURTHER,
    ONE_IMAGE,
    SEVERAL_IMAGES,
    Small,
    driven,
    own,
    request_of,
)
from vlm_tokencost.costmodel import InvalidInput, Workload, evaluate
from vlm_tokencost.presets import load_method, load_model
from vlm_tokencost.validation.compare import Setting, compare
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.rules.class_attention import RULES
from vlm_tokencost.validation.sequence import TEXT, VISUAL

torch = pytest.importorskip("torch")

LLAVA, NEXT = ONE_IMAGE[0], ONE_IMAGE[1]  # one crop of 4×4 patches, and five
TWO, INTERNVL, QWEN = SEVERAL_IMAGES[0], ONE_IMAGE[3], ONE_IMAGE[5]
IDEFICS, UNEQUAL = FURTHER[2], SEVERAL_IMAGES[5]  # 7 crops; 6×12 and 10×6 patches
BATCH = 2
#: Models other than LLaVA-1.5: five crops that share, and tokens with features beside them.
ELSEWHERE = {
    "HiRED": "llava-next-vicuna-7b",
    "LLaVA-PruMerge": "llava-next-vicuna-7b",
    "global and local scan, then a query row": "qwen3-vl-8b",
}
METHODS = {
    "random": "random",
    "FasterVLM": "fastervlm",
    "VisPruner": "vispruner",
    "global and local scan, then a query row": "vscan",
    "LLaVA-PruMerge": "llava-prumerge",
    "LLaVA-PruMerge+": "llava-prumerge-plus",
    "HiRED": "hired",
    "HoloV": "holov",
    "HAWK": "hawk",
}


class Crop(NamedTuple):
    """What an encoder says about the patches of one crop."""

    features: list[list[float]]
    projected: list[list[float]]
    deep: list[float]
    shallow: list[float]
    first: list[float]
    outlying: list[float]
    keys: list[list[float]]


def crops_of(case: Small) -> list[list[Crop]]:
    """Run a LLaVA's encoder and projector on the same pixels: request by request, its crops."""
    driver = driven(case.model, "eager", "float64")
    model = own(case.model, "eager", "float64")
    pixels = driver.model_inputs(request_of(driver, case, BATCH))["pixel_values"].flatten(0, -4)
    last = []
    tower = model.base_model.vision_tower
    layers = getattr(tower, "vision_model", tower).encoder.layers
    hook = layers[3].layer_norm1.register_forward_hook(lambda module, args, out: last.append(out))
    with torch.no_grad():
        out = tower(pixels, output_hidden_states=True, output_attentions=True)
        features = out.hidden_states[-2][:, 1:]
        projected = model.base_model.multi_modal_projector(features)
        query, key = (getattr(layers[3].self_attn, name)(last[0]) for name in ("q_proj", "k_proj"))
    hook.remove()
    # One head of all 32 features; the last of five layers is not used.
    outlying = (query[:, :1] @ key.mT / 32**0.5).softmax(dim=2)[:, 0, 1:]
    rows = [weights[:, :, 0, 1:].sum(dim=1) for weights in out.attentions]
    each = zip(
        *(
            values.tolist()
            for values in (features, projected, rows[3], rows[1], rows[0], outlying, key[:, 1:])
        ),
        strict=True,
    )
    crops = [Crop(*crop) for crop in each]
    share = len(crops) // BATCH
    return [crops[start : start + share] for start in range(0, len(crops), share)]


def projected_of(case: Small, features: list[list[float]]) -> list[list[float]]:
    model = own(case.model, "eager", "float64")
    with torch.no_grad():
        rows = torch.tensor(features, dtype=torch.float64)
        made: list[list[float]] = model.base_model.multi_modal_projector(rows).tolist()
    return made


def taken(crop: Crop, kept: list[int]) -> list[list[float]]:
    return [crop.projected[token] for token in kept]


def fastervlm(case: Small, crops: list[Crop], share: int) -> list[list[float]]:
    return [row for crop in crops for row in taken(crop, best(crop.deep, share))]


def vispruner(case: Small, crops: list[Crop], share: int) -> list[list[float]]:
    return [
        row
        for crop in crops
        for row in taken(crop, slow_vispruner(crop.features, crop.deep, share, share // 2))
    ]


def vscan(case: Small, crops: list[Crop], share: int) -> list[list[float]]:
    return [
        row
        for crop in crops
        for row in merged_into_nearest(
            crop.projected, slow_vscan(crop.deep, crop.shallow, 4, 4, share)
        )
    ]


def prumerge(case: Small, crops: list[Crop], share: int) -> list[list[float]]:
    merged = []
    for crop in crops:
        ranked = sorted(range(16), key=lambda token: -crop.outlying[token])[: share - 1]
        merged += slow_prumerge(crop.features, crop.outlying, crop.keys, ranked)
    return projected_of(case, merged)


def prumerge_plus(case: Small, crops: list[Crop], share: int) -> list[list[float]]:
    merged = []
    for crop in crops:
        ranked = sorted(range(16), key=lambda token: -crop.outlying[token])
        count = share - 1
        outliers = ranked[: count // 4]
        rest = [token for token in range(16) if token not in outliers]
        samples = count - count // 4
        grid = [rest[index * len(rest) // samples] for index in range(samples)]
        merged += slow_prumerge(crop.features, crop.outlying, crop.keys, outliers + grid)
    return projected_of(case, merged)


def hired(case: Small, crops: list[Crop], share: int) -> list[list[float]]:
    late = [crop.deep for crop in crops]
    kept = slow_hired(crops[0].first, late, 0, share * len(crops))
    features = [row for crop in crops for row in crop.features]
    return projected_of(case, [features[token] for token in kept])


def holov(case: Small, crops: list[Crop], share: int) -> list[list[float]]:
    # The whole image, then 2×2 crops of 4×4 tokens put together: 8 rows of 8.
    order = [(0, token) for token in range(16)] + [
        (1 + row // 4 * 2 + column // 4, row % 4 * 4 + column % 4)
        for row in range(8)
        for column in range(8)
    ]
    tokens = [crops[crop].projected[token] for crop, token in order]
    attention = [crops[crop].deep[token] / 2 for crop, token in order]  # mean of two heads
    kept = slow_holov(tokens, attention, share * len(crops))
    empty = [[0.0] * len(tokens[0])] * (share * len(crops) - len(kept))
    return [tokens[place] for place in kept] + empty


Slow = Callable[[Small, list[Crop], int], list[list[float]]]
#: Rule, the case, tokens of each crop, where, and the loops.
ENCODER: list[tuple[str, Small, int, str, Slow]] = [
    ("FasterVLM", LLAVA, 5, "after-connector", fastervlm),
    ("FasterVLM", NEXT, 1, "after-connector", fastervlm),
    ("FasterVLM", TWO, 16, "after-connector", fastervlm),
    ("VisPruner", LLAVA, 13, "after-connector", vispruner),
    ("VisPruner", NEXT, 12, "after-connector", vispruner),
    ("VisPruner", TWO, 12, "after-connector", vispruner),
    ("global and local scan, then a query row", LLAVA, 6, "after-connector", vscan),
    ("global and local scan, then a query row", NEXT, 15, "after-connector", vscan),
    ("LLaVA-PruMerge", LLAVA, 4, "before-connector", prumerge),
    ("LLaVA-PruMerge", NEXT, 6, "before-connector", prumerge),
    ("LLaVA-PruMerge", TWO, 2, "before-connector", prumerge),
    ("LLaVA-PruMerge+", LLAVA, 9, "before-connector", prumerge_plus),
    ("LLaVA-PruMerge+", NEXT, 6, "before-connector", prumerge_plus),
    ("HiRED", LLAVA, 5, "before-connector", hired),
    ("HiRED", NEXT, 3, "before-connector", hired),
    ("HiRED", NEXT, 9, "before-connector", hired),
    ("HoloV", NEXT, 6, "after-connector", holov),
    ("HoloV", NEXT, 12, "after-connector", holov),
]


@pytest.mark.parametrize(
    ("rule", "case", "share", "place", "slow"),
    [pytest.param(*one, id=f"{one[0]}-{one[1]}-{one[2]}") for one in ENCODER],
)
def test_what_enters_the_llm(rule: str, case: Small, share: int, place: Any, slow: Slow) -> None:
    driver = driven(case.model, "eager", "float64")
    crops = crops_of(case)
    count, extra = share * len(crops[0]), len(crops[0]) * rule.startswith("LLaVA-PruMerge")
    reduction = Reduction(
        compressed=(count, place), entering=count, selection=rule, described=True, extra=extra
    )
    entered = driver.prefill(request_of(driver, case, BATCH), reduction).entered
    rows = [slow(case, crops[one], share) for one in range(BATCH)]
    expected = torch.tensor(rows, dtype=torch.float64)
    # float64 in another order; the least difference between two patches here is above 1e-3
    torch.testing.assert_close(entered.states_of(VISUAL), expected, rtol=1e-9, atol=1e-9)


def test_crops_share_outliers_as_equally_as_they_can() -> None:
    driver = driven(NEXT.model, "eager", "float64")
    # 12 of 5 crops with a token of the rest each: 2, 2, 1, 1, 1 outliers
    reduction = Reduction(
        compressed=(12, "before-connector"),
        entering=12,
        selection="LLaVA-PruMerge",
        described=True,
        extra=5,
    )
    entered = driver.prefill(request_of(driver, NEXT, BATCH), reduction).entered
    for one, crops in enumerate(crops_of(NEXT)):
        expected = []
        for crop, count in zip(crops, (2, 2, 1, 1, 1), strict=True):
            ranked = sorted(range(16), key=lambda token: -crop.outlying[token])[:count]
            expected += slow_prumerge(crop.features, crop.outlying, crop.keys, ranked)
        torch.testing.assert_close(
            entered.states_of(VISUAL)[one],
            torch.tensor(projected_of(NEXT, expected), dtype=torch.float64),
            rtol=1e-9,
            atol=1e-9,
        )


@pytest.mark.parametrize(("rule", "count"), [("FasterVLM", 3), ("HiRED", 5)])
def test_scores_behind_a_merger(rule: str, count: int) -> None:
    """A token of InternVL has 2×2 patches, whose mean attention ranks it."""
    driver = driven(INTERNVL.model, "eager", "float64")
    request = request_of(driver, INTERNVL, BATCH)
    model, maps = own(INTERNVL.model, "eager", "float64"), []
    block = model.base_model.vision_tower.encoder.layer[-1]
    hook = block.attention.register_forward_hook(lambda module, args, out: maps.append(out[1]))
    none = torch.zeros(BATCH, 0, dtype=torch.int64)
    reference = Reference(model, driver.model_inputs(request), none, driver.adapter.specials())
    hook.remove()
    reduction = Reduction(
        compressed=(count, "after-connector"), entering=count, selection=rule, described=True
    )
    entered = driver.prefill(request, reduction).entered
    for one in range(BATCH):
        row = maps[0][one, :, 0, 1:].sum(dim=0).tolist()
        scores = [
            sum(row[(2 * down + i) * 8 + 2 * across + j] for i in range(2) for j in range(2)) / 4
            for down in range(4)
            for across in range(4)
        ]
        tokens = reference.states[one][torch.where(reference.visual[one])[0]]
        kept = tokens[best(scores, count)]
        torch.testing.assert_close(entered.states_of(VISUAL)[one], kept, rtol=1e-9, atol=1e-9)


def test_random_tokens_are_the_drawn_ones() -> None:
    driver = driven(QWEN.model, "eager", "float64")
    request = request_of(driver, QWEN, BATCH)
    reduction = Reduction(
        compressed=(4, "after-connector"), entering=4, selection="random", described=True
    )
    dense = driver.prefill(request).entered.states_of(VISUAL)
    kept = [driver.prefill(request, reduction).entered.states_of(VISUAL) for _ in range(2)]
    assert torch.equal(*kept)
    drawn = torch.rand(BATCH, 18, generator=torch.Generator().manual_seed(0)).tolist()
    for one in range(BATCH):
        assert torch.equal(kept[0][one], dense[one, best(drawn[one], 4)])
    assert best(drawn[0], 4) != best(drawn[1], 4), "each request draws its own"


@pytest.mark.parametrize("case", [LLAVA, NEXT, INTERNVL, QWEN], ids=str)
def test_hawk_asks_layer_0(case: Small) -> None:
    driver = driven(case.model, "eager", "float64")
    request = request_of(driver, case, BATCH)
    dense = driver.prefill(request).entered
    layer = own(case.model, "eager", "float64").base_model.language_model.layers[0]
    with torch.no_grad():
        normed = layer.input_layernorm(dense.states)
        query = layer.self_attn.q_proj(normed).unflatten(2, (4, 12)).transpose(1, 2)
        key = layer.self_attn.k_proj(normed).unflatten(2, (2, 12)).transpose(1, 2)
    reduction = Reduction(
        compressed=(5, "after-connector"), entering=5, selection="HAWK", described=True
    )
    entered = driver.prefill(request, reduction).entered
    for one in range(BATCH):
        visual = torch.where(dense.kinds[one] == VISUAL)[0]
        text = torch.where(dense.kinds[one] == TEXT)[0]
        behind = text[text > visual[-1]]
        assert len(behind) == 10
        scores = hawk_scores(
            query[one][:, behind], key[one][:, visual], list(range(10)), (0.25,) * 4
        )
        assert entered.origin[one][entered.kinds[one] == VISUAL].tolist() == [
            int(visual[token]) for token in best(scores, 5)
        ]


def test_the_row_of_vscan_in_the_llm() -> None:
    """The stage is PyramidDrop's, on what the encoder's scan left."""
    driver = driven(NEXT.model, "eager", "float64")
    request = request_of(driver, NEXT, BATCH)
    kept = {}
    for rule in ("global and local scan, then a query row", "pyramiddrop"):
        reduction = Reduction(visual=(88, 88, 88, 9, 9, 9), selection=rule, described=True)
        kept[rule] = driver.prefill(request, reduction).stages[3].origin
    assert torch.equal(*kept.values())
    assert len(set(map(tuple, kept["pyramiddrop"].tolist()))) == BATCH


@pytest.mark.parametrize("rule", RULES)
def test_choosing_costs_what_it_is_said_to(rule: str) -> None:
    """Every row of the reduced model, on shapes alone."""
    model = load_model(ELSEWHERE.get(rule, "llava-1.5-7b"))
    workload = Workload(batch=2, text_tokens=40)
    report = evaluate(model, workload, load_method(METHODS[rule]).schedule(model, workload))
    (compared,) = compare(report, Setting("torch", "reduced", "meta"), sides=("scheduled",))
    assert [row for row in compared.rows if row.difference != 0] == []
    chosen = sum(row.analytic for row in compared.rows if row.component == "selection")
    assert (chosen > 0) is (rule != "random")


@pytest.mark.parametrize(
    ("rule", "case", "count", "sentence"),
    [
        ("FasterVLM", NEXT, 7, "7 cannot be shared equally among 5 crops; give a multiple of 5"),
        ("HiRED", TWO, 6, "images 2 are too many for a rule that shares a budget"),
        ("HoloV", TWO, 6, "images 2 are too many for a rule that shares a budget"),
        ("HiRED", IDEFICS, 6, "6 cannot be shared unequally among the crops of idefics3"),
        ("VisPruner", UNEQUAL, 6, "images differ in size"),
        ("FasterVLM", CROSSED[0], 8, "all tiles of an image attend to each other"),
        ("HAWK", CROSSED[0], 6, "ranks tokens of the LLM's own sequence"),
        ("HoloV", LLAVA, 6, "visual_tokens 16 make no 16 runs of at least 2"),
        ("LLaVA-PruMerge", LLAVA, 6, "compress.extra 0 does not leave a token of the rest"),
    ],
    ids=str,
)
def test_what_cannot_be_shared(rule: str, case: Small, count: int, sentence: str) -> None:
    driver = driven(case.model, "eager", "float64")
    before = rule in CONNECT_WHAT_IS_LEFT and case in (LLAVA, TWO)
    reduction = Reduction(
        compressed=(count, "before-connector" if before else "after-connector"),
        entering=count,
        selection=rule,
        described=True,
    )
    with pytest.raises(InvalidInput, match=sentence):
        driver.prefill(request_of(driver, case), reduction)


#: Rules that choose before a connector that takes tokens one by one, and nowhere else.
CONNECT_WHAT_IS_LEFT = ("HiRED", "LLaVA-PruMerge", "LLaVA-PruMerge+")


@pytest.mark.parametrize("rule", CONNECT_WHAT_IS_LEFT)
def test_no_place_behind_such_a_connector(rule: str) -> None:
    driver = driven(LLAVA.model, "eager", "float64")
    reduction = Reduction(
        compressed=(6, "after-connector"), entering=6, selection=rule, described=True
    )
    with pytest.raises(InvalidInput, match="chooses before the connector"):
        driver.prefill(request_of(driver, LLAVA), reduction)


def test_every_rule_has_its_method() -> None:
    assert set(METHODS) == set(RULES)
    for name, method in METHODS.items():
        assert load_method(method).selection.name == name
