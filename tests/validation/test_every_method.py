"""Every method's schedule, really run: what is counted, and what is told not to have run."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from vlm_tokencost.costmodel import (
    Compress,
    Counting,
    InvalidInput,
    Model,
    Schedule,
    Workload,
    evaluate,
)
from vlm_tokencost.presets import list_methods, load_method, load_model
from vlm_tokencost.validation.compare import Setting, check, compare
from vlm_tokencost.validation.prompt import Visual
from vlm_tokencost.validation.reduced import resized
from vlm_tokencost.validation.rules import RULES

torch = pytest.importorskip("torch")
META = Setting("torch", "full", "meta")
DEPTH = 8
#: Methods whose published layers or least budgets need more.
DEEPER = {"aim": 16, "mustdrop": 20, "prunevid": 12, "sparsevlm-v1": 32}
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


def test_a_rule_that_computes_nothing_is_a_difference(monkeypatch):
    """Only what a rule computes in decode forwards is told not to have run, and no more."""
    model, workload = load_model("llava-onevision-0.5b"), Workload(frames=4, new_tokens=2)
    schedule = load_method("dycoke").schedule(model, workload)
    report = evaluate(model, workload, schedule)
    rule = RULES[schedule.selection.name]
    monkeypatch.setattr(rule, "after_connector", idle)
    (result,) = compare(report, META, sides=("scheduled",))
    (row,) = (row for row in result.rows if (row.component, row.phase) == ("selection", "prefill"))
    assert row.difference == -row.analytic < 0


def idle(self: Any, pixels: Any, run: Any, count: int) -> Any:
    """Return the first tokens."""
    (features,) = run()
    return Visual(
        [features[:, :count]],
        [features.shape[1]],
        [torch.arange(count, device=features.device).expand(len(features), -1)],
    )


WRONG = {
    "text": ("coast", "llava-1.5-7b", Workload(text_tokens=0), {}, "rates by text tokens"),
    "learned keys": (
        None,
        "llama3.2-vision-11b",
        Workload(),
        {"learned": 4},
        "keeps images out of",
    ),
    "grids of tiles": ("tokenpacker", "llama3.2-vision-11b", Workload(), {}, "cannot be run on"),
    "released": ("fastv", "llava-1.5-7b", Workload(), {}, "prices released code"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused(case):
    method, model_id, workload, compress, words = WRONG[case]
    model = load_model(model_id)
    schedule = Schedule(compress=Compress(tokens=100, **compress))
    if method is not None:
        schedule = load_method(method).schedule(model, workload)
    counting = Counting(selection="released") if case == "released" else Counting()
    report = evaluate(model, workload, schedule, counting)
    with pytest.raises(InvalidInput, match=words):
        list(compare(report, META, sides=("scheduled",)))
