"""How well one set of constants times the measured operators of several devices.

    python benchmarks/gemm_profiles.py gemm-a100.csv h100=other.csv [...]

A file is of the device that its name ends in, or that is written before it. Prints Markdown: errors
with the constants of the presets, per operator, and with constants fitted to the other devices
alone (scipy, extra `calibrate`). The exit code is 1 when an error is above its limit.

The profiles that the project was measured with are Microsoft Vidur's (MIT licence), which are not
part of it: data/profiling/compute/<device>/meta-llama/Llama-2-7b-hf/mlp.csv in
github.com/microsoft/vidur, its medians of one device without parallelism, written as rows
tokens,operator,in_features,out_features,median_us (docs/calibration.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

from vlm_tokencost.costmodel.agreement import Compared, agreement, bits_precision, by
from vlm_tokencost.costmodel.calibration import Sample, fit_passes, fit_products, updated
from vlm_tokencost.costmodel.device import Efficiency
from vlm_tokencost.costmodel.errors import InvalidInput, MissingExtra
from vlm_tokencost.presets.device import load_device
from vlm_tokencost.presets.measurements import read_measurements

#: Mean absolute errors in percent that are promised: products with the constants of the presets and
#: with those of the other devices, and elementwise passes.
LIMITS = {"product": 7.5, "left out": 8.5, "elementwise": 20.0}
KINDS = ("product", "elementwise")


def main(words: list[str]) -> int:
    if not words:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        samples = dict(map(read, words))
        rows = {name: one.rows(constants(one)) for name, one in samples.items()}
        fitted = {name: left_out(name, samples) for name in samples} if len(samples) > 1 else {}
    except (InvalidInput, MissingExtra) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("| device | constants | products [%] | worst [%] | roofline [%] | elementwise [%] |")
    print("|---|---|---:|---:|---:|---:|")
    above = []
    for name, sample in samples.items():
        above += line(name, "of the preset", rows[name], LIMITS["product"])
        if fitted:
            found = sample.rows(fitted[name])
            above += line(name, f"of the others: {shown(fitted[name])}", found, LIMITS["left out"])
    print()
    print("| operator | " + " | ".join(f"{name} [%] | mean [%]" for name in samples) + " |")
    print("|---|" + "---:|---:|" * len(samples))
    groups = {name: by(found, lambda one: one.row.operator) for name, found in rows.items()}
    for operator in dict.fromkeys(key for found in groups.values() for key in found):
        cells = [
            f"{100 * found[operator].mape:.1f} | {100 * found[operator].bias:+.1f}"
            if operator in found
            else "— | —"
            for found in groups.values()
        ]
        print(f"| {operator} | {' | '.join(cells)} |")
    for sentence in above:
        print(sentence, file=sys.stderr)
    return 1 if above else 0


def read(word: str) -> tuple[str, Sample]:
    name, _, path = word.rpartition("=")
    if not name:
        path, name = word, Path(word).stem.rpartition("gemm-")[2]
    device = load_device(name)
    return device.id, Sample(device, read_measurements(path), bits_precision(device, 16))


def constants(sample: Sample) -> Efficiency:
    return sample.device.constants(sample.precision)


def left_out(name: str, samples: dict[str, Sample]) -> Efficiency:
    """Return constants fitted to all devices but one."""
    others = [one for key, one in samples.items() if key != name]
    found = fit_products(others, Efficiency())
    if any(one.measured.passes for one in others):
        found |= fit_passes(others, Efficiency())
    return updated(Efficiency(), found, "the other devices")


def shown(found: Efficiency) -> str:
    shares = f"e_c {float(found.compute):.3g}, e_b {float(found.memory):.3g}"
    return f"{shares}, p {float(found.exponent):.3g}, {float(found.launch_us):.3g} µs"


def line(name: str, label: str, rows: list[Compared], limit: float) -> list[str]:
    """Print a line, and return what is above its limit; passes are promised for the presets."""
    product, passes = (agreement([one for one in rows if one.kind == kind]) for kind in KINDS)
    cells = [product.mape, product.worst, product.roofline, passes.mape]
    print(
        f"| {name} | {label} | "
        + " | ".join("—" if cell is None else f"{100 * cell:.1f}" for cell in cells)
        + " |"
    )
    checked = [("products", product.mape, limit)]
    if limit == LIMITS["product"]:
        checked.append(("elementwise passes", passes.mape, LIMITS["elementwise"]))
    return [
        f"{name}, {what}: {100 * error:.1f} % is above {most} %"
        for what, error, most in checked
        if error is not None and 100 * error > most
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
