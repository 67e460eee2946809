"""Absolute times on a known device: held against its peak, its bandwidth and its host."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from ...costmodel.device import Device, Precision
from ...costmodel.explaining.readings import ReadingScope, reading
from ...costmodel.latency import Side
from ...costmodel.plausible import (
    LEAST_HOST_SECONDS,
    MOST_OF_GEFORCE,
    MOST_OF_PEAK,
    of_peak,
)
from ...costmodel.timing import Interval
from ..claim import Claim
from ..device import load_device
from .bounds import backends, times
from .findings import INCOMPLETE
from .fitting import USUAL_PROMPT
from .limits import NAMES
from .printed import Span, as_printed, in_unit, number, span
from .requests import of_tokens, tokens_of
from .setting import assumed_schedule, missing, question_of, report_of, tokens_known
from .verdict import Verdict, VerdictName, rule

PEAK_SHARE = rule(
    "peak-share",
    "No whole prefill is measured above 85 % of a device's dense peak (97 % on GeForce cards): "
    "such a time was computed, or its tokens were fewer.",
)
HOST_FLOOR = rule(
    "host-floor",
    "The eager code of Hugging Face launches no LLM layer in less than 0.6 ms: a shorter forward "
    "was computed, captured in a graph, ran in leaner code, or is of fewer layers.",
)
PHYSICAL_FLOOR = rule(
    "physical-floor",
    "No stage is faster than its FLOPs at the device's peak and its bytes at full bandwidth.",
)
INTERVAL = rule("latency-interval", "A time between the bounds of the latency model is plausible.")
CONTAINS_MORE = rule(
    "contains-more",
    "A time above the pessimistic bound of its stage contains more than the stage, or ran on "
    "slower kernels or a slower host than the latency model's slowest.",
)
_OF_WHOLE: ReadingScope = "LLM and encoder"
#: Scopes whose FLOPs are known, and what they sum.
_COSTS: dict[str, ReadingScope] = {
    "llm-prefill": "LLM",
    "": "LLM",
    "prefill": _OF_WHOLE,
    "ttft": _OF_WHOLE,
    "encoder": "encoder",
}
#: Scopes in which a forward of every LLM layer runs.
_FORWARDS = ("", "llm-prefill", "prefill", "ttft", "end-to-end", "decode")


class Stage(NamedTuple):
    """What the latency model allows for a scope, in seconds."""

    lower: float
    upper: float


def timed(claim: Claim) -> Verdict:
    """Return the verdict on an absolute time or rate."""
    lack = list(missing(claim))
    if not claim.device:
        lack.append("the device")
    if claim.scope == "end-to-end" and claim.new_tokens is None:
        lack.append("the length of the answers")
    if claim.quantity == "total time":
        lack.append("how many requests the run has")
    if claim.scope in ("serving", "attention", "training"):
        lack.append(f"a closed form of times of {claim.scope}")
    if claim.quantity == "throughput" and claim.scope != "decode":
        lack.append("a rate of one stage")
    if lack:
        reason = f"{as_printed(claim)} alone. Missing: {'; '.join(lack)}."
        return Verdict(claim, "not checkable", INCOMPLETE, reason, missing=tuple(lack))
    seconds = _seconds(claim)
    device = load_device(claim.device)
    allowed = _allowed(claim)
    ends = [_as_claimed(claim, one) for one in (allowed.lower, allowed.upper)]
    bounds = ("lower bound", min(ends)), ("upper bound", max(ends))
    verdict = _judged(claim, seconds, device, allowed)
    return _questioned(claim, verdict)._replace(
        scope=claim.scope or None, bounds=bounds, tokens=tokens_of(report_of(claim))
    )


def _seconds(claim: Claim) -> Span:
    own = span(claim)
    if claim.quantity == "throughput":
        batch = claim.batch or 1
        return Span(batch / own.high, batch / own.low)
    return own


def _allowed(claim: Claim) -> Stage:
    """Return the least and the most that the stage takes, over what the claim leaves open."""
    lowers, uppers = [], []
    tokens = 2 if claim.scope == "decode" and (claim.new_tokens or 1) < 2 else None
    for text in {claim.text_tokens or 0, claim.text_tokens or USUAL_PROMPT}:
        question = question_of(claim, text, new_tokens=tokens)
        for backend in backends(claim):
            found = times(claim, question, backend)
            side = found.dense if claim.dense else found.scheduled
            stage = _stage(claim, side)
            lowers.append(stage.lower)
            uppers.append(stage.upper)
    return Stage(min(lowers), max(uppers))


def _stage(claim: Claim, side: Side) -> Interval:
    stages = side.stages
    match claim.scope:
        case "llm-prefill":
            return stages["prefill"].time
        case "prefill" | "ttft":
            return side.ttft
        case "decode":
            assert side.mean is not None, "two tokens have a decode forward"
            return side.mean.time
        case "encoder":
            return stages["vision"].time
        case "selection":
            return stages["selection"].time
        case "end-to-end":
            return side.end_to_end
    whole = side.end_to_end  # which includes no decode forward unless tokens are stated
    return Interval(stages["prefill"].time.lower, whole.central, whole.upper)


def _judged(claim: Claim, seconds: Span, device: Device, allowed: Stage) -> Verdict:
    printed, where = as_printed(claim), NAMES.get(claim.scope, claim.scope)
    longest = float(seconds.high)
    text = claim.text_tokens or 0
    at = of_tokens(claim, (text,))

    def verdict(
        name: VerdictName, rule_id: str, reason: str, bound: float, missing: tuple[str, ...] = ()
    ) -> Verdict:
        found = Verdict(claim, name, rule_id, reason, missing=missing)
        return found._replace(bound=_as_claimed(claim, bound))

    share, precision = _share(claim, longest, device)
    most = MOST_OF_GEFORCE if "GeForce" in device.name else MOST_OF_PEAK
    if share is not None and share > most:
        reason = (
            f"{printed} for {where} at {at} would be {share * 100:.0f} % of the {precision} peak "
            f"of {device.name}; no prefill is measured above {most * 100:.0f} %. It was computed, "
            "the tokens were fewer, or several devices shared the work."
        )
        return verdict("impossible", PEAK_SHARE, reason, longest * share / most)
    if longest < allowed.lower:
        reason = (
            f"{printed} for {where} at {at} is below {_time(allowed.lower)}, which {device.name} "
            "takes at its peak and full bandwidth."
        )
        return verdict("impossible", PHYSICAL_FLOOR, reason, allowed.lower)
    layers = report_of(claim).model.decoder.num_hidden_layers
    floor = layers * LEAST_HOST_SECONDS
    if claim.runtime != "graph" and claim.scope in _FORWARDS and longest < floor:
        reason = (
            f"{printed} for {where} is below the {_time(floor)} in which the eager code of Hugging "
            f"Face launches {layers} layers: it was computed, captured in a graph, is time on the "
            "device, or ran in leaner code."
        )
        return verdict("needs scope", HOST_FLOOR, reason, floor, ("how the layers were launched",))
    between = f"{_time(allowed.lower)} to {_time(allowed.upper)}"
    if float(seconds.low) > allowed.upper:
        stage = where
        lack = ["what else the time contains, or what slowed it"]
        if claim.scope == "":
            stage = "loading, encoder and prefill, without any answer"
        if claim.scope in ("", "end-to-end") and claim.new_tokens is None:
            lack.append("the length of the answers")
        why = "it contains more than that, or ran on slower kernels or a slower host"
        if claim.weight_bits < 16:
            why = f"it contains more than that, or its weights of {claim.weight_bits} bits slow it"
        reason = (
            f"{printed} is above {between}, what the latency model allows for {stage} at {at} on "
            f"{device.name}: {why}."
        )
        return verdict("needs scope", CONTAINS_MORE, reason, allowed.upper, tuple(lack))
    reason = f"{printed} is within {between} for {where} at {at} on {device.name}."
    return verdict("plausible", INTERVAL, reason, allowed.upper)


def _as_claimed(claim: Claim, seconds: float) -> float:
    """Return a time as the claim's quantity and unit would print it."""
    rate = claim.quantity == "throughput"
    return in_unit(claim, (claim.batch or 1) / seconds if rate else seconds)


def _share(claim: Claim, seconds: float, device: Device) -> tuple[float | None, Precision]:
    """Return the share of the peak that a time implies at the fewest FLOPs, causal pairs alone."""
    report = report_of(claim, claim.text_tokens or 0)
    found = times(claim, question_of(claim), backends(claim)[0])
    own = found.arithmetic[not claim.dense]
    scope = _COSTS.get(claim.scope)
    if scope is None or claim.quantity == "throughput":
        return None, own.narrow
    cost = reading("exact", "FLOP", scope, causal=scope != "encoder")
    flops = Fraction(cost.value(report, scheduled=not claim.dense))
    return of_peak(float(flops), seconds, device, own.narrow), own.narrow


def _questioned(claim: Claim, verdict: Verdict) -> Verdict:
    """Return the verdict once it is considered what of the setting nobody states."""
    lack = []
    if not tokens_known(claim):
        lack.append("the size of the images, or the visual tokens")
    if assumed_schedule(claim):
        lack.append(assumed_schedule(claim))
    if not lack:
        return verdict
    if verdict.verdict == "plausible" and tokens_known(claim):
        return verdict._replace(assumption="; ".join(lack))
    return verdict._replace(
        verdict="not checkable", rule=INCOMPLETE, missing=(*lack, *verdict.missing)
    )


def _time(seconds: float) -> str:
    return f"{number(seconds)} s" if seconds >= 1 else f"{number(seconds * 1e3)} ms"
