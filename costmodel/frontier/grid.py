"""The grid of a frontier: first layers, keep levels and how many stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from ..errors import InvalidInput
from ..schedule import Rounding, Schedule, Stage, kept_tokens, ratio_text
from ..tokenplan import TokenPlan
from .search import Space


class Level(NamedTuple):
    """So many visual tokens, and the keep ratio that names them."""

    tokens: int
    ratio: Fraction


class Grid(NamedTuple):
    """Schedules of stages at some layers, each of which keeps fewer tokens than the one before.

    Attributes:
        layers: First layers that a stage may have, growing.
        levels: By growing tokens, all fewer than the dense ones.
        stages: Numbers of stages that are allowed, growing; 0 is the dense run.
        entering: Visual tokens M that enter decoder layer 0.
        rounding: How a ratio becomes whole tokens.
    """

    layers: tuple[int, ...]
    levels: tuple[Level, ...]
    stages: tuple[int, ...]
    entering: int
    rounding: Rounding

    @classmethod
    def of(
        cls,
        plan: TokenPlan,
        layers: Sequence[int],
        ratios: Iterable[Fraction],
        stages: Sequence[int],
        rounding: Rounding = "floor",
    ) -> Grid:
        """Return the grid of some layers and keep ratios for a dense plan.

        Ratios that leave equally many tokens are one level, which the shortest of them names. One
        that leaves all of them is no stage: it adds the dense run to the grid.

        Raises:
            InvalidInput: A layer that there is not, a ratio that leaves no token, or no schedule
                but the dense run.
        """
        entering, depth = plan.entering_visual_tokens, len(plan.layout)
        for layer in layers:
            if layer >= depth:
                problem = f"is not a layer of this model, which has {depth}"
                raise InvalidInput("prune_layer", layer, problem, f"give 0 to {depth - 1}")
        by_tokens: dict[int, list[Fraction]] = {}
        for ratio in ratios:
            kept = kept_tokens(ratio, entering, rounding)
            if not kept:
                problem = f"leaves none of the {entering:,} visual tokens"
                raise InvalidInput("keep", ratio_text(ratio), problem, "give more")
            by_tokens.setdefault(kept, []).append(ratio)
        levels = tuple(
            Level(tokens, min(found, key=lambda ratio: (len(ratio_text(ratio)), ratio)))
            for tokens, found in sorted(by_tokens.items())
            if tokens < entering
        )
        dense = (0,) if entering in by_tokens else ()
        counts = tuple(sorted({*dense, *stages}))
        grid = cls(tuple(sorted(layers)), levels, counts, entering, rounding)
        if not grid.space._replace(stages=tuple(stages)).size:
            problem = (
                f"makes no schedule of the layers ({len(grid.layers)}) and of the shares that "
                f"leave fewer tokens than there are ({len(levels)})"
            )
            shown = ", ".join(map(str, stages))
            raise InvalidInput("stages", shown, problem, "give more of these, or fewer stages")
        return grid

    @property
    def space(self) -> Space:
        """The grid as the search sees it."""
        return Space(self.layers, len(self.levels), self.stages)

    def schedule(self, stages: Iterable[tuple[int, int]]) -> Schedule:
        """Return the schedule of stages (first layer, level)."""
        specs = (
            Stage(first_layer=layer, ratio=self.levels[level].ratio) for layer, level in stages
        )
        return Schedule(stages=tuple(specs), rounding=self.rounding)

    def text(self, stages: Sequence[tuple[int, int]]) -> str:
        """Return stages as the line that a schedule is written in; the dense run keeps all."""
        if not stages:
            return f"keep 1 @ {self.layers[0]}"
        shown = (
            f"keep {ratio_text(self.levels[level].ratio)} @ {layer}" for layer, level in stages
        )
        return " | ".join(shown)
