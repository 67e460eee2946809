"""The gallery's pictures: each is drawn by a command that the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")
PICTURES = re.findall(r"!\[[^\]]+\]\(gallery/([^)]+)\)", PAGE)


def test_every_picture_has_its_command():
    drawn = re.findall(r"^\$ tokencost plot .*--output (\S+)", PAGE, re.MULTILINE)
    assert drawn == PICTURES
    assert {path.name for path in (DOCS / "gallery").glob("*.*")} == {*PICTURES, "make.py"}


def test_every_kind_is_shown():
    from vlm_tokencost.cli.commands.plot import KINDS

    shown = set(re.findall(r"^\$ tokencost plot (\S+)", PAGE, re.MULTILINE))
    assert shown >= set(KINDS) - {"pareto"}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_small(name):
    path = DOCS / "gallery" / name
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size <= 80_000
