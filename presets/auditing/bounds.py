"""The most that a schedule can speed up each stage, whatever it runs on, and on a device."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Literal, NamedTuple

from ...costmodel import Report
from ...costmodel.clock import Running
from ...costmodel.explaining.readings import Reading, price, readings
from ...costmodel.gains import possible_speed_up
from ...costmodel.kernels import Numbers
from ...costmodel.latency import Latency, latency
from ...costmodel.memory import kv_cache_bytes, kv_read_bytes
from ...costmodel.timing import Interval
from ...costmodel.traffic import decode_kernels
from ...costmodel.weights import Storage, weight_bytes
from ..claim import Claim
from ..device import list_devices, load_device
from .setting import OWN, Question, Variant, evaluated, question_of, report_of

Backend = Literal["eager", "sdpa"]
#: Scopes of times, the widest first; those behind a scope are parts of it.
PARTS: dict[str, tuple[str, ...]] = {
    "": ("ttft", "prefill", "llm-prefill", "decode", "attention"),
    "end-to-end": ("ttft", "prefill", "llm-prefill", "decode"),
    "ttft": ("prefill", "llm-prefill"),
    "prefill": ("llm-prefill",),
    "llm-prefill": (),
    "decode": (),
    "attention": (),
    "encoder": (),
    "selection": (),
    "serving": (),
}
#: Which stages of a run each scope has, on a device.
_STAGES: dict[str, tuple[str, ...]] = {
    "llm-prefill": ("prefill",),
    "prefill": ("vision", "connector", "selection", "prefill"),
    "ttft": ("load", "vision", "connector", "selection", "prefill"),
    "end-to-end": ("load", "vision", "connector", "selection", "prefill", "decode"),
    "decode": ("decode",),
    "encoder": ("vision",),
}


class Bound(NamedTuple):
    """The most of a scope, and what it is."""

    factor: float
    words: str


class Limits(NamedTuple):
    """What a schedule can gain in every scope, with the same kernels on both sides.

    Attributes:
        own: With eager attention where that is stated, else with fused.
        cost: The same from FLOPs and bytes alone, whatever device it is.
        attention: Of which attention `own` is.
    """

    own: dict[str, Bound]
    cost: dict[str, Bound]
    attention: Literal["fused", "eager"]


def limits(claim: Claim, variant: Variant = OWN) -> Limits:
    """Return the most of each scope: on the claim's device, or on any."""
    cost = cost_bounds(claim, report_of(claim, variant=variant))
    own = dict(cost)
    if claim.attention == "eager":
        found = eager_gains(claim, variant)
    elif claim.device:
        found = _on(claim, variant, "sdpa", claim.device)
    else:
        return Limits(own, cost, "fused")
    for scope, most in found.items():
        # Bytes bound a decode forward, however long its launches take beside them.
        widens = scope == "decode" or not claim.device
        if not widens or most.factor > cost[scope].factor:
            own[scope] = most
    return Limits(own, cost, "eager" if claim.attention == "eager" else "fused")


def eager_gains(claim: Claim, variant: Variant = OWN) -> dict[str, Bound]:
    """Return the most of each scope where attention keeps its scores in memory in both runs.

    Times then shrink faster than FLOPs, and how much faster depends on the device: where none is
    stated, the most over all of them.
    """
    best: dict[str, Bound] = {}
    for device in [claim.device] if claim.device else _devices():
        for scope, most in _on(claim, variant, "eager", device).items():
            if scope not in best or most.factor > best[scope].factor:
                best[scope] = most
    return best


@lru_cache(maxsize=1)
def _devices() -> tuple[str, ...]:
    return tuple(one for one in list_devices() if load_device(one).native("fp16"))


def _on(claim: Claim, variant: Variant, backend: Backend, device: str) -> dict[str, Bound]:
    """Return the most of each scope on a device.

    Every stage may take anything between the bounds of the latency model, but alike in both runs:
    the largest ratio over all choices of lower, central or upper for each stage.
    """
    words = f"the times of its kernels on {load_device(device).name}"
    found = {}
    for scope, stages in _STAGES.items():
        question = _with_forwards(question_of(claim, variant=variant), scope)
        timed = times(claim, question, backend, device)
        found[scope] = Bound(_corners(timed, stages), words)
    return found


def _with_forwards(question: Question, scope: str) -> Question:
    """Return a question with a decode forward at least, where that is what is timed."""
    return (
        question._replace(new_tokens=max(2, question.new_tokens)) if scope == "decode" else question
    )


def possible_gains(claim: Claim, variant: Variant = OWN) -> dict[str, float]:
    """Return the most of each scope on the claim's device, whatever software either run has."""
    if not claim.device:
        return {}
    found: dict[str, float] = {}
    for scope, stages in _STAGES.items():
        question = _with_forwards(question_of(claim, variant=variant), scope)
        sides = [times(claim, question, backend) for backend in backends(claim)]
        before = [_summed(one, stages, scheduled=False) for one in sides]
        after = [_summed(one, stages, scheduled=True) for one in sides]
        slowest = max(before, key=lambda one: one.upper)
        fastest = min(after, key=lambda one: one.lower)
        found[scope] = possible_speed_up(slowest, fastest)[1]
    return found


def _summed(timed: Latency, stages: tuple[str, ...], *, scheduled: bool) -> Interval:
    side = timed.scheduled if scheduled else timed.dense
    total = Interval(0.0, 0.0, 0.0)
    for name in stages:
        total += side.stages[name].time  # type: ignore[index]
    return total


def cost_bounds(claim: Claim, report: Report) -> dict[str, Bound]:
    """Return the most that each scope can gain, from FLOPs and bytes alone.

    llm-prefill: the largest ratio of the decoder's cost under any convention. prefill and ttft:
    the exact cost of encoder, connector, selection and LLM. decode: weights and cache that a
    forward reads, or its FLOPs. end-to-end: the larger of prefill and decode, or the prefill where
    no output length is stated. attention: pairs scored, or keys and values read. serving: whatever
    is saved most, FLOPs, cache stored or read. They hold at any share of a device's peak that both
    runs reach alike, with attention that keeps no scores in memory.
    """
    found = {}
    prefill, best = _llm(report)
    found["llm-prefill"] = Bound(prefill, f"the {best} cost of the LLM's prefill")
    exact = [report.bill("exact", scheduled=one) for one in (False, True)]
    whole = _ratio(exact[0].total, exact[1].total)
    words = "the exact cost of encoder, connector, selection and LLM"
    found["prefill"] = found["ttft"] = Bound(whole, words)
    parts = [bill.by_component() for bill in exact]
    own = _ratio(parts[0].get("vision", 0), parts[1].get("vision", 0))
    found["encoder"] = Bound(own, "the exact cost of the encoder")
    found["decode"] = _decode(claim, report)
    pairs = _ratio(sum(report.dense.pairs), sum(report.scheduled.pairs))
    reads = _ratio(_reads(report, scheduled=False), _reads(report, scheduled=True))
    found["attention"] = Bound(max(pairs, reads), "the pairs that attention scores, or its reads")
    stored = _ratio(
        kv_cache_bytes(report.model, report.dense), kv_cache_bytes(report.model, report.scheduled)
    )
    most = max(whole, stored, reads)
    found["serving"] = Bound(most, "FLOPs, and the cache that is stored or read")
    end = found["prefill"]
    if claim.new_tokens is not None and claim.new_tokens > 1:
        end = max(end, found["decode"], key=lambda one: one.factor)
    found["end-to-end"] = end
    return found


def _llm(report: Report) -> tuple[float, str]:
    """Return the largest ratio of the decoder's cost, and its convention."""
    wanted: list[Reading] = [
        one for one in readings(report) if one.scope == "LLM layers" and not one.causal
    ]
    dense, own = price(report, wanted, scheduled=False), price(report, wanted)
    ratios = [
        (_ratio(before, after), one.convention)
        for (one, before), (_, after) in zip(dense, own, strict=True)
    ]
    return max(ratios)


def _decode(claim: Claim, report: Report) -> Bound:
    """Return the gain of a decode forward: bytes that it moves, or its FLOPs.

    Unless a graph or fused attention is stated, the cache may be copied as it grows, keys and
    values repeated for every head, and scores kept in memory, as transformers does.
    """
    stored = weight_bytes(report.model, Storage(bits=claim.weight_bits))
    weights = stored["layers"] + (stored["head"] or stored["embedding"])
    flops = [report.decode_forward(scheduled=one).total for one in (False, True)]
    # Of experts, only those that are chosen: a weight of 2 bytes for every 2 FLOP of a sequence.
    weights = min(weights, flops[0] // max(1, report.workload.batch))
    reads = [_reads(report, scheduled=one) for one in (False, True)]
    moved = [weights + one for one in reads]
    software = ""
    if claim.attention != "fused" or claim.runtime != "graph":
        whole = [own + _beside(claim, report, scheduled=at) for at, own in enumerate(moved)]
        if _ratio(*whole) > _ratio(*moved):
            moved, software = whole, ", and is copied as it grows"
    factor = max(_ratio(*moved), _ratio(flops[0], flops[1]))
    share = reads[0] / (weights + reads[0])
    words = (
        f"the bytes or FLOPs of a decode forward at batch {report.workload.batch}, of which the KV "
        f"cache is {100 * share:.1f} % when read once{software}"
    )
    return Bound(factor, words)


def _beside(claim: Claim, report: Report, *, scheduled: int) -> int:
    """Return what software moves beside weights and cache: copies, repeats, scores."""
    plan = report.scheduled if scheduled else report.dense
    if plan.branches:
        return 0
    kernels = decode_kernels(
        report.model,
        plan,
        1,
        report.counting,
        Numbers(),
        "sdpa" if claim.attention == "fused" else "eager",
        claim.runtime != "graph",
    )
    named = ("copy of the cache", "repeated keys and values", "scores, mask and softmax")
    return sum(
        int(one.times * one.moved_bytes * one.present[2]) for one in kernels if one.name in named
    )


def _reads(report: Report, *, scheduled: bool) -> int:
    plan = report.scheduled if scheduled else report.dense
    return kv_read_bytes(report.model, plan)


def _ratio(before: float | Fraction, after: float | Fraction) -> float:
    if not after:
        return float("inf") if before else 1.0
    return float(before / after)


def backends(claim: Claim) -> tuple[Backend, ...]:
    """Return the kernels of attention that a claim allows."""
    if claim.attention == "eager":
        return ("eager",)
    return ("sdpa",) if claim.attention == "fused" else ("sdpa", "eager")


def times(claim: Claim, question: Question, backend: Backend, device: str = "") -> Latency:
    """Return the times of a question on a device, by default the claim's.

    Raises:
        UnknownName: No device has that name.
    """
    running = Running(
        attention=backend,
        runtime=claim.runtime or "eager",
        bits=claim.weight_bits if claim.weight_bits < 16 else None,
    )
    return _timed(question, device or claim.device, running)


@lru_cache(maxsize=2048)
def _timed(question: Question, device: str, running: Running) -> Latency:
    return latency(evaluated(question), load_device(device), running)


def _corners(timed: Latency, stages: tuple[str, ...]) -> float:
    """Return the largest ratio over all choices of a bound for each stage, alike in both runs."""
    pairs = [
        (timed.dense.stages[name].time, timed.scheduled.stages[name].time)  # type: ignore[index]
        for name in stages
    ]
    pairs = [one for one in pairs if one[0].upper or one[1].upper]
    most = 0.0
    for choice in product((0, 1, 2), repeat=len(pairs)):
        before = sum(one[0][at] for one, at in zip(pairs, choice, strict=True))
        after = sum(one[1][at] for one, at in zip(pairs, choice, strict=True))
        if after:
            most = max(most, before / after)
    return most or 1.0
