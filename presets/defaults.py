"""Published defaults of methods as schedules of any model.

A method's data names one of these strategies and its figures; none knows a method.
"""

import math
from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from ..costmodel import Stage
from ..costmodel.numeric import Positive, Ratio, Spec
from ..costmodel.schedule import EncoderMerge, Rounding
from .case import Case, Place, Position, Primitives, compressed, first_layers
from .template import Template


class Default(Spec):
    """A published default as a schedule of any model."""

    @abstractmethod
    def primitives(self, case: Case) -> Primitives:
        """Return the fields of the schedule."""


class RatioStages(Default):
    """Shares of the entering visual tokens from given layers on."""

    strategy: Literal["ratio-stages"]
    first_layers: tuple[Position, ...]
    ratios: tuple[Ratio, ...]
    rounding: Rounding

    def primitives(self, case: Case) -> Primitives:
        """Return one stage per ratio; positions that are shares of the layers round down."""
        layers = first_layers(self.first_layers, case.layers, up=False)
        pairs = zip(layers, self.ratios, strict=True)
        stages = tuple(Stage(first_layer=layer, ratio=share) for layer, share in pairs)
        return {"stages": stages, "rounding": self.rounding}


class CompressedShare(Default):
    """A share of the visual tokens enters the LLM."""

    strategy: Literal["compressed-share"]
    ratio: Ratio
    rounding: Rounding
    at: Place

    def primitives(self, case: Case) -> Primitives:
        """Return the compression to a ratio."""
        return {**compressed(case, self.at, ratio=self.ratio), "rounding": self.rounding}


class TokensPerCrop(Default):
    """So many tokens of each crop enter the LLM.

    Attributes:
        tokens: Tokens of a crop.
        otherwise: Share of a crop's tokens where it has fewer.
    """

    strategy: Literal["tokens-per-crop"]
    tokens: Positive
    otherwise: Ratio
    at: Place

    def primitives(self, case: Case) -> Primitives:
        """Return the compression to the tokens of all crops."""
        crops = len(case.crops)
        present = min(*case.crop_tokens, case.visual_tokens // crops)
        each = self.tokens if self.tokens <= present else math.floor(self.otherwise * present)
        return compressed(case, self.at, tokens=max(1, each) * crops)


class MergedPerBlock(Default):
    """So many tokens are merged away in every encoder block."""

    strategy: Literal["merged-per-block"]
    merged_per_layer: Positive

    def primitives(self, case: Case) -> Primitives:
        """Return the merging in every block."""
        return {"encoder": EncoderMerge(merged_per_layer=self.merged_per_layer)}


class BudgetShare(Spec):
    """A budget that is a share of the visual tokens."""

    strategy: Literal["budget-share"]
    share: Ratio


DefaultStrategy = Annotated[
    RatioStages | CompressedShare | TokensPerCrop | MergedPerBlock | BudgetShare | Template,
    Field(discriminator="strategy"),
]
