"""FrameFusion against a loop over the chain of every place's frames."""

from __future__ import annotations

import pytest
from loops import normal
from video_loops import slow_framefusion
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.framefusion import alike, framefusion, fused

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("kept", [1, 3, 6, 13, 23, 24])
def test_against_loops(kept: int) -> None:
    frames = normal(3, 4, 6, 5)
    frames[1, 2:] = frames[1, :2] + 0.01 * frames[1, 2:]  # two pairs of like frames
    fusion = framefusion(frames, kept)
    made = fused(frames.flatten(1, 2), fusion)
    assert made.shape == (3, kept, 5)
    for sequence, own in enumerate(frames):
        left, groups = slow_framefusion(own.tolist(), kept)
        assert fusion.kept[sequence].tolist() == left
        for place, token in zip(left, made[sequence], strict=True):
            of_one = [own.flatten(0, 1)[member] for member in groups[place]]
            torch.testing.assert_close(token, sum(of_one) / len(of_one), rtol=1e-12, atol=1e-12)
            assert all(int(fusion.target[sequence, member]) == place for member in groups[place])


def test_a_still_becomes_its_first_frame() -> None:
    still = normal(2, 1, 5, 4).expand(2, 6, -1, -1)
    fusion = framefusion(still, 5)
    assert fusion.kept.tolist() == [[0, 1, 2, 3, 4]] * 2
    torch.testing.assert_close(fused(still.flatten(1, 2), fusion), still[:, 0])


def test_runs_of_merged_tokens_average_into_the_token_before_them() -> None:
    """A place whose frames 1 and 2 are like the frame before, and whose frame 3 is not."""
    a, b = [1.0, 0.0], [0.0, 1.0]
    frames = torch.tensor([[[a, b], [a, a], [a, b], [b, a]]], dtype=torch.float64)
    # place 0: a a a b, cosines 1 1 0; place 1: b a b a, cosines 0 0 0
    fusion = framefusion(frames, 6)
    assert fusion.kept[0].tolist() == [0, 1, 3, 5, 6, 7]
    assert fusion.target[0].tolist() == [0, 1, 0, 3, 0, 5, 6, 7]
    # Of equal cosines the first in the order of places: frame 3 of place 0.
    assert framefusion(frames, 5).kept[0].tolist() == [0, 1, 3, 5, 7]


def test_everything_stays_unchanged() -> None:
    frames = normal(1, 3, 4, 5)
    assert torch.equal(fused(frames.flatten(1, 2), framefusion(frames, 12)), frames.flatten(1, 2))


def test_cosines_are_those_of_places() -> None:
    frames = normal(2, 3, 4, 5)
    expected = torch.nn.functional.cosine_similarity(frames[:, 1:], frames[:, :-1], dim=-1)
    torch.testing.assert_close(alike(frames), expected)


def test_a_narrow_type_is_kept() -> None:
    frames = normal(1, 3, 4, 5).bfloat16()
    assert fused(frames.flatten(1, 2), framefusion(frames, 7)).dtype == torch.bfloat16


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_flops(device: str) -> None:
    frames = torch.ones(2, 4, 10, 6, device=device)
    found = []
    flops = count_flops(lambda: found.append(framefusion(frames, 9)))
    assert sum(flops.values()) == 2 * 2 * (3 * 10 * 6)
    assert found[0].kept.shape == (2, 9)
    assert count_flops(lambda: fused(frames.flatten(1, 2), found[0])) == {}


@pytest.mark.parametrize("kept", [0, 25])
def test_amounts_that_cannot_be_left(kept: int) -> None:
    with pytest.raises(InvalidInput, match=f"count {kept} is impossible with 24 tokens"):
        framefusion(normal(1, 4, 6, 5), kept)
