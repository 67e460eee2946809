"""Memory in figures: both sides of a report, what fits, what devices hold and send."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..costmodel import InvalidInput, Report
from ..costmodel.capacity import Fit, Remedy, fit, remedies
from ..costmodel.device import Device
from ..costmodel.peak import Asking, Peak, Phase, peak
from ..costmodel.sharding import Communication, communication
from .options import flag
from .rows import Row

SIDES = ("baseline", "scheduled")
#: Options whose values the library names by field.
_OPTIONS = ("tp", "pp", "shard_encoder", "quantization", "output_attentions")


class Answer(NamedTuple):
    """All that is said of a request's memory, baseline first.

    Attributes:
        peaks: The fullest device of both sides.
        fits: How both go with the device's memory, if one is named.
        remedies: Changes that make the schedule fit, where it does not.
        prefill, decode: What devices send on both sides, where there are several.
    """

    peaks: tuple[Peak, Peak]
    fits: tuple[Fit, Fit] | None
    remedies: tuple[Remedy, ...]
    prefill: tuple[Communication, Communication] | None
    decode: tuple[Communication, Communication] | None

    def of(self, side: str) -> Peak:
        """Return the peak of "baseline" or "scheduled"."""
        return self.peaks[SIDES.index(side)]


def answer(report: Report, asking: Asking, device: Device | None) -> Answer:
    """Price a request.

    Raises:
        InvalidInput: An option that does not fit the model, named as it was typed.
    """
    try:
        return _answer(report, asking, device)
    except InvalidInput as error:
        if error.field not in _OPTIONS:
            raise
        raise InvalidInput(flag(error.field), error.value, error.problem, error.way_out) from None


def _answer(report: Report, asking: Asking, device: Device | None) -> Answer:
    peaks = (peak(report, asking, scheduled=False), peak(report, asking))
    fits: tuple[Fit, Fit] | None = None
    changes: tuple[Remedy, ...] = ()
    if device is not None:
        capacity = device.memory_bytes
        own = fit(report, asking, capacity, scheduled=False)
        fits = (own, own if report.schedule is None else fit(report, asking, capacity))
        if not fits[1].fits:
            changes = remedies(report, asking, capacity)
    prefill = decode = None
    if asking.sharding.devices > 1:
        model, sides = report.model, (report.dense, report.scheduled)
        prefill, decode = (
            (
                communication(model, sides[0], asking.sharding, decode=step),
                communication(model, sides[1], asking.sharding, decode=step),
            )
            for step in (False, True)
        )
    return Answer(peaks, fits, changes, prefill, decode)


def memory_rows(found: Answer) -> list[Row]:
    """Return the flat rows: the peak, terms of every phase, weights, cache, device, traffic."""
    before, after = found.peaks
    rows = [_row("peak", "total", "byte", before.total, after.total)]
    names = dict.fromkeys(phase.name for one in reversed(found.peaks) for phase in one.phases)
    for name in names:
        sides = [_phase(one, name) for one in found.peaks]
        layers = [None if one is None else one.layer for one in sides]
        totals = [None if one is None else one.total for one in sides]
        rows.append({**_row(name, "total", "byte", *totals), **_layers(layers)})
        for term in dict.fromkeys(term for one in sides if one for term in one.terms):
            amounts = [None if one is None else one.terms.get(term, 0) for one in sides]
            rows.append({**_row(name, term, "byte", *amounts), **_layers(layers)})
    for part in dict.fromkeys([*before.weights, *after.weights]):
        amounts = [one.weights.get(part, 0) for one in found.peaks]
        rows.append(_row("weights", part, "byte", *amounts))
    for layer in range(max(len(one.kv_per_layer) for one in found.peaks)):
        amounts = [
            one.kv_per_layer[layer] if layer < len(one.kv_per_layer) else None
            for one in found.peaks
        ]
        rows.append(_row("KV cache after the prefill", f"layer {layer}", "byte", *amounts))
    return rows + _device_rows(found) + _traffic_rows(found)


def _device_rows(found: Answer) -> list[Row]:
    if found.fits is None:
        return []
    one, other = found.fits
    return [
        _row("device", "capacity", "byte", one.capacity, other.capacity),
        _row("device", "peak", "byte", one.peak.total, other.peak.total),
        _row("device", "largest batch", "request", one.batch, other.batch),
        _row("device", "largest context", "token", one.context, other.context),
    ]


def _traffic_rows(found: Answer) -> list[Row]:
    rows = []
    for name, sides in (("prefill", found.prefill), ("decode", found.decode)):
        if sides is not None:
            for kind in ("tensor", "pipeline"):
                amounts = [getattr(one, kind) for one in sides]
                rows.append(_row(f"{name} traffic", f"{kind} parallel", "byte", *amounts))
    return rows


def _row(phase: str, term: str, unit: str, baseline: int | None, scheduled: int | None) -> Row:
    return {
        "phase": phase,
        "term": term,
        "unit": unit,
        "baseline": baseline,
        "scheduled": scheduled,
        "ratio": scheduled / baseline if baseline and scheduled is not None else None,
        "baseline_layer": None,
        "scheduled_layer": None,
    }


def _layers(layers: list[int | None]) -> Row:
    return dict(zip(("baseline_layer", "scheduled_layer"), layers, strict=True))


def _phase(one: Peak, name: str) -> Phase | None:
    return next((phase for phase in one.phases if phase.name == name), None)


def side_payload(one: Peak) -> dict[str, Any]:
    """Return one side as JSON gives it."""
    return {
        "peak_bytes": one.total,
        "peak_phase": one.phase.name,
        "peak_layer": one.phase.layer,
        "peak_term": one.phase.largest_term,
        "weights": {"total": sum(one.weights.values()), "components": one.weights},
        "kv_cache": {
            "per_layer": list(one.kv_per_layer),
            "after_prefill": sum(one.kv_per_layer),
            "final": one.kv_final,
        },
        "phases": [
            {
                "phase": phase.name,
                "layer": phase.layer,
                "bytes": phase.total,
                "terms": phase.terms,
            }
            for phase in one.phases
        ],
        "prefill_layers": [{"layer": one.layer, "bytes": one.total} for one in one.layers],
        "pipeline_stage": one.stage,
    }


def fit_payload(found: Answer, device: Device | None) -> dict[str, Any] | None:
    """Return how both sides go with the device."""
    if device is None or found.fits is None:
        return None
    sides = {
        side: {
            "fits": one.fits,
            "peak_bytes": one.peak.total,
            "excess_bytes": one.excess,
            "largest_batch": one.batch,
            "largest_context": one.context,
            "largest_context_batch": one.context_batch,
        }
        for side, one in zip(SIDES, found.fits, strict=True)
    }
    return {
        "device": device.id,
        "capacity_bytes": device.memory_bytes,
        "unverified": list(device.unverified),
        **sides,
        "remedies": [one._asdict() for one in found.remedies],
    }


def traffic_payload(found: Answer, asking: Asking) -> dict[str, Any] | None:
    """Return how devices share the model, and what each sends."""
    if found.prefill is None or found.decode is None:
        return None
    return {
        "tp": asking.sharding.tp,
        "pp": asking.sharding.pp,
        "encoder_shared": asking.sharding.encoder,
        **{
            name: {side: one._asdict() for side, one in zip(SIDES, sides, strict=True)}
            for name, sides in (("prefill", found.prefill), ("decode_forward", found.decode))
        },
    }
