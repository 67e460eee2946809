"""Every method in a real forward pass: `python -m vlm_tokencost.validation.every_method [ID…]`.

Writes docs/validation-methods.json and its table into docs/validation-methods.md; with ids as
arguments only those methods are counted again. FlopCounterMode counts the model as it is, on meta.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from ..costmodel import InvalidInput, Report, Workload, evaluate
from ..costmodel.version import __version__
from ..presets import list_methods, load_method, load_model
from ..presets.files import replace
from .compare import Comparison, Setting, check, compare

SETTING = Setting("torch", "full", "meta")
#: The prefill's first token and three more: three decode forwards.
NEW_TOKENS = 4
USUAL = ("llava-1.5-7b", 0)
#: Model and frames of methods for other inputs than an image of the usual model; 0 is an image.
INPUTS: dict[str, tuple[str, int]] = {
    **dict.fromkeys(
        (
            "aot",
            "dycoke",
            "fastvid",
            "forestprune",
            "framefusion",
            "freeva",
            "holitom",
            "omnirefine",
            "prunevid",
            "vidcom2",
        ),
        ("llava-onevision-7b", 8),
    ),
    "internvl-x-rvtc": ("internvl2.5-8b", 0),
}
BEGIN, END = "<!-- methods -->\n", "<!-- end of methods -->\n"
DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS, PAGE = DOCS / "validation-methods.json", DOCS / "validation-methods.md"


def question(method: str) -> Report:
    """Return what is asked of the counter about a method.

    Raises:
        InvalidInput: The method does not apply to its model.
    """
    model_id, frames = INPUTS.get(method, USUAL)
    model = load_model(model_id)
    workload = Workload(frames=frames, new_tokens=NEW_TOKENS)
    return evaluate(model, workload, load_method(method).schedule(model, workload))


def measure(method: str, progress: Callable[[str], None]) -> dict[str, Any]:
    """Return a method's comparisons, or why no forward pass runs it."""
    model, frames = INPUTS.get(method, USUAL)
    entry: dict[str, Any] = {"method": method, "model": model, "frames": frames, "runs": []}
    try:
        report = question(method)
        check(report)
    except InvalidInput as error:
        return {**entry, "does_not_run": f"{error.field} {error.problem}"}
    for result in compare(report, SETTING, progress, ("scheduled",)):
        entry["runs"].append(_run(result))
    return entry


def _run(result: Comparison) -> dict[str, Any]:
    return {
        "way": None if result.way is None else str(result.way[1]),
        "tokens_per_layer": list(result.tokens_per_layer),
        "decode_forwards": result.decode_forwards,
        "rows": [row.figures() for row in result.rows],
    }


def table(document: dict[str, Any]) -> str:
    """Return the document's entries as a Markdown table."""
    lines = [
        f"| method | input | prefill counted [FLOP] | {NEW_TOKENS - 1} decode forwards [FLOP] | "
        "selection counted [FLOP] | its source | largest difference |",
        "| --- | --- | ---: | ---: | ---: | --- | ---: |",
    ]
    for entry in document["entries"]:
        frames = f"{entry['frames']} frames" if entry["frames"] else "image"
        name = f"{entry['method']} | {entry['model']}, {frames}"
        if "does_not_run" in entry:
            lines.append(f"| {name} | does not run: {entry['does_not_run']} | | | | |")
        for run in entry["runs"]:
            way = f", way of probability {run['way']}" if run["way"] else ""
            *figures, largest = _figures(run["rows"])
            source = load_method(entry["method"]).provenance["selection"].status
            lines.append(f"| {name}{way} | {' | '.join([*figures, source, largest])} |")
    return "\n".join(lines) + "\n"


def _figures(rows: list[dict[str, Any]]) -> list[str]:
    """Return counts by phase, the selection's, and the largest difference of a run."""
    totals = [
        sum(row["counted"] or 0 for row in rows if row["phase"] == phase)
        for phase in ("prefill", "decode")
    ]
    chosen = [row for row in rows if row["component"] == "selection"]
    idle = sum(row["analytic"] for row in chosen if row["counted"] is None)
    counted = sum(row["counted"] or 0 for row in chosen)
    if idle:
        choice = f"{counted:,}; not run: {idle:,}" if counted else f"not run: {idle:,}"
    else:
        choice = f"{counted:,}"
    largest = max(abs(row["difference"]) for row in rows if row["difference"] is not None)
    return [*(f"{total:,}" for total in totals), choice, f"{largest:,}"]


def run(
    kept: dict[str, dict[str, Any]], progress: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Yield the entries as they come; `kept` ones are not counted again."""
    methods = list_methods()
    for number, method in enumerate(methods, 1):
        if method in kept:
            yield kept[method]
            continue
        label = f"{number}/{len(methods)} {method}"
        yield measure(method, lambda text, label=label: progress(f"{label}: {text}"))  # type: ignore[misc]


def main(methods: Sequence[str]) -> int:
    """Count all methods, or some, and write both files; 1 if anything differs."""
    import torch
    import transformers

    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    kept: dict[str, dict[str, Any]] = {}
    if methods:
        before = json.loads(RESULTS.read_text(encoding="utf-8"))
        kept = {one["method"]: one for one in before["entries"] if one["method"] not in methods}
    document: dict[str, Any] = {
        "tokencost_version": __version__,
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "unit": "FLOP",
        "entries": list(run(kept, lambda text: print(text, file=sys.stderr, flush=True))),
    }
    replace(RESULTS, (json.dumps(document, indent=1) + "\n").encode())
    replace(PAGE, (head + BEGIN + table(document) + END + tail).encode())
    rows = [row for one in document["entries"] for way in one["runs"] for row in way["rows"]]
    differ = [row for row in rows if row["difference"]]
    print(f"{len(differ)} differences in {len(rows)} rows")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
