"""A frontier's costs in words."""

from __future__ import annotations

import math
from fractions import Fraction

from ..costmodel.flops import UNITS
from .frontier_options import Limit
from .units import prefix, with_prefix


def unit_of(limit: Limit) -> str:
    """Return the unit of what cost is."""
    return {"flops": UNITS[limit.convention], "kv-bytes": "B", "ttft": "s"}[limit.quantity]


def cost_name(limit: Limit, generation: bool) -> str:
    """Return what cost is."""
    if limit.quantity == "kv-bytes":
        return "KV cache after the prefill"
    if limit.quantity == "ttft":
        return "time to the first token, central estimate"
    phase = "generation" if generation and limit.convention == "exact" else "prefill"
    return f"{UNITS[limit.convention]}s of the {phase}, {limit.convention}"


def amount_text(limit: Limit, amount: Fraction, dense: Fraction | None = None) -> str:
    """Return an amount of what cost is; with the dense cost, as a share of it."""
    if dense is not None:
        return f"{float(100 * amount / dense):.2f} %"
    if limit.quantity == "ttft":
        return f"{float(1000 * amount):,.2f} ms"
    return with_prefix(round(amount), unit_of(limit))


def at_least_text(limit: Limit, amount: Fraction, dense: Fraction | None = None) -> str:
    """Return an amount rounded up, so that what is printed suffices as a budget.

    >>> at_least_text(Limit("flops", "exact"), Fraction(1_870_512_345_678))
    '1.8706 TFLOP'
    """
    if dense is not None:
        return amount_text(limit, Fraction(math.ceil(10**4 * amount / dense), 10**4), Fraction(1))
    if limit.quantity == "ttft":
        return amount_text(limit, Fraction(math.ceil(10**5 * amount), 10**5))
    whole = math.ceil(amount)
    last = 10 ** max(prefix([whole])[1] - 4, 0)
    return amount_text(limit, Fraction(-(-whole // last) * last))
