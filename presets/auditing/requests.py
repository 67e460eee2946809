"""Requests for which a figure may be printed, and measures over them."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from ...costmodel import Report
from ..claim import Claim
from .measures import Measure, values
from .printed import number
from .setting import OWN, Variant, report_of


class Prompt(NamedTuple):
    """The requests for which a figure may be printed, and how unnatural that is.

    Attributes:
        lengths: Text tokens of each.
        rank: 0 is what the claim states.
        visual: Dense visual tokens of each; empty for the claim's own.
    """

    lengths: tuple[int, ...]
    rank: int
    visual: tuple[int, ...] = ()

    def variants(self, variant: Variant) -> list[tuple[int, Variant]]:
        """Return the text tokens of each request with what it varies."""
        if not self.visual:
            return [(length, variant) for length in self.lengths]
        pairs = zip(self.lengths, self.visual, strict=True)
        return [(length, variant._replace(visual_tokens=visual)) for length, visual in pairs]


def prompts(claim: Claim) -> tuple[Prompt, ...]:
    """Return the prompts that nothing has to be fitted for: as stated, and none at all."""
    if claim.text_lengths:
        return (Prompt(claim.text_lengths, 0, claim.visual_lengths),)
    if claim.text_tokens:
        return Prompt((claim.text_tokens,), 0), Prompt((0,), 1)
    return (Prompt((0,), 0),)


def measured(
    claim: Claim, wanted: tuple[Measure, ...], prompt: Prompt, variant: Variant = OWN
) -> list[Fraction]:
    """Return all measures, each the mean over the lengths of a prompt."""
    requests = prompt.variants(variant)
    rows = [values(report_of(claim, length, own), wanted) for length, own in requests]
    return [sum(column, Fraction(0)) / len(rows) for column in zip(*rows, strict=True)]


def tokens_of(report: Report) -> int:
    """Return the LLM tokens of the dense run."""
    plan = report.dense
    return plan.dense_visual_tokens + plan.structural_tokens + plan.text_tokens


def of_tokens(
    claim: Claim,
    lengths: tuple[int, ...],
    variant: Variant = OWN,
    visual_lengths: tuple[int, ...] = (),
) -> str:
    """Return the tokens of the dense run, or their means over several requests, in words."""
    plan = report_of(claim, lengths[0], variant).dense
    visual, others = plan.dense_visual_tokens, plan.structural_tokens + plan.text_tokens
    if len(lengths) > 1:
        seen = number(sum(visual_lengths) / len(lengths)) if visual_lengths else f"{visual:,}"
        mean = number(sum(lengths) / len(lengths))
        return f"{len(lengths)} requests of {seen} visual and {mean} text tokens on average"
    if not others:
        return f"{visual:,} visual tokens and no others"
    return f"{visual + others:,} LLM tokens ({visual:,} visual + {others:,} others)"
