"""Draw the pictures of docs/gallery.md, and the README's: run their commands where they belong.

`python docs/gallery/make.py`, with tokencost and its `plot` extra installed. The pictures are what
the commands write, in at most 256 colours, which makes them half as large.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1]
#: Pages with commands, and the folder of the pictures they show.
PAGES = {DOCS / "gallery.md": DOCS / "gallery", DOCS.parent / "README.md": DOCS}
COLOURS = 256


def commands(page: Path) -> list[list[str]]:
    """Return the commands of a page that draw."""
    lines = re.findall(r"^\$ tokencost (plot .*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line) for line in lines]


def main() -> None:
    """Draw everything."""
    from PIL import Image

    for page, folder in PAGES.items():
        for words in commands(page):
            command = [sys.executable, "-m", "vlm_tokencost.cli", *words]
            subprocess.run(command, cwd=folder, check=True)
            picture = folder / words[words.index("--output") + 1]
            if picture.suffix == ".png":
                # Rare colours count as much as those of large areas.
                rare = Image.Quantize.MAXCOVERAGE
                drawn = Image.open(picture).convert("RGB").quantize(COLOURS, rare)
                drawn.save(picture, optimize=True)
            if "--data" in words:
                (folder / words[words.index("--data") + 1]).unlink()  # the page shows pictures


if __name__ == "__main__":
    main()
