"""What a report holds, whatever its form: sections by method, entries as text, figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...costmodel.version import __version__
from ...presets import load_method
from ...presets.claim import Claim
from ..claim_verdicts import told
from ..claim_words import (
    SCOPES,
    bounded,
    bounds_shown,
    counts,
    digits,
    off,
    printed,
    reading,
    recomputed,
    request,
    setting,
    source,
    with_unit,
    without_repeats,
)
from .charts import agreement, bounds, by_method
from .picture import Picture
from .words import AGREEMENT, BOUNDS, COUNTS

if TYPE_CHECKING:
    from ...presets.auditing import Verdict

#: Section of dense models that go with no method.
DENSE = "Dense models"


class Entry(NamedTuple):
    """A judged claim as text.

    Attributes:
        id: The claim's.
        quantity, model, setting, conditions: What is claimed, of what.
        printed, recomputed, off, bound: Figures with their units; a dash where there is none.
        reading: What the recomputed figure counts.
        verdict, rule, reason: What was found, by which rule.
        remarks: Bounds of other scopes, the right figure, what a reader should know.
        source: Where the figure stands, and how far it was seen there.
    """

    id: str
    quantity: str
    model: str
    setting: str
    conditions: str
    printed: str
    recomputed: str
    off: str
    bound: str
    reading: str
    verdict: str
    rule: str
    reason: str
    remarks: tuple[str, ...]
    source: str


class Record(NamedTuple):
    """A figure that is not judged, as text."""

    id: str
    quantity: str
    model: str
    setting: str
    printed: str
    source: str


class Section(NamedTuple):
    """The claims about one method."""

    slug: str
    title: str
    counts: dict[str, int]
    entries: tuple[Entry, ...]
    records: tuple[Record, ...]


class Summary(NamedTuple):
    """A row of the tables of verdicts and rules."""

    name: str
    number: int
    meaning: str


class Content(NamedTuple):
    """A report."""

    version: str
    judged: int
    recorded: int
    verdicts: tuple[Summary, ...]
    rules: tuple[Summary, ...]
    figures: tuple[tuple[str, Picture], ...]
    sections: tuple[Section, ...]


def content(verdicts: Sequence[Verdict]) -> Content:
    """Return the report of these verdicts."""
    from ...presets.auditing import RULES, VERDICTS

    judged = without_repeats(_judged(verdicts))
    found = counts(judged)
    used = Counter(one.rule for one in judged)
    groups = grouped(verdicts)
    drawn = (
        (COUNTS, by_method({title: counts(_judged(group)) for title, group in groups.items()})),
        (AGREEMENT, agreement(judged)),
        (BOUNDS, bounds(judged)),
    )
    return Content(
        version=__version__,
        judged=len(judged),
        recorded=len(verdicts) - len(_judged(verdicts)),
        verdicts=tuple(Summary(name, found[name], meaning) for name, meaning in VERDICTS.items()),
        rules=tuple(
            Summary(rule.id, used[rule.id], rule.text) for rule in RULES.values() if used[rule.id]
        ),
        figures=tuple((name, picture) for name, picture in drawn if picture is not None),
        sections=tuple(_section(title, group) for title, group in groups.items()),
    )


def grouped(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    """Return verdicts by method, in alphabetical order of our name of it or its commonest one.

    Claims are of one method if they apply the same one, or if their sources name it alike; those
    of the method's own sources come first. Claims of dense models that go with no method are
    together.
    """
    applied: dict[str, str] = {}
    methods = {slug(one.claim.method) for one in verdicts if not one.claim.dense}
    for one in verdicts:
        if one.claim.applies:
            applied.setdefault(slug(one.claim.method), one.claim.applies)
    groups: dict[str, list[Verdict]] = {}
    for one in verdicts:
        name = slug(one.claim.method)
        key = one.claim.applies or applied.get(name) or (name if name in methods else DENSE)
        groups.setdefault(key, []).append(one)
    titled: dict[str, list[Verdict]] = {}
    ours = {one.claim.applies for one in verdicts}
    for key, group in groups.items():
        (title, _), *_ = Counter(one.claim.method for one in group).most_common(1)
        title = key if key == DENSE else load_method(key).title if key in ours else title
        group.sort(key=lambda one: not one.claim.primary)
        titled.setdefault(title, []).extend(group)
    return dict(sorted(titled.items(), key=lambda item: item[0].casefold()))


def slug(text: str) -> str:
    """Return a text as part of an address.

    >>> slug("LLaVA-PruMerge+ (ours)")
    'llava-prumerge-plus-ours'
    """
    plain = text.lower().replace("+", "-plus ")
    words = "".join(one if one.isalnum() and one.isascii() else " " for one in plain)
    return "-".join(words.split())


def _judged(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return [one for one in verdicts if one.claim.judged]


def _section(title: str, verdicts: Sequence[Verdict]) -> Section:
    judged = _judged(verdicts)
    return Section(
        slug=f"method-{slug(title)}",
        title=title,
        counts=counts(judged),
        entries=tuple(_entry(one) for one in judged),
        records=tuple(_record(one.claim) for one in verdicts if not one.claim.judged),
    )


def _entry(verdict: Verdict) -> Entry:
    claim = verdict.claim
    conditions = [request(claim)]
    if claim.scope:
        conditions.append(f"scope: {SCOPES[claim.scope]}")
    if claim.conditions:
        conditions.append(claim.conditions)
    return Entry(
        id=claim.id,
        quantity=claim.quantity,
        model=claim.model_name or claim.model,
        setting=setting(claim),
        conditions="; ".join(one for one in conditions if one),
        printed=printed(claim),
        recomputed=recomputed(verdict),
        off=off(verdict),
        bound=bounded(verdict),
        reading=reading(verdict) if verdict.value is not None else "",
        verdict=verdict.verdict,
        rule=verdict.rule,
        reason=told(verdict),
        remarks=_remarks(verdict),
        source=source(claim),
    )


def _remarks(verdict: Verdict) -> tuple[str, ...]:
    claim, found = verdict.claim, []
    shown = bounds_shown(verdict)
    if shown:
        found.append(f"Bounds: {'; '.join(f'{name} {bound}' for name, bound in shown)}.")
    if claim.repeats:
        found.append(f"The same figure as {claim.repeats}; it counts once.")
    if claim.corrected is not None:
        right = with_unit(digits(claim.corrected), claim)
        found.append(f"Right figure: {right}; {claim.correction}")
    found += [f"Note: {claim.note}"] if claim.note else []
    return tuple(found)


def _record(claim: Claim) -> Record:
    return Record(
        id=claim.id,
        quantity=claim.quantity,
        model=claim.model_name or claim.model,
        setting=setting(claim),
        printed=printed(claim),
        source=source(claim),
    )
