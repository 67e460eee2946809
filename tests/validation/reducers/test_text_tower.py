"""CLIP's text tower: what it costs, what it pools, and that padding changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers import text_tower

torch = pytest.importorskip("torch")
META, CPU = "meta", "cpu"


def layers(tokens: int, sequences: int = 1) -> int:
    """Return the MACs of 12 layers of width 768: projections, two products, feed-forward."""
    attention = 2 * tokens**2 // sequences * 768
    return 12 * (4 * tokens * 768**2 + attention + 2 * tokens * 768 * 3_072)


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the tower two layers deep."""
    monkeypatch.setattr(text_tower, "_LAYERS", 2)
    text_tower.tower.cache_clear()
    yield
    text_tower.tower.cache_clear()


@pytest.mark.parametrize(("tokens", "segments"), [(5, 1), (77, 1), (78, 2), (200, 3)])
def test_pooled_flops(tokens: int, segments: int) -> None:
    ids = text_tower.questions(2, tokens, torch.device(META))
    counted = count_flops(lambda: text_tower.pooled(ids, torch.float32))
    # every segment is filled up to 77; one token of each is projected
    macs = layers(77 * segments, segments) + segments * 768**2
    assert sum(counted.values()) == 2 * 2 * macs
    made = text_tower.pooled(ids, torch.bfloat16)
    assert made.shape == (2, segments, 768)
    assert made.dtype == torch.bfloat16


def test_token_by_token_flops() -> None:
    ids = text_tower.questions(2, 64, torch.device(META))
    counted = count_flops(lambda: text_tower.token_by_token(ids, torch.float32))
    assert sum(counted.values()) == 2 * 2 * (layers(64) + 64 * 768**2)


def test_project_flops() -> None:
    patches = torch.empty(2, 576, 1_024, device=META)
    assert count_flops(lambda: text_tower.project(patches)) == {
        "aten.mm": 2 * 2 * 576 * 1_024 * 768
    }


def test_weights_are_those_of_the_published_tower() -> None:
    # 123,060,480 as openai/clip-vit-large-patch14's text model, and its projection
    parts = text_tower.tower(META, torch.float32).parameters()
    assert sum(part.numel() for part in parts) == 123_060_480 + 768**2


@pytest.mark.usefixtures("shallow")
def test_pooled_is_the_projected_end_of_each_segment() -> None:
    ids = text_tower.questions(2, 100, torch.device(CPU))
    made = text_tower.pooled(ids, torch.float32)
    # Without padding: the tower is causal, and no id behind the highest is higher.
    for segment, part in enumerate((ids[:, :77], ids[:, 77:])):
        states = text_tower.token_by_token(part, torch.float32)
        for request, row in enumerate(part.tolist()):
            expected = states[request, row.index(max(row))]
            torch.testing.assert_close(made[request, segment], expected, rtol=1e-4, atol=1e-4)
    assert max(ids[0, 77:]) == 49_407 != max(ids[0, :77])


@pytest.mark.usefixtures("shallow")
def test_the_tower_sees_what_stands_before_alone() -> None:
    ids = text_tower.questions(1, 12, torch.device(CPU))
    other = ids.clone()
    other[:, 6:-1] += 1
    one, changed = (text_tower.token_by_token(row, torch.float32)[0] for row in (ids, other))
    torch.testing.assert_close(one[:6], changed[:6], rtol=1e-4, atol=1e-4)
    assert all(not torch.allclose(one[at], changed[at], atol=1e-2) for at in range(6, 12))


def test_questions_differ_and_repeat() -> None:
    ids = text_tower.questions(3, 40, torch.device(CPU))
    assert torch.equal(ids, text_tower.questions(3, 40, torch.device(CPU)))
    assert len({tuple(row) for row in ids.tolist()}) == 3
    assert ids[:, 0].tolist() == [49_406] * 3
    assert ids[:, -1].tolist() == [49_407] * 3
    assert ids[:, 1:-1].max() < 49_406


def test_no_question() -> None:
    with pytest.raises(InvalidInput, match="--text-tokens 0 leaves no question"):
        text_tower.questions(1, 0, torch.device(META))


def test_more_tokens_than_positions() -> None:
    with pytest.raises(InvalidInput, match="tokens 78 exceeds the 77 positions"):
        text_tower.token_by_token(torch.zeros(1, 78, dtype=torch.int64), torch.float32)


def test_cosines() -> None:
    rows = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])
    others = torch.tensor([[[0.0, 2.0], [1.0, 0.0], [-3.0, -4.0]]])
    expected = [[[0.8, 0.6, -1.0], [0.0, 0.0, 0.0]]]
    torch.testing.assert_close(text_tower.cosines(rows, others), torch.tensor(expected))
