"""Image sizes on entry."""

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import (
    InvalidInput,
    Stage,
    Workload,
)
from vlm_tokencost.costmodel.workload import image_size
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")


# --- image sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("336x672", (336, 672)),  # height first
        ("336X672", (336, 672)),
        ("336×672", (336, 672)),
        (" 336 x 672 ", (336, 672)),
        ("448", (448, 448)),
        ((336, 672), (336, 672)),
        ([336, 672], (336, 672)),
        (("336", 672), (336, 672)),
        ("1x65535", (1, 65_535)),
    ],
    ids=repr,
)
def test_image_size(value, expected):
    assert image_size(value) == expected
    assert Workload(images=[value]).images == (expected,)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("336x672x3", "is not a height and a width"),
        ("axb", "is not a height and a width"),
        ("", "is not a height and a width"),
        ("x", "is not a height and a width"),
        ("336x", "is not a height and a width"),
        ("336,672", "is not a height and a width"),
        ("336.0x672", "is not a height and a width"),
        ("+-3x5", "is not a height and a width"),
        (336.0, "is not a height and a width"),
        (True, "is not a height and a width"),
        ((336,) * 3, "is not a height and a width"),
        ((), "is not a height and a width"),
        (None, "is not a height and a width"),
        (float("nan"), "is not a height and a width"),
        ("0x5", "is below 1"),
        ("5x0", "is below 1"),
        ("0", "is below 1"),
        (448, "is not a height and a width"),  # (336, 672) as images would be two squares
        ("-3x5", "is below 1"),
        ("65536", "is above 65,535"),
        ("5x99999999999", "is above 65,535"),
    ],
    ids=repr,
)
def test_wrong_image_size(value, problem):
    error = refusal(image_size, value, "image_size")
    assert (error.field, error.problem) == ("image_size", problem)
    assert error.way_out == "give HEIGHTxWIDTH in pixels, such as 336x672"
    error = refusal(Workload, images=[value])
    assert error.field.startswith("images")
    assert error.problem == problem


def test_not_withdrawing_is_no_amount():
    with pytest.raises(InvalidInput, match="gives no amount"):
        Stage(first_layer=2, withdraw=False)
    assert Stage(first_layer=2, tokens=5, withdraw=False).tokens == 5


def test_images_are_a_sequence_of_sizes():
    assert Workload(images=["336", "448x224"]).images == ((336, 336), (448, 224))
    assert Workload(images=()).images == ()
    for value in (336, "336x672", None):
        assert refusal(Workload, images=value).field == "images"
    error = refusal(Workload, images=["336"] * 10_001)
    assert error.field == "images"
    assert "10,001" in str(error)
    assert "above 10,000" in error.problem
