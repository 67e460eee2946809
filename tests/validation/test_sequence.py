"""The sequence while it shrinks, on tokens written out."""

from __future__ import annotations

from typing import Any

import pytest
from vlm_tokencost.validation.sequence import STRUCTURAL, TEXT, VISUAL, Keys, Merged, Tokens

torch = pytest.importorskip("torch")

#: text, image start, four visual tokens, image end, two text tokens
KINDS = [TEXT, STRUCTURAL, VISUAL, VISUAL, VISUAL, VISUAL, STRUCTURAL, TEXT, TEXT]


def tokens(axes: bool = False) -> Tokens:
    """Two requests; the states of token i are (i, request)."""
    place = torch.arange(9).expand(2, -1)
    states = torch.stack([place, torch.tensor([[0], [1]]).expand(-1, 9)], dim=-1).double()
    positions = 10 * place
    if axes:
        positions = torch.stack([positions, positions + 1, positions + 2])
    return Tokens(states, positions, torch.tensor([KINDS, KINDS]), place, visual=4, text=3)


def rows(values: Any) -> Any:
    return values.tolist()


def test_places_and_states_of_a_kind() -> None:
    sequence = tokens()
    assert sequence.length == 9
    assert rows(sequence.places(VISUAL)) == [[2, 3, 4, 5]] * 2
    assert rows(sequence.places(TEXT)) == [[0, 7, 8]] * 2
    assert rows(sequence.states_of(TEXT)) == [
        [[i, request] for i in (0, 7, 8)] for request in (0, 1)
    ]


@pytest.mark.parametrize("axes", [False, True])
def test_requests_keep_different_tokens(axes: bool) -> None:
    kept = tokens(axes).keep(torch.tensor([[0, 3], [1, 2]]))
    left = [[0, 1, 2, 5, 6, 7, 8], [0, 1, 3, 4, 6, 7, 8]]
    assert rows(kept.origin) == left
    assert rows(kept.states) == [
        [[place, request] for place in places] for request, places in enumerate(left)
    ]
    first = [[10 * place for place in places] for places in left]
    if axes:
        assert rows(kept.positions) == [
            [[place + axis for place in places] for places in first] for axis in range(3)
        ]
    else:
        assert rows(kept.positions) == first
    kinds = [TEXT, STRUCTURAL, VISUAL, VISUAL, STRUCTURAL, TEXT, TEXT]
    assert rows(kept.kinds) == [kinds] * 2
    assert (kept.visual, kept.text, kept.length) == (2, 3, 7)


def test_keeping_twice_counts_from_what_was_left() -> None:
    twice = tokens().keep(torch.tensor([[0, 3], [1, 2]])).keep(torch.tensor([[1], [0]]))
    assert rows(twice.origin) == [[0, 1, 5, 6, 7, 8], [0, 1, 3, 6, 7, 8]]


def test_keeping_all_changes_nothing() -> None:
    sequence = tokens()
    kept = sequence.keep(torch.arange(4).expand(2, -1))
    for one, other in zip(kept, sequence, strict=True):
        assert rows(one) == rows(other) if hasattr(one, "tolist") else one == other


def test_withdrawal() -> None:
    kept = tokens().keep(None)
    assert rows(kept.origin) == [[0, 1, 6, 7, 8]] * 2
    assert (kept.visual, kept.text, kept.length) == (0, 3, 5)
    assert rows(kept.places(VISUAL)) == [[], []]


@pytest.mark.parametrize("axes", [False, True])
def test_merged_tokens_stand_behind_the_last_survivor(axes: bool) -> None:
    states = torch.tensor([[[50.0, 51], [52, 53]], [[60, 61], [62, 63]]]).double()
    positions = torch.tensor([[50, 52], [60, 62]])
    if axes:
        positions = positions.expand(3, -1, -1)
    kept = tokens(axes).keep(torch.tensor([[0, 1], [1, 3]]), Merged(states, positions))
    assert rows(kept.origin) == [[0, 1, 2, 3, -1, -1, 6, 7, 8], [0, 1, 3, 5, -1, -1, 6, 7, 8]]
    assert rows(kept.states[0, :, 0]) == [0, 1, 2, 3, 50, 52, 6, 7, 8]
    assert rows(kept.states[1, :, 0]) == [0, 1, 3, 5, 60, 62, 6, 7, 8]
    last = kept.positions[-1] if axes else kept.positions[None][-1]
    off = 2 if axes else 0
    assert rows(last[0, 4:6]) == [50, 52]
    assert rows(last[1, 3:]) == [50 + off, 60, 62, 60 + off, 70 + off, 80 + off]
    kinds = [TEXT, STRUCTURAL, *[VISUAL] * 4, STRUCTURAL, TEXT, TEXT]
    assert rows(kept.kinds) == [kinds] * 2
    assert (kept.visual, kept.text) == (4, 3)
    # and they may be dropped like others
    again = kept.keep(torch.tensor([[3], [0]]))
    assert rows(again.origin) == [[0, 1, -1, 6, 7, 8], [0, 1, 3, 6, 7, 8]]
    assert rows(again.states[0, 2]) == [52, 53]


def test_merged_tokens_of_the_last_image_alone() -> None:
    """Two images: the new token stands behind the last survivor, wherever that is."""
    kinds = torch.tensor([[VISUAL, TEXT, VISUAL, TEXT]])
    place = torch.arange(4)[None]
    sequence = Tokens(place[..., None].double(), place, kinds, place, visual=2, text=2)
    new = Merged(torch.tensor([[[9.0]]]).double(), torch.tensor([[0]]))
    assert rows(sequence.keep(torch.tensor([[0]]), new).origin) == [[0, -1, 1, 3]]
    assert rows(sequence.keep(torch.tensor([[1]]), new).origin) == [[1, 2, -1, 3]]


@pytest.mark.parametrize("axes", [False, True])
def test_renumbered(axes: bool) -> None:
    left = tokens(axes).keep(torch.tensor([[0, 3], [1, 2]])).renumbered()
    ids = [[0, 1, 2, 3, 4, 5, 6]] * 2
    assert rows(left.positions) == ([ids] * 3 if axes else ids)
    assert rows(left.origin) == [[0, 1, 2, 5, 6, 7, 8], [0, 1, 3, 4, 6, 7, 8]]


def test_runs_and_additions_go_with_their_tokens() -> None:
    blocks = torch.tensor([[-1, -1, 0, 0, 1, 1, -1, -1, -1]]).expand(2, -1)
    added = 100 * torch.arange(9.0).double().expand(1, 2, -1)[..., None].expand(-1, -1, -1, 2)
    sequence = tokens()._replace(blocks=blocks, added=added)
    merged = Merged(torch.full((2, 1, 2), 7.0).double(), torch.zeros(2, 1).long())
    kept = sequence.keep(torch.tensor([[0, 3], [1, 2]]), merged)
    assert kept.blocks is not None
    assert kept.added is not None
    # A new token belongs to the run before it, and nothing is added to it.
    assert rows(kept.blocks) == [[-1, -1, 0, 1, 1, -1, -1, -1]] * 2
    assert rows(kept.added[0, 0, :, 0]) == [0, 100, 200, 500, 0, 600, 700, 800]
    assert rows(kept.added[0, 1, :, 0]) == [0, 100, 300, 400, 0, 600, 700, 800]
    behind = kept.with_added(0)
    assert rows(behind.states[0, :, 0]) == [0, 101, 202, 505, 7, 606, 707, 808]
    assert rows(kept.with_added(1).states) == rows(kept.states), "one layer adds, no other does"


def test_keys_of_cross_attention_shrink_and_the_sequence_stays() -> None:
    visible = torch.tensor([[[True, False, False, True]] * 9] * 2)
    keys = Keys(torch.arange(8.0).view(2, 4, 1), torch.arange(4).expand(2, -1), visible)
    sequence = tokens()._replace(keys=keys)
    kept = sequence.keep(torch.tensor([[0, 3], [1, 2]]))
    assert kept.keys is not None
    assert rows(kept.states_of(VISUAL)) == [[[0], [3]], [[5], [6]]]
    assert rows(kept.keys.origin) == [[0, 3], [1, 2]]
    assert rows(kept.keys.visible[:, 0]) == [[True, True], [False, False]]
    assert (kept.visual, kept.length) == (2, 9)
    assert rows(kept.origin) == rows(sequence.origin)
    none = kept.keep(None)
    assert (none.visual, none.length) == (0, 9)
    assert rows(none.states_of(VISUAL)) == [[], []]
