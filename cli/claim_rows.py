"""Claims and verdicts as data: one row each, raw numbers in base units."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..presets.claim import QUANTITIES, UNITS, Claim
from .claim_words import printed

if TYPE_CHECKING:
    from ..presets.auditing import Verdict

Row = dict[str, Any]
#: What figures are counted in once prefixes are gone. What is printed as FLOPs may be MACs.
BASE_UNITS = {
    "compute": "FLOP",
    "count": "1",
    "bytes": "B",
    "time": "s",
    "rate": "1/s",
    "share": "1",
    "factor": "1",
    "score": "points",
    "text": "",
}


def base_unit(claim: Claim) -> str:
    """Return the base unit of a claim's figure."""
    return "MAC" if claim.unit.endswith("MAC") else BASE_UNITS[QUANTITIES[claim.quantity]]


def number(value: Fraction | None) -> int | float | None:
    """Return an exact number as JSON holds it: whole numbers stay whole."""
    if value is None:
        return None
    return value.numerator if value.denominator == 1 else float(value)


def figure_row(claim: Claim) -> Row:
    """Return a claim's figure: as printed, and in base units."""
    most = None if claim.most is None else Fraction(claim.most) * UNITS[claim.unit].size
    right = None if claim.corrected is None else Fraction(claim.corrected) * UNITS[claim.unit].size
    return {
        "quantity": claim.quantity,
        "printed": printed(claim),
        "unit": claim.unit,
        "value": number(claim.base),
        "most": number(most),
        "corrected": number(right),
        "base_unit": base_unit(claim),
    }


def seen(claim: Claim) -> str | None:
    """Return how far a figure was seen in its source; None where its author does not say."""
    said = claim.source_kind != "user" or "verification" in claim.model_fields_set
    return claim.verification if said else None


def claim_row(claim: Claim) -> Row:
    """Return a claim's row of the list."""
    return {
        "id": claim.id,
        "method": claim.method,
        "method_id": claim.applies or None,
        "model": claim.model_name or claim.model,
        "model_id": claim.model or None,
        "setting": claim.setting,
        **figure_row(claim),
        "scope": claim.scope or None,
        "source": claim.source,
        "verification": seen(claim),
        "repeats": claim.repeats or None,
    }


def verdict_row(verdict: Verdict) -> Row:
    """Return a claim's row of the check."""
    claim = verdict.claim
    size = float(UNITS[claim.unit].size)
    return {
        **claim_row(claim),
        "verdict": verdict.verdict,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "recomputed": None if verdict.value is None else verdict.value * size,
        "recomputed_unit": _recomputed_unit(verdict),
        "relative_difference": verdict.relative_difference,
        "reading": {
            "convention": verdict.convention,
            "counts": verdict.counts,
            "scope": verdict.scope,
            "tokens": verdict.tokens,
        },
        "bound": None if verdict.bound is None else verdict.bound * size,
        "bounds": {scope: bound * size for scope, bound in verdict.bounds},
        "assumption": verdict.assumption or None,
        "missing": list(verdict.missing),
    }


def flat(row: Row) -> Row:
    """Return a row of the check for CSV."""
    found = {key: value for key, value in row.items() if key not in ("reading", "bounds")}
    found |= {f"reading_{key}": value for key, value in row["reading"].items()}
    found["bounds"] = "; ".join(f"{scope}: {bound:.6g}" for scope, bound in row["bounds"].items())
    found["missing"] = "; ".join(row["missing"])
    return found


def _recomputed_unit(verdict: Verdict) -> str | None:
    """Return the base unit of the recomputed figure: MAC where the reading counts those."""
    if verdict.value is None:
        return None
    compute = UNITS[verdict.claim.unit].dimension == "compute"
    if compute and verdict.counts == "MAC":
        return "MAC"
    return base_unit(verdict.claim)
