"""VidCom2 against loops over frames, tokens and channels."""

from __future__ import annotations

from typing import Any

import pytest
from loops import normal
from video_loops import slow_likeness, slow_vidcom2
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.vidcom2 import frame_shares, likeness, share_out, vidcom2

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("kept", [1, 4, 9, 17, 27, 28])
def test_against_loops(kept: int) -> None:
    frames = normal(3, 4, 7, 6)
    frames[:, 2] *= 0.1
    frames[:, 2] += 1  # a frame of like tokens
    found = vidcom2(frames, kept)
    assert found.shape == (3, kept)
    for one, own in zip(found.tolist(), frames.tolist(), strict=True):
        assert one == slow_vidcom2(own, kept)
        assert one == sorted(set(one))


def test_likeness_against_loops() -> None:
    frames = normal(2, 3, 5, 7)
    video, frame = likeness(frames)
    for sequence in range(2):
        expected = slow_likeness(frames[sequence].tolist())
        for f in range(3):
            for at in range(5):
                found = (float(video[sequence, f, at]), float(frame[sequence, f, at]))
                assert found == pytest.approx(expected[f][at], rel=1e-12)


def test_frames_get_what_the_released_code_gives_them_where_that_adds_up() -> None:
    """Amounts rounded frame by frame, as long as their sum is what was asked for."""
    shares = torch.tensor([[2.2, 4.9, 1.3, 3.6]])  # 2 + 5 + 1 + 4 = 12
    rank = torch.arange(6).expand(1, 4, 6)
    kept = share_out(rank, shares, 12)[0]
    assert [int(((kept // 6) == frame).sum()) for frame in range(4)] == [2, 5, 1, 4]


def test_the_most_unlike_frame_has_most_and_none_has_nothing() -> None:
    shares = frame_shares(torch.tensor([[0.0, 1.0, 0.0, 0.0]]), kept=8, tokens=6)
    # 2 · (1 + p − ¼): p is 1 for the second frame, but for e⁻¹⁰⁰
    assert shares[0].tolist() == pytest.approx([1.5, 3.5, 1.5, 1.5])
    kept = share_out(torch.arange(6).expand(1, 4, 6), torch.tensor([[-9.0, 9.0, -9.0, -9.0]]), 8)
    assert torch.bincount(kept[0] // 6, minlength=4).tolist() == [1, 5, 1, 1]


def test_equal_frames_share_equally_and_ties_go_to_the_lowest_index() -> None:
    frames = torch.ones(1, 3, 4, 6)
    assert vidcom2(frames, 6)[0].tolist() == [0, 1, 4, 5, 8, 9]
    assert vidcom2(frames, 7)[0].tolist() == [0, 1, 2, 4, 5, 8, 9]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_products_and_shapes_alone(dtype: Any) -> None:
    frames = torch.empty(2, 4, 9, 16, dtype=getattr(torch, dtype), device="meta")
    found = []
    assert count_flops(lambda: found.append(vidcom2(frames, 10))) == {}
    assert found[0].shape == (2, 10)


def test_more_tokens_than_there_are() -> None:
    with pytest.raises(InvalidInput, match="count 29 is impossible with 28 tokens; give 0 to 28"):
        vidcom2(normal(1, 4, 7, 6), 29)
