"""DyCoke's temporal merging against a loop over groups of four frames."""

from __future__ import annotations

import pytest
from loops import normal
from video_loops import slow_dycoke
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.dycoke import compared, dycoke

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("left", [0, 1, 3, 9, 10])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 7, 8, 9, 12])
def test_against_loops(frames: int, left: int) -> None:
    videos = normal(2, frames, 10, 5)
    found = dycoke(videos, left)
    for one, own in zip(found.tolist(), videos.tolist(), strict=True):
        assert one == slow_dycoke(own, left)


@pytest.mark.parametrize(
    ("frames", "amount"),
    # 32 frames: 16 second ones, and the third of all groups but the last
    [(1, 0), (2, 1), (4, 2), (5, 2 + 1), (8, 4 + 1), (9, 4 + 2), (32, 16 + 7), (33, 16 + 8)],
)
def test_how_many_frames_lose_tokens(frames: int, amount: int) -> None:
    assert len(compared(frames)) == amount


def test_ties_go_to_the_lowest_index() -> None:
    assert dycoke(torch.ones(1, 2, 5, 3), 2)[0].tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_flops(device: str) -> None:
    frames = torch.ones(2, 9, 10, 6, device=device)
    found = []
    flops = count_flops(lambda: found.append(dycoke(frames, 3)))
    assert sum(flops.values()) == 2 * 2 * (4 + 2) * 10 * 6
    assert found[0].shape == (2, 3 * 10 + 6 * 3)


def test_more_tokens_than_a_frame_has() -> None:
    with pytest.raises(InvalidInput, match="left 11 is impossible with 10 tokens"):
        dycoke(normal(1, 4, 10, 5), 11)
