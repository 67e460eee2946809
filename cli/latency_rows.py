"""Times as flat rows and as JSON: seconds, unrounded."""

from __future__ import annotations

from typing import Any

from ..costmodel.clock import StageTime, host_was_measured
from ..costmodel.latency import Ceiling, Latency, Side, ceiling, possible_speed_up, speed_up
from ..costmodel.timing import Interval
from ..costmodel.traffic import STAGES
from .latency_memory import fitting
from .rows import Row
from .summary import heading

BOUNDS = ("lower", "central", "upper")
#: Larger factors mean no more than that nearly nothing is left.
MOST_TIMES = 1000


def bounds(interval: Interval | None) -> dict[str, float] | None:
    """Return an interval as JSON gives it."""
    if interval is None:
        return None
    return {name: float(value) for name, value in zip(BOUNDS, interval, strict=True)}


def times(factor: float) -> str:
    """Return a speed-up in words of a table.

    >>> times(1.5), times(286_506.2)
    ('1.50×', '>1,000×')
    """
    return f"{factor:.2f}×" if factor <= MOST_TIMES else f">{MOST_TIMES:,}×"


def totals(found: Latency) -> list[tuple[str, Interval, Interval]]:
    """Return what passes until a token, as (name, baseline, scheduled)."""
    dense, scheduled = found.dense, found.scheduled
    rows = [("time to first token", dense.ttft, scheduled.ttft)]
    for name in ("first", "mean", "last"):
        before, after = getattr(dense, name), getattr(scheduled, name)
        if before is not None and after is not None:
            rows.append((f"{name} decode forward", before.time, after.time))
    if dense.forwards:
        rows.append(("end to end", dense.end_to_end, scheduled.end_to_end))
    return rows


def timed_stages(found: Latency) -> list[str]:
    """Return the stages that take any time in either run."""
    sides = found.dense, found.scheduled
    return [name for name in STAGES if any(side.stages[name].time.upper for side in sides)]


def records(found: Latency) -> list[Row]:
    """Return a row for each stage and total."""
    rows = []
    for name in timed_stages(found):
        before, after = (side.stages[name] for side in (found.dense, found.scheduled))  # type: ignore[index]
        rows.append(_record("stage", name, before.time, after.time, before, after))
    rows += [_record("total", *total) for total in totals(found)]
    return rows


def _record(
    kind: str,
    name: str,
    before: Interval,
    after: Interval,
    dense: StageTime | None = None,
    scheduled: StageTime | None = None,
) -> Row:
    row: Row = {"kind": kind, "name": name, "unit": "s"}
    gains = _speed_up(before, after)
    for label, interval in (("baseline", before), ("scheduled", after), ("speed_up", gains)):
        for bound, value in zip(BOUNDS, interval or (None,) * 3, strict=True):
            row[f"{label}_{bound}"] = None if value is None else float(value)
    row["baseline_bound_by"] = dense.limit if dense and dense.time.central else None
    row["scheduled_bound_by"] = scheduled.limit if scheduled and scheduled.time.central else None
    return row


def _speed_up(before: Interval, after: Interval) -> Interval | None:
    """Return the speed-up, or None where one of both runs takes no time."""
    return speed_up(before, after) if all(before[1:]) and all(after[1:]) else None


def _possible(before: Interval, after: Interval) -> Row | None:
    """Return the bounds of a speed-up, or None where a run may take no time."""
    if not (before.lower and after.lower):
        return None
    least, most = possible_speed_up(before, after)
    return {"least": least, "most": most}


def payload(found: Latency) -> Row:
    """Return the answer as JSON."""
    report, device, running = found.report, found.device, found.running
    limit = ceiling(found)
    energy = found.energy_joules
    return {
        **heading(report),
        "device": {
            "id": device.id,
            "verification": device.verification,
            "unverified": list(device.unverified),
            "efficiency_source": device.efficiency.source,
        },
        "running": {
            "runtime": running.runtime,
            "host_measured": host_was_measured(device),
            "attention": running.attention,
            "load_ms": float(running.load_ms),
            **{
                name: {
                    "weight_bits": side.numbers.weights,
                    "activation_bits": side.numbers.activations,
                    "kv_bits": side.numbers.kv,
                    "precision": side.narrow,
                    "dequantized": side.numbers.dequantized,
                }
                for name, side in zip(("baseline", "scheduled"), found.arithmetic, strict=True)
            },
        },
        "unit": "s",
        "stages": {
            name: {
                "baseline": _stage(found.dense, name),
                "scheduled": _stage(found.scheduled, name),
                "speed_up": bounds(
                    _speed_up(found.dense.stages[name].time, found.scheduled.stages[name].time)
                ),
                "amdahl_limit": amdahl(found.dense, name),
            }
            for name in STAGES
        },
        "totals": {
            name.replace(" ", "_"): {
                "baseline": bounds(before),
                "scheduled": bounds(after),
                "speed_up": bounds(_speed_up(before, after)),
                "possible_speed_up": _possible(before, after),
            }
            for name, before, after in (
                *totals(found),
                *(
                    ()
                    if found.dense.forwards
                    else (("end to end", found.dense.ttft, found.scheduled.ttft),)
                ),
            )
        },
        "flop_ratio": report.ratio("exact"),
        "flop_speed_up": 1 / report.ratio("exact"),
        "ceiling": {
            "speed_up": bounds(limit.speed_up),
            "stage": limit.stage,
            "share_of_baseline": limit.share,
            "bound_by": limit.limit,
            "sentence": ceiling_sentence(found, limit),
        },
        "memory": fitting(found).payload(),
        "energy_upper_bound_joules": None
        if energy is None
        else {"baseline": bounds(energy[0]), "scheduled": bounds(energy[1])},
    }


def _stage(side: Side, name: Any) -> Row:
    one = side.stages[name]
    return {
        "time": bounds(one.time),
        "device": bounds(one.device),
        "host": bounds(one.host),
        "flops": one.flops,
        "weight_bytes": one.weight_bytes,
        "kv_bytes": one.kv_bytes,
        "other_bytes": one.moved_bytes,
        "bound_by": one.limit if one.time.central else None,
    }


def amdahl(side: Side, name: Any) -> float | None:
    """Return the speed-up if the stage took no time at all; None if nothing else does."""
    whole, own = side.end_to_end.central, side.stages[name].time.central
    return whole / (whole - own) if whole - own > 1e-12 * whole else None


_REASONS = {
    "host": "bound by the host, which launches {layers} layers in each forward",
    "compute": "compute-bound",
    "weights": "weight-bound",
    "cache": "bound by reading the cache",
    "memory": "bandwidth-bound",
    "loading": "not on the device",
}


def ceiling_sentence(found: Latency, limit: Ceiling) -> str:
    """Return the one sentence that says what limits pruning."""
    layers = found.report.model.decoder.num_hidden_layers
    reason = _REASONS[limit.limit].format(layers=layers)
    stage = "loading" if limit.stage == "load" else limit.stage
    without = " without visual tokens" if limit.stage in ("prefill", "decode") else ""
    reached = ""
    if found.report.schedule is not None:
        gain = speed_up(found.dense.end_to_end, found.scheduled.end_to_end).central
        more = ", which does more than prune," if gain > limit.speed_up.central * 1.0001 else ""
        reached = f"; this schedule{more} reaches {times(gain)}"
    slowest, fastest = min(limit.speed_up), max(limit.speed_up)
    if limit.speed_up.central > MOST_TIMES:
        return (
            "visual tokens in the LLM take all but a thousandth of the baseline's time: a ceiling "
            f"above {MOST_TIMES:,}× limits nothing{reached}"
        )
    span = f"; {times(slowest)} to {times(fastest)} between the bounds"
    return (
        f"{stage}{without} is {100 * limit.share:.1f} % of the baseline's time and {reason}: no "
        f"pruning in the LLM can exceed {times(limit.speed_up.central)} in the central estimate"
        f"{span if fastest > slowest else ''}{reached}"
    )
