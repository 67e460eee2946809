"""Times as flat rows and as JSON: seconds, unrounded."""

from __future__ import annotations

from math import isfinite
from typing import Any

from ..costmodel.clock import Arithmetic, StageTime, host_was_measured
from ..costmodel.gains import like_bounds, possible_speed_up, speed_up
from ..costmodel.kernels import STAGES
from ..costmodel.latency import Ceiling, Latency, Side, ceiling
from ..costmodel.timing import Interval
from .latency_memory import fitting
from .rows import Row
from .summary import heading

BOUNDS = ("lower", "central", "upper")
#: Larger factors mean no more than that nearly nothing is left.
MOST_TIMES = 1000


def bounds(interval: Interval | None) -> dict[str, float | None] | None:
    """Return an interval as JSON gives it; a speed-up without a bound has None there."""
    if interval is None:
        return None
    return {name: _finite(value) for name, value in zip(BOUNDS, interval, strict=True)}


def _finite(value: Any) -> float | None:
    return float(value) if isfinite(value) else None


def times(factor: float) -> str:
    """Return a speed-up in words of a table.

    >>> times(1.5), times(286_506.2)
    ('1.50×', '>1,000×')
    """
    return f"{factor:.2f}×" if factor <= MOST_TIMES else f">{MOST_TIMES:,}×"


def times_between(least: float, most: float) -> str:
    """Return the range of a speed-up in words of a table.

    >>> times_between(0.5, 12), times_between(3, 286_506.2)
    ('0.50 – 12.00×', '3.00 – >1,000×')
    """
    return f"{times(least)[:-1]} – {times(most)}"


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
    intervals = {"baseline": before, "scheduled": after, **gains(before, after)}
    for label, interval in intervals.items():
        values = bounds(interval) or dict.fromkeys(BOUNDS)
        row |= {f"{label}_{bound}": value for bound, value in values.items()}
    row["baseline_bound_by"] = dense.limit if dense and dense.time.central else None
    row["scheduled_bound_by"] = scheduled.limit if scheduled and scheduled.time.central else None
    return row


def gains(before: Interval, after: Interval) -> dict[str, Interval | None]:
    """Return the speed-up and that of like bounds; None where one of both runs takes no time."""
    timed = all(before[1:]) and all(after[1:])
    return {
        "speed_up": speed_up(before, after) if timed else None,
        "like_bounds_speed_up": like_bounds(before, after) if timed else None,
    }


def gain_bounds(before: Interval, after: Interval) -> Row:
    """Return both as JSON gives them."""
    return {name: bounds(interval) for name, interval in gains(before, after).items()}


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
            **dict(zip(("baseline", "scheduled"), map(_numbers, found.arithmetic), strict=True)),
            "ways": [_numbers(one) for one in found.ways],
        },
        "unit": "s",
        "stages": {
            name: {
                "baseline": _stage(found.dense, name),
                "scheduled": _stage(found.scheduled, name),
                **gain_bounds(found.dense.stages[name].time, found.scheduled.stages[name].time),
                "amdahl_limit": amdahl(found.dense, name),
            }
            for name in STAGES
        },
        "totals": {
            name.replace(" ", "_"): {
                "baseline": bounds(before),
                "scheduled": bounds(after),
                **gain_bounds(before, after),
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
            **gain_bounds(found.dense.end_to_end, found.text_only.end_to_end),
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


def _numbers(one: Arithmetic) -> Row:
    return {
        "weight_bits": one.numbers.weights,
        "activation_bits": one.numbers.activations,
        "kv_bits": one.numbers.kv,
        "precision": one.narrow,
        "dequantized": one.numbers.dequantized,
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
    most = limit.speed_up.upper
    if limit.speed_up.central > MOST_TIMES:
        return (
            "visual tokens in the LLM take all but a thousandth of the baseline's time: a ceiling "
            f"above {MOST_TIMES:,}× limits nothing{reached}"
        )
    wide = f", nor {times(most)} whatever runs on either side"
    return (
        f"{stage}{without} is {100 * limit.share:.1f} % of the baseline's time and {reason}: no "
        f"pruning in the LLM can exceed {times(limit.speed_up.central)} in the central estimate"
        f"{wide if most > limit.speed_up.central else ''}{reached}"
    )
