"""The non-dominated schedules of a request, each priced again on its own."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from ..errors import InvalidInput
from ..plan import plan
from ..report import Report
from .grid import Grid
from .measures import Measure, cost_table, disagreement
from .retention import Importance, has_visual
from .search import Point, search


class Standing(NamedTuple):
    """A schedule that no other one of the grid beats.

    Attributes:
        point: What the search found.
        cost: What it comes to, in the measure's unit, by the search.
        retention: R, the proxy.
    """

    point: Point
    cost: Fraction
    retention: Fraction


class Solved(NamedTuple):
    """A frontier, and what it was asked for.

    Attributes:
        report: The request, dense.
        grid, importance, measure: What was searched, and by which value and cost.
        budget: The most that a schedule may cost; None is any.
        least: What the cheapest schedule of the grid costs, within the budget or not.
        standing: By growing cost and retention; the last is the best within the budget.
    """

    report: Report
    grid: Grid
    importance: Importance
    measure: Measure
    budget: Fraction | None
    least: Fraction
    standing: tuple[Standing, ...]

    def priced(self, one: Standing) -> Report:
        """Return the report of a schedule, whose cost and retention agree with the search's.

        Raises:
            TokencostError: They do not: the cost is no sum over layers after all.
        """
        request, stages, schedule = self.report, one.point.stages, None
        scheduled = request.dense
        if stages:
            schedule = self.grid.schedule(stages)
            scheduled = plan(request.model, request.workload, schedule)
        report = request._replace(schedule=schedule, scheduled=scheduled)
        scalar = self.measure.scalar(report)
        if not self.measure.agrees(one.point.cost, scalar):
            raise disagreement(self.grid.text(stages), one.cost, scalar)
        retained = self.importance.retained(scheduled.visual, self.grid.entering)
        if retained != one.retention:
            raise disagreement(self.grid.text(stages), one.retention, retained)
        return report


def frontier(
    report: Report,
    grid: Grid,
    importance: Importance,
    measure: Measure,
    budget: Fraction | None = None,
) -> Solved:
    """Return the schedules of a grid that nothing beats in cost and retention, within a budget.

    Without any within the budget, `standing` is empty and `least` says what the cheapest costs.

    Raises:
        InvalidInput: A report of a schedule, weights for another model, or a grid too large.
    """
    if report.schedule is not None:
        problem = "is searched for and cannot be given"
        raise InvalidInput("schedule", None, problem, "leave it out")
    check_weights(report, importance)
    most = None if budget is None else measure.most(budget)
    table, values = cost_table(report, grid, measure), importance.table(grid)
    # A budget that no sum can meet leaves the least cost to be told.
    limit = -1 if budget is not None and most is None else most
    found = search(grid.space, table, values, limit)
    standing: list[Standing] = []
    for point in found.points:
        one = Standing(point, measure.passes(point.cost), Fraction(point.value, values.dense))
        if standing and standing[-1].cost == one.cost:
            standing.pop()  # both wait for the host, and this one retains more
        standing.append(one)
    least = measure.passes(found.least)
    return Solved(report, grid, importance, measure, budget, least, tuple(standing))


def check_weights(report: Report, importance: Importance) -> None:
    """Refuse weights that are not those of a report's layers.

    Raises:
        InvalidInput: Too few or many, or one of a layer that has no visual tokens.
    """
    layout, weights = report.dense.layout, importance.weights
    if len(weights) != len(layout):
        problem = f"has {len(weights)} weights for {len(layout)} layers"
        raise InvalidInput("importance", importance.name, problem, "give one for each layer")
    for layer, (weight, one) in enumerate(zip(weights, layout, strict=True)):
        if weight and not has_visual(one):
            problem = f"weighs layer {layer}, which has no visual tokens"
            raise InvalidInput("importance", importance.name, problem, "give that layer 0")
