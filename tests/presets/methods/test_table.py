"""docs/method-table.md: every method, how each field is known, its cost and figures.

`python tests/presets/methods/test_table.py` writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from vlm_tokencost.costmodel import Counting, evaluate
from vlm_tokencost.costmodel.selection import report_selection
from vlm_tokencost.presets import list_methods, load_method, load_model
from vlm_tokencost.presets.figures import recompute
from vlm_tokencost.presets.method import TOLD

TABLE = Path(__file__).parents[3] / "docs" / "method-table.md"


def table() -> str:
    """Return the page."""
    methods = [load_method(method_id) for method_id in list_methods()]
    lines = [
        "# Methods: settings, selection and published figures",
        "",
        "Written by `python tests/presets/methods/test_table.py` from the presets.",
        "Average and selection are those of the default on the model that settings are shown on.",
        "",
        f"{len(methods)} methods.",
        "",
        "| method | arXiv | primitives | average visual tokens | "
        + " | ".join(TOLD)
        + " | selection ideal, released [GFLOP] | attention map released [MB] | serial rounds |",
        "|---|---|---|---|" + "---|" * len(TOLD) + "---|---|---|",
    ]
    for method in methods:
        shown = method.reference
        model = load_model(shown.model)
        schedule = method.schedule(model, shown.workload)
        report = evaluate(model, shown.workload, schedule)
        ideal, released = (
            report_selection(report, Counting(selection=variant))
            for variant in ("ideal", "released")
        )
        known = [
            method.provenance[field].status if field in method.provenance else "—" for field in TOLD
        ]
        cells = (
            f"`{method.id}`",
            method.paper,
            ", ".join(name for name in schedule.primitives if name != "selection"),
            f"{float(report.scheduled.average_visual_tokens):.1f} of "
            f"{report.dense.dense_visual_tokens} ({shown.model})",
            *known,
            f"{ideal.flops / 1e9:.4g}, {released.flops / 1e9:.4g}",
            f"{released.attention_map_bytes / 1e6:.4g}",
            f"{ideal.launches}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "## Published figures, recomputed",
        "",
        "| method | quantity | convention | printed | recomputed | agrees | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for method in methods:
        for figure in method.figures:
            value = float(recompute(method, figure).value)
            agrees = "yes" if figure.reproduces else f"no: {figure.note}"
            cells = (
                f"`{method.id}`",
                figure.quantity,
                figure.convention,
                f"{figure.printed} {figure.unit}",
                f"{value:.6g}",
                agrees,
                figure.source,
            )
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    lines += ["", "## What is assumed", ""]
    for method in methods:
        lines += [f"- `{method.id}` [{', '.join(one.when)}]: {one.text}" for one in method.assumed]
    return "\n".join(lines) + "\n"


def test_the_table_is_current():
    assert TABLE.read_text(encoding="utf-8") == table()


@pytest.mark.parametrize("method_id", list_methods())
def test_only_unknown_schedules_are_assumed(method_id):
    method = load_method(method_id)
    if method.provenance["default"].status == "assumed":
        assert not method.schedule_known
        assert method.assumed, "what is assumed is told with every figure"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
    sys.exit(0)
