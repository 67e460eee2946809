"""Every method's schedule, really run: what is counted, and what is told not to have run."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput, Model, Workload, evaluate
from vlm_tokencost.presets import list_methods, load_method, load_model
from vlm_tokencost.validation.compare import Setting, check, compare
from vlm_tokencost.validation.reduced import resized
from vlm_tokencost.validation.rules import RULES

pytest.importorskip("torch")
META = Setting("torch", "full", "meta")
DEPTH = 8
#: Methods whose published layers or least budgets need more.
DEEPER = {"aim": 16, "mustdrop": 20, "prunevid": 12}
#: What no forward pass carries out, and how that is told.
REFUSED = {
    "adaspark": "layers score a share of the pairs",
    "codecsight": "stream is run by no forward pass yet",
}
#: Methods for other inputs or models than one image of LLaVA-1.5.
ELSEWHERE = {
    "internvl-x-rvtc": ("internvl2.5-8b", Workload(new_tokens=3)),
}


@cache
def shallow(model_id: str, depth: int) -> Model:
    """Return a preset of eight encoder layers and so many decoder layers at full width."""
    model = load_model(model_id)
    unused = model.vision.num_hidden_layers - model.vision.contributing_layers
    return resized(
        model,
        vision=resized(model.vision, num_hidden_layers=DEPTH, contributing_layers=DEPTH - unused),
        decoder=resized(model.decoder, num_hidden_layers=depth),
    )


@pytest.mark.parametrize("method", list_methods())
def test_all_that_runs_costs_what_the_closed_form_says(method):
    model_id, workload = ELSEWHERE.get(method, ("llava-1.5-7b", Workload(new_tokens=3)))
    model = shallow(model_id, DEEPER.get(method, DEPTH))
    schedule = load_method(method).schedule(model, workload)
    report = evaluate(model, workload, schedule)
    if method in REFUSED:
        with pytest.raises(InvalidInput, match=REFUSED[method]):
            check(report)
        return
    check(report)
    rows: list[Any] = []
    for result in compare(report, META, sides=("scheduled",)):
        rows += result.rows
    assert {row.component for row in rows} >= {"vision", "decoder", "head"}
    assert {row.phase for row in rows} == {"prefill", "decode"}
    for row in rows:
        if row.unrun:
            assert row.component == "selection"
            (missing,) = row.unseen
            assert missing.removeprefix("the reducer of ") not in RULES
            assert row.phase == "decode" or missing.startswith("the reducer of ")
            assert (row.counted, row.difference) == (None, None)
        else:
            assert row.difference == 0, row
