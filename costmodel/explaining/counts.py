"""Token counts that papers use: of images, videos, budgets and prompts; each with a source."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from ..tokens.base import Size


class Count(NamedTuple):
    """Visual tokens in the LLM.

    Attributes:
        tokens: Their number.
        source: Where it comes from, in words; empty where the user gave it.
        rank: How unnatural it is.
        images: Sizes of the images; empty is the model's default.
        given: The dense count to ask for; None derives it from the images.
    """

    tokens: int
    source: str
    rank: int
    images: tuple[Size, ...] = ()
    given: int | None = None


class Text(NamedTuple):
    """Text tokens, where they come from, and how unnatural they are.

    `structural` tells whether the model's structural tokens are counted beside them.
    """

    tokens: int
    source: str
    rank: int
    structural: bool = True


NO_TEXT = Text(0, "no text", 0)
#: Prompts. FastV's scripts pass `--fast-v-sys-length 36` (with the start token); DivPrune's code
#: has SYS_TOKEN_LEN = 35; 64 is this tool's own default.
TEXTS = (
    NO_TEXT,
    Text(36, "LLaVA's system prompt with the start token, as in FastV's scripts", 1),
    Text(35, "LLaVA's system prompt, as in DivPrune's code", 1),
    Text(64, "this tool's default", 2),
)
#: Text lengths that are tried one by one, and their ranks: prompts of benchmarks have up to 128.
FITTED_TEXTS = tuple(Text(n, "fitted", 4 if n <= 128 else 6) for n in range(1, 513))
#: Images other than the default one that papers measure with: 640×480 is COCO's, the rest squares.
COMMON_SIZES: tuple[Size, ...] = ((224, 224), (336, 336), (448, 448), (480, 640), (672, 672))
COMMON_SIZES += ((1024, 1024),)

#: Dense counts that papers print and no image gives under transformers' rule, by family.
PUBLISHED: dict[str, tuple[tuple[int, str], ...]] = {
    "LLaVA-NeXT": ((2880, "5 crops of 576, neither un-padded nor with newlines"),),
    "LLaVA-OneVision": (
        (6272, "32 frames of 196"),
        (7290, "10 crops of 729, neither un-padded nor with newlines"),
        (729, "one crop of 27 × 27"),
    ),
    "LLaVA-Video": ((10816, "64 frames of 169"),),
    "Video-LLaVA": ((2048, "8 frames of 256"),),
}
#: Tokens of a frame, and frames, as papers count them; budgets are taken per frame.
FRAMES: dict[str, tuple[int, int]] = {
    "LLaVA-OneVision": (196, 32),
    "LLaVA-Video": (169, 64),
    "Video-LLaVA": (256, 8),
    "LLaVA-NeXT-Video": (144, 8),
}
#: Budgets of comparison tables (VisionZip, SparseVLM, PyramidDrop and those after them).
BUDGETS: dict[int, tuple[int, ...]] = {576: (192, 128, 64, 32), 2880: (640, 320, 160)}
#: Shares that tables keep.
SHARES = tuple(Fraction(percent, 100) for percent in (5, 10, 15, 20, 25, 30, 50, 75))
#: Counts of other models, which a table may have carried over.
ELSEWHERE = (
    (576, "LLaVA-1.5"),
    (2880, "LLaVA-NeXT, nominal"),
    (2048, "Video-LLaVA"),
    (1024, "a 32 × 32 grid"),
    (729, "SigLIP at 384 pixels"),
    (256, "a 16 × 16 grid"),
    (196, "a 14 × 14 grid"),
    (144, "a 12 × 12 grid"),
    (64, "64 queries or kept tokens"),
)


def published(family: str, own: int) -> list[Count]:
    """Return dense counts of a family's papers, and their usual budgets."""
    dense = [Count(tokens, source, 0, (), tokens) for tokens, source in PUBLISHED.get(family, ())]
    found = list(dense)
    for tokens in dict.fromkeys((own, *(one.tokens for one in dense))):
        for kept in BUDGETS.get(tokens, ()):
            found.append(Count(kept, f"a usual budget of {tokens}", 1, (), kept))
    return found


def kept_shares(family: str, own: int) -> list[Count]:
    """Return the counts that usual shares leave of dense counts, and of frames one by one."""
    wholes = [own, *(tokens for tokens, _ in PUBLISHED.get(family, ()))]
    found = []
    for share in SHARES:
        percent = f"{int(share * 100)} %"
        if family in FRAMES:
            each, frames = FRAMES[family]
            for kept, how in _rounded(share * each):
                source = f"{kept} × {frames}: {percent} of {each} per frame{how}"
                found.append(Count(kept * frames, source, 2, (), kept * frames))
        for whole in wholes:
            found += [
                Count(kept, f"{percent} of {whole}{how}", 2, (), kept)
                for kept, how in _rounded(share * whole)
            ]
    return [one for one in found if one.tokens > 0]


def elsewhere() -> list[Count]:
    """Return counts of other models."""
    return [Count(tokens, source, 3, (), tokens) for tokens, source in ELSEWHERE]


def _rounded(amount: Fraction) -> list[tuple[int, str]]:
    if amount.denominator == 1:
        return [(int(amount), "")]
    return [(math.floor(amount), ", rounded down"), (math.ceil(amount), ", rounded up")]
