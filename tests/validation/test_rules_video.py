"""Rules on frames in real models: what they keep, and that their products are what is priced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from small_models import driven
from video_loops import slow_dycoke, slow_forestprune, slow_framefusion, slow_vidcom2
from vlm_tokencost.costmodel import InvalidInput, Workload, evaluate
from vlm_tokencost.presets import load_method, load_model
from vlm_tokencost.validation.adapters import Clip
from vlm_tokencost.validation.compare import Setting, compare
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.rules.video import RULES
from vlm_tokencost.validation.sequence import VISUAL

torch = pytest.importorskip("torch")
FRAMES = 4
#: Size and patch grid of a small model's frame (or pair of frames), tokens of it, and their grid.
FILMS: dict[str, Any] = {
    # 4×4 patches, pooled to 2×2; one newline behind all
    "llava-onevision-7b": ((56, 56), (4, 4), FRAMES, 4, (2, 2), 1),
    "internvl3-8b": ((112, 112), (8, 8), FRAMES, 16, (4, 4), 0),
    "qwen2.5-vl-7b": ((84, 168), (6, 12), FRAMES // 2, 18, (3, 6), 0),
    "qwen3-vl-8b": ((96, 192), (6, 12), FRAMES // 2, 18, (3, 6), 0),
}
Groups = dict[int, list[int]]


def alone(places: list[int]) -> Groups:
    return {place: [place] for place in places}


DYCOKE = "temporal merging and dynamic cache"
FUSION = "similarity of neighbouring frames"
#: What each rule leaves of frames as lists, so many, on a grid: what each token is the mean of.
LEFT: dict[str, Callable[[Any, int, tuple[int, int]], Groups]] = {
    DYCOKE: lambda frames, kept, grid: alone(slow_dycoke(frames, left_of(frames, kept))),
    "VidCom2": lambda frames, kept, grid: alone(slow_vidcom2(frames, kept)),
    FUSION: lambda frames, kept, grid: slow_framefusion(frames, kept)[1],
    "ForestPrune": lambda frames, kept, grid: alone(slow_forestprune(frames, kept, grid)[0]),
}
METHODS = {
    DYCOKE: "dycoke",
    "VidCom2": "vidcom2",
    FUSION: "framefusion",
    "ForestPrune": "forestprune",
}


def left_of(frames: Any, kept: int) -> int:
    """Return what each second frame keeps of four, or of two."""
    lose = len(frames) // 2
    return (kept - (len(frames) - lose) * len(frames[0])) // lose


def test_every_rule_is_tested() -> None:
    assert set(LEFT) == set(METHODS) == set(RULES) - {"FreeVA"}
    for rule, method in METHODS.items():
        assert load_method(method).selection.name == rule


@pytest.mark.parametrize("model_id", FILMS)
@pytest.mark.parametrize("rule", LEFT)
def test_what_is_left(rule: str, model_id: str) -> None:
    """The tokens that enter the LLM are those that the loop picks from the model's own."""
    size, patches, frames, tokens, grid, newlines = FILMS[model_id]
    driver = driven(model_id, "eager", "float64")
    clip = Clip(FRAMES, "video" if newlines else "none")
    request = driver.request([size], [[patches] * frames], 8, batch=2, seed=3, clip=clip)
    kept = frames * tokens // 3
    if rule == DYCOKE:  # every second frame keeps a quarter
        kept = frames // 2 * (tokens + tokens // 4)
    with torch.no_grad():
        (features,) = driver.adapter.features(request.pixels)
    count = kept + newlines
    reduction = Reduction(
        compressed=(count, "after-connector"), entering=count, selection=rule, described=True
    )
    entered = driver.prefill(request, reduction).entered
    found = entered.states_of(VISUAL)
    width = found.shape[-1]
    dense = driver.prefill(request).entered
    for sequence, own in enumerate(features):
        of_frames = own[: frames * tokens, :width].reshape(frames, tokens, width).tolist()
        groups = LEFT[rule](of_frames, kept, grid)
        assert 0 < len(groups) == kept < frames * tokens
        groups |= alone([frames * tokens + newline for newline in range(newlines)])
        places = sorted(groups)
        means = torch.stack([own[groups[place], :width].mean(dim=0) for place in places])
        torch.testing.assert_close(found[sequence], means, rtol=1e-12, atol=1e-12)
        if driver.adapter.keeps_positions or rule == FUSION:
            before = dense.positions[..., sequence, dense.places(VISUAL)[sequence]]
            after = entered.positions[..., sequence, entered.places(VISUAL)[sequence]]
            assert torch.equal(after, before[..., places])
        else:
            numbers = torch.arange(entered.length).expand_as(entered.positions)
            assert torch.equal(entered.positions, numbers)
    # Text and structural tokens stand as before, with those of the frames between them.
    assert entered.length == dense.length - dense.visual + count


#: FreeVA's ways, each with how many of 3 frames of 16 tokens are left, and what a token is made of.
WAYS: dict[str, Any] = {
    "pairs": (3 * 8, lambda frames: frames.unflatten(2, (8, 2)).amax(dim=3).flatten(1, 2)),
    "mean": (16, lambda frames: frames.mean(dim=1)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("model_id", "size", "patches", "video"),
    [("llava-1.5-7b", (56, 56), (4, 4), False), ("internvl3-8b", (112, 112), (8, 8), True)],
)
def test_freeva(
    model_id: str, size: tuple[int, int], patches: tuple[int, int], video: bool, way: str
) -> None:
    """Of a video, or of images one behind the other."""
    driver = driven(model_id, "eager", "float64")
    images, crops = ([size], [[patches] * 3]) if video else ([size] * 3, [[patches]] * 3)
    clip = Clip(3) if video else None
    request = driver.request(images, crops, 8, batch=2, seed=3, clip=clip)
    count, expected = WAYS[way]
    reduction = Reduction(
        compressed=(count, "after-connector"), entering=count, selection="FreeVA", described=True
    )
    entered, dense = (driver.prefill(request, one).entered for one in (reduction, None))
    with torch.no_grad():
        features = torch.cat(driver.adapter.features(request.pixels), dim=1)
    found = entered.states_of(VISUAL)
    torch.testing.assert_close(found, expected(features.unflatten(1, (3, 16))))
    assert entered.length == dense.length - 48 + count


def test_freeva_knows_three_ways() -> None:
    driver = driven("llava-1.5-7b")
    request = driver.request([(56, 56)] * 3, [[(4, 4)]] * 3, 4)
    reduction = Reduction(
        compressed=(20, "after-connector"), entering=20, selection="FreeVA", described=True
    )
    with pytest.raises(InvalidInput, match="compressed 20 is no way to aggregate 3 frames of 16"):
        driver.prefill(request, reduction)


def test_tokens_stand_in_the_pairs_that_they_come_from() -> None:
    """Qwen3-VL's pairs of frames have timestamps between them."""
    driver = driven("qwen3-vl-8b", "eager", "float64")
    request = driver.request([(96, 192)], [[(6, 12)] * 3], 8, batch=2, seed=3, clip=Clip(6))
    reduction = Reduction(
        compressed=(7, "after-connector"), entering=7, selection="VidCom2", described=True
    )
    entered, dense = (driver.prefill(request, one).entered for one in (reduction, None))
    for sequence in range(2):
        # What is no visual token is the same, and visual tokens come behind the right ones of it.
        others = dense.states[sequence][dense.kinds[sequence] != VISUAL]
        assert torch.equal(entered.states[sequence][entered.kinds[sequence] != VISUAL], others)
        before = {tuple(row): place for place, row in enumerate(dense.states[sequence].tolist())}
        places = [before[tuple(row)] for row in entered.states[sequence].tolist()]
        kinds = entered.kinds[sequence].tolist()
        visual = [place for place, kind in zip(places, kinds, strict=True) if kind == VISUAL]
        assert visual == sorted(visual)
        behind = [sum(dense.kinds[sequence][:place] != VISUAL) for place in visual]
        found = [
            sum(entered.kinds[sequence][:at] != VISUAL)
            for at, kind in enumerate(kinds)
            if kind == VISUAL
        ]
        assert [int(one) for one in found] == [int(one) for one in behind]
        assert entered.blocks is not None and dense.blocks is not None
        blocks = entered.blocks[sequence].tolist()
        assert blocks == [int(dense.blocks[sequence][place]) for place in places]


@pytest.mark.parametrize(
    ("model_id", "size"),
    [("llava-onevision-0.5b", (384, 384)), ("qwen2.5-vl-3b", (112, 168))],
)
@pytest.mark.parametrize("rule", METHODS)
def test_selection_of_a_full_model_is_what_is_priced(
    rule: str, model_id: str, size: tuple[int, int]
) -> None:
    asked = Workload(frames=4, images=(size,), text_tokens=8)
    model = load_model(model_id)
    report = evaluate(model, asked, load_method(METHODS[rule]).schedule(model, asked))
    (scheduled,) = compare(report, Setting("torch", "full", "meta"), sides=("scheduled",))
    for row in scheduled.rows:
        if rule == DYCOKE and (row.phase, row.component) == ("decode", "selection"):
            assert row.unseen == (f"what {DYCOKE} computes in decode forwards",)
            continue
        assert (row.difference, row.unseen) == (0, ()), row


def test_several_images_are_no_video() -> None:
    driver = driven("qwen2.5-vl-7b")
    request = driver.request([(84, 168), (84, 84)], [[(6, 12)], [(6, 6)]], 4)
    reduction = Reduction(
        compressed=(5, "after-connector"), entering=5, selection="VidCom2", described=True
    )
    with pytest.raises(InvalidInput, match="--images 2 with 2 crops are no video, whose frames"):
        driver.prefill(request, reduction)


def test_frames_that_cannot_lose_equally_many() -> None:
    driver = driven("llava-onevision-7b")
    clip = Clip(4, "video")
    request = driver.request([(56, 56)], [[(4, 4)] * 4], 4, clip=clip)
    reduction = Reduction(
        compressed=(14, "after-connector"), entering=14, selection=DYCOKE, described=True
    )
    sentence = "compressed 13 cannot be left of 4 frames of 4 tokens, 2 of which lose equally many"
    with pytest.raises(InvalidInput, match=sentence):
        driver.prefill(request, reduction)


def test_newlines_alone() -> None:
    driver = driven("llava-onevision-7b")
    clip = Clip(3, "video")
    request = driver.request([(56, 56)], [[(4, 4)] * 3], 4, clip=clip)
    reduction = Reduction(
        compressed=(1, "after-connector"), entering=1, selection="VidCom2", described=True
    )
    with pytest.raises(InvalidInput, match="compressed 1 leaves nothing of the frames beside 1"):
        driver.prefill(request, reduction)
