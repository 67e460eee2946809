"""Which published claims are meant: by id, method, model, quantity, verification."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from typing import get_args

from ..costmodel import InvalidInput, UnknownName
from ..costmodel.errors import closest
from ..presets.claim import QUANTITIES, Claim, Verification, load_claims
from .options import one_of

LIST = "tokencost claims list"


def by_id(ids: Sequence[str]) -> list[Claim]:
    """Return the claims with these ids, or those that a pattern such as 'fastv-*' matches.

    Raises:
        InvalidInput: An id that no claim has, or a pattern that matches none.
    """
    known, found = load_claims(), dict[str, Claim]()
    plain = {name.lower(): name for name in known}
    for wanted in ids:
        if any(sign in wanted for sign in "*?["):
            matches = [name for name in known if fnmatch.fnmatchcase(name.lower(), wanted.lower())]
            if not matches:
                raise InvalidInput("ID", wanted, "matches no claim", f"see `{LIST}`")
        elif wanted.lower() not in plain:
            close = closest(wanted, plain)
            hint = f"did you mean {plain[close]}?" if close else f"see `{LIST}`"
            raise InvalidInput("ID", wanted, "is not known", hint)
        else:
            matches = [plain[wanted.lower()]]
        found |= {name: known[name] for name in matches}
    return list(found.values())


def chosen(
    claims: Iterable[Claim],
    method: str | None = None,
    model: str | None = None,
    quantity: str | None = None,
    verification: str | None = None,
) -> list[Claim]:
    """Return the claims that fit all filters; methods and models by our id or the source's name.

    Raises:
        UnknownName: A name that no claim has.
        InvalidInput: A quantity or verification that is none, or filters that nothing fits.
    """
    left = list(claims)
    _refuse_unknown(quantity, verification)
    filters: list[tuple[str, str | None, Callable[[Claim], Sequence[str]]]] = [
        ("--method", method, lambda claim: (claim.applies, claim.method)),
        ("--model", model, lambda claim: (claim.model, claim.model_name)),
        ("--quantity", quantity, lambda claim: (claim.quantity,)),
        ("--verification", verification, lambda claim: (claim.verification,)),
    ]
    for name, wanted, keys in filters:
        if wanted is None:
            continue
        known = sorted({key for claim in claims for key in keys(claim) if key})
        if name in ("--method", "--model") and _plain(wanted) not in map(_plain, known):
            raise UnknownName(name, wanted, known, LIST)
        left = [claim for claim in left if _plain(wanted) in map(_plain, keys(claim))]
        if not left:
            problem = "leaves no claim together with the other filters"
            single = sum(one is not None for _, one, _ in filters) == 1
            if single:
                problem = "is no claim's"
            raise InvalidInput(name, wanted, problem, f"see `{LIST}`")
    return left


def _refuse_unknown(quantity: str | None, verification: str | None) -> None:
    """Refuse words that are no quantity, which may be typed with hyphens, or no verification."""
    if quantity is not None and _plain(quantity) not in map(_plain, QUANTITIES):
        one_of(quantity, "--quantity", tuple(QUANTITIES))
    if verification is not None:
        one_of(verification, "--verification", get_args(Verification))


def _plain(name: str) -> str:
    """Return a name without what writers differ in.

    >>> _plain("LLaVA-1.5 7B"), _plain("speed-up")
    ('llava1.57b', 'speedup')
    """
    return re.sub(r"[\s_-]+", "", name.lower())
