"""What tokens may look at, matrix by matrix."""

from __future__ import annotations

import pytest
from vlm_tokencost.validation.masks import Visible, additive, causal, decoding_mask, mask_of

torch = pytest.importorskip("torch")

BLOCKS = [[-1, 0, 0, -1, 1, 1]]


def drawn(visible: Visible) -> list[str]:
    """Return the rows of a matrix, x where a token may look."""
    (matrix,) = visible.matrix(torch.device("cpu"))[0]
    return ["".join("x" if seen else "." for seen in row) for row in matrix.tolist()]


def test_causal() -> None:
    assert drawn(causal(3)) == ["x..", "xx.", "xxx"]


def test_a_window_counts_the_token_itself() -> None:
    assert drawn(Visible(4, window=2)) == ["x...", "xx..", ".xx.", "..xx"]


def test_blocks_look_ahead_inside() -> None:
    assert drawn(Visible(6, blocks=torch.tensor(BLOCKS))) == [
        "x.....",
        "xxx...",
        "xxx...",
        "xxxx..",
        "xxxxxx",
        "xxxxxx",
    ]


def test_a_window_cuts_blocks_off_backwards_alone() -> None:
    blocks = torch.tensor([[0, 0, 0, -1]])
    assert drawn(Visible(4, 2, blocks)) == ["xxx.", "xxx.", ".xx.", "..xx"]


def test_a_block_that_opens_the_window() -> None:
    blocks = torch.tensor([[0, 0, 0, -1]])
    assert drawn(Visible(4, 2, blocks, through_window=True)) == ["xxx.", "xxx.", "xxx.", "..xx"]


@pytest.mark.parametrize(
    ("visible", "none"),
    [
        (causal(4), True),
        (Visible(4, window=5), True),
        # transformers hands over a mask as soon as the window is full
        (Visible(4, window=4), False),
        (Visible(4, blocks=torch.full((1, 4), -1)), False),
    ],
)
def test_fused_attention_masks_what_is_causal_by_itself(visible: Visible, none: bool) -> None:
    mask = mask_of(visible, "sdpa", torch.zeros(1, 4, 8))
    assert (mask is None) == none
    assert mask is None or mask.dtype == torch.bool


@pytest.mark.parametrize("number_format", [torch.float32, torch.bfloat16])
def test_eager_attention_adds_its_mask(number_format: torch.dtype) -> None:
    lowest = torch.finfo(number_format).min
    mask = mask_of(causal(2), "eager", torch.zeros(1, 2, 8, dtype=number_format))
    expected = torch.tensor([[[[0, lowest], [0, 0]]]], dtype=number_format)
    assert mask is not None
    assert torch.equal(mask, expected)
    assert torch.equal(additive(torch.ones(2, 2).bool(), number_format), torch.zeros(2, 2))


def test_a_decode_forward_is_handed_a_mask_under_a_full_window() -> None:
    like = torch.zeros(1, 1, 8)
    assert decoding_mask(4, 3, "sdpa", like) is None
    assert decoding_mask(None, 9, "sdpa", like) is None
    assert decoding_mask(4, 4, "eager", like) is None
    full = decoding_mask(4, 4, "sdpa", like)
    assert full is not None
    assert full.all()
    assert full.shape == (1, 1, 1, 4)
