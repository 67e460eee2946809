"""Every method on every family under every counter: `python -m vlm_tokencost.validation.matrix`.

Writes all comparisons to docs/validation.json and their table into docs/validation.md; with ids as
arguments only those models are counted again, and the others' comparisons stay.
FlopCounterMode counts the models as they are, on meta; fvcore and torch.profiler count reduced
ones, on the CPU, and where even those would take minutes, with fewer patches in a crop.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from ..costmodel import InvalidInput, Report, Workload, evaluate
from ..costmodel.tokens.base import Size
from ..costmodel.version import __version__
from ..presets import load_method, load_model
from ..presets.files import replace
from .compare import Comparison, Setting, Side, compare
from .measure.small import small

#: One model per driven family, Qwen3-VL also with experts; the image is one that the reduced model
#: runs in seconds, None the model's default.
MODELS: dict[str, Size | None] = {
    "llava-1.5-7b": None,
    "llava-next-mistral-7b": (336, 672),
    "llava-onevision-7b": None,
    "qwen2-vl-7b": (224, 280),
    "qwen2.5-vl-7b": (224, 280),
    "qwen3-vl-8b": (256, 320),
    "qwen3-vl-30b-a3b": (256, 320),
    "internvl3-8b": None,
    "idefics3-8b": None,
    "paligemma-3b-224": None,
    "paligemma2-3b-224": None,
    "gemma3-4b": None,
    "llama3.2-vision-11b": None,
}
#: Patches along a crop of reduced models, where full crops would take minutes.
SIDES = {"idefics3-8b": 8, "gemma3-4b": 32, "llama3.2-vision-11b": 8}
#: Methods whose rules have operators to run; the others' schedules are composed of the same parts.
METHODS = ("divprune", "fastv", "pyramiddrop", "sparsevlm", "tome", "visionzip")
SETTINGS = (
    Setting("torch", "full", "meta"),
    Setting("fvcore", "reduced", "cpu"),
    Setting("profiler", "reduced", "cpu"),
)
#: The prefill's first token and three more: three decode forwards.
NEW_TOKENS = 4
BEGIN, END = "<!-- matrix -->\n", "<!-- end of matrix -->\n"


class Case(NamedTuple):
    """A model and a method; None is the dense model."""

    model: str
    method: str | None


def cases() -> list[Case]:
    """Return the matrix, models in rows."""
    methods = (None, *METHODS)
    return [Case(model, method) for model in MODELS for method in methods]


def question(case: Case, setting: Setting) -> Report:
    """Return what is asked of a counter in a case.

    Raises:
        InvalidInput: The method does not apply to the model.
    """
    model, image = load_model(case.model), MODELS[case.model]
    if setting.scale == "reduced" and case.model in SIDES:
        model = small(model, SIDES[case.model])
    images = (image,) if image and setting.scale == "reduced" else ()
    workload = Workload(images=images, new_tokens=NEW_TOKENS)
    schedule = load_method(case.method).schedule(model, workload) if case.method else None
    return evaluate(model, workload, schedule)


def measure(case: Case, progress: Callable[[str], None]) -> dict[str, Any]:
    """Return the comparisons of a case under every counter, or why it does not apply."""
    entry: dict[str, Any] = {"model": case.model, "method": case.method, "runs": []}
    sides: tuple[Side, ...] = ("scheduled",) if case.method else ("baseline",)
    for setting in SETTINGS:
        try:
            report = question(case, setting)
        except InvalidInput as error:
            return {**entry, "does_not_apply": f"{error.problem}"}
        for result in compare(report, setting, progress, sides):
            entry["runs"].append(_run(report, result))
    return entry


def _run(report: Report, result: Comparison) -> dict[str, Any]:
    plan = report.scheduled
    return {
        **result.setting._asdict(),
        "images": [f"{height}x{width}" for height, width in plan.images],
        "tokens_per_layer": list(result.tokens_per_layer),
        "decode_forwards": result.decode_forwards,
        "rows": [row.figures() for row in result.rows],
        "unseen": result.unseen,
    }


def table(document: dict[str, Any]) -> str:
    """Return the document's entries as a Markdown table."""
    lines = [
        "| model | method | prefill, counted at full size [FLOP] | "
        f"{NEW_TOKENS - 1} decode forwards [FLOP] | torch | fvcore | profiler |",
        "| --- | --- | ---: | ---: | --- | --- | --- |",
    ]
    for entry in document["entries"]:
        name = f"| {entry['model']} | {entry['method'] or 'dense'} |"
        if "does_not_apply" in entry:
            lines.append(f"{name} does not apply: {entry['does_not_apply']} | | | | |")
            continue
        full = entry["runs"][0]
        prefill, decode = (
            sum(row["counted"] for row in full["rows"] if row["phase"] == phase)
            for phase in ("prefill", "decode")
        )
        verdicts = " | ".join(_verdict(run) for run in entry["runs"])
        lines.append(f"{name} {prefill:,} | {decode:,} | {verdicts} |")
    return "\n".join(lines) + "\n"


def _verdict(run: dict[str, Any]) -> str:
    compared = [row for row in run["rows"] if row["difference"] is not None]
    blind = [name for row in run["rows"] for name in row["unseen"]]
    largest = max(abs(row["difference"]) for row in compared)
    text = f"{largest:,} in {len(compared)}"
    return f"{text}, blind to {', '.join(dict.fromkeys(blind))}" if blind else text


def run(
    kept: dict[Case, dict[str, Any]], progress: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Yield the entries of the matrix as they come; `kept` ones are not counted again."""
    for number, case in enumerate(cases(), 1):
        if case in kept:
            yield kept[case]
            continue
        label = f"{number}/{len(cases())} {case.model} {case.method or 'dense'}"
        yield measure(case, lambda text, label=label: progress(f"{label}: {text}"))  # type: ignore[misc]


def main(models: Sequence[str]) -> int:
    """Run the matrix, or that of some models, and write both files; 1 if anything differs."""
    import torch
    import transformers
    from fvcore import __version__ as fvcore_version

    docs = Path(__file__).resolve().parents[1] / "docs"
    page = docs / "validation.md"
    head, rest = page.read_text(encoding="utf-8").split(BEGIN)
    tail = rest.split(END)[1]
    entries: list[dict[str, Any]] = []
    document: dict[str, Any] = {
        "tokencost_version": __version__,
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "fvcore": fvcore_version,
        "unit": "FLOP",
        "entries": entries,
    }
    kept: dict[Case, dict[str, Any]] = {}
    if models:
        before = json.loads((docs / "validation.json").read_text(encoding="utf-8"))
        kept = {
            Case(entry["model"], entry["method"]): entry
            for entry in before["entries"]
            if entry["model"] not in models
        }
    for entry in run(kept, lambda text: print(text, file=sys.stderr, flush=True)):
        entries.append(entry)
    replace(docs / "validation.json", (json.dumps(document, indent=1) + "\n").encode())
    replace(page, (head + BEGIN + table(document) + END + tail).encode())
    differ = [
        row
        for entry in entries
        for one in entry["runs"]
        for row in one["rows"]
        if row["difference"]
    ]
    print(f"{len(differ)} differences")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
