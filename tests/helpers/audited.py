"""Claims as a user would write them, audited."""

from __future__ import annotations

from vlm_tokencost.presets.auditing.audit import audit
from vlm_tokencost.presets.claim import Claim

LLAVA = {"model": "llava-1.5-7b"}
NEXT = {"model": "llava-next-vicuna-7b", "visual_tokens": 2880}


def claim(quantity, value, unit, claim_id="one", **fields):
    """Return a user's claim."""
    return Claim(
        id=claim_id,
        method="m",
        source="s",
        quantity=quantity,
        value=str(value),
        unit=unit,
        **fields,
    )


def verdict(*args, known=(), **fields):
    """Audit a user's claim, beside others that it names."""
    return audit(claim(*args, **fields), {one.id: one for one in known})
