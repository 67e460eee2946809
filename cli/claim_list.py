"""What `tokencost claims list` says."""

from __future__ import annotations

from ..presets.claim import Claim, load_claims
from .claim_filters import chosen
from .claim_rows import claim_row
from .claim_words import SCOPES, VERIFICATIONS, printed, setting
from .document import Column, Document, Table


def listing(
    method: str | None, model: str | None, quantity: str | None, verification: str | None
) -> Document:
    """Return the published claims that fit the filters.

    Raises:
        InvalidInput: A filter that nothing fits.
    """
    known = load_claims()
    claims = chosen(known.values(), method, model, quantity, verification)
    rows = [claim_row(claim) for claim in claims]
    columns = (
        *(Column(name, "left") for name in ("id", "method", "model", "setting", "quantity")),
        Column("printed"),
        *(Column(name, "left") for name in ("scope", "verification")),
    )
    return Document(
        title=f"{len(claims)} of {len(known)} published claims",
        facts=(),
        tables=(Table("", columns, tuple(_cells(claim) for claim in claims)),),
        notes=(
            "printed: the figure as its source prints it; what is printed as FLOPs may be MACs",
            "verification: how far the figure was seen in its source",
            "all that is known of one, and its verdict: `tokencost claims show ID`",
        ),
        sentence="",
        payload=rows,
        records=tuple(rows),
    )


def _cells(claim: Claim) -> tuple[str, ...]:
    return (
        claim.id,
        claim.method,
        claim.model_name or claim.model or "—",
        short(setting(claim)),
        claim.quantity,
        printed(claim),
        SCOPES[claim.scope] if claim.scope else "—",
        VERIFICATIONS[claim.verification],
    )


def short(text: str, limit: int = 40) -> str:
    """Return the start of a text for a cell, at the end of a word; a dash for none.

    >>> short("keep 0.5 from layer 2 on", 12)
    'keep 0.5…'
    """
    if len(text) <= limit:
        return text or "—"
    return text[: limit - 1].rpartition(" ")[0].rstrip(",;:") + "…"
