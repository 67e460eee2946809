"""What `explain` prints and exports."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..costmodel.explaining import Explanation, Printed, Reading, Search
from ..costmodel.explaining.printed import CLOSE
from ..costmodel.version import __version__
from .document import Column, Document, Table
from .explain_words import (
    chance_text,
    difference_text,
    digits_text,
    explanation_text,
    reading_text,
    sentence,
    sequence_tokens,
    source_text,
    strength,
    value_text,
)
from .schedule_words import schedule_text
from .summary import SCHEMA_VERSION

#: Rows of the table, which leaves weak explanations out where there is a strong one; data formats
#: hold all.
SHOWN = 10
NOTES = (
    "survey: 4nd² + 2n²d + 2ndm MACs per LLM layer; gated: 3ndm instead of 2ndm; exact: every "
    "matrix product, 1 MAC = 2 FLOP; one layer: the mean over the LLM's layers",
    "chance: share of random figures near this one, with as many digits, that meet an explanation "
    "at least as natural; nothing above 50 % is shown",
)


def document(printed: Printed, search: Search) -> Document:
    """Return the explanations in all their forms."""
    found = search.explain(printed)
    several = len(search.settings) > 1
    tried = sum(len(search.candidates(kind)) for kind in printed.kinds)
    records = [_record(one) for one in found]
    shown, answer = _shown(found), sentence(printed, found, tried, several=several)
    return Document(
        title=f"{printed.text}: what it may be",
        facts=_facts(printed, search, tried),
        tables=(_table(shown, several),) if shown else (),
        notes=_notes(shown, len(found)) if found else (answer, *NOTES),
        sentence=answer,
        payload={
            "schema_version": SCHEMA_VERSION,
            "tokencost_version": __version__,
            "printed": _printed(printed),
            "models": [
                {
                    "model": setting.model.id,
                    "status": setting.model.status,
                    "unverified": list(setting.model.unverified),
                }
                for setting in search.settings
            ],
            "schedule": _schedule(search),
            "candidates": tried,
            "explanations": records,
        },
        records=tuple(_flat(record) for record in records),
    )


def _facts(printed: Printed, search: Search, tried: int) -> tuple[tuple[str, str], ...]:
    models = [f"{one.model.id} ({one.model.status})" for one in search.settings]
    width = f"± {100 * float(printed.tolerance):.2g} %"
    lines = [
        ("figure", f"{printed.text}: {digits_text(printed)}, {width}"),
        ("model" + "s" * (len(models) > 1), ", ".join(models)),
        ("tried", f"{tried:,} combinations of reading, tokens and text"),
    ]
    if search.settings[0].scheduled:
        lines.insert(2, ("schedule", str(_schedule(search))))
    return tuple(lines)


def _schedule(search: Search) -> str | None:
    setting = search.settings[0]
    if not setting.scheduled:
        return None
    return schedule_text(
        setting.ask(search.lines[0][1][0].visual, 1 if setting.text is None else setting.text)
    )


def _table(found: list[Explanation], several: bool) -> Table:
    columns = (
        Column(""),
        Column("explanation", "left"),
        Column("value"),
        Column("off by"),
        Column("chance"),
        Column("", "left"),
    )
    rows = tuple(
        (
            str(place),
            explanation_text(one, several=several),
            value_text(one),
            difference_text(one),
            chance_text(one.chance),
            strength(one.chance) if one.match != "close" else "other digits",
        )
        for place, one in enumerate(found, start=1)
    )
    return Table("", columns, rows)


def _shown(found: list[Explanation]) -> list[Explanation]:
    """Return what a table shows."""
    strengths = [strength(one.chance) if one.match != "close" else "" for one in found]
    strong = "strong" in strengths
    kept = [
        one for one, how in zip(found, strengths, strict=True) if not (strong and how == "weak")
    ]
    return kept[:SHOWN]


def _notes(shown: list[Explanation], found: int) -> tuple[str, ...]:
    lines = [f"{place}: {source_text(one)}" for place, one in enumerate(shown, start=1)]
    if found > len(shown):
        lines.append(f"{found - len(shown)} more, less natural: in JSON and CSV")
    if any(one.match == "close" for one in shown):
        near = f"{100 * float(CLOSE):g} %"
        lines.append(f"other digits: within {near} of the figure, but rounded to others")
    models = {one.found.setting.model.id: one.found.setting.model for one in shown}
    lines += [
        f"{name}: {model.status}; unverified: {', '.join(model.unverified)}"
        for name, model in models.items()
        if model.unverified
    ]
    return (*lines, *NOTES)


def _printed(printed: Printed) -> dict[str, Any]:
    return {
        "text": printed.text,
        "kinds": list(printed.kinds),
        "number": _number(printed.number),
        "power_of_ten": printed.power,
        "unit": printed.unit or None,
        "digits": printed.digits,
        "tolerance": float(printed.tolerance),
    }


def _reading(reading: Reading) -> dict[str, Any]:
    return {
        "convention": reading.convention,
        "unit": reading.counts,
        "scope": reading.scope,
        "causal": reading.causal,
        "logits": reading.logits,
        "first_layer": reading.first_layer,
    }


def _record(one: Explanation) -> dict[str, Any]:
    found = one.found
    model = found.setting.model
    return {
        "model": model.id,
        "status": model.status,
        "unverified": list(model.unverified),
        **_reading(found.reading),
        "quantity": found.quantity,
        "side": "dense" if found.dense or not found.setting.scheduled else "scheduled",
        "tokens": sequence_tokens(one),
        "visual_tokens": found.visual.tokens,
        "structural_tokens": one.structural,
        "text_tokens": found.text.tokens,
        "visual_tokens_source": found.visual.source,
        "text_tokens_source": found.text.source,
        "fitted": found.fitted or None,
        "fitted_text_tokens": list(one.texts) if found.fitted == "text" else None,
        "batch": found.batch * (found.setting.batch or 1),
        "assumed_prefix": one.scale.assumed or None,
        "printed_too_large_by": _number(one.scale.slip),
        "value": _number(one.value),
        "printed_value": _number(one.printed),
        "relative_difference": one.relative_difference,
        "match": one.match,
        "rank": one.rank,
        "chance_of_coincidence": one.chance,
        "strength": strength(one.chance),
        "also": [_reading(reading) for reading in one.also],
        "explanation": f"{model.id}: {explanation_text(one, several=False)}",
        "sources": source_text(one),
    }


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    row = dict(record)
    row["unverified"] = " ".join(record["unverified"])
    row["also"] = "; ".join(reading_text(Reading(**_arguments(one))) for one in record["also"])
    span = record["fitted_text_tokens"]
    row["fitted_text_tokens"] = "–".join(map(str, dict.fromkeys(span))) if span else None
    return row


def _arguments(one: dict[str, Any]) -> dict[str, Any]:
    return {"counts" if key == "unit" else key: value for key, value in one.items()}


def _number(value: int | Fraction) -> int | float:
    return int(value) if value == int(value) else float(value)
