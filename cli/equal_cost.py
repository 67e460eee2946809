"""Methods at the same cost: every method's budget is solved for it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from ..costmodel import InvalidInput
from ..costmodel.flops import Convention
from ..costmodel.solving import EXHAUSTIVE, Solution, Target
from .asked import Asked
from .free import budgets, plain_amount, solved_over
from .method_rows import Compared, applied, reason, refused
from .targets import name_of

if TYPE_CHECKING:
    from ..presets import Method

#: Up to this many methods every budget is priced; of more, budgets are found by bisection.
FEW = 8


def reference(
    asked: Asked, method: Method, budget: int | None, convention: Convention
) -> tuple[Target, Compared]:
    """Return the cost of a method as the target of the others.

    Raises:
        InvalidInput: The method refuses the request.
    """
    first = applied(asked, method, budget)
    if first.report is None:
        problem = f"cannot be the reference: {first.row['reason']}"
        raise InvalidInput("--methods", method.id, problem, "name another method first")
    return Target("flops", Fraction(first.report.total(convention)), convention), first


def at_target(asked: Asked, methods: list[Method], target: Target) -> list[Compared]:
    """Return each method at the largest budget whose cost does not exceed the target."""
    exhaustive = EXHAUSTIVE if len(methods) <= FEW else 0
    return [_solved(asked, method, target, exhaustive) for method in methods]


def _solved(asked: Asked, method: Method, target: Target, exhaustive: int) -> Compared:
    refusals: list[str] = []
    dense = asked.report().total(target.convention)

    def price(budget: int) -> Fraction | None:
        try:
            schedule = method.schedule(asked.model, asked.workload, budget)
            return target.measured(asked.report(schedule), dense)
        except InvalidInput as error:
            if not refusals:
                refusals.append(reason(asked, method, budget, error))
            return None

    try:
        known = budgets(method, asked, None)
    except InvalidInput as error:
        return refused(asked, method, None, str(error))
    found = solved_over(known, price, target, exhaustive)
    if found is None:
        return refused(asked, method, None, refusals[0])
    if found.within is None:
        return refused(asked, method, None, _dearer(target, found))
    return applied(asked, method, found.within)


def _dearer(target: Target, found: Solution) -> str:
    least = plain_amount(target, found.least)
    goal = plain_amount(target, target.amount)
    return f"no budget is within {goal}: the least {name_of(target)} is {least}"
