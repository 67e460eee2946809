"""Published results as rows: the score, the tokens as the source counts them, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from ..costmodel import InvalidInput, Report, UnknownName, evaluate
from ..costmodel.flops import UNITS, Convention
from ..costmodel.version import __version__
from ..presets import load_model
from ..presets.result import AVERAGE, Result, ResultTable, load_results
from .rows import Row
from .summary import SCHEMA_VERSION

LISTING = "tokencost results list"


class Priced(NamedTuple):
    """A result with the report that prices it, or why there is none."""

    table: ResultTable
    result: Result
    report: Report | None
    reason: str | None


class Question(NamedTuple):
    """What results are put beside: a score and a cost.

    Attributes:
        benchmark: A benchmark, or "average".
        convention: By which the cost is counted.
        text_tokens: Of the request.
    """

    benchmark: str
    convention: Convention
    text_tokens: int


def chosen_tables(name: str | None) -> tuple[ResultTable, ...]:
    """Return the tables that --table names; all of them by default.

    Raises:
        UnknownName: No table has that id.
    """
    tables = load_results()
    if name is None:
        return tuple(tables.values())
    if name not in tables:
        raise UnknownName("--table", name, tuple(tables), LISTING)
    return (tables[name],)


def chosen_benchmark(tables: Iterable[ResultTable], name: str | None) -> str:
    """Return the benchmark that --benchmark names, in whatever case; the average by default.

    Raises:
        InvalidInput: No table has it.
    """
    if name is None:
        return AVERAGE
    known = dict.fromkeys([AVERAGE, *(one for table in tables for one in table.benchmarks)])
    found = next((one for one in known if one.lower() == name.lower()), None)
    if found is None:
        way_out = f"choose from {', '.join(known)}"
        raise InvalidInput("--benchmark", name, "has no scores here", way_out)
    return found


def chosen_results(
    tables: Iterable[ResultTable], method: str | None, model: str | None
) -> list[tuple[ResultTable, Result]]:
    """Return the results that --method and --model leave, in the tables' order.

    Raises:
        UnknownName: No result is of that method or model.
    """
    found = [(table, result) for table in tables for result in table.results]
    for flag, name, attributes in (
        ("--method", method, ("applies", "method")),
        ("--model", model, ("model", "model_name")),
    ):
        if name is None:
            continue
        kept = [
            pair
            for pair in found
            if name.lower() in (getattr(pair[1], one).lower() for one in attributes)
        ]
        if not kept:
            known = dict.fromkeys(
                getattr(pair[1], one) for one in attributes for pair in found if pair[1].id
            )
            raise UnknownName(flag, name, [one for one in known if one], LISTING)
        found = kept
    return found


def priced(table: ResultTable, result: Result, question: Question) -> Priced:
    """Return a result with its cost, or why it has none."""
    if result.uncosted:
        return Priced(table, result, None, result.uncosted)
    model = load_model(result.model)
    workload = result.workload(question.text_tokens)
    try:
        schedule = result.applied(model, workload)
        if schedule is not None and question.convention != "exact":
            # Published conventions price no choice of tokens, and rules refuse requests without
            # text.
            schedule = schedule.model_copy(update={"selection": None})
        report = evaluate(model, workload, schedule)
    except InvalidInput as error:
        return Priced(table, result, None, str(error))
    return Priced(table, result, report, report.obstacle(question.convention))


def rows(found: Iterable[tuple[ResultTable, Result]], question: Question) -> list[Row]:
    """Return a row for each result, each marked where another of its table dominates it.

    Those that `found` leaves out dominate as well.
    """
    wanted = list(found)
    tables = {table.id: table for table, _ in wanted}
    listed = {
        result.id: row(priced(table, result, question), question)
        for table in tables.values()
        for result in table.results
    }
    for one in listed.values():
        one["dominated_by"] = _dominating(one, list(listed.values()))
    return [listed[result.id] for _, result in wanted]


def row(one: Priced, question: Question) -> Row:
    """Return a result's row, which nothing dominates yet."""
    table, result, report = one.table, one.result, one.report
    cost = dense = None
    if report is not None and one.reason is None:
        cost = report.bill(question.convention).total
        dense = report.bill(question.convention, scheduled=False).total
    return {
        "schema_version": SCHEMA_VERSION,
        "tokencost_version": __version__,
        "id": result.id,
        "table": table.id,
        "method": result.method,
        "applies": result.applies or None,
        "model_name": result.model_name,
        "model": result.model or None,
        "text_tokens": question.text_tokens,
        "nominal_visual_tokens": result.tokens,
        "nominal_is_about": result.about,
        "average_visual_tokens": report and float(report.scheduled.average_visual_tokens),
        "entering_visual_tokens": report and report.scheduled.entering_visual_tokens,
        "benchmark": question.benchmark,
        "score": number(result.score(question.benchmark)),
        "compared_score": compared(table, result, question.benchmark),
        "compared_benchmarks": list(table.counted(result, question.benchmark)),
        "published_benchmarks": published(result, question.benchmark),
        "convention": question.convention,
        "unit": UNITS[question.convention],
        "cost": cost,
        "dense_cost": dense,
        "ratio": cost / dense if cost is not None and dense else None,
        "dominated_by": None,
        "assumed": _assumed(one),
        "reason": one.reason,
    }


def compared(table: ResultTable, result: Result, benchmark: str) -> int | float | None:
    """Return the score by which results of a table are compared (`ResultTable.comparable`)."""
    found = table.comparable(result, benchmark)
    return float(found) if isinstance(found, Fraction) else number(found)


def published(result: Result, benchmark: str) -> int:
    """Return how many benchmarks' scores stand beside the printed score, or are it."""
    if result.score(benchmark) is None:
        return 0
    return len(result.averaged) if benchmark == AVERAGE else 1


def averaged_text(table: ResultTable) -> str:
    """Return over what results are compared where printed means differ in that; else nothing.

    >>> averaged_text(load_results()["reduction"])[-72:]
    'scores beside the published averages: ToMe and VisionZip 7, the others 9'
    """
    if not table.uneven:
        return ""
    averaged = [one for one in table.results if one.averaged]
    who = "all results" if len(averaged) == len(table.results) else "all results with an average"
    counts = [len(one.averaged) for one in averaged]
    usual = max(counts, key=counts.count)
    methods = {one.method for one in averaged if len(one.averaged) == usual}
    fewer: dict[int, dict[str, None]] = {}
    for one, count in zip(averaged, counts, strict=True):
        if count != usual:
            name = one.id if one.method in methods else one.method
            fewer.setdefault(count, {})[name] = None
    parts = [f"{' and '.join(names)} {count}" for count, names in sorted(fewer.items())]
    return (
        f"mean over the {len(table.shared)} benchmarks that {who} have "
        f"({', '.join(table.shared)}); scores beside the published averages: "
        f"{', '.join([*parts, f'the others {usual}'])}"
    )


def _dominating(mine: Row, others: list[Row]) -> str | None:
    """Return the best result of the table that costs no more, if it dominates this one.

    It scores no less in what is comparable, and one of both is better. None where the row has no
    cost or no score.
    """
    if mine["cost"] is None or mine["score"] is None:
        return None
    better = [
        (-other["compared_score"], other["cost"], other["id"])
        for other in others
        if other["table"] == mine["table"]
        and other["cost"] is not None
        and other["score"] is not None
        and other["cost"] <= mine["cost"]
        and other["compared_score"] >= mine["compared_score"]
        and (other["cost"], other["compared_score"]) != (mine["cost"], mine["compared_score"])
    ]
    return min(better)[2] if better else None


def _assumed(one: Priced) -> list[str]:
    """Return what no source says about the setting that is priced."""
    applied = getattr(one.report.schedule, "method", None) if one.report else None
    own = [one.result.assumed] if one.result.assumed else []
    return own + ([] if applied is None else list(applied.assumed))


def number(value: Decimal | None) -> int | float | None:
    """Return a printed figure as JSON holds it: whole numbers stay whole.

    >>> from decimal import Decimal
    >>> number(Decimal("1862")), number(Decimal("100.0"))
    (1862, 100.0)
    """
    if value is None:
        return None
    return int(value) if value.as_tuple().exponent == 0 else float(value)
