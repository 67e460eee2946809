"""What `tokencost compare` says: reduction methods side by side."""

from __future__ import annotations

from typing import Any

from ..costmodel.flops import CONVENTIONS, MEANINGS, UNITS, Convention
from ..costmodel.solving import Target
from .asked import Asked
from .document import Column, Document, Table
from .method_rows import Compared, Row, with_target
from .summary import facts
from .targets import name_of, signed_percent, target_text
from .units import percent, prefix, scaled, with_prefix

#: Keys of --sort; figures that there are not come last.
SORTS = ("average", "exact", "survey", "gated", "kv", "method")
#: Scopes of the exact figures.
SCOPES = ("llm_alone", "without_selection")


def ordered(rows: list[Row], key: str | None) -> list[Row]:
    """Return the rows with the dense model first, then in order of a column."""
    dense, others = rows[:1], rows[1:]
    if key is None:
        return rows
    if key == "method":
        return dense + sorted(others, key=lambda row: str(row["method"]))

    def figure(row: Row) -> Any:
        if key == "average":
            return row["average_visual_tokens"]
        if key == "kv":
            return row["kv_cache_bytes"]["scheduled"]
        return row["conventions"][key]["scheduled"]

    return dense + sorted(others, key=lambda row: (figure(row) is None, figure(row) or 0))


def document(
    asked: Asked,
    compared: list[Compared],
    conventions: tuple[Convention, ...],
    sort: str | None,
    budget: int | None,
    target: Target | None = None,
) -> Document:
    """Return the comparison in all its forms."""
    rows = [one.row if target is None else with_target(one, target) for one in compared]
    rows = ordered(rows, sort)
    kept = ("model", "images", "video", "tokens", "request", "exact")
    shown = tuple(fact for fact in facts(asked.report(), conventions) if fact[0] in kept)
    priced = [row for row in rows if row["reason"] is None]
    return Document(
        title=_title(asked, rows),
        facts=(*shown, _asked_for(budget, target)),
        tables=(_cost_table(priced, conventions, target), _other_table(priced)),
        notes=(*_notes(asked, conventions, target), *_refused(rows)),
        sentence="",
        payload=rows,
        records=tuple(_flat(row) for row in rows),
    )


def _title(asked: Asked, rows: list[Row]) -> str:
    named, priced = len(rows) - 1, sum(row["reason"] is None for row in rows) - 1
    if priced < named:
        return f"{asked.model.id}: {priced} of {named} methods with figures"
    return f"{asked.model.id}: {named} method{'s' * (named != 1)} side by side"


def _asked_for(budget: int | None, target: Target | None) -> tuple[str, str]:
    if target is not None:
        return "same cost", f"{name_of(target)}: at most {target_text(target)}"
    if budget is None:
        return "budgets", "each method's published default"
    return "budgets", f"{budget:,} visual tokens, as each method counts them"


def _share(figures: Row) -> str:
    return percent(figures["scheduled"], figures["baseline"])


def _cost_table(
    rows: list[Row], conventions: tuple[Convention, ...], target: Target | None
) -> Table:
    columns = [
        Column("method", "left"),
        Column("budget"),
        Column("into\nLLM"),
        Column("average\ntokens"),
    ]
    if "exact" in conventions:
        words = ("exact\nwhole", "exact\nLLM only", "exact w/o\nselection")
        columns += [Column(word) for word in words]
    columns += [Column(f"{name}\nLLM only") for name in conventions if name != "exact"]
    if target is not None:
        columns.append(Column("off the\ntarget"))
    table = []
    for row in rows:
        exact = row["conventions"]["exact"]
        cells = [
            str(row["method"]),
            _budget(row),
            f"{row['entering_visual_tokens']:,}",
            f"{row['average_visual_tokens']:.2f}",
        ]
        if "exact" in conventions:
            cells += [_share(one) for one in (exact, *(exact[scope] for scope in SCOPES))]
        cells += [_share(row["conventions"][name]) for name in conventions if name != "exact"]
        if target is not None:
            cells.append(signed_percent(row["target"]["relative_distance"]))
        table.append(tuple(cells))
    return Table("Share of the dense cost", tuple(columns), tuple(table))


def _budget(row: Row) -> str:
    if row["budget"] is not None:
        return f"{row['budget']:,}"
    return "—" if row["paper"] is None else "default"


def _other_table(rows: list[Row]) -> Table:
    def figures(*path: str) -> list[int]:
        found = []
        for row in rows:
            value: Any = row
            for key in path:
                value = value[key]
            found.append(int(value))
        return found

    kv, kv_power = prefix(stored := figures("kv_cache_bytes", "scheduled"))
    read, read_power = prefix(reads := figures("decode_step", "kv_bytes_read", "scheduled"))
    step, step_power = prefix(steps := figures("decode_step", "flops", "scheduled"))
    columns = (
        Column("method", "left"),
        Column(f"KV cache\n[{kv}B]"),
        Column(f"KV read a\nstep [{read}B]"),
        Column(f"decode step\n[{step}FLOP]"),
        Column("serial\nrounds"),
        Column("attention\nmaps"),
        Column("training", "left"),
        Column("assumed", "left"),
    )
    cells = []
    for row, a, b, c in zip(rows, stored, reads, steps, strict=True):
        work = row["selection"]
        counted = work[work["counted"]] if work else None
        maps = work["released"]["attention_map_bytes"] if work else 0
        cells.append(
            (
                str(row["method"]),
                scaled(a, kv_power),
                scaled(b, read_power),
                scaled(c, step_power),
                f"{counted['serial_launches']:,}" if counted else "—",
                with_prefix(maps, "B") if maps else "—",
                "needed" if row["training"] else "—",
                ", ".join(row["assumed_fields"]) or "—",
            )
        )
    return Table("Memory, decode, choice of tokens", columns, tuple(cells))


def _notes(
    asked: Asked, conventions: tuple[Convention, ...], target: Target | None
) -> tuple[str, ...]:
    dense, lines = asked.report(), []
    for name in conventions:
        obstacle = dense.obstacle(name)
        meaning = f"no figure for this model: {obstacle}" if obstacle else MEANINGS[name]
        lines.append(f"{name} [{UNITS[name]}]: {meaning}")
    if "exact" in conventions:
        lines.append(
            "exact, LLM only: decoder and head, without encoder, connector and selection; w/o "
            "selection: all but the choice of tokens"
        )
    if target is not None:
        lines.append("budget: the largest that a method has within the target")
    released = asked.counting.selection == "released"
    lines += [
        "average: visual tokens per decoder layer, Σ n_l / T; a budget need not be an average",
        "serial rounds of the choice of tokens, as "
        f"{'released code' if released else 'this project'} computes it; attention maps: those "
        "that released code keeps at once",
        "assumed: fields that no source gives; `tokencost methods show ID` tells what is assumed",
        *asked.model.uncertainty,
    ]
    return tuple(lines)


def _refused(rows: list[Row]) -> list[str]:
    return [f"{row['method']}: no figures: {row['reason']}" for row in rows if row["reason"]]


def _flat(row: Row) -> Row:
    """Return a row for CSV: one column per figure."""
    flat = {
        key: row[key]
        for key in (
            "model",
            "status",
            "method",
            "paper",
            "budget",
            "reason",
            "entering_visual_tokens",
            "average_visual_tokens",
        )
    }
    for name in CONVENTIONS:
        figures = row["conventions"][name]
        for scope, sides in [("", figures), *((one, figures.get(one)) for one in SCOPES)]:
            if sides is not None:
                head = "_".join(part for part in (name, scope) if part)
                flat[f"{head}_{figures['unit']}"] = sides["scheduled"]
                flat[f"{head}_ratio"] = sides["ratio"]
    flat["kv_cache_bytes"] = row["kv_cache_bytes"]["scheduled"]
    flat["kv_bytes_read_per_step"] = row["decode_step"]["kv_bytes_read"]["scheduled"]
    flat["decode_step_FLOP"] = row["decode_step"]["flops"]["scheduled"]
    for variant in ("ideal", "released"):
        for key in ("flops", "moved_bytes", "serial_launches", "attention_map_bytes", "parameters"):
            work = row["selection"]
            flat[f"selection_{variant}_{key}"] = None if work is None else work[variant][key]
    flat["training"] = row["training"]
    flat["schedule_known"] = row["schedule_known"]
    flat["assumed_fields"] = " ".join(name.replace(" ", "_") for name in row["assumed_fields"])
    return flat
