"""Rules on the frames of a video, between connector and LLM."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...costmodel import InvalidInput
from ...costmodel.tokens.base import Size
from ..adapters import Pixels
from ..prompt import Visual
from .base import Rule, split

if TYPE_CHECKING:
    from torch import Tensor


class OnFrames(Rule):
    """Chooses among the tokens of all frames of a request; newlines behind the last frame stay.

    A frame is a crop of the encoder: of the Qwen-VL family a pair of frames, of an image a crop.
    Its tokens are the visual tokens divided by the crops, newlines of its rows among them.

    Attributes:
        patches: Rows and columns of a frame's patches in the encoder.
    """

    patches: Size

    renumbers = True
    ranks_in_encoder = True

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Choose what enters the LLM; each token has the place that it was chosen at."""
        import torch

        (features,) = _of_one(run(), pixels)
        batch, total, _ = features.shape
        frames = pixels.crop_count
        per_frame = total // frames
        tail = total - frames * per_frame
        if count <= tail:
            problem = f"leaves nothing of the frames beside {tail} newlines"
            raise InvalidInput("reduction.compressed", count, problem, "keep more tokens")
        # Of Qwen3-VL, features for the first layers stand beside a token's own.
        width = self.adapter.decoder.config.hidden_size
        own = features[:, : frames * per_frame, :width]
        self.patches = pixels.crops[0][0]
        tokens, kept = self.left(
            features[:, : frames * per_frame],
            own.reshape(batch, frames, per_frame, width),
            count - tail,
        )
        behind = torch.arange(frames * per_frame, total, device=kept.device)
        return Visual(
            [torch.cat([tokens, features[:, frames * per_frame :]], dim=1)],
            [total],
            [torch.cat([kept, behind.expand(batch, -1)], dim=1)],
            in_place=True,
            keeps_ids=not self.renumbers,
        )

    def left(self, features: Tensor, frames: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the tokens [B, count, c] that are left, and which ones they are, [B, count].

        Args:
            features: All tokens, with what stands beside them, [B, F·n, c].
            frames: The tokens alone, [B, F, n, d].
            count: Tokens to be left of all frames.
        """
        from ..reducers.common import take

        kept = self.choose(frames, count)
        return take(features, kept), kept

    def choose(self, frames: Tensor, count: int) -> Tensor:
        """Return which tokens stay, [B, count], ascending, of frames [B, F, n, d] in one row."""
        raise NotImplementedError


class VidCom2(OnFrames):
    """What is least like the mean of its frame and of the video, most of it in unlike frames."""

    def choose(self, frames: Tensor, count: int) -> Tensor:
        """Keep by likeness, in half of the channels."""
        from ..reducers.vidcom2 import vidcom2

        return vidcom2(frames, count)


class DyCoke(OnFrames):
    """In groups of four frames, three keep what is least like an earlier one.

    What decode forwards compute to choose the keys that they read is not run.
    """

    chooses_in_decoding = True

    def choose(self, frames: Tensor, count: int) -> Tensor:
        """Keep as many of each compared frame as the plan leaves of all of them.

        Raises:
            InvalidInput: Those cannot be shared equally.
        """
        from ..reducers.dycoke import compared, dycoke

        number, tokens = frames.shape[1:3]
        among = len(compared(number))
        left, over = divmod(count - (number - among) * tokens, among) if among else (tokens, 0)
        if over or left < 0 or (not among and count != number * tokens):
            raise InvalidInput(
                "reduction.compressed",
                count,
                f"cannot be left of {number} frames of {tokens} tokens, {among} of which lose "
                "equally many",
                "take frames one by one, not in pairs",
            )
        return dycoke(frames, left)


class FrameFusion(OnFrames):
    """Tokens merge into their places in the frame before; what is left keeps its position id."""

    renumbers = False

    def left(self, features: Tensor, frames: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Merge the tokens that are most like the frame before."""
        from ..reducers.framefusion import framefusion, fused

        fusion = framefusion(frames, count)
        return fused(features, fusion), fusion.kept


class ForestPrune(OnFrames):
    """Roots and trunks of trees that like tokens form through the frames."""

    def choose(self, frames: Tensor, count: int) -> Tensor:
        """Keep half of each frame by information flow, and of those what is near its root."""
        from ..reducers.forestprune import forestprune

        return forestprune(frames, count, grid_of(frames.shape[2], self.patches))


class FreeVA(Rule):
    """All tokens, maxima of pairs or the mean over frames, which may be images of one crop."""

    renumbers = True
    ranks_in_encoder = True

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Aggregate; a newline behind all frames is dropped, and a mean stands in the first frame.

        Raises:
            InvalidInput: Images that are no frames, or another amount than the rule can leave.
        """
        import torch

        from ..reducers.freeva import freeva

        features = run()
        dense = [int(one.shape[1]) for one in features]
        if pixels.clip is None and (len(set(dense)) > 1 or pixels.crop_count > len(features)):
            problem = "are no frames: they have several crops, or differ in size"
            raise InvalidInput("--images", len(features), problem, "give images of one crop")
        number = pixels.crop_count
        tokens = sum(dense) // number
        frames = [one[:, : one.shape[1] // tokens * tokens] for one in features]
        joined = torch.cat(frames, dim=1)
        stacked = joined.reshape(len(joined), number, tokens, joined.shape[-1])
        made, each = freeva(stacked, count)
        places = each * torch.arange(tokens // each, device=made.device)
        places = (places + tokens * torch.arange(number, device=made.device)[:, None]).flatten()
        places = places[: made.shape[1]].expand(len(made), -1)
        # In a video all frames are one image.
        total, most = made.shape[1], tokens // each
        sizes = [total] if pixels.clip else _filled(total, most, len(features))
        starts = [0 if pixels.clip else tokens * image for image in range(len(features))]
        sources = [part - start for part, start in zip(split(places, sizes), starts, strict=True)]
        return Visual(split(made, sizes), dense, sources, in_place=True)


def _filled(total: int, most: int, parts: int) -> list[int]:
    """Return amounts of at most `most` that add up to a total, the first ones full."""
    return [max(0, min(most, total - most * part)) for part in range(parts)]


def grid_of(tokens: int, patches: Size) -> Size:
    """Return the rows and columns of a frame's tokens, which have the shape of its patches.

    >>> grid_of(196, (27, 27)), grid_of(368, (32, 46)), grid_of(182, (27, 27))
    ((14, 14), (16, 23), (13, 14))
    """
    rows = max(1, round(math.sqrt(tokens * patches[0] / patches[1])))
    return rows, math.ceil(tokens / rows)


def _of_one(features: list[Tensor], pixels: Pixels) -> list[Tensor]:
    """Return the tokens of a request's video, or of its only image if that is one crop.

    Raises:
        InvalidInput: There are several images, or crops that are no frames.
    """
    if pixels.clip is None and pixels.crop_count > 1:
        raise InvalidInput(
            "--images",
            len(features),
            f"with {pixels.crop_count} crops are no video, whose frames the rule compares",
            "give --frames",
        )
    return features


#: The rules of this module, by the name under which methods describe them.
RULES: dict[str, type[Rule]] = {
    "temporal merging and dynamic cache": DyCoke,
    "VidCom2": VidCom2,
    "similarity of neighbouring frames": FrameFusion,
    "FreeVA": FreeVA,
    "ForestPrune": ForestPrune,
}
