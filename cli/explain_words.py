"""Explanations of a figure in words."""

from __future__ import annotations

from ..costmodel.explaining import Explanation, Printed, Reading
from ..costmodel.explaining.readings import COMPONENTS_OF
from .units import with_prefix

#: What chances of a coincidence are called: up to each.
STRENGTHS = ((0.05, "strong"), (0.2, "fair"), (1.0, "weak"))
_SCOPES = {
    "LLM": "LLM with head",
    "LLM and connector": "LLM with head and connector",
    "LLM and encoder": "encoder, connector and LLM with head",
    "everything": "encoder, connector, LLM with head, and selection",
}


def strength(chance: float) -> str:
    """Return what a chance of a coincidence is called."""
    return next(name for most, name in STRENGTHS if chance <= most)


def scope_text(reading: Reading) -> str:
    """Return what a reading sums."""
    words = _SCOPES.get(reading.scope, reading.scope)
    if reading.first_layer:
        words += f" from layer {reading.first_layer} on"
    return words


def reading_text(reading: Reading) -> str:
    """Return scope and convention of a reading, and what else it says."""
    parts = [scope_text(reading), f"{reading.convention} convention"]
    if reading.causal:
        parts.append("causal pairs")
    if reading.logits == "all":
        parts.append("logits of all positions")
    return ", ".join(parts)


def sequence_tokens(one: Explanation) -> int:
    """Return the tokens of the LLM's sequence; keys of cross-attention are none of them."""
    beside = one.structural + one.found.text.tokens
    return beside + (0 if _crosses(one) else one.found.visual.tokens)


def _crosses(one: Explanation) -> bool:
    return one.found.setting.model.decoder.crosses


def tokens_text(one: Explanation) -> str:
    """Return the tokens of an explanation as a sum."""
    found = one.found
    if "decoder" not in COMPONENTS_OF[found.reading.scope]:
        return f"encoder of {found.visual.tokens} visual tokens"
    visual = 0 if _crosses(one) else found.visual.tokens
    parts = [str(part) for part in (visual, one.structural, found.text.tokens) if part]
    words = f"{sequence_tokens(one)} tokens"
    if len(parts) > 1:
        words += f" = {' + '.join(parts)}"
    return words + (f" over {found.visual.tokens} cross-attention keys" if _crosses(one) else "")


def explanation_text(one: Explanation, *, several: bool) -> str:
    """Return an explanation in one line; `several` models are told apart."""
    found = one.found
    parts = [f"{found.setting.model.id}:"] if several else []
    head = reading_text(found.reading)
    if found.quantity != "amount":
        head = f"{found.quantity} of {head}"
    details = [head, tokens_text(one)]
    if found.fitted:
        details.append(f"{'text length' if found.fitted == 'text' else 'token count'} fitted")
    if found.dense:
        details.append("the dense side")
    if found.batch > 1:
        details.append(f"batch {found.batch}")
    if one.match == "cut":
        details.append("digits cut off, not rounded")
    if one.scale.slip > 1:
        details.append("printed 1000 times too large")
    if one.scale.slip < 1:
        details.append("printed 1000 times too small")
    return " ".join([*parts, ", ".join(details)])


def source_text(one: Explanation) -> str:
    """Return where the tokens of an explanation come from."""
    found = one.found
    source = found.visual.source
    if found.fitted == "tokens":
        source = "no source, the count that gives the digits"
    parts = [f"{found.visual.tokens}: {source}"]
    if "decoder" in COMPONENTS_OF[found.reading.scope]:
        if found.fitted == "text":
            first, last = one.texts
            span = f"{first}" if first == last else f"any of {first}–{last}"
            parts.append(f"{span}: no source, the text length that gives the digits")
        elif found.text.tokens:
            parts.append(f"{found.text.tokens}: {found.text.source}")
        else:
            parts.append(found.text.source)
        if one.structural:
            parts.append(f"{one.structural}: structural tokens of the model's prompt")
    if one.scale.assumed:
        parts.append(f"prefix {one.scale.assumed} assumed")
    if one.also:
        others = dict.fromkeys(
            f"{scope_text(reading)} ({reading.convention})" for reading in one.also
        )
        parts.append(f"the digits do not tell it from {', '.join(others)}")
    return "; ".join(parts)


def value_text(one: Explanation) -> str:
    """Return the recomputed value."""
    found = one.found
    if found.quantity == "factor":
        return f"{float(one.value):.4f}×"
    if found.quantity != "amount":
        return f"{100 * float(one.value):.3f} %"
    return with_prefix(round(one.value), found.reading.counts)


def difference_text(one: Explanation) -> str:
    """Return how far the value is from the print."""
    return f"{100 * one.relative_difference:+.2f} %"


def chance_text(chance: float) -> str:
    """Return a chance in percent."""
    return "< 0.1 %" if chance < 0.001 else f"{100 * chance:.1f} %"


def digits_text(printed: Printed) -> str:
    """Return how many digits are printed."""
    return f"{printed.digits} digit{'s' * (printed.digits > 1)}"


def sentence(printed: Printed, found: list[Explanation], tried: int, *, several: bool) -> str:
    """Return the answer in one sentence."""
    if not found:
        return (
            f"Nothing explains {printed.text}: of {tried:,} combinations, none gives it but such "
            "as give about any number."
        )
    best = found[0]
    chance = (
        f"a random figure of {digits_text(printed)} meets an explanation as natural with a "
        f"chance of {chance_text(best.chance)}"
    )
    text = explanation_text(best, several=several)
    if best.match == "close":
        return f"No candidate rounds to {printed.text}; the closest is {text}; {chance}."
    verb = "is explained by" if strength(best.chance) == "strong" else "fits"
    return f"{printed.text} {verb} {text} ({value_text(best)}); {chance}."
