"""Image sizes that token rules are checked on, and the plan of a model for them."""

import math
import random

from vlm_tokencost.costmodel import TokenPlan, Workload, plan
from vlm_tokencost.presets import load_model

SIZES_PER_FAMILY = 400


def planned(model_id: str, *images: tuple[int, int]) -> TokenPlan:
    return plan(load_model(model_id), Workload(images=images, text_tokens=0))


def random_sizes(seed: str) -> list[tuple[int, int]]:
    """Draw (height, width): photographs, screens, strips; from tiny to large."""
    numbers = random.Random(seed)
    sizes = []
    for _ in range(SIZES_PER_FAMILY):
        longest = round(2 ** numbers.uniform(3, 13))  # 8 to 8,192 px, evenly on a log scale
        shortest = math.ceil(longest / 2 ** numbers.uniform(0, 4.3))  # up to 20 : 1
        sizes.append(numbers.choice([(longest, shortest), (shortest, longest)]))
    return sizes


def edges(*units: int) -> list[tuple[int, int]]:
    """Return sizes at, and one pixel around, multiples of the units of a rule."""
    sides = sorted(
        {multiple * unit + off for unit in units for multiple in (1, 2, 3, 6) for off in (-1, 0, 1)}
    )
    return [(height, width) for height in sides for width in sides]


#: Sizes that break careless rules: a pixel, lines, the largest square, odd aspect ratios.
ADVERSARIAL = [
    (1, 1), (1, 2), (2, 1), (1, 7), (7, 1), (13, 1), (3, 5), (10, 199), (199, 10), (20, 4000),
    (4000, 20), (65_535, 65_535), (65_535, 3_000), (3_000, 65_535), (335, 1009), (1009, 335),
    (100, 4_799), (4_799, 100), (997, 991), (1080, 1920), (1920, 1080), (480, 640), (640, 480),
    # un-padding leaves a whole number of rows or columns, which floats miss by an ulp
    (799, 376), (984, 205), (704, 1496), (1872, 832), (738, 1722), (617, 1851),
]  # fmt: skip

#: LLaVA's un-padding leaves little or nothing of these.
SLIVERS = [(2, 2365), (1, 2485), (2311, 1), (1, 1193), (112, 4), (1, 65_535), (65_535, 1)]
