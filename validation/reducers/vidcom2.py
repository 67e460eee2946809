"""VidCom2: share tokens among frames by how unlike the video each is, and keep what is unlike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import check_count, top_indices, unit, widen

if TYPE_CHECKING:
    from torch import Tensor

#: Share of the channels that are looked at: those of lowest variance.
CHANNELS = 0.5
#: Variances of the Gaussian kernels, which are summed.
KERNELS = (0.125, 0.25, 0.5, 1.0, 2.0)
#: Temperature of the softmax that shares tokens among frames.
TEMPERATURE = 0.01


def likeness(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return how like the mean of the video, and of its frame, each token is: twice [B, F, n].

    Likeness is the sum of Gaussian kernels exp(−‖x − c‖²/2α) over the kernels' α, x being the
    token at length 1 in the channels of lowest variance over the video, and c the mean of those.
    Element by element: no product.

    Args:
        frames: [B, F, n, d], the tokens of each frame.
    """
    import torch

    batch, count, tokens, width = frames.shape
    flat = widen(frames).reshape(batch, count * tokens, width)
    calm = top_indices(-flat.var(dim=1, unbiased=False), int(CHANNELS * width))
    rows = flat.gather(2, calm[:, None].expand(-1, count * tokens, -1))
    rows = unit(rows).reshape(batch, count, tokens, -1)

    def kernels(centre: Tensor) -> Tensor:
        distance = (rows - centre).square().sum(dim=-1)
        return torch.stack([(-distance / (2 * alpha)).exp() for alpha in KERNELS]).sum(dim=0)

    return kernels(rows.mean(dim=(1, 2), keepdim=True)), kernels(rows.mean(dim=2, keepdim=True))


def frame_shares(unlike: Tensor, kept: int, tokens: int) -> Tensor:
    """Return how many tokens each frame may keep, a real number: [B, F].

    A frame keeps base·(1 + p − 1/F)·n, p being its softmax at a low temperature and base the share
    kept/(F·n) of the whole video; at most all of its n tokens.

    Args:
        unlike: [B, F], how unlike the video each frame is.
        kept: Tokens to keep of the whole video.
        tokens: n, tokens of a frame.
    """
    frames = unlike.shape[1]
    weights = (unlike / TEMPERATURE).softmax(dim=1)
    return (kept / frames * (1 + weights - 1 / frames)).clamp(max=tokens)


def share_out(rank: Tensor, shares: Tensor, kept: int) -> Tensor:
    """Return the indices [B, kept] of the tokens F·n that stay, ascending.

    The token of rank r in a frame with share s claims s − r, and the highest claims stay: shares
    are rounded so that they add up. The first of every frame comes before all others. Equal claims
    go to the lowest index.

    Args:
        rank: [B, F, n], places 0 to n − 1 of a frame's tokens in the order in which they stay.
        shares: [B, F].
        kept: Tokens of the whole video.
    """
    claims = shares[:, :, None] - rank
    claims = claims.masked_fill(rank == 0, float("inf"))
    return top_indices(claims.flatten(1), kept)


def vidcom2(frames: Tensor, kept: int) -> Tensor:
    """Return the indices [B, kept] of the tokens F·n that stay, ascending.

    In each frame those stay that are least like the video and their frame, together; the amounts
    are `frame_shares`. The released code rounds each frame's amount, so that its total may differ
    from what was asked for; here they are rounded together (`share_out`). No product.
    Source: arXiv 2505.14454; xuyang-liu16/VidCom2 commit d31b156.

    Args:
        frames: [B, F, n, d].
        kept: Tokens of the whole video.

    Raises:
        InvalidInput: There are fewer tokens.
    """
    _, count, tokens, _ = frames.shape
    check_count("count", kept, count * tokens)
    video, frame = likeness(frames)
    shares = frame_shares(-video.mean(dim=2), kept, tokens)
    order = (video + frame).sort(dim=2, stable=True).indices
    return share_out(order.argsort(dim=2), shares, kept)
