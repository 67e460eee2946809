"""Options of `tokencost frontier`: the grid, the budget and the retention proxy."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal, NamedTuple, get_args

from ..costmodel import InvalidInput
from ..costmodel.flops import Convention
from ..costmodel.frontier import Grid
from ..costmodel.schedule import Rounding
from .asked import Asked, Unscheduled
from .options import Text, Texts, flag, one_of, option
from .request import SCHEDULE
from .sweep_axes import ratios, stage_counts, wholes
from .targets import Targets, one_convention

BUDGET = "Budget"
Quantity = Literal["flops", "kv-bytes", "ttft"]


@dataclass(eq=False, repr=False)
class Question(Unscheduled):
    """The shared options, with a grid of stages."""

    prune_layer: Annotated[
        Texts,
        option(
            SCHEDULE,
            "--prune-layer",
            "First layers (0-based) that stages may have.",
            "START:STOP:STEP",
        ),
    ] = ()  # type: ignore[assignment]
    keep: Annotated[
        Texts,
        option(
            SCHEDULE,
            "--keep",
            "Shares of the visual tokens that stages may keep; 1 adds the dense model.",
            "START:STOP:STEP",
        ),
    ] = ()  # type: ignore[assignment]
    stages: Annotated[
        Text,
        option(
            SCHEDULE,
            "--stages",
            "Stages of a schedule, as in 3 or 1..3, each of which keeps fewer tokens than the one "
            "before (default: 1).",
            "COUNT",
        ),
    ] = None
    rounding: Annotated[
        Text,
        option(
            SCHEDULE,
            "--rounding",
            "How a share becomes whole tokens: floor, round, ceil or float-floor (default: floor).",
            "RULE",
        ),
    ] = None

    def grid(self, asked: Asked) -> Grid:
        """Return the grid for a model and workload.

        Raises:
            InvalidInput: Axes that are missing, wrong or make no schedule.
        """
        for name, example in (("prune_layer", "1:31"), ("keep", "0.05:1:0.05")):
            if not getattr(self, name):
                raise InvalidInput(flag(name), None, "is missing", f"give some, such as {example}")
        rounding: Rounding = "floor"
        if self.rounding is not None:
            rounding = one_of(self.rounding, "--rounding", get_args(Rounding))
        layers, shares = wholes(self.prune_layer, "--prune-layer"), ratios(self.keep, "--keep")
        counts = stage_counts(self.stages, "--stages")
        try:
            return Grid.of(asked.dense, layers, shares, counts, rounding)
        except InvalidInput as error:
            raise self.renamed(error) from None

    def question(self) -> Asked:
        """Return the request without a schedule.

        Raises:
            InvalidInput: An option that is wrong, or that changes nothing here.
        """
        asked = self.asked()
        if asked.counting.selection != "ideal":
            problem = "changes nothing: no selection rule is priced"
            way_out = "leave it out"
            raise InvalidInput("--implementation", "selection=released", problem, way_out)
        return asked


class Limit(NamedTuple):
    """What a schedule costs, and how much at most.

    Attributes:
        quantity, convention: What cost is; the convention counts FLOPs alone.
        option, typed: The budget as it was given; None without any.
        amount: Budget in base units, or as a share of the dense cost (`--max-ratio`).
    """

    quantity: Quantity
    convention: Convention
    option: str | None = None
    typed: str | None = None
    amount: Fraction | None = None

    @property
    def is_share(self) -> bool:
        """Whether the budget is a share of the dense cost."""
        return self.option == "--max-ratio"


@dataclass(eq=False, repr=False)
class Budget:
    """The budget as typed: its quantity is what cost is."""

    max_flops: Annotated[
        Text,
        option(
            BUDGET,
            "--max-flops",
            "Cost such as 1.25T (k, M, G, T, P): FLOPs under exact, MACs under survey and gated.",
            "AMOUNT",
        ),
    ] = None
    max_ratio: Annotated[
        Text,
        option(
            BUDGET, "--max-ratio", "Share of the dense cost, such as 0.45, 1/3 or 45%.", "RATIO"
        ),
    ] = None
    max_kv_bytes: Annotated[
        Text,
        option(
            BUDGET,
            "--max-kv-bytes",
            "KV cache after the prefill, such as 100MB or 96MiB.",
            "BYTES",
        ),
    ] = None
    max_ttft: Annotated[
        Text,
        option(
            BUDGET,
            "--max-ttft",
            "Time to the first token on --device, such as 50ms (central estimate).",
            "TIME",
        ),
    ] = None

    def limit(self, convention: str | None, device: str | None) -> Limit:
        """Return what cost is, and its bound.

        Raises:
            InvalidInput: Several budgets, a malformed one, or one whose quantity is not there.
        """
        given = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        if not given:
            return Limit("flops", one_convention(convention))
        if len(given) > 1:
            problem = f"and {flag(given[0])} are two budgets"
            raise InvalidInput(flag(given[1]), None, problem, "give one of them")
        (name,) = given
        text = str(getattr(self, name))
        if name != "max_ttft":
            return _as_target(name, text, convention)
        if device is None:
            raise InvalidInput("--max-ttft", text, "needs a device", "add --device ID")
        if convention is not None:
            problem = "does not change what --max-ttft counts"
            raise InvalidInput("--convention", convention, problem, "leave it out")
        return Limit("ttft", "exact", "--max-ttft", text, _seconds(text))


def _as_target(name: str, text: str, convention: str | None) -> Limit:
    """Return a budget that `tokencost solve` has as a target, read as it reads it."""
    target, bound = name.replace("max_", "target_"), flag(name)
    try:
        found = Targets(**{target: text}).chosen(convention)
    except InvalidInput as error:
        field, problem = (
            part.replace(flag(target), bound) for part in (error.field, error.problem)
        )
        raise InvalidInput(field, error.value, problem, error.way_out) from None
    assert found is not None
    quantity: Quantity = "kv-bytes" if name == "max_kv_bytes" else "flops"
    return Limit(quantity, found[1].convention, bound, text, found[1].amount)


def _seconds(text: str) -> Fraction:
    """Return a time with its unit in seconds.

    >>> str(_seconds("50ms"))
    '1/20'
    """
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,12})?) ?(s|ms|us|µs)", text.strip())
    way_out = "give a time with its unit, such as 50ms or 0.05s"
    if found is None:
        raise InvalidInput("--max-ttft", text, "is not a time", way_out)
    scale = {"s": 1, "ms": 10**3}.get(found[2], 10**6)
    seconds = Fraction(Decimal(found[1])) / scale
    if not seconds:
        raise InvalidInput("--max-ttft", text, "is not above 0", way_out)
    return seconds
