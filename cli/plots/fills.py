"""What fills the areas of figures: one colour and hatch for each part, told apart in grey too."""

from __future__ import annotations

from typing import Any, NamedTuple

from .figure import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION


class Fill(NamedTuple):
    """A colour, a hatch, and what the hatch is drawn in.

    Two fills of a figure differ in their hatches, or in lightness.
    """

    colour: str
    hatch: str = ""
    ink: str = "white"

    @property
    def style(self) -> dict[str, Any]:
        """What matplotlib fills an area with."""
        style: dict[str, Any] = {
            "facecolor": self.colour,
            "linewidth": 0,
            "edgecolor": self.ink,
        }
        return {**style, "hatch": self.hatch} if self.hatch else style


ENCODER = Fill(GREEN, "\\\\\\\\")
CONNECTOR = Fill(PURPLE, "....", BLACK)
DECODER = Fill(SKY)
FEED_FORWARD = DECODER
PROJECTIONS = Fill(BLUE)
SCORES = Fill(ORANGE, "////", BLACK)
HEAD = Fill(GREY, "||||")
SELECTION = Fill(VERMILLION, "xxxx")
LOADING = Fill(GREY)
PREFILL = Fill(BLUE)
DECODE = Fill(ORANGE, "////", BLACK)
WEIGHTS = Fill("#595959")
FIXED = Fill(GREEN, "\\\\\\\\")
CACHE = Fill(ORANGE)
TENSORS = Fill(SKY, "////", BLACK)
