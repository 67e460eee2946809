"""Whether a published time can have been measured, or was computed from a model."""

from __future__ import annotations

from .device import Device, Precision

#: Share of the dense peak above which no whole prefill is measured; GeForce cards boost above
#: their stated clock (hardware.md 5, rule 1; 0.80 to 0.97 measured on an RTX 4090).
MOST_OF_PEAK, MOST_OF_GEFORCE = 0.85, 0.97
#: Seconds per LLM layer below which eager Python does not launch one (rule 2; 0.65 ms measured).
LEAST_HOST_SECONDS = 0.6e-3


def of_peak(flops: float, seconds: float, device: Device, precision: Precision) -> float:
    """Return the share of the dense peak that a time implies."""
    return flops / seconds / device.peak(precision)


def computed_signs(
    seconds: float,
    device: Device,
    layers: int,
    flops: float | None = None,
    precision: Precision = "fp16",
    *,
    eager: bool = True,
) -> list[str]:
    """Return what shows that a time of an LLM forward was computed, or its FLOPs over-counted.

    Args:
        seconds: The published time.
        device: What it is said to be measured on.
        layers: LLM layers that ran.
        flops: FLOPs of the forward, if they are known.
        precision: What products ran at.
        eager: Whether Python launched the layers; graphs and engines have no such floor.
    """
    signs = []
    most = MOST_OF_GEFORCE if "GeForce" in device.name else MOST_OF_PEAK
    if flops is not None:
        share = of_peak(flops, seconds, device, precision)
        if share > most:
            signs.append(
                f"{share:.0%} of the dense peak, more than the {most:.0%} that prefills reach"
            )
    floor = LEAST_HOST_SECONDS * layers
    if eager and seconds < floor:
        signs.append(
            f"{1e3 * seconds:g} ms is less than the {1e3 * floor:.1f} ms in which eager Python "
            f"launches {layers} layers"
        )
    return signs
