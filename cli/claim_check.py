"""`tokencost claims check` and `show`: which claims are meant, their audit, the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import typer

from ..costmodel import InvalidInput
from ..presets.claim import Claim, load_claims
from .claim_file import claims_of, refuse_overwriting, with_published
from .claim_filters import by_id, chosen
from .claim_verdicts import audits, document, only, wanted_verdicts
from .claim_words import tally
from .document import Document
from .export import deliver
from .options import Sink

if TYPE_CHECKING:
    from ..presets.auditing import Verdict
    from .claim_figures import Figures
    from .claim_typed import Conditions


class Choice(NamedTuple):
    """Which claims to check, beside the filters --method and --model."""

    ids: tuple[str, ...]
    quantity: str | None
    verification: str | None
    every: bool
    file: str | None


class Chosen(NamedTuple):
    """The claims to check, those that they may name, and what they are called."""

    claims: list[Claim]
    known: Mapping[str, Claim]
    origin: str


def shown(claim_id: str) -> Document:
    """Return all that is known about a published claim.

    Raises:
        InvalidInput: No claim has that id.
    """
    from .claim_card import card

    known = load_claims()
    claim, *others = by_id([claim_id])
    if others:
        problem = f"matches {1 + len(others)} claims"
        raise InvalidInput("ID", claim_id, problem, "give one id, or use `tokencost claims check`")
    return card(audits([claim], known)[0], known)


def check(
    sink: Sink, choice: Choice, conditions: Conditions, figures: Figures, verdict: str | None
) -> None:
    """Audit claims and deliver the verdicts; data formats leave their counts on stderr."""
    wanted = wanted_verdicts(verdict)
    if choice.file and sink.output:
        refuse_overwriting(sink.output, choice.file)
    found: list[Verdict] = []

    def build() -> Document:
        asked = _chosen(choice, conditions, figures)
        every = audits(asked.claims, asked.known)
        found.extend(only(every, wanted))
        if len(every) == 1 == len(found):
            return _single(found[0], asked)
        return document(found, len(every), asked.origin)

    deliver(sink, build)
    if sink.chosen()[0] in ("json", "csv"):
        typer.echo(tally(found), err=True)


def _single(verdict: Verdict, asked: Chosen) -> Document:
    """Return one claim's card, whose data are a list as those of several."""
    from .claim_card import card
    from .claim_rows import verdict_row

    return card(verdict, asked.known)._replace(payload=[verdict_row(verdict)])


def _chosen(choice: Choice, conditions: Conditions, figures: Figures) -> Chosen:
    """Return the claims that are meant.

    Raises:
        InvalidInput: None are, or options do not go together.
    """
    given = figures.given()
    typed = conditions.typed()
    filters = {
        "--method": conditions.method,
        "--model": conditions.model,
        "--quantity": choice.quantity,
        "--verification": choice.verification,
    }
    used = [name for name, value in filters.items() if value is not None]
    if choice.file is not None:
        _refuse("cannot go with --file", [*choice.ids[:1]], typed, [one.option for one in given])
        _refuse("cannot go with --file", ["--all"] * choice.every)
        own = claims_of(choice.file)
        claims = chosen(own.claims, *filters.values())
        return Chosen(claims, with_published(own.claims), "own")
    if given or typed:
        only_filters = [name for name in used if name not in ("--method", "--model")]
        _refuse(
            "does not go with a claim that is typed",
            list(choice.ids[:1]),
            only_filters,
            ["--all"] * choice.every,
        )
        if not given:
            problem = "tells conditions, and no figure is claimed"
            way_out = "add one, such as --speedup 7.8, --flops 9.5T or --kv-reduction 67%"
            raise InvalidInput(typed[0], None, problem, way_out)
        return Chosen(conditions.claims(given), {}, "typed")
    if choice.ids:
        _refuse("cannot go with ids", used, ["--all"] * choice.every)
        return Chosen(by_id(choice.ids), load_claims(), "published")
    if choice.every:
        _refuse("cannot go with --all", used)
        return Chosen(list(load_claims().values()), load_claims(), "published")
    if not used:
        way_out = (
            "give ids, --method, --model, --quantity, --all or --file, or type a figure such as "
            "--speedup 7.8 with --model and --method"
        )
        raise InvalidInput("ID", None, "is missing: no claim is named", way_out)
    return Chosen(chosen(load_claims().values(), *filters.values()), load_claims(), "published")


def _refuse(problem: str, *groups: list[str]) -> None:
    """Refuse the first of the options that were given."""
    for group in groups:
        for name in group:
            raise InvalidInput(name, None, problem, "leave one of them out")
