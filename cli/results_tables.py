"""Published results for people and programs: the list beside its costs, and one in full."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from ..costmodel.flops import CONVENTIONS, UNITS, Convention
from ..presets.result import AVERAGE, Result, ResultTable, load_result
from .document import Column, Document, Table
from .results_rows import Question, averaged_text, number, priced, row, rows
from .rows import Row
from .schedule_words import schedule_text
from .units import prefix, scaled, with_prefix

Costs = dict[Convention, dict[str, Any]]
NOMINAL = "nominal: visual tokens as the source counts them; effective: their average over layers"
DOMINATED = "dominated by: the best score of the table at no more cost, where it is no lower"
COMPARED = DOMINATED.replace("score of the table", "mean over the same benchmarks")


def listing(found: Iterable[tuple[ResultTable, Result]], question: Question) -> Document:
    """Return results beside what they cost."""
    pairs = list(found)
    listed = rows(pairs, question)
    tables = {table.id: table for table, _ in pairs}
    _, power = prefix([one["cost"] for one in listed])
    marked = any(one["assumed"] for one in listed)
    missing = [one for one in listed if one["reason"] is not None]
    uneven = any(table.uneven for table in _averaged(tables, question))
    notes = [NOMINAL, COMPARED if uneven else DOMINATED]
    notes += (
        ["* something in the setting is assumed: `tokencost results show ID`"] if marked else []
    )
    notes += [f"{one['id']}: no cost: {one['reason']}" for one in missing]
    notes += [f"{table.id}: {text}" for table in tables.values() for text in table.corrections]
    notes += [f"{table.id}: {table.source}" for table in tables.values()]
    return Document(
        title=f"{len(listed)} published results: {question.benchmark} against the prefill's cost",
        facts=(
            ("cost", _cost_text(question)),
            ("request", f"one image, {question.text_tokens} text tokens, batch 1"),
            *((f"{AVERAGE}, {table.id}", table.average) for table in _averaged(tables, question)),
            *(
                (f"compared, {table.id}", averaged_text(table))
                for table in _averaged(tables, question)
                if table.uneven
            ),
        ),
        tables=tuple(
            _table(table, [one for one in listed if one["table"] == table.id], power)
            for table in tables.values()
        ),
        notes=tuple(notes),
        sentence="",
        payload=listed,
        records=tuple(flat(one) for one in listed),
    )


def flat(row: Row) -> Row:
    """Return a row as a CSV holds it: lists are texts, and no version of ours."""
    kept = {key: one for key, one in row.items() if not key.endswith("_version")}
    benchmarks = ", ".join(row["compared_benchmarks"])
    return {**kept, "compared_benchmarks": benchmarks, "assumed": " ".join(row["assumed"])}


def _averaged(tables: dict[str, ResultTable], question: Question) -> list[ResultTable]:
    return list(tables.values()) if question.benchmark == AVERAGE else []


def _cost_text(question: Question) -> str:
    scope = "encoder, connector, LLM, head and the choice of tokens"
    if question.convention != "exact":
        scope = "the decoder's layers alone"
    return f"{question.convention} [{UNITS[question.convention]}]: {scope}"


def _table(table: ResultTable, listed: list[Row], power: int) -> Table:
    letter = {12: "T", 9: "G", 6: "M", 3: "k", 15: "P", 18: "E"}.get(power, "")
    reduced = any(one["applies"] for one in listed)
    columns = [
        Column("id", "left"),
        Column("method", "left"),
        Column("tokens\nnominal"),
        Column("tokens\neffective"),
        *_score_columns(table, listed[0]),
        Column(f"cost\n{letter}{listed[0]['unit']}"),
        *([Column("of dense")] if reduced else []),
        Column("dominated by", "left"),
    ]
    cells = [_cells(table, one, power, reduced=reduced) for one in listed]
    return Table(table.title, tuple(columns), tuple(cells))


def _cells(table: ResultTable, row: Row, power: int, *, reduced: bool) -> tuple[str, ...]:
    result = next(one for one in table.results if one.id == row["id"])
    ratio = "—" if row["ratio"] is None else f"{100 * row['ratio']:.2f} %"
    return (
        row["id"],
        row["method"] + ("*" if row["assumed"] else ""),
        nominal_text(row),
        effective_text(row),
        printed_text(result.score(row["benchmark"])),
        *([_compared_text(row)] if _uneven(table, row) else []),
        scaled(row["cost"], power),
        *([ratio] if reduced else []),
        row["dominated_by"] or ("—" if row["cost"] is None or row["score"] is None else ""),
    )


def _score_columns(table: ResultTable, row: Row) -> list[Column]:
    name = str(row["benchmark"])
    if not _uneven(table, row):
        return [Column(name)]
    return [Column(f"published\n{name}"), Column(f"{name} of\nsame {len(table.shared)}")]


def _uneven(table: ResultTable, row: Row) -> bool:
    return table.uneven and row["benchmark"] == AVERAGE


def _compared_text(row: Row) -> str:
    return "—" if row["compared_score"] is None else f"{row['compared_score']:.2f}"


def nominal_text(row: Row) -> str:
    """Return the tokens that the source gives."""
    return ("~" if row["nominal_is_about"] else "") + f"{row['nominal_visual_tokens']:,}"


def effective_text(row: Row) -> str:
    """Return the tokens averaged over the layers, or a dash."""
    average = row["average_visual_tokens"]
    if average is None:
        return "—"
    shown = Decimal(average).quantize(Decimal("0.1"), ROUND_HALF_UP)
    return f"{shown:,}".removesuffix(".0")


def printed_text(value: Decimal | None) -> str:
    """Return a figure with the digits that are printed, or a dash."""
    return "—" if value is None else f"{value:f}"


def card(result_id: str, text_tokens: int) -> Document:
    """Return all that is known about one result, and its cost under every convention.

    Raises:
        UnknownName: No result has that id.
    """
    table, result = load_result(result_id)
    question = Question(AVERAGE, "exact", text_tokens)
    one = priced(table, result, question)
    shown = row(one, question)
    costs: Costs = {name: _costs(table, result, name, text_tokens) for name in CONVENTIONS}
    scores = _scores(table, result)
    setting = "none: the model as it is"
    if one.report is not None and one.report.schedule is not None:
        setting = schedule_text(one.report)
    facts = [
        ("table", f"{table.id}: {table.title}"),
        ("method", result.method),
        ("model", _model_text(result)),
        ("training data", result.data),
        ("setting", setting if one.report else ""),
        ("nominal", f"{nominal_text(shown)} visual tokens"),
        ("effective", f"{effective_text(shown)} visual tokens, averaged over the decoder's layers"),
        ("average", "" if result.average is None else f"{result.average}, {table.average}"),
        ("compared", _compared_fact(table, shown)),
        ("as printed", " ".join(result.printed)),
    ]
    notes = [
        *([f"no cost: {one.reason}"] if one.reason else []),
        *([f"correction: {result.correction}"] if result.correction else []),
        *(f"assumed: {text}" for text in shown["assumed"]),
        *([f"note: {result.note}"] if result.note else []),
        *(f"table: {text}" for text in table.corrections),
        f"source: {table.source}",
    ]
    payload = {
        **{key: value for key, value in shown.items() if key not in _OF_ONE},
        "title": table.title,
        "llm": result.llm or None,
        "training_data": result.data or None,
        "average": number(result.average),
        "average_is": table.average,
        "average_benchmarks": shown["published_benchmarks"],
        "compared_average": shown["compared_score"],
        "scores": scores,
        "conventions": costs,
        "printed": list(result.printed),
        "correction": result.correction or None,
        "note": result.note or None,
        "corrections": list(table.corrections),
        "source": table.source,
    }
    return Document(
        title=f"{result.id}: {result.method} on {result.model_name}",
        facts=tuple((label, text) for label, text in facts if text),
        tables=(_score_table(table, scores), *([_cost_table(costs)] if one.report else [])),
        notes=tuple(notes),
        sentence="",
        payload=payload,
        records=tuple(
            {"id": result.id, "table": table.id, "method": result.method} | score
            for score in scores
        ),
    )


#: Keys of a listed row that depend on a benchmark or a convention, or on other results.
_OF_ONE = (
    *("benchmark", "score", "compared_score", "published_benchmarks"),
    *("convention", "unit", "cost", "dense_cost", "ratio", "dominated_by"),
)


def _compared_fact(table: ResultTable, shown: Row) -> str:
    """Return the mean by which the table's results are compared, where it is not the printed."""
    if not _uneven(table, shown) or shown["score"] is None:
        return ""
    return (
        f"{_compared_text(shown)} over the {len(table.shared)} benchmarks that the table's results "
        f"share; {shown['published_benchmarks']} scores stand beside the published average"
    )


def _model_text(result: Result) -> str:
    ours = f" ({result.model})" if result.model else ""
    return f"{result.model_name}{ours}"


def _scores(table: ResultTable, result: Result) -> list[dict[str, Any]]:
    """Return each benchmark's score beside that of the unreduced model."""
    found = []
    for benchmark in table.benchmarks:
        score = result.scores.get(benchmark)
        dense = table.reference.scores.get(benchmark) if table.reference else None
        share = None if score is None or not dense else float(score / dense)
        found.append(
            {
                "benchmark": benchmark,
                "score": number(score),
                "unreduced": number(dense),
                "share": share,
            }
        )
    return found


def _costs(
    table: ResultTable, result: Result, name: Convention, text_tokens: int
) -> dict[str, Any]:
    question = Question(AVERAGE, name, text_tokens)
    found = row(priced(table, result, question), question)
    kept = {"unit": found["unit"], "baseline": found["dense_cost"], "scheduled": found["cost"]}
    return {**kept, "ratio": found["ratio"], "reason": found["reason"]}


def _score_table(table: ResultTable, scores: list[dict[str, Any]]) -> Table:
    shares = table.reference is not None
    columns = [Column("benchmark", "left"), Column("score")]
    columns += [Column("unreduced"), Column("share")] if shares else []
    cells = []
    for one in scores:
        cell = [one["benchmark"], _text(one["score"])]
        if shares:
            share = "—" if one["share"] is None else f"{100 * one['share']:.2f} %"
            cell += [_text(one["unreduced"]), share]
        cells.append(tuple(cell))
    return Table("Scores", tuple(columns), tuple(cells))


def _text(value: float | None) -> str:
    return "—" if value is None else f"{value:,}"


def _cost_table(costs: Costs) -> Table:
    cells: list[tuple[str, ...]] = []
    for name, one in costs.items():
        if one["scheduled"] is None:
            cells.append((name, "—", "—", "—"))
            continue
        amounts = [with_prefix(one[side], one["unit"]) for side in ("baseline", "scheduled")]
        cells.append((name, *amounts, f"{100 * one['ratio']:.2f} %"))
    header = (
        Column("convention", "left"),
        Column("dense"),
        Column("this setting"),
        Column("share"),
    )
    return Table("Cost of the prefill", header, tuple(cells))
