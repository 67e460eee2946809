"""What becomes of images and frames of each family of `families.toml`."""

import math
import tomllib
from pathlib import Path

import pytest
from vlm_tokencost.costmodel.tokens import (
    RULES,
    Geometry,
    Processor,
    Rule,
    VisualInput,
    visual_input,
)

FAMILIES = tomllib.loads((Path(__file__).parent / "families.toml").read_text(encoding="utf-8"))


def geometry_of(patch_size: int, merge_size: int, connected: str | int) -> Geometry:
    """Return the geometry of a table of `families.toml`."""

    def connect(crop: tuple[int, int]) -> tuple[int, int]:
        rows, columns = crop
        if isinstance(connected, int):
            return 1, connected
        if connected == "same":
            return crop
        if connected == "merge":
            return rows // merge_size, columns // merge_size
        assert connected == "merge-up"
        return math.ceil(rows / merge_size), math.ceil(columns / merge_size)

    return Geometry(patch_size, merge_size, connect)


@pytest.fixture(scope="session")
def families():
    """Return the tables of `families.toml`."""
    return FAMILIES


@pytest.fixture(scope="session")
def rule_of():
    """Return a family's rule, with fields changed."""

    def build(family: str, **changes: object) -> Rule:
        return RULES.build({**FAMILIES[family]["token_rule"], **changes})

    return build


@pytest.fixture(scope="session")
def seen(rule_of):
    """Return the visual side of a prompt with images, or of a video's frames."""

    def see(
        family: str,
        *images: tuple[int, int],
        frames: int = 0,
        processor: Processor | None = None,
        **changes: object,
    ) -> VisualInput:
        rule = rule_of(family, **changes)
        if processor is not None:
            rule = rule.configured(processor)
        return visual_input(rule, images, geometry_of(**FAMILIES[family]["geometry"]), frames)

    return see


@pytest.fixture(scope="session")
def random_images():
    """Return images of one colour in random small sizes."""

    def draw(seed: str, count: int, longest: int = 256) -> list:
        import random

        from PIL import Image

        numbers = random.Random(seed)
        sizes = [(numbers.randint(8, longest), numbers.randint(8, longest)) for _ in range(count)]
        return [Image.new("RGB", size, color=(size[0] % 256, 90, 30)) for size in sizes]

    return draw
