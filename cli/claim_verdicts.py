"""Audits of several claims: progress for terminals, and what `tokencost claims check` says."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..costmodel import InvalidInput
from ..presets.claim import Claim
from .claim_list import short
from .claim_rows import flat, verdict_row
from .claim_words import bounded, counts, off, printed, recomputed, setting
from .document import Column, Document, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..presets.auditing import Verdict

#: Claims whose reasons are told below the table; of more, the reasons are in data formats.
MOST_REASONS = 12
#: Claims from which on progress is shown.
SLOW = 8


def audits(claims: Sequence[Claim], known: Mapping[str, Claim]) -> list[Verdict]:
    """Return the verdicts of claims, in order; a terminal sees how far it is.

    Raises:
        InvalidInput: A claim that cannot be priced; the sentence names it.
    """
    from ..presets.auditing.audit import audit  # loads the cost model

    with _progress(len(claims)) as advance:
        found = []
        for claim in claims:
            try:
                found.append(audit(claim, known))
            except InvalidInput as error:
                where = f"claim {claim.id}: {error.field}"
                raise InvalidInput(where, error.value, error.problem, error.way_out) from None
            advance()
    return found


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], Any]]:
    """Yield what to call after each claim."""
    if total < SLOW or sys.stderr is None or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking claims", total=total)
        yield lambda: bar.advance(task)


def wanted_verdicts(text: str | None) -> tuple[str, ...] | None:
    """Return the verdicts that --verdict names, which may be typed with hyphens.

    Raises:
        InvalidInput: One of them is none.
    """
    from ..presets.auditing import VERDICTS
    from .options import one_of

    if text is None:
        return None
    parts = [part.strip().replace("-", " ") for part in text.split(",")]
    return tuple(one_of(part, "--verdict", tuple(VERDICTS)) for part in parts)


def only(verdicts: list[Verdict], wanted: tuple[str, ...] | None) -> list[Verdict]:
    """Return the verdicts that are wanted; all of them by default."""
    return [one for one in verdicts if wanted is None or one.verdict in wanted]


def document(verdicts: Sequence[Verdict], checked: int, unit: str = "published") -> Document:
    """Return the verdicts of several claims.

    Args:
        verdicts: Those to show.
        checked: How many claims were checked for them.
        unit: What claims they are.
    """
    from ..presets.auditing import RULES, VERDICTS

    rows = [verdict_row(one) for one in verdicts]
    columns = (
        *(Column(name, "left") for name in ("id", "method", "setting", "quantity")),
        *(Column(name) for name in ("printed", "recomputed", "off", "bound")),
        *(Column(name, "left") for name in ("verdict", "rule")),
    )
    shown = len(verdicts) if len(verdicts) == checked else f"{len(verdicts)} of {checked}"
    found = counts(verdicts)
    reasons = len(verdicts) <= MOST_REASONS
    notes = [f"{one.claim.id}: {told(one)}" for one in verdicts] if reasons else []
    used = dict.fromkeys(one.rule for one in verdicts)
    notes += [f"rule {rule}: {RULES[rule].text}" for rule in RULES if rule in used]
    if not reasons:
        notes.append("reasons: `tokencost claims show ID`, or --format json or csv")
    totals = tuple(
        (name, str(found[name]), meaning) for name, meaning in VERDICTS.items() if found[name]
    )
    summary = Table(
        "Verdicts",
        (Column("verdict", "left"), Column("claims"), Column("meaning", "left")),
        totals,
    )
    return Document(
        title=f"{shown} {unit} claim{'s' * (len(verdicts) != 1)} checked",
        facts=(),
        tables=(Table("", columns, tuple(_cells(one) for one in verdicts)), summary)
        if verdicts
        else (),
        notes=tuple(notes),
        sentence="",
        payload=rows,
        records=tuple(flat(row) for row in rows),
    )


def told(verdict: Verdict) -> str:
    """Return the reason of a verdict, what it assumes and what it lacks."""
    parts = [verdict.reason]
    if verdict.assumption and verdict.assumption not in verdict.reason:
        parts.append(f"Assumed: {verdict.assumption}.")
    missing = [one for one in verdict.missing if one not in verdict.reason]
    if missing:
        parts.append(f"Missing: {', '.join(missing)}.")
    return " ".join(parts).replace("..", ".")


def _cells(verdict: Verdict) -> tuple[str, ...]:
    claim = verdict.claim
    return (
        claim.id,
        short(claim.method, 24),
        short(setting(claim), 24),
        claim.quantity,
        printed(claim),
        recomputed(verdict),
        off(verdict),
        bounded(verdict),
        verdict.verdict,
        verdict.rule,
    )
