"""What a budget of tokens means, and the schedule that meets it.

A method's data names one of these strategies and its figures; none knows a method.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool

from ..costmodel import InvalidInput, Stage
from ..costmodel.numeric import Count, Positive, Spec
from ..costmodel.schedule import EncoderMerge
from ..costmodel.selection import recycled
from .case import Case, Place, Position, Primitives, compressed, first_layers
from .template import Template


class Budget(Spec):
    """What a number of tokens means, and the schedule that meets it.

    Attributes:
        meaning: The same in words, for the reader.
    """

    meaning: ClassVar[str]

    def most(self, case: Case) -> int | None:
        """Return the largest budget that can be met; None if the strategy lists those it knows."""
        return case.visual_tokens

    def candidates(self, case: Case) -> Sequence[int] | None:
        """Return all budgets that can be met, in growing order; None if any up to `most` may be."""
        return None

    @abstractmethod
    def primitives(self, case: Case, budget: int) -> Primitives:
        """Return the fields of the schedule.

        Raises:
            InvalidInput: The budget cannot be met; the field is "budget".
        """


class EnteringTokens(Budget):
    """The visual tokens that enter the LLM, of all crops together."""

    meaning: ClassVar[str] = "the visual tokens that enter the LLM, of all crops together"
    strategy: Literal["entering-tokens"]
    at: Place
    per_crop: bool = False

    def most(self, case: Case) -> int | None:
        """Return all visual tokens, or what passes the connector if crops share equally."""
        if not self.per_crop:
            return case.visual_tokens
        return min(case.crop_tokens) * len(case.crops)

    def candidates(self, case: Case) -> Sequence[int] | None:
        """Return the multiples of the crops if they share equally."""
        return _multiples(case, self.most(case)) if self.per_crop else None

    def primitives(self, case: Case, budget: int) -> Primitives:
        """Return the compression to the budget, which crops share equally if they must."""
        if self.per_crop:
            share_per_crop(budget, len(case.crops))
        return compressed(case, self.at, tokens=budget)


class AverageOfOneStage(Budget):
    """The average of the visual tokens over the decoder layers, reached by one stage."""

    meaning: ClassVar[str] = (
        "the average of the visual tokens over the decoder layers, reached by one stage"
    )
    strategy: Literal["average-of-one-stage"]
    first_layer: Count

    def candidates(self, case: Case) -> Sequence[int] | None:
        """Return what the layers before the stage leave within reach."""
        return _from_full(case, self.first_layer)

    def primitives(self, case: Case, budget: int) -> Primitives:
        """Return the stage that keeps ⌊(T·B − K·M) / (T − K)⌋ from layer K on."""
        layers, full, tokens = case.layers, self.first_layer, case.visual_tokens
        if full >= layers:
            raise InvalidInput(
                "budget",
                budget,
                f"needs a stage at layer {full}, and the model has {layers} layers",
                "choose a deeper model",
            )
        because = f"layers before {full} keep all {tokens:,} visual tokens"
        _within_reach(budget, least_budget(layers, full, tokens), because)
        return _staged([full], [(layers * budget - full * tokens) // (layers - full)])


class AverageOfPyramid(Budget):
    """The average of the visual tokens over the decoder layers, reached by a geometric pyramid.

    Attributes:
        first_layers: Where stage s = 1, 2, … begins; it keeps ⌊λ^s·M⌋ tokens, at least one.
        grid: λ is the largest multiple of 1/grid whose average does not exceed the budget.
    """

    meaning: ClassVar[str] = (
        "the average of the visual tokens over the decoder layers, reached by a geometric pyramid"
    )
    strategy: Literal["average-of-pyramid"]
    first_layers: tuple[Position, ...]
    grid: Positive

    def candidates(self, case: Case) -> Sequence[int] | None:
        """Return what the layers before the first stage leave within reach."""
        return _from_full(case, first_layers(self.first_layers, case.layers, up=False)[0])

    def primitives(self, case: Case, budget: int) -> Primitives:
        """Return the stages of the largest λ that fits."""
        layers = first_layers(self.first_layers, case.layers, up=False)
        because = f"layers before {layers[0]} keep all {case.visual_tokens:,} visual tokens"
        _within_reach(budget, least_budget(case.layers, layers[0], case.visual_tokens), because)

        def tokens(step: int) -> list[int]:
            powers = range(1, len(layers) + 1)
            return [max(1, step**s * case.visual_tokens // self.grid**s) for s in powers]

        def fits(step: int) -> bool:
            amounts = [case.visual_tokens, *tokens(step)]
            ends = [*layers, case.layers]
            lengths = [end - start for start, end in zip([0, *layers], ends, strict=True)]
            summed = sum(a * b for a, b in zip(amounts, lengths, strict=True))
            return summed <= budget * case.layers

        return _staged(layers, tokens(_largest(fits, self.grid)))


class KeptLists(Budget):
    """The name of a published list of kept tokens per stage, or its share of another count.

    Attributes:
        first_layers: Where each stage begins; shares of the layers round up.
        visual_tokens: The dense count that the lists are for; others scale them, rounding down.
        lists: Kept tokens of each stage by budget.
        recycles: Whether merged tokens come on top.
    """

    meaning: ClassVar[str] = (
        "the name of a published list of kept tokens per stage, or its share of another count"
    )
    strategy: Literal["kept-lists"]
    first_layers: tuple[Position, ...]
    visual_tokens: Positive
    lists: dict[int, tuple[Positive, ...]]
    recycles: StrictBool = True

    def most(self, case: Case) -> int | None:
        """Return None: what is in no list is refused with the lists."""
        return None

    def candidates(self, case: Case) -> Sequence[int] | None:
        """Return each list's share of the visual tokens."""
        scale = Fraction(case.visual_tokens, self.visual_tokens)
        return sorted({max(1, math.floor(name * scale)) for name in self.lists})

    def primitives(self, case: Case, budget: int) -> Primitives:
        """Return a stage per entry of the list, with the clusters that its dropped become."""
        scale = Fraction(case.visual_tokens, self.visual_tokens)
        nearest = min(self.lists, key=lambda name: abs(name * scale - budget))
        if abs(nearest * scale - budget) >= 1:
            shares = dict.fromkeys(max(1, math.floor(name * scale)) for name in self.lists)
            known = ", ".join(f"{share:,}" for share in shares)
            lists = ", ".join(map(str, self.lists))
            problem = f"has no published list ({lists} of {self.visual_tokens:,})"
            if scale != 1:
                problem += f", nor is it such a share of {case.visual_tokens:,} visual tokens"
            raise InvalidInput("budget", budget, problem, f"choose from {known}")
        before, amounts = case.visual_tokens, []
        for kept in self.lists[nearest]:
            scaled = max(1, kept * case.visual_tokens // self.visual_tokens)
            scaled = min(scaled, before)
            before = with_clusters(scaled, before) if self.recycles else scaled
            amounts.append(before)
        return _staged(first_layers(self.first_layers, case.layers, up=True), amounts)


class MergedToTokens(Budget):
    """The visual tokens that enter the LLM, merged evenly over the contributing encoder blocks."""

    meaning: ClassVar[str] = (
        "the visual tokens that enter the LLM, merged evenly over the contributing encoder blocks"
    )
    strategy: Literal["merged-to-tokens"]

    def most(self, case: Case) -> int | None:
        """Return all patches; one less per crop where separators stay unless something merges."""
        if case.merge_size > 1:
            return None  # no budget fits: the model is refused where the schedule is priced
        crops, patches = len(case.crops), case.patches
        return (patches - (case.visual_tokens != patches * crops)) * crops

    def candidates(self, case: Case) -> Sequence[int] | None:
        """Return the multiples of the crops; one that tells why, where the model is refused."""
        most = self.most(case)
        return (case.visual_tokens,) if most is None else _multiples(case, most)

    def primitives(self, case: Case, budget: int) -> Primitives:
        """Return what each block merges: equal numbers, the larger of two first."""
        crops, patches, blocks = len(case.crops), case.patches, case.encoder_layers
        left = share_per_crop(budget, crops)

        def leaves_more(asked: int) -> bool:
            return patches - sum(self._spread(case, asked)) > left

        if not leaves_more(0):
            return {"encoder": EncoderMerge(merged_per_layer=(0,) * blocks)}
        least = patches - sum(self._spread(case, patches * blocks))
        because = f"{blocks} encoder blocks cannot merge a crop below {least:,} tokens"
        _within_reach(budget, least * crops, because)
        asked = _largest(leaves_more, patches * blocks) + 1
        return {"encoder": EncoderMerge(merged_per_layer=self._spread(case, asked))}

    def _spread(self, case: Case, asked: int) -> tuple[int, ...]:
        """Return what each block merges when so many are asked for; half of its tokens at most."""
        each, more = divmod(asked, case.encoder_layers)
        tokens, merged = case.patches + case.class_token, []
        for block in range(case.encoder_layers):
            merged.append(min(each + (block < more), (tokens - case.class_token) // 2))
            tokens -= merged[-1]
        return tuple(merged)


def with_clusters(kept: int, before: int) -> int:
    """Return the tokens of a stage that keeps `kept` of `before` and recycles some of the rest.

    >>> with_clusters(300, before=576)
    309
    """
    return min(before, kept + recycled(before, kept).clusters)


def share_per_crop(budget: int, crops: int) -> int:
    """Return the tokens of each crop.

    Raises:
        InvalidInput: The budget is not a multiple of the crops.
    """
    if budget % crops:
        near = [count for count in (budget // crops, budget // crops + 1) if count]
        way_out = f"give {' or '.join(f'{count * crops:,}' for count in near)}"
        raise InvalidInput("budget", budget, f"is not a multiple of the {crops} crops", way_out)
    return budget // crops


def least_budget(layers: int, full_layers: int, tokens: int) -> int:
    """Return ⌈(K·M + T − K) / T⌉, the average when one token is left from layer K on.

    >>> least_budget(layers=32, full_layers=2, tokens=576)
    37
    """
    return -(-(full_layers * tokens + layers - full_layers) // layers)


def _from_full(case: Case, full_layers: int) -> Sequence[int] | None:
    """Return the budgets that leave a token behind layers that keep all; None if there are none."""
    least = least_budget(case.layers, full_layers, case.visual_tokens)
    return range(least, case.visual_tokens + 1) if full_layers < case.layers else None


def _multiples(case: Case, most: int | None) -> Sequence[int] | None:
    crops = len(case.crops)
    found = range(crops, (most or 0) + 1, crops)
    return found or None


def _within_reach(budget: int, least: int, because: str) -> None:
    if budget < least:
        raise InvalidInput(
            "budget", budget, f"is out of reach: {because}", f"give {least:,} or more"
        )


def _staged(layers: Sequence[int], tokens: Sequence[int]) -> Primitives:
    stages = [Stage(first_layer=a, tokens=b) for a, b in zip(layers, tokens, strict=True)]
    return {"stages": tuple(stages)}


def _largest(holds: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to `most` that holds, for what holds at 0 and then up to it."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


BudgetStrategy = Annotated[
    EnteringTokens | AverageOfOneStage | AverageOfPyramid | KeptLists | MergedToTokens | Template,
    Field(discriminator="strategy"),
]
