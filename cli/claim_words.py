"""Claims and verdicts in words: a figure as printed, its recomputation, its request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..presets.claim import QUANTITIES, Claim, Relation

if TYPE_CHECKING:
    from ..presets.auditing import Verdict

#: Dimensions of figures that compare with the dense model.
RELATIVE = ("share", "factor")
#: Units that follow their number without a space.
_CLOSE = ("×",)
#: Scopes, for people.
SCOPES = {
    "": "not stated",
    "llm-prefill": "prefill of the LLM",
    "prefill": "prefill with the encoder",
    "ttft": "time to first token",
    "decode": "decode",
    "end-to-end": "end to end",
    "attention": "attention alone",
    "encoder": "vision encoder",
    "selection": "selection of tokens",
    "serving": "serving",
    "training": "training",
}
#: Scopes whose bounds matter to a claim of a scope: its own and its parts.
_REQUEST = ("llm-prefill", "prefill", "ttft", "decode", "end-to-end")
_PARTS = {
    "": _REQUEST,
    "llm-prefill": ("llm-prefill", "attention"),
    "prefill": ("llm-prefill", "encoder", "prefill"),
    "ttft": ("llm-prefill", "prefill", "ttft"),
    "decode": ("decode", "attention"),
    "end-to-end": _REQUEST,
    "serving": ("decode", "end-to-end", "serving"),
}
#: How far a figure was seen in its source, for people.
VERIFICATIONS = {
    "source": "read in the source",
    "secondary": "from secondary notes",
    "abstract": "from the abstract",
    "survey": "from the survey",
    "memory": "from memory",
    "calculated": "calculated from other figures",
}
_RELATIONS = {
    "ratio": "the ratio {0} / {1}",
    "reduction": "the reduction 1 − {0} / {1}",
    "factor": "the factor {1} / {0}",
    "difference": "the difference {1} − {0}",
    "product": "the product {0} · {1}",
    "equal": "the same as {0}",
}


def printed(claim: Claim) -> str:
    """Return the figure as its source prints it, with its unit."""
    if claim.printed:
        return claim.printed
    assert claim.value is not None, "a claim has a value or a text"
    figure = digits(claim.value)
    if claim.most is not None:
        figure += f"–{digits(claim.most)}"
    return f"{claim.hedge} {with_unit(figure, claim)}".strip()


def digits(value: Decimal) -> str:
    """Return a number with the digits that it was given with.

    >>> digits(Decimal("20.80")), digits(Decimal("9.3E+2"))
    ('20.80', '930')
    """
    return f"{value:f}"


def with_unit(figure: str, claim: Claim, counts: str | None = None) -> str:
    """Return a figure with the claim's unit, which of MACs is theirs whatever is printed."""
    if claim.unit in ("fraction", "text"):
        return figure
    unit = claim.unit.replace("FLOP", "MAC") if counts == "MAC" else claim.unit
    return f"{figure}{'' if unit in _CLOSE else ' '}{unit}"


def amount(value: float | None) -> str:
    """Return a recomputed figure with five digits, or a dash.

    >>> amount(9.46459), amount(3_817_152.2), amount(0.55), amount(None)
    ('9.4646', '3,817,152', '0.55', '—')
    """
    if value is None:
        return "—"
    text = f"{value:,.0f}" if abs(value) >= 10**5 else f"{value:.5g}"
    return text.replace("-", "−")


def recomputed(verdict: Verdict) -> str:
    """Return the recomputed figure in the claim's unit, or in MACs if it is of them; or a dash."""
    if verdict.value is None:
        return "—"
    return with_unit(amount(verdict.value), verdict.claim, verdict.counts)


def bounded(verdict: Verdict) -> str:
    """Return the bound that decided, in the claim's unit, or a dash."""
    return "—" if verdict.bound is None else with_unit(amount(verdict.bound), verdict.claim)


def bounds_shown(verdict: Verdict) -> list[tuple[str, str]]:
    """Return the bounds of a claim's scope and its parts, in words; data formats have all."""
    scope = verdict.claim.scope
    wanted = _PARTS.get(scope, (scope,))
    return [
        (SCOPES.get(name, name), with_unit(amount(bound), verdict.claim))
        for name, bound in verdict.bounds
        if name in wanted or name not in SCOPES
    ]


def off(verdict: Verdict) -> str:
    """Return how far the recomputed figure is from the printed one, or a dash."""
    share = verdict.relative_difference
    if share is None:
        return "—"
    if abs(share) >= 10:  # a slip of a thousand is no percentage
        return f"{amount(1 + share)}-fold"
    shown = f"{100 * share:+.2f} %".replace("-", "−")
    return "0.00 %" if shown in ("+0.00 %", "−0.00 %") else shown


def reading(verdict: Verdict) -> str:
    """Return the reading under which the recomputed value holds."""
    parts = [verdict.convention or "", verdict.counts or "", verdict.scope or ""]
    if verdict.tokens is not None:
        parts.append(f"{verdict.tokens:,} tokens")
    return ", ".join(part for part in parts if part)


def setting(claim: Claim) -> str:
    """Return the method's setting, as the source words it or else as it is typed."""
    if claim.setting:
        return claim.setting
    if claim.dense:
        return "dense model"
    if claim.budget is not None:
        return f"budget {claim.budget}"
    return schedule_words(claim) if claim.schedule is not None else ""


def schedule_words(claim: Claim) -> str:
    """Return what is priced: the dense model, a method's setting or a schedule."""
    if claim.dense:
        return "none: the dense model"
    if isinstance(claim.schedule, str):
        return claim.schedule
    if claim.schedule is not None:
        return as_text(claim.schedule)
    if claim.unsettled:
        return f"unsettled: {claim.unsettled}"
    if not claim.applies:
        return "unknown"
    budget = "its default" if claim.budget is None else f"budget {claim.budget}"
    return f"{claim.applies}, {budget}"


def as_text(value: Any) -> str:
    """Return tables and lists as text on one line.

    >>> as_text({"stages": [{"first_layer": 2, "ratio": "0.5"}]})
    'stages [first_layer 2, ratio 0.5]'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {as_text(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return f"[{'; '.join(as_text(one) for one in value)}]"
    return str(value)


def request(claim: Claim) -> str:
    """Return what is known of the request and of what it ran on."""
    parts = []
    if claim.images:
        many = len(claim.images)
        parts.append(f"{many} image{'s' * (many > 1)} of {', '.join(claim.images)}")
    if claim.frames:
        parts.append(f"{claim.frames} frames")
    if claim.visual_tokens is not None:
        parts.append(f"{claim.visual_tokens:,} visual tokens")
    if claim.text_tokens is not None:
        parts.append(f"{claim.text_tokens:,} text tokens")
    if claim.text_lengths:
        parts.append(f"{', '.join(map(str, claim.text_lengths))} text tokens, averaged")
    if claim.visual_lengths:
        parts.append(f"with {', '.join(map(str, claim.visual_lengths))} visual tokens")
    if claim.new_tokens is not None:
        parts.append(f"{claim.new_tokens:,} new tokens")
    if claim.batch is not None:
        parts.append(f"batch {claim.batch}")
    if claim.device:
        parts.append(f"on {claim.device}")
    parts += [f"{claim.weight_bits}-bit weights"] if claim.weight_bits != 16 else []
    parts += [f"{claim.attention} attention"] if claim.attention else []
    parts += [f"{claim.runtime} runtime"] if claim.runtime else []
    return ", ".join(parts)


def source(claim: Claim) -> str:
    """Return where the figure stands and how far it was seen there."""
    if claim.source_kind == "user":
        return claim.source
    own = "" if claim.primary else "; not the method's own paper"
    return f"{claim.source} ({VERIFICATIONS[claim.verification]}{own})"


def relation(rule: Relation, known: Mapping[str, Claim]) -> str:
    """Return how a figure must follow from others, with their figures."""
    terms = [term(one, known) for one in rule.of]
    if rule.kind == "sum":
        text = f"the sum {' + '.join(terms)}"
    else:
        text = _RELATIONS[rule.kind].format(*terms)
    return text + ("; figures are rates, the times' ratio is upside down" if rule.as_times else "")


def baseline(claim: Claim, known: Mapping[str, Claim]) -> str:
    """Return the dense model's figure printed beside a claim, or an empty text."""
    if claim.baseline is None:
        return ""
    if isinstance(claim.baseline, str) or QUANTITIES[claim.quantity] in RELATIVE:
        return term(claim.baseline, known)
    return with_unit(digits(claim.baseline), claim)


def term(one: str | Decimal, known: Mapping[str, Claim]) -> str:
    """Return a figure that a claim names, by its id or as a number."""
    if isinstance(one, Decimal):
        return digits(one)
    return f"{printed(known[one])} ({one})" if one in known else str(one)


def without_repeats(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return verdicts without those on a figure that another of them is on too."""
    every = list(verdicts)
    ids = {one.claim.id for one in every}
    return [one for one in every if one.claim.repeats not in ids]


def counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """Return how many claims got each verdict, from the best to the worst."""
    from ..presets.auditing import VERDICTS

    found = Counter(one.verdict for one in without_repeats(verdicts))
    return {name: found[name] for name in VERDICTS}


def tally(verdicts: Iterable[Verdict]) -> str:
    """Return the counts on one line."""
    verdicts = list(verdicts)
    found = counts(verdicts)
    total = sum(found.values())
    parts = [f"{number} {name}" for name, number in found.items() if number]
    parts += [f"{len(verdicts) - total} recorded twice"] if len(verdicts) > total else []
    return f"{total} claim{'s' * (total != 1)}" + (f": {', '.join(parts)}" if parts else "")
