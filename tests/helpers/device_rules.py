"""What dense peaks of a device must be, from its units and clocks: catches sparse and other rates.

Units and boost clocks are those of the vendors' data sheets; rates per unit and clock those of the
architectures' white papers. None of them is read from the presets.
"""

from __future__ import annotations

from typing import Any

from vlm_tokencost.costmodel.device import Device

#: fp16 FLOP per clock of one multiprocessor (compute unit at AMD), accumulating in fp32.
VOLTA = TURING = 1024
GA100, GA10X, GEFORCE = 2048, 1024, 512
ADA, HOPPER, ORIN, THOR = 1024, 4096, 2048, 8192
CDNA2, CDNA3 = 1024, 2048

#: Multiprocessors, boost clock in GHz, and fp16 FLOP of each per clock.
UNITS: dict[str, tuple[int, float, int]] = {
    "v100-pcie-16": (80, 1.38, VOLTA),
    "v100-pcie-32": (80, 1.38, VOLTA),
    "v100-sxm2-16": (80, 1.53, VOLTA),
    "v100-sxm2-32": (80, 1.53, VOLTA),
    "t4": (40, 1.59, TURING),
    "a100-40-pcie": (108, 1.41, GA100),
    "a100-40-sxm": (108, 1.41, GA100),
    "a100-80-pcie": (108, 1.41, GA100),
    "a100-80-sxm": (108, 1.41, GA100),
    "a800-80": (108, 1.41, GA100),
    "a30": (56, 1.44, GA100),
    "a10": (72, 1.695, GA10X),
    "a40": (84, 1.74, GA10X),
    "rtx-a6000": (84, 1.80, GA10X),
    "rtx-3090": (82, 1.695, GEFORCE),
    "rtx-4080": (76, 2.505, GEFORCE),
    "rtx-4090": (128, 2.52, GEFORCE),
    "rtx-5090": (170, 2.407, GEFORCE),
    "rtx-6000-ada": (142, 2.505, ADA),
    "l4": (58, 2.04, ADA),
    "l40": (142, 2.49, ADA // 2),
    "l40s": (142, 2.52, ADA),
    "rtx-pro-6000-bw": (188, 2.617, ADA),
    "h100-pcie": (114, 1.62, HOPPER),
    "h100-sxm": (132, 1.83, HOPPER),
    "h800-sxm": (132, 1.83, HOPPER),
    "h200": (132, 1.83, HOPPER),
    "gh200-96": (132, 1.83, HOPPER),
    "jetson-agx-orin-64": (16, 1.3, ORIN),
    "jetson-orin-nx-16": (8, 0.918, ORIN),
    "jetson-orin-nano-super-8": (8, 1.02, ORIN),
    "jetson-agx-thor": (20, 1.57, THOR),
    "mi250x": (110, 1.7, CDNA2),
    "mi300x": (304, 2.1, CDNA3),
    "mi325x": (304, 2.1, CDNA3),
}
#: Dense bf16 TFLOP/s as printed, of devices whose rates are cut or whose clocks are not published.
PRINTED: dict[str, float] = {
    "a10g": 70,
    "h20": 148,
    "h100-nvl": 835.5,
    "b200": 2250,
    "gb200": 2500,
    "tpu-v4": 275,
    "tpu-v5e": 197,
    "tpu-v5p": 459,
    "tpu-v6e": 918,
    "gaudi2": 432,
    "gaudi3": 1835,
    # Apple: no matrix units: fp16 at the rate of fp32, 128 FMA lanes a core at 1.4, 1.39, 1.66 GHz
    "m2-max-38": 38 * 128 * 2 * 1.4e-3,
    "m3-max-40": 40 * 128 * 2 * 1.39e-3,
    "m4-max-40": 40 * 128 * 2 * 1.66e-3,
}
#: Width of the memory bus in bits, and 10⁹ transfers per second of a pin.
BUS: dict[str, tuple[int, float]] = {
    "v100-pcie-16": (4096, 1.754),
    "v100-pcie-32": (4096, 1.754),
    "v100-sxm2-16": (4096, 1.754),
    "v100-sxm2-32": (4096, 1.754),
    "t4": (256, 10),
    "a100-40-pcie": (5120, 2.43),
    "a100-40-sxm": (5120, 2.43),
    "a100-80-pcie": (5120, 3.024),
    "a100-80-sxm": (5120, 3.186),
    "a800-80": (5120, 3.186),
    "a30": (3072, 2.43),
    "a10": (384, 12.5),
    "a10g": (384, 12.5),
    "a40": (384, 14.5),
    "rtx-a6000": (384, 16),
    "rtx-3090": (384, 19.5),
    "rtx-4080": (256, 22.4),
    "rtx-4090": (384, 21),
    "rtx-5090": (512, 28),
    "rtx-pro-6000-bw": (512, 28),
    "rtx-6000-ada": (384, 20),
    "l4": (192, 12.5),
    "l40": (384, 18),
    "l40s": (384, 18),
    "h100-sxm": (5120, 5.234),
    "h800-sxm": (5120, 5.234),
    "h200": (6144, 6.25),
    "jetson-agx-orin-64": (256, 6.4),
    "jetson-orin-nx-16": (128, 6.4),
    "jetson-orin-nano-super-8": (128, 6.4),
    "jetson-agx-thor": (256, 8.533),
    "mi250x": (4096, 3.2),
    "mi300x": (8192, 5.2),
}
#: Nothing that is wrong by a factor comes as close; data sheets round and pick clocks.
CLOSE = 0.025


def ratios(device: Device) -> dict[str, tuple[str, float]]:
    """Return what each precision must be: another one, and how many times as fast."""
    if device.architecture == "Volta":
        return {"int8": ("fp32", 4)}  # four-element dot products on the vector units
    if device.architecture == "CDNA 2":
        return {"bf16": ("fp16", 1), "int8": ("fp16", 1)}
    if device.vendor in ("Apple", "Google", "Intel"):
        return {"fp16": ("bf16", 1)}
    rules = {
        "tf32": ("fp16", 0.5),
        "bf16": ("fp16", 1.0),
        "fp8": ("fp16", 2.0),
        "int8": ("fp16", 2.0),
        "int4": ("int8", 2.0),
        "fp4": ("fp8", 2.0),
    }
    if "GeForce" in device.name:
        # Accumulation in fp32 halves the rates of floats, not those of integers or fp4.
        rules |= {"fp16": ("fp32", 2.0), "int8": ("fp16", 4.0), "fp4": ("fp8", 4.0)}
    return rules


def vector_rate(device: Device) -> float | None:
    """Return the fp32 TFLOP/s of the vector units, from multiprocessors, lanes and clock."""
    if device.id not in UNITS:
        return None
    units, clock, rate = UNITS[device.id]
    if device.architecture == "Hopper":
        clock *= 1.98 / 1.83  # vector units boost higher than matrix units
    small = device.architecture in ("Volta", "Turing", "CDNA 2")
    ga100 = rate == GA100 and device.architecture == "Ampere" and "Jetson" not in device.name
    lanes = 64 if small or ga100 else 128
    return units * clock * 2 * lanes / 1000


def mistakes(device: Device) -> list[str]:
    """Return what of a device contradicts its units, clocks and architecture."""
    found = []

    def check(what: str, given: Any, expected: float) -> None:
        if abs(float(given) / expected - 1) > CLOSE:
            found.append(f"{what}: {float(given):g}, not {expected:g}")

    peaks = device.peaks
    for name, (other, factor) in ratios(device).items():
        if getattr(peaks, name) is not None and getattr(peaks, other) is not None:
            check(name, getattr(peaks, name), factor * float(getattr(peaks, other)))
    units = UNITS.get(device.id)
    expected = units[0] * units[1] * units[2] / 1000 if units else PRINTED[device.id]
    for name in ("bf16", "fp16"):
        if getattr(peaks, name) is not None:
            check(name, getattr(peaks, name), expected)
    vector = vector_rate(device)
    if vector is not None and peaks.fp32 is not None:
        check("fp32", peaks.fp32, vector)
    if device.id in BUS:
        bits, rate = BUS[device.id]
        check("bandwidth_gb_s", device.bandwidth_gb_s, bits / 8 * rate)
    return found
