"""Pooling and projecting rules in real models: what enters the LLM, and its count."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from shallow_models import shallow
from small_models import FURTHER, SEVERAL_IMAGES, Small, driven, own, request_of
from vlm_tokencost.costmodel import InvalidInput, Workload, evaluate
from vlm_tokencost.presets import load_method
from vlm_tokencost.validation.adapters import Clip, Pixels
from vlm_tokencost.validation.compare import Setting, compare
from vlm_tokencost.validation.prompt import Request
from vlm_tokencost.validation.reducers.fusion import Fusion
from vlm_tokencost.validation.reducers.llava_mini import Resampler
from vlm_tokencost.validation.reducers.point_to_region import PointToRegion
from vlm_tokencost.validation.reducers.pooling import PositionInjection
from vlm_tokencost.validation.reducers.tokenpacker import TokenPacker
from vlm_tokencost.validation.reduction import CompressedAt, Reduction
from vlm_tokencost.validation.rules.connectors import RULES
from vlm_tokencost.validation.sequence import TEXT, VISUAL, Tokens

torch = pytest.importorskip("torch")

LLAVA, NEXT, INTERNVL, QWEN = (SEVERAL_IMAGES[at] for at in (0, 1, 3, 5))
ONEVISION, QWEN3 = SEVERAL_IMAGES[2], FURTHER[0]


def entered(case: Small, count: int, at: CompressedAt, rule: str) -> tuple[Tokens, Request]:
    driver = driven(case.model, "eager", "float64")
    request = request_of(driver, case, batch=2)
    reduction = Reduction(compressed=(count, at), entering=count, selection=rule, described=True)
    return driver.prefill(request, reduction).entered, request


def hidden_states(case: Small, pixels: Pixels) -> Any:
    """Return the tower's hidden states, of all crops of all requests."""
    model = own(case.model, "eager", "float64")
    with torch.no_grad():
        output = model.model.vision_tower(pixels.inputs["pixel_values"], output_hidden_states=True)
    return output.hidden_states


def connected_crops(case: Small, pixels: Pixels) -> list[list[Any]]:
    """Return, per request, what the model makes of each crop, a grid [rows, columns, width]."""
    model = own(case.model, "eager", "float64").model
    shapes = [size for crops in pixels.crops for size in crops]
    with torch.no_grad():
        if case.model.startswith("llava"):
            states = hidden_states(case, pixels)[model.config.vision_feature_layer]
            if case is not ONEVISION:
                states = states[:, 1:]
            parts = list(model.multi_modal_projector(states))
        else:
            parts = list(model.get_image_features(**pixels.inputs).pooler_output)
    steps = 1 if case.model.startswith("llava") else 2
    grids = [
        part.reshape(rows // steps, columns // steps, -1)
        for part, (rows, columns) in zip(parts, shapes * pixels.batch, strict=True)
    ]
    return [grids[at * len(shapes) : (at + 1) * len(shapes)] for at in range(pixels.batch)]


def cell_means(grid: Any, side: int) -> Any:
    rows, columns, _ = grid.shape
    return torch.stack(
        [
            grid[
                i * rows // side : -(-(i + 1) * rows // side),
                j * columns // side : -(-(j + 1) * columns // side),
            ].mean(dim=(0, 1))
            for i in range(side)
            for j in range(side)
        ]
    )


@pytest.mark.parametrize("rule", ["M3", "pooling and depthwise convolution"])
@pytest.mark.parametrize("case", [LLAVA, NEXT, ONEVISION, INTERNVL, QWEN], ids=str)
def test_crops_are_pooled(case: Small, rule: str) -> None:
    crops = sum(map(len, case.crops))
    tokens, request = entered(case, 4 * crops, "after-connector", rule)
    found = tokens.states_of(VISUAL)
    with torch.no_grad():
        for one, grids in enumerate(connected_crops(case, request.pixels)):
            pooled = torch.stack([cell_means(grid, 2) for grid in grids])
            if rule != "M3":
                pooled = PositionInjection.of(pooled)(pooled)
            torch.testing.assert_close(found[one], pooled.flatten(0, 1))


def test_pooled_tokens_stand_in_the_middle_of_their_cells() -> None:
    """Of Qwen's 3×6 and 5×3 tokens in 2×2 cells: rows 0–1 and 1–2, columns 0–2 and 3–5; so on."""
    tokens, _ = entered(QWEN, 8, "after-connector", "M3")
    _, rows, columns = tokens.positions[:, 0, tokens.places(VISUAL)[0]].tolist()
    # rows 0 and 1, columns 1 and 4 of 6
    assert [row - rows[0] for row in rows[:4]] == [0, 0, 1, 1]
    assert [column - columns[0] for column in columns[:4]] == [0, 3, 0, 3]
    # rows 1 and 3, columns 0 and 1 of 3, each counted from the image's first
    assert [row - rows[4] for row in rows[4:]] == [0, 0, 2, 2]
    assert [column - columns[4] for column in columns[4:]] == [0, 1, 0, 1]
    assert columns[0] - rows[0] == 1
    assert columns[4] - rows[4] == -1


def test_features_of_further_layers_are_pooled_alone() -> None:
    """Qwen3-VL adds features behind its first layers; the convolution acts on the token's own."""
    tokens, request = entered(QWEN3, 4, "after-connector", "pooling and depthwise convolution")
    driver = driven(QWEN3.model, "eager", "float64")
    with torch.no_grad():
        (features,) = driver.adapter.features(request.pixels)
    means = torch.stack([cell_means(one.reshape(3, 6, -1), 2) for one in features])
    width = tokens.states.shape[-1]
    assert means.shape[-1] == 4 * width
    with torch.no_grad():
        expected = PositionInjection.of(means[..., :width])(means[..., :width])
    torch.testing.assert_close(tokens.states_of(VISUAL), expected)
    assert tokens.added is not None
    places = tokens.places(VISUAL)[..., None].expand(-1, -1, width)
    for layer, added in enumerate(tokens.added):
        own_part = means[..., (layer + 1) * width : (layer + 2) * width]
        torch.testing.assert_close(added.gather(1, places), own_part)


def test_frames_of_a_video() -> None:
    """LLaVA-OneVision pools a frame to 2×2 tokens by itself; M3 pools its grid of 4×4 instead."""
    driver = driven(ONEVISION.model, "eager", "float64")
    crops = [(4, 4)] * 3
    request = driver.request([(56, 56)], [crops], 20, batch=2, seed=1, clip=Clip(3))
    reduction = Reduction(compressed=(3, "after-connector"), selection="M3", described=True)
    found = driver.prefill(request, reduction).entered.states_of(VISUAL)
    with torch.no_grad():
        states = driver.adapter.tower_states(request.pixels)
        connected = driver.adapter.connect(states).reshape(2, 3, 16, -1)
    torch.testing.assert_close(found, connected.mean(dim=2))


def grid_of_crops(states: Any, skip: int, case: Small) -> Any:
    rows, columns = case.crops[0][0]
    return states[:, skip:].reshape(len(states), rows, columns, -1)


@pytest.mark.parametrize(("case", "side"), [(LLAVA, 2), (NEXT, 4), (ONEVISION, 2)], ids=str)
def test_tokenpacker(case: Small, side: int) -> None:
    """States 12, 16 and 22 of 24 blocks are 2, 3 and 4 of 5 blocks; the last is the feature's."""
    crops = sum(map(len, case.crops))
    count = crops * 16 // side**2
    tokens, request = entered(case, count, "before-connector", "cell attention")
    states = hidden_states(case, request.pixels)
    model = own(case.model, "eager", "float64").model
    skip = 0 if case is ONEVISION else 1
    taken = [*(states[at] for at in (2, 3, 4)), states[model.config.vision_feature_layer]]
    grids = grid_of_crops(torch.cat(taken, dim=-1), skip, case)
    with torch.no_grad():
        packed = TokenPacker.of(grids[..., :32])(grids, side)
        expected = model.multi_modal_projector(packed).reshape(2, count, -1)
    torch.testing.assert_close(tokens.states_of(VISUAL), expected)


@pytest.mark.parametrize(("case", "side"), [(LLAVA, 2), (NEXT, 1), (INTERNVL, 2)], ids=str)
def test_point_to_region(case: Small, side: int) -> None:
    rows, columns = case.crops[0][0]
    crops, cells = sum(map(len, case.crops)), rows * columns // side**2
    tokens, request = entered(
        case, crops * cells, "instead-of-connector", "point-to-region projector"
    )
    states = hidden_states(case, request.pixels)
    feature = states[-1 if case is INTERNVL else -2]
    grid = grid_of_crops(feature, 1, case)
    with torch.no_grad():
        project = PointToRegion.of(grid, 48, side, cells)
        expected = project(feature[:, 0], grid).reshape(2, crops * cells, -1)
    torch.testing.assert_close(tokens.states_of(VISUAL), expected)


@pytest.mark.parametrize("case", [LLAVA, ONEVISION, INTERNVL], ids=str)
def test_fusion(case: Small) -> None:
    """The feature layer, then states 21, 18 … 3 of 24 blocks: of 5 blocks ⌊k·5/24⌋, 1 at least."""
    rows, columns = case.crops[0][0]
    count = sum(map(len, case.crops)) * rows * columns // 4
    tokens, request = entered(case, count, "instead-of-connector", "fusion networks")
    states = hidden_states(case, request.pixels)
    last = own(case.model).config.vision_feature_layer
    taken = [states[last], *(states[at] for at in (4, 3, 3, 2, 1, 1, 1))]
    grids = grid_of_crops(torch.cat(taken, dim=-1), 0 if case is ONEVISION else 1, case)
    with torch.no_grad():
        expected = Fusion.of(grids[..., :32], 48)(grids).reshape(2, count, -1)
    torch.testing.assert_close(tokens.states_of(VISUAL), expected)


@pytest.mark.parametrize("side", [1, 2])
def test_llava_mini(side: int) -> None:
    """Image by image: 16 connected patches, C² resampled and connected ones, 20 of text."""
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer
    from vlm_tokencost.validation.reducers.weights import seeded

    count = 2 * side**2
    tokens, request = entered(LLAVA, count, "after-connector", "LLaVA-Mini")
    model = own(LLAVA.model, "eager", "float64").model
    patches = hidden_states(LLAVA, request.pixels)[-2][:, 1:]
    language = model.language_model
    text = language.embed_tokens(request.text)
    with torch.no_grad(), seeded(patches):
        layers = [LlamaDecoderLayer(language.config, layer_idx=index) for index in range(4)]
    with torch.no_grad():
        resampled = Resampler.of(patches, side)(patches.reshape(4, 4, 4, -1))
        project = model.multi_modal_projector
        for one in range(2):
            compressed, texts = [], []
            for image in (2 * one, 2 * one + 1):
                parts = [project(patches[image]), project(resampled[image]), text[one]]
                states = torch.cat(parts)[None]
                length = states.shape[1]
                tables = language.rotary_emb(states, torch.arange(length)[None])
                above = torch.full((length, length), float("-inf"), dtype=states.dtype).triu(1)
                for layer in layers:
                    states = layer(
                        states, attention_mask=above[None, None], position_embeddings=tables
                    )
                compressed.append(states[0, 16 : 16 + side**2])
                texts.append(states[0, 16 + side**2 :])
            found = tokens.states_of(VISUAL)[one], tokens.states_of(TEXT)[one]
            torch.testing.assert_close(found[0], torch.cat(compressed))
            torch.testing.assert_close(found[1], sum(texts) / 2)


@pytest.mark.parametrize(
    ("case", "count", "at", "rule", "problem"),
    [
        (LLAVA, 3, "after-connector", "M3", "3 is no square of tokens for each of 2 crops"),
        (LLAVA, 4, "after-connector", "M3", "4 is no square of tokens for each of 2 crops"),
        (LLAVA, 5, "before-connector", "cell attention", "5 is not what TokenPacker makes"),
        (INTERNVL, 16, "after-connector", "cell attention", "cannot be run on internvl"),
        (
            ONEVISION,
            8,
            "instead-of-connector",
            "point-to-region projector",
            "class token, which llava_onevision's encoder lacks",
        ),
        (
            LLAVA,
            9,
            "instead-of-connector",
            "point-to-region projector",
            "9 is not what PVTC makes of 2 crops of 4×4 patches",
        ),
        (LLAVA, 2, "instead-of-connector", "fusion networks", "2 is not what STF makes"),
        (QWEN, 36, "instead-of-connector", "fusion networks", "cannot be run on qwen2_5_vl"),
        (LLAVA, 3, "after-connector", "LLaVA-Mini", "3 is no square of tokens for each of 2"),
        (NEXT, 2, "after-connector", "LLaVA-Mini", "images of several crops"),
        (INTERNVL, 2, "after-connector", "LLaVA-Mini", "cannot be run on internvl"),
    ],
    ids=str,
)
def test_what_cannot_be_run(
    case: Small, count: int, at: CompressedAt, rule: str, problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        entered(case, count, at, rule)


METHODS = {
    "m3": "M3",
    "mobilevlm-ldp": "pooling and depthwise convolution",
    "tokenpacker": "cell attention",
    "internvl-x-pvtc": "point-to-region projector",
    "llava-stf": "fusion networks",
    "llava-mini": "LLaVA-Mini",
    "flashsloth": "FlashSloth",
}
#: Method → a budget other than its default.
BUDGETS = {"m3": 288, "tokenpacker": 128, "internvl-x-pvtc": 128, "llava-mini": 8}


def test_every_rule_belongs_to_a_method() -> None:
    named = {method: load_method(method).selection for method in METHODS}
    assert {method: rule.name for method, rule in named.items()} == METHODS
    assert set(METHODS.values()) == set(RULES)


@cache
def compared(method: str, budget: int | None, images: int) -> list[Any]:
    model, workload = shallow("llava-1.5-7b"), Workload(images=((336, 336),) * images, batch=2)
    schedule = load_method(method).schedule(model, workload, budget)
    report = evaluate(model, workload, schedule)
    setting = Setting("torch", "full", "meta")
    (side,) = compare(report, setting, sides=("scheduled",))
    return list(side.rows)


@pytest.mark.parametrize("method", METHODS)
def test_the_count_is_the_closed_form(method: str) -> None:
    for budget, images in {(None, 1), (BUDGETS.get(method), 2)}:
        rows = compared(method, budget, images)
        assert [row for row in rows if row.difference != 0 or row.unseen] == []
        chosen = [row.counted for row in rows if row.component == "selection"]
        assert (chosen == []) == (method == "m3")
