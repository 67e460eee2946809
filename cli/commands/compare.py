"""`tokencost compare`: reduction methods side by side, at a budget or at the same cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...costmodel import InvalidInput
from ...costmodel.numeric import whole
from ..asked import Asked, Unscheduled
from ..document import Document
from ..export import deliver
from ..options import COUNTING, Sink, Text, conventions, one_of, option, shares
from ..targets import Targets, one_convention

if TYPE_CHECKING:
    from ...costmodel.flops import Convention
    from ...costmodel.solving import Target
    from ..method_rows import Compared

app = typer.Typer(add_completion=False)

METHODS = "Methods"


@app.command()
@shares(Unscheduled, Targets, Sink)
def compare(
    request: Unscheduled,
    targets: Targets,
    sink: Sink,
    budget: Annotated[
        Text,
        option(
            METHODS,
            "--budget",
            "Visual tokens that each method may use, as it counts them (default: each method's "
            "published setting).",
            "INT",
        ),
    ] = None,
    methods: Annotated[
        Text,
        option(METHODS, "--methods", "Ids, as in fastv,visionzip, or all (default: all).", "IDS"),
    ] = None,
    equal_flops: Annotated[
        bool,
        option(
            METHODS,
            "--equal-flops",
            "Give each method the largest budget whose cost does not exceed that of the first "
            "method named, or the target.",
        ),
    ] = False,
    sort: Annotated[
        Text,
        option(
            METHODS,
            "--sort",
            "Order by average, exact, survey, gated, kv or method (default: as named).",
            "KEY",
        ),
    ] = None,
    convention: Annotated[
        Text,
        option(
            COUNTING,
            "--convention",
            "Shown: survey, gated, exact or all (default: all); with --equal-flops, the one by "
            "which costs are equal (default: exact).",
            "NAME",
        ),
    ] = None,
) -> None:
    """Put reduction methods side by side: tokens, cost, memory, selection.

    Example: tokencost compare --model llava-1.5-7b --budget 192 --methods fastv,visionzip
    """

    def build() -> Document:
        return _document(request, targets, budget, methods, equal_flops, sort, convention)

    deliver(sink, build, None, request.config)


def _document(
    request: Unscheduled,
    targets: Targets,
    budget: str | None,
    methods: str | None,
    equal_flops: bool,
    sort: str | None,
    convention: str | None,
) -> Document:
    from ..method_table import SORTS

    chosen = conventions(None if equal_flops else convention)
    key = None if sort is None else one_of(sort, "--sort", SORTS)
    tokens = None if budget is None else whole(budget, "--budget", minimum=1)
    target = targets.chosen(convention if equal_flops else None)
    if target is not None and not equal_flops:
        problem = "needs --equal-flops, which gives every method a budget for it"
        raise InvalidInput(target[0], None, problem, "add --equal-flops")
    from ..method_rows import applied, chosen_methods, dense

    named = chosen_methods(methods)
    asked = request.asked()
    if not equal_flops:
        rows = [dense(asked), *(applied(asked, method, tokens) for method in named)]
        return _answer(asked, rows, chosen, key, tokens, None)
    from ..equal_cost import at_target, reference
    from ..free import refuse_meaningless

    single = target[1].convention if target else one_convention(convention)
    refuse_meaningless(asked, single)
    if target is not None:
        if tokens is not None:
            problem = f"cannot go with {target[0]}, for which budgets are solved"
            raise InvalidInput("--budget", budget, problem, "leave one of them out")
        goal, rows = target[1], []
    else:
        if methods in (None, "all"):
            way_out = "name --methods, of which the first is the reference, or give a target"
            raise InvalidInput("--equal-flops", None, "has no reference", way_out)
        goal, first = reference(asked, named[0], tokens, single)
        rows, named = [first], named[1:]
    rows = [dense(asked), *rows, *at_target(asked, named, goal)]
    return _answer(asked, rows, chosen, key, tokens, goal)


def _answer(
    asked: Asked,
    rows: list[Compared],
    chosen: tuple[Convention, ...],
    key: str | None,
    tokens: int | None,
    goal: Target | None,
) -> Document:
    """Return the comparison, unless the dense model alone has figures."""
    from ..method_table import document

    others = [row.row for row in rows[1:]]
    if others and all(row["reason"] is not None for row in others):
        first = others[0]
        problem = f"have figures for none of {len(others)}: {first['method']}: {first['reason']}"
        raise InvalidInput("--methods", None, problem, "name other methods or another budget")
    return document(asked, rows, chosen, key, tokens, goal)
