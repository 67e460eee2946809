"""What times on a device assume, and what they leave out, in words."""

from __future__ import annotations

from ..costmodel.clock import HOST_SECONDS, Arithmetic, host_was_measured
from ..costmodel.device import Device, Efficiency, Precision
from ..costmodel.gains import like_bounds
from ..costmodel.latency import Latency
from ..costmodel.timing import Interval, pessimistic
from .latency_rows import times_between

#: What few bits did to eager prefills where it was measured.
_SLOW_KERNELS = (
    "few bits in eager Python: the common kernels (bitsandbytes) were measured slower than 16 "
    "bits, 308 against 203 ms until the first token of LLaVA-1.5-13B at 4 bits on an A100 "
    "(FastV's README); what is printed is of kernels that cost no more than their bytes, and those "
    "runs lay above its upper bound"
)

#: What the range of a speed-up is, and what it held (benchmarks/latency_pairs.py).
RANGE = (
    "speed-up: from the baseline's lower over the schedule's upper to its upper over the lower, as "
    "all 63 published pairs of runs that were compared"
)


def timing_notes(found: Latency) -> list[str]:
    """Return what the times of a device assume."""
    device, running = found.device, found.running
    lines = ["lower: datasheet peak and bandwidth, no launches, no host"]
    sources, groups = [], _constants(found)
    usual = {one.usual for one in _arithmetics(found)}
    for names, constants in groups:
        at = f" at {' and '.join(names)}" if len(groups) > 1 else ""
        lines[0] += f"; {_shares(constants, at, encodes=bool(usual & set(names)))}"
        sources.append(f"constants{at}: {constants.source}" if constants.source else "")
    lines += filter(None, sources)
    if running.runtime == "eager":
        lines.append(
            f"host: eager Python launches an LLM layer in {1e3 * HOST_SECONDS.central:g} ms "
            f"(0 in lower, {1e3 * HOST_SECONDS.upper:g} in upper) while the device runs; in upper "
            "they take turns, and the encoder's layers wait as long"
        )
        lines += _host_notes(device)
    lines += _precisions(found)
    if device.notes:
        lines.append(f"device: {device.notes}")
    return lines


def speed_up_notes(name: str, before: Interval, after: Interval) -> list[str]:
    """Return what the range of a speed-up is, and what the narrower one of like bounds is worth."""
    if before == after:
        return []
    alike = like_bounds(before, after)
    return [
        f"{RANGE}; the 13 with a method were 0.54 to 1.29 times the central estimate's. "
        "Ratios of like bounds (both runs with the same share of the device) span "
        f"{times_between(alike.lower, alike.upper)} of {name}, but held only 5 of those 13"
    ]


def unverified_here(found: Latency) -> tuple[str, ...]:
    """Return the device's unverified figures without those that no time depends on."""
    used = {f"peaks.{name}" for name in _units(found)}
    return tuple(
        name
        for name in found.device.unverified
        if name != "link_gb_s" and (name in used or not name.startswith("peaks."))
    )


def _constants(found: Latency) -> list[tuple[list[Precision], Efficiency]]:
    """Return the device's constants with the precisions that they hold for, of those that run."""
    groups: list[tuple[list[Precision], Efficiency]] = []
    for name in _units(found):
        constants = found.device.constants(name)
        same = next((names for names, other in groups if other == constants), None)
        if same is None:
            groups.append(([name], constants))
        else:
            same.append(name)
    return groups


def _arithmetics(found: Latency) -> list[Arithmetic]:
    """Return what products run at: those of the baseline, of the schedule, of its ways."""
    return list(dict.fromkeys((*found.arithmetic, *found.ways)))


def _units(found: Latency) -> list[Precision]:
    """Return the units of the device that run."""
    names = [name for one in _arithmetics(found) for name in (one.narrow, one.usual)]
    return list(dict.fromkeys(names))


def _shares(constants: Efficiency, at: str, *, encodes: bool) -> str:
    """Return the shares of peak and bandwidth that central and upper take."""
    encoder = constants.model_copy(update={"compute": constants.vision})
    central = (constants.compute, constants.memory, constants.vision)
    upper = (*pessimistic(constants), pessimistic(encoder)[0])
    texts = []
    for bound, (compute, memory, vision) in (("central", central), ("upper", upper)):
        text = f"{float(compute):.3g} of the peak, {float(memory):.3g} of the bandwidth"
        text += f", encoder {float(vision):.3g}" if encodes else ""
        texts.append(f"{bound}{at}: {text}")
    return "; ".join(texts)


def _host_notes(device: Device) -> list[str]:
    """Return a warning where nobody has measured the host's share."""
    if host_was_measured(device):
        return []
    return [
        "host: that was measured on x86 hosts with CUDA, not with this device, whose host or "
        "software is another: the host's share here is a guess, and no bound; --runtime graph "
        "leaves it out"
    ]


def beyond_the_images(found: Latency) -> list[str]:
    """Return a warning where more visual tokens are given than the images have."""
    plan = found.report.dense
    own = plan.visual_input.visual_tokens
    if found.report.workload.visual_tokens is None or plan.dense_visual_tokens <= own:
        return []
    return [
        f"encoder and connector run for the images' {own:,} visual tokens, not for the "
        f"{plan.dense_visual_tokens:,} that are given: what more images take is missing in every "
        "time, and gains and ceilings are too high; give images or frames to have it priced"
    ]


def _precisions(found: Latency) -> list[str]:
    lines: list[str] = []
    for one in _arithmetics(found):
        weights, entering = one.numbers.weights, one.numbers.activations
        if one.numbers.dequantized:
            wide = max(weights, entering)
            why = "activations have 16 bits" if wide > 8 else f"the device has no {wide}-bit units"
            lines.append(
                f"{weights}-bit weights are turned into {one.usual} before each product ({why}): "
                "fewer bytes, no faster products"
            )
        elif one.narrow != one.usual:
            lines.append(
                f"{weights}-bit weights and {entering}-bit activations: the LLM's products run on "
                f"{one.narrow} units; quantising activations is not priced"
            )
        if weights < 16:
            lines.append("encoder, connector, embedding and head stay at 16 bits")
            if found.running.runtime == "eager":
                lines.append(_SLOW_KERNELS)
    return list(dict.fromkeys(lines))
