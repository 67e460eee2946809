"""The run over all families as a document and as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

from ...costmodel import Model
from ...costmodel.version import __version__
from ...presets import load_model
from ...presets.huggingface import read_config
from .build import build, build_decoder, config_names, load
from .cases import workloads
from .comparison import Row, compare
from .decoders import LEFT_OUT, PRESETS
from .parts import OUTSIDE, Parts

#: Columns of the table; the last is what ran outside all of them.
COLUMNS = ("vision", "connector", "decoder", "head", "visual tokens", OUTSIDE)
#: FastVLM's encoder is timm's, which is no dependency.
ENCODER_NOT_RUN = ("fast_vlm",)
_NOT_RUN = "not run"


def measure(
    family: str | None = None, progress: Callable[[str], None] = lambda _: None
) -> Iterator[dict[str, Any]]:
    """Yield an entry per config and per LLM that is run alone, as they come.

    Args:
        family: A model type, whose entries alone are wanted.
        progress: Is told what is being done.
    """
    for name in config_names():
        config = load(name)
        model_type = config["model_type"]
        if family in (None, model_type):
            progress(name)
            left_out = ("vision",) if model_type in ENCODER_NOT_RUN else ()
            model = read_config(config, model_id=name)
            yield _entry(name, model_type, model, build(config), left_out)
    for name in PRESETS:
        model = load_model(name)
        model_type = model.decoder.model_type
        if family in (None, model_type):
            progress(name)
            yield _entry(name, model_type, model, build_decoder(model), LEFT_OUT)


def _entry(
    name: str, model_type: str, model: Model, parts: Parts, left_out: tuple[str, ...]
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "config": name,
        "model_type": model_type,
        "class": parts.title,
        "vision": None if "vision" in left_out else model.vision.model_type,
        "llm": model.decoder.model_type,
        "not_run": [*left_out, *([] if parts.arranges else ["visual tokens"])],
        "workloads": [],
    }
    reasons = set()
    for label, workload in workloads(model).items():
        rows = compare(parts, model, workload, left_out)
        if any(row.beyond for row in rows):
            reasons.add(parts.beyond_reason)
        entry["workloads"].append(
            {
                "name": label,
                "images": [f"{height}x{width}" for height, width in workload.images],
                "frames": workload.frames,
                "text_tokens": workload.text_tokens,
                "rows": [_row(row) for row in rows],
            }
        )
    entry["beyond"] = next(iter(reasons), None)
    return entry


def _row(row: Row) -> dict[str, Any]:
    return {**row._asdict(), "difference": row.difference}


def document(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the entries with the versions that they hold for."""
    import torch
    import transformers

    return {
        "tokencost_version": __version__,
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "unit": "FLOP",
        "entries": entries,
    }


def rows_of(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of all workloads of an entry."""
    return [row for workload in entry["workloads"] for row in workload["rows"]]


def differing(found: Mapping[str, Any]) -> int:
    """Return how many rows of a document differ from the closed form."""
    return sum(row["difference"] != 0 for entry in found["entries"] for row in rows_of(entry))


def table(found: Mapping[str, Any]) -> str:
    """Return a document as a Markdown table: the largest difference of each component."""
    lines = [
        f"tokencost {found['tokencost_version']}, transformers {found['transformers']}, torch "
        f"{found['torch']}, {found['date']}.",
        "",
        "| config | model type | encoder | LLM | runs | "
        + " | ".join(COLUMNS)
        + " | beyond the closed form |",
        "| --- | --- | --- | --- | ---: | " + "---: | " * len(COLUMNS) + "--- |",
    ]
    notes: dict[str, None] = {}
    for entry in found["entries"]:
        cells = [entry["config"], entry["model_type"], entry["vision"] or _NOT_RUN, entry["llm"]]
        rows = rows_of(entry)
        cells.append(
            str(len({(w["name"], row["phase"]) for w in entry["workloads"] for row in w["rows"]}))
        )
        cells += [_cell(entry, rows, column) for column in COLUMNS]
        if entry["beyond"]:
            notes[entry["beyond"]] = None
            cells.append(f"[{list(notes).index(entry['beyond']) + 1}]")
        else:
            cells.append("")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"[{place}] {_sentence(note)}" for place, note in enumerate(notes, 1))]
    return "\n".join(lines) + "\n"


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}.  "


def _cell(entry: Mapping[str, Any], rows: list[dict[str, Any]], column: str) -> str:
    if column in entry["not_run"]:
        return _NOT_RUN
    differences = [row["difference"] for row in rows if row["component"] == column]
    return f"{max(differences, key=abs, default=0):,}"
