"""Options that name a target: what a schedule is to cost at most."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from ..costmodel import InvalidInput
from ..costmodel.flops import CONVENTIONS, Convention
from ..costmodel.solving import Quantity, Target
from .options import Text, flag, one_of, option
from .units import percent, with_prefix

TARGET = "Target"
_SUFFIXES = {"": 0, "k": 3, "K": 3, "M": 6, "G": 9, "T": 12, "P": 15}
_NUMBER = r"[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE]\+?[0-9]{1,2})?"
#: Option: (quantity, pattern of what stands behind the number, way out).
_TARGETS: dict[str, tuple[Quantity, str, str]] = {
    "target_ratio": ("ratio", r"()()", "give a share of the dense cost, such as 0.45, 1/3 or 45%"),
    "target_flops": ("flops", r"([kKMGTP]?)()", "give FLOPs, or MACs, such as 1.25T"),
    "target_average_tokens": ("average-tokens", r"()()", "give a number of tokens, such as 192"),
    "target_kv_bytes": (
        "kv-bytes",
        r"([kKMGTP]?)(i?B)?",
        "give bytes, such as 100MB or 96MiB",
    ),
}


@dataclass(eq=False, repr=False)
class Targets:
    """The target options as they were typed."""

    target_ratio: Annotated[
        Text,
        option(
            TARGET, "--target-ratio", "Share of the dense cost, such as 0.45, 1/3 or 45%.", "RATIO"
        ),
    ] = None
    target_flops: Annotated[
        Text,
        option(
            TARGET,
            "--target-flops",
            "Cost such as 1.25T (k, M, G, T, P): FLOPs under exact, MACs under survey and gated.",
            "AMOUNT",
        ),
    ] = None
    target_average_tokens: Annotated[
        Text,
        option(
            TARGET,
            "--target-average-tokens",
            "Average of the visual tokens over the decoder layers.",
            "TOKENS",
        ),
    ] = None
    target_kv_bytes: Annotated[
        Text,
        option(
            TARGET,
            "--target-kv-bytes",
            "KV cache after the prefill, such as 100MB or 96MiB.",
            "BYTES",
        ),
    ] = None

    def chosen(self, convention: str | None) -> tuple[str, Target] | None:
        """Return the option that was given and its target; None without any.

        Raises:
            InvalidInput: Several options, a malformed amount or a convention that is none.
        """
        given = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        if not given:
            return None
        if len(given) > 1:
            problem = f"and {flag(given[0])} are two targets"
            raise InvalidInput(flag(given[1]), None, problem, "give one of them")
        (name,) = given
        quantity = _TARGETS[name][0]
        amount = _amount(name, getattr(self, name))
        if quantity in ("average-tokens", "kv-bytes") and convention is not None:
            problem = f"does not change what {flag(name)} counts"
            raise InvalidInput("--convention", convention, problem, "leave it out")
        return flag(name), Target(quantity, amount, one_convention(convention))


def one_convention(text: str | None) -> Convention:
    """Return the convention that a cost is compared by; exact by default."""
    found: Convention = one_of(text or "exact", "--convention", CONVENTIONS)
    return found


def _amount(name: str, text: str) -> Fraction:
    """Return an amount in base units, exactly as it was written."""
    _, suffix, way_out = _TARGETS[name]
    if name == "target_ratio" and (share := _share(text.strip())):
        return share
    found = re.fullmatch(rf"({_NUMBER}) ?{suffix}", text.strip())
    if found is None or (found[3] == "iB" and not found[2]):
        kind = {"target_ratio": "a ratio", "target_kv_bytes": "a number of bytes"}
        problem = f"is not {kind.get(name, 'an amount')}"
        raise InvalidInput(flag(name), text, problem, way_out)
    number, power = Fraction(Decimal(found[1])), _SUFFIXES[found[2]]
    base = 1024 ** (power // 3) if found[3] == "iB" else 10**power
    amount = number * Fraction(base)
    if not amount:
        raise InvalidInput(flag(name), text, "is not above 0", way_out)
    return amount


def _share(text: str) -> Fraction | None:
    """Return a share such as 1/3 or 45%; None of another form, or of nothing."""
    found = re.fullmatch(rf"({_NUMBER}) ?%|([0-9]{{1,20}})/(0*[1-9][0-9]{{0,19}})", text)
    if found is None:
        return None
    return Fraction(found[1]) / 100 if found[1] else Fraction(int(found[2]), int(found[3]))


def target_text(target: Target, amount: Fraction | None = None) -> str:
    """Return an amount of a target's quantity, by default the target's own, for people."""
    amount = target.amount if amount is None else amount
    if target.quantity == "ratio":
        return percent(amount.numerator, amount.denominator)
    if target.quantity == "average-tokens":
        return f"{float(amount):.2f}"
    return with_prefix(round(amount), target.unit)


def name_of(target: Target) -> str:
    """Return what a target measures, in words."""
    words = {
        "ratio": f"share of the dense cost under {target.convention}",
        "flops": f"cost under {target.convention}",
        "average-tokens": "average of the visual tokens over the layers",
        "kv-bytes": "KV cache after the prefill",
    }
    return words[target.quantity]


def distance_text(target: Target, amount: Fraction) -> str:
    """Return how far an amount is from the target, with its sign."""
    distance = amount - target.amount
    sign = "−" if distance < 0 else "+" if distance else ""
    distance = abs(distance)
    if target.quantity == "ratio":
        return f"{sign}{float(100 * distance):.4f} pt"
    if target.quantity == "average-tokens":
        return f"{sign}{float(distance):.4f}"
    return f"{sign}{with_prefix(round(distance), target.unit)}"


def signed_percent(share: float) -> str:
    """Return a share in percent with its sign.

    >>> signed_percent(-0.0014)
    '−0.14 %'
    """
    return f"{100 * share:+.2f} %".replace("-", "−")
