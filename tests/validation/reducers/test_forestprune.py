"""ForestPrune against loops that grow trees token by token, as the paper's code does."""

from __future__ import annotations

import pytest
from loops import Row, normal
from video_loops import slow_forestprune, slow_half
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.forestprune import depths, forestprune

torch = pytest.importorskip("torch")
GRID = (3, 4)
TOKENS = 12


def video(seed: int, noise: float, frames: int = 4) -> list[list[Row]]:
    """Return frames that resemble one another: the less the noise, the more trees there are."""
    scene = normal(TOKENS, 5, seed=seed)
    moved = [scene + noise * normal(TOKENS, 5, seed=100 * seed + f) for f in range(frames)]
    result: list[list[Row]] = torch.stack(moved).tolist()
    return result


@pytest.mark.parametrize("noise", [0.05, 0.3, 0.6, 3.0])
@pytest.mark.parametrize("kept", [1, 5, 11, 24])
def test_against_loops(noise: float, kept: int) -> None:
    films = [video(seed, noise) for seed in range(3)]
    found = forestprune(torch.tensor(films, dtype=torch.float64), kept, GRID)
    for one, film in zip(found.tolist(), films, strict=True):
        assert one == slow_forestprune(film, kept, GRID)[0]


def test_the_films_above_have_deep_trees_and_linked_roots() -> None:
    """Or the loops would prove little."""
    assert max(slow_forestprune(video(0, 0.05), 24, GRID)[1]) >= 2
    roots = slow_forestprune(video(0, 0.6), 24, GRID)[1].count(0)
    assert 5 < roots < 24


def test_a_still_keeps_its_first_frame_first() -> None:
    """Equal frames: each token joins its own place's tree, and depth is the frame."""
    still = normal(1, 1, TOKENS, 5).expand(1, 3, -1, -1)
    half = slow_half(still[0, 0].tolist())
    assert forestprune(still, 6, GRID)[0].tolist() == half
    expected = half + [TOKENS + at for at in half[:2]]
    assert forestprune(still, 8, GRID)[0].tolist() == expected


def test_ties_go_to_the_lowest_index() -> None:
    """Equal tokens: those of the first half are kept, and of the nearest the earliest root."""
    alike = torch.ones(1, 2, TOKENS, 3)
    assert forestprune(alike, 6, GRID)[0].tolist() == [0, 1, 2, 3, 4, 5]


def test_depths() -> None:
    parents = torch.tensor([[-1, 0, 1, -1, 2, 3, 4], [-1, -1, -1, 0, 3, 4, 5]])
    assert depths(parents).tolist() == [[0, 1, 2, 0, 3, 1, 4], [0, 0, 0, 1, 2, 3, 4]]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_flops(device: str) -> None:
    frames = torch.ones(2, 4, 10, 6, device=device)
    # within frames 4·10²·6 = 2,400; flow 5·4·10² = 2,000; between them (4·3/2)·5²·6 = 900
    found = []
    flops = count_flops(lambda: found.append(forestprune(frames, 4, (2, 5))))
    assert sum(flops.values()) == 2 * 2 * (2_400 + 2_000 + 900)
    assert found[0].shape == (2, 4)


def test_more_tokens_than_the_halves_have() -> None:
    with pytest.raises(InvalidInput, match="count 25 is impossible with 24 tokens"):
        forestprune(normal(1, 4, TOKENS, 5), 25, GRID)
