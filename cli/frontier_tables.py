"""The answer of `tokencost frontier` in all its forms."""

from __future__ import annotations

from ..costmodel.flops import Convention
from ..costmodel.frontier.retention import MEANING
from .document import Column, Document, Table
from .frontier_rows import cost_of, is_best, payload, records
from .frontier_run import Answer
from .frontier_words import amount_text, cost_name, unit_of
from .latency_tables import device_facts, milliseconds
from .latency_words import timing_notes
from .rows import Row
from .summary import facts, notes, provenance
from .units import prefix, ranges, scaled

#: Facts of a dense report that say nothing about a frontier.
_DENSE = ("schedule", "per layer", "average")


def document(answer: Answer) -> Document:
    """Return the answer in all its forms."""
    report, found = answer.solved.report, answer.timed and answer.timed.found
    conventions = _conventions(answer)
    device = device_facts(found) if found else []
    rows = records(answer)
    return Document(
        title=f"{report.model.id}: schedules that nothing else in the grid beats",
        facts=(
            *_own_facts(answer),
            *(fact for fact in facts(report, conventions) if fact[0] not in _DENSE),
            *device,
        ),
        tables=(_table(answer, rows),),
        notes=(
            *_own_notes(answer),
            *(timing_notes(found) if found else ()),
            *notes(report, conventions),
        ),
        sentence=_sentence(answer),
        payload=payload(answer, rows),
        records=tuple({**provenance(report), **row} for row in rows),
    )


def _conventions(answer: Answer) -> tuple[Convention, ...]:
    """Return the conventions of the columns: exact, and the cost's."""
    own = answer.limit.convention
    return ("exact",) if own == "exact" else (own, "exact")


def _own_facts(answer: Answer) -> list[tuple[str, str]]:
    solved, limit = answer.solved, answer.limit
    grid, weights = solved.grid, solved.importance
    generation = solved.report.workload.new_tokens > 1
    budget = "none: the whole frontier" if answer.budget is None else _budget_text(answer)
    named = weights.name if weights.name == "uniform" else f"weights w_l of {weights.name}"
    uniform = "uniform (w_l = 1 in layers with visual tokens)"
    shown = len(answer.shown)
    within = " within the budget" if answer.budget is not None else ""
    some = "" if shown == len(solved.standing) else f"; {shown} shown, evenly over the costs"
    return [
        ("cost", cost_name(limit, generation)),
        ("budget", budget),
        ("retention", MEANING),
        ("importance", uniform if named == "uniform" else named),
        ("grid", _grid_text(answer)),
        (
            "searched",
            f"{grid.space.size:,} schedule{'s' * (grid.space.size > 1)}, exactly; "
            f"{len(solved.standing):,} that nothing beats{within}{some}",
        ),
    ]


def _budget_text(answer: Answer) -> str:
    limit, budget = answer.limit, answer.budget
    assert budget is not None
    amount = amount_text(limit, budget)
    if not limit.is_share:
        return amount
    share = amount_text(limit, budget, answer.dense)
    return f"{share} of the dense run's {amount_text(limit, answer.dense)}: {amount}"


def _grid_text(answer: Answer) -> str:
    grid = answer.solved.grid
    counts = [count for count in grid.stages if count]
    stages = f"{counts[0]} to {counts[-1]}" if counts[1:] else "".join(map(str, counts))
    parts = [f"first layers {ranges(grid.layers)}"]
    if grid.levels:
        first, last = grid.levels[0].tokens, grid.levels[-1].tokens
        spread = f"{first} to {last}" if last > first else f"{first}"
        parts.append(f"{len(grid.levels)} level{'s' * (len(grid.levels) > 1)} of {spread} tokens")
        parts.append(f"{stages} stage{'s' * (stages != '1')}")
    if 0 in grid.stages:
        parts.append("the dense model")
    return f"{', '.join(parts)}; rounding {grid.rounding}"


def _table(answer: Answer, rows: list[Row]) -> Table:
    limit, shown = answer.limit, answer.shown
    costs = [cost_of(answer, one, side) for one, _, side in shown]
    flops, kv = ([row[name] for row in rows] for name in ("exact_flops", "kv_cache_bytes"))
    columns = [
        Column("schedule", "left"),
        Column("average\ntokens"),
        Column("retention\n(proxy)"),
    ]
    cells = [
        [
            row["schedule"],
            f"{row['average_visual_tokens']:.2f}",
            f"{row['retention_proxy']:.4f}",
        ]
        for row in rows
    ]

    def add(column: Column, texts: list[str]) -> None:
        columns.append(column)
        for row, text in zip(cells, texts, strict=True):
            row.append(text)

    if limit.quantity == "flops" and limit.convention != "exact":
        letter, power = prefix([int(cost) for cost in costs])
        header = f"cost, {limit.convention}\n[{letter}{unit_of(limit)}]"
        add(Column(header), [scaled(int(cost), power) for cost in costs])
    letter, power = prefix(flops)
    add(Column(f"exact\n[{letter}FLOP]"), [scaled(amount, power) for amount in flops])
    letter, power = prefix(kv)
    add(Column(f"KV cache\n[{letter}B]"), [scaled(amount, power) for amount in kv])
    if answer.timed is not None:
        sides = [side for _, _, side in shown if side is not None]
        add(Column("TTFT\n[ms]"), [milliseconds(side.ttft.central) for side in sides])
        spans = [
            f"{milliseconds(side.ttft.lower)} – {milliseconds(side.ttft.upper)}" for side in sides
        ]
        add(Column("lower – upper\n[ms]"), spans)
    shares = [f"{float(100 * cost / answer.dense):.2f} %" for cost in costs]
    add(Column("share of\ndense cost"), shares)
    if answer.budget is not None:
        add(Column("", "left"), ["best" if is_best(answer, one) else "" for one, _, _ in shown])
    return Table("", tuple(columns), tuple(map(tuple, cells)))


def _own_notes(answer: Answer) -> list[str]:
    """Return what the rows are."""
    solved = answer.solved
    lines = [
        "retention is a proxy: it knows which share of the visual tokens is left in which layer, "
        "not which tokens, and not what a model makes of them; two schedules of equal R may differ "
        "in accuracy by any amount",
        "no other schedule of the grid costs as little or less and retains as much or more; each "
        "row was priced again on its own and agrees with the search",
    ]
    if answer.budget is not None:
        lines.append("best: the row that retains most within the budget, by the proxy")
    tied = sum(one.point.ties for one, _, _ in answer.shown)
    if tied:
        lines.append(
            f"schedules that equal one of these rows in cost and retention: {tied:,}; the row has "
            "the fewest stages, and of these the earliest layers"
        )
    if not solved.importance.exact:
        lines.append("weights are rounded to 10⁻⁹ of the largest")
    if answer.limit.quantity == "ttft":
        lines.append(
            "times are searched by their central estimate; lower and upper lie much farther apart "
            "than neighbouring rows do"
        )
    if answer.timed is not None and _waits(answer):
        lines.append(
            "the time to the first token of the cheapest row waits for eager Python's launches, "
            "which keeping fewer tokens does not shorten: no row is faster (--runtime graph)"
        )
    lines.append("no selection rule is priced: what choosing the tokens takes comes on top")
    return lines


def _waits(answer: Answer) -> bool:
    """Tell whether the host bounds the cheapest row, whose cost is time."""
    side = answer.shown[0][2]
    if answer.limit.quantity != "ttft" or side is None:
        return False
    prefill = side.stages["prefill"]
    return bool(prefill.host.central >= prefill.device.central)


def _sentence(answer: Answer) -> str:
    """Return one sentence ready for a paper's methods section."""
    solved, limit = answer.solved, answer.limit
    report, plan = solved.report, solved.report.dense
    request = (
        f"For {report.model.id} with {plan.dense_visual_tokens} visual, {plan.structural_tokens} "
        f"structural and {plan.text_tokens} text tokens at batch {plan.batch}, "
    )
    named = "uniform weights" if solved.importance.name == "uniform" else solved.importance.name
    grid = f"the {solved.grid.space.size:,} schedules of the grid ({_grid_text(answer)})"
    proxy = f"the visual tokens left, weighted by layer ({named}; a proxy, not accuracy)"
    generation = report.workload.new_tokens > 1
    if answer.budget is None:
        return (
            f"{request}{len(solved.standing):,} of {grid} are non-dominated in "
            f"{cost_name(limit, generation)}, and in {proxy}."
        )
    one, _, side = answer.shown[-1]
    cost = amount_text(limit, cost_of(answer, one, side))
    return (
        f"{request}of {grid} within {_budget_text(answer)} "
        f"({cost_name(limit, generation)}), '{solved.grid.text(one.point.stages)}' keeps most of "
        f"{proxy}: R = {float(one.retention):.4f} at {cost}."
    )
