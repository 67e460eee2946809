"""Reports, schedules and models in a library's hands: data, text, notebooks, data frames."""

from __future__ import annotations

import csv
import io
import json
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from random_schedules import SCHEDULES
from vlm_tokencost.costmodel import (
    Counting,
    InvalidInput,
    MissingExtra,
    Model,
    Schedule,
    UnknownName,
    Workload,
    evaluate,
)
from vlm_tokencost.presets import list_methods, list_models, load_method, load_model

LLAVA = load_model("llava-1.5-7b")
HALF = Schedule.keep(0.5, layer=2)
#: f(640) and f(352) of `survey`, 4nd² + 2n²d + 2ndm with d = 4096 and m = 11008.
DENSE, KEPT = (4 * n * 4096**2 + 2 * n * n * 4096 + 2 * n * 4096 * 11008 for n in (640, 352))


class Cells(HTMLParser):
    """Collects the rows of a page's tables, and the names of its tags."""

    def __init__(self, page: str) -> None:
        """Read a page."""
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open, "every tag is closed"

    def handle_starttag(self, tag, attrs):
        """Open a tag."""
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"style"}, "nothing but styles: no handlers, no links"
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        """Close a tag."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Add text to the page and to its cell."""
        self.text += data
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data


def test_a_report_as_data_holds_the_figures():
    answer = evaluate(LLAVA, schedule=HALF).to_dict()
    assert answer["conventions"]["survey"] == {
        "unit": "MAC",
        "phase": "prefill",
        "baseline": 32 * DENSE,
        "scheduled": 2 * DENSE + 30 * KEPT,
        "ratio": (2 * DENSE + 30 * KEPT) / (32 * DENSE),
    }
    assert list(answer["conventions"]) == ["survey", "gated", "exact"]
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "llava-1.5-7b", "--prune-layer", "2", "--keep", "0.5"),
        ("--model", "llava-1.5-7b", "--prune-layer", "2", "--keep", "0.5", "--new-tokens", "9"),
        ("--model", "llama3.2-vision-11b"),
    ],
    ids=["prefill", "generation", "no published figure"],
)
def test_a_report_as_data_is_the_commands_json(words, capsys):
    from vlm_tokencost.cli.main import main

    with pytest.raises(SystemExit):
        main(["ratio", *words, "--format", "json"])
    printed = json.loads(capsys.readouterr().out)
    workload = Workload(new_tokens=9 if "--new-tokens" in words else 1)
    schedule = HALF if "--keep" in words else None
    assert evaluate(load_model(words[1]), workload, schedule).to_dict() == printed


def test_a_bill_as_data_is_the_commands_json(capsys):
    from vlm_tokencost.cli.main import main

    words = ["--prune-layer", "2", "--keep", "0.5", "--new-tokens", "9", "--decode-step", "4"]
    for model_id in ("llava-1.5-7b", "gemma3-4b"):
        with pytest.raises(SystemExit):
            main(["cost", "--model", model_id, *words, "--format", "json"])
        printed = json.loads(capsys.readouterr().out)
        report = evaluate(load_model(model_id), Workload(new_tokens=9), HALF)
        assert report.bill_dict(step=4) == printed


def test_a_bill_as_data_prices_the_step_that_is_asked_for():
    report = evaluate(LLAVA, schedule=HALF)
    step = report.bill_dict("exact", step=4)["conventions"]["exact"]["decode_forward"]
    assert step["keys_per_layer"] == [644] * 2 + [356] * 30
    assert list(report.bill_dict("survey")["conventions"]) == ["survey"]
    with pytest.raises(InvalidInput, match="step 0 is below 1"):
        report.bill_dict(step=0)
    with pytest.raises(UnknownName, match="convention exakt is not known"):
        report.bill_dict("exakt")  # type: ignore[arg-type]


def test_a_report_as_data_holds_the_conventions_that_are_asked_for():
    report = evaluate(LLAVA, schedule=HALF)
    assert list(report.to_dict("gated")["conventions"]) == ["gated"]
    with pytest.raises(UnknownName, match=r"convention gate is not known; did you mean gated\?"):
        report.to_dict("gate")  # type: ignore[arg-type]


def test_a_frame_has_the_rows_of_the_commands_csv(capsys):
    from vlm_tokencost.cli.main import main

    with pytest.raises(SystemExit):
        main(
            [
                "ratio",
                "--model",
                "llava-1.5-7b",
                "--prune-layer",
                "2",
                "--keep",
                "0.5",
                "--format",
                "csv",
            ]
        )
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    frame = evaluate(LLAVA, schedule=HALF).to_pandas()
    assert list(frame.columns) == list(rows[0])
    for side in ("baseline", "scheduled"):
        assert [str(amount) for amount in frame[side]] == [row[side] for row in rows]
    assert frame["scheduled"][0] == 2 * DENSE + 30 * KEPT


def test_a_frame_keeps_whole_numbers_whole_where_some_are_missing():
    frame = evaluate(load_model("llama3.2-vision-11b")).to_pandas()
    assert str(frame["baseline"].dtype) == "Int64"
    assert frame["baseline"].isna().sum() == 2  # survey and gated have no figure
    assert frame["ratio"].isna().sum() == 3  # nor has the selection, of which there is none


def test_a_frame_keeps_numbers_that_no_machine_integer_holds():
    report = evaluate(LLAVA, Workload(batch=10**9))
    exact = report.to_pandas().set_index(["convention", "component"])["baseline"]["exact", "total"]
    assert exact == 8_910_375_321_600 * 10**9 > 2**63


def test_a_missing_pandas_is_told_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        MissingExtra, match=r"^pandas is not installed; .*vlm-tokencost\[pandas\]'$"
    ):
        evaluate(LLAVA).to_pandas()


def test_a_printed_report_says_question_and_answer():
    report = evaluate(LLAVA, Workload(new_tokens=8), HALF, Counting(causal=True))
    text = str(report)
    assert text.splitlines()[0] == (
        "llava-1.5-7b: from layer 2 on keep 0.5: 288 visual tokens, rounding floor"
    )
    assert "576 visual, 0 structural and 64 text tokens at batch 1; exact includes 7 decode" in text
    assert "survey  3.3286 → 1.8994 TMAC (57.06 %)" in text
    assert "exact counts with causal=True" in text
    assert repr(report).startswith("Report('llava-1.5-7b', ")


def test_a_printed_report_without_a_schedule_has_one_side():
    text = str(evaluate(load_model("llama3.2-vision-11b")))
    assert "survey  — TMAC" in text  # no figure is no zero
    assert "→" not in text


def test_doubts_are_told_wherever_a_report_is_shown():
    model = load_model("qwen3-vl-2b")
    unverified = "token_rule.video.structural_per_video"
    assert unverified in model.unverified
    schedule = load_method("adaspark").schedule(LLAVA)
    (assumed,) = schedule.method.assumed
    for shown in (str, lambda one: Cells(one._repr_html_()).text):
        assert unverified in shown(evaluate(model))
        assert unverified in shown(model)
        assert assumed in shown(evaluate(LLAVA, schedule=schedule))
    partial = load_model("llava-video-7b")
    assert partial.status == "approximate"
    assert "configuration approximate" in str(evaluate(partial, Workload(frames=2)))


def test_a_printed_bill_has_its_components():
    # 32 layers · (4nd² + 2n²d + 2ndm) on 640 tokens
    assert str(evaluate(LLAVA).bill("survey")) == (
        "3,328,599,654,400 MAC (decoder 3,328,599,654,400)"
    )
    assert str(evaluate(LLAVA).bill("exact", phase="decode")) == "0 FLOP"


def test_a_printed_method_says_what_it_is():
    assert str(load_method("fastv")).startswith("FastV (fastv), arXiv 2403.06764: Inside the LLM")


def test_a_report_in_a_notebook():
    page = Cells(evaluate(LLAVA, schedule=HALF)._repr_html_())
    assert page.rows[:2] == [
        ["convention", "unit", "baseline", "scheduled", "ratio"],
        ["survey", "TMAC", "3.3286", "1.8994", "57.06 %"],
    ]
    assert [row[0].strip() for row in page.rows[3:]] == [
        "exact",
        "vision",
        "connector",
        "decoder",
        "head",
        "selection",
    ]
    assert "selection: not specified, 0 counted" in page.text
    assert "script" not in page.tags


def test_a_schedule_in_a_notebook():
    page = Cells(load_method("pyramiddrop").schedule(LLAVA)._repr_html_())
    stages = "from layer 8 on keep 0.5; from layer 16 on keep 0.25; from layer 24 on keep 0.125"
    assert page.rows == [
        ["primitive", "what it does"],
        ["stages", stages],
        ["selection", "pyramiddrop"],
        ["rounding", "floor"],
    ]
    assert Cells(Schedule()._repr_html_()).rows[1] == ["—", "nothing is reduced"]


def test_a_model_in_a_notebook():
    rows = Cells(LLAVA._repr_html_()).rows
    assert ["decoder", "32 layers of width 4,096, vocabulary 32,064", "6,607,605,760"] in rows
    assert rows[-1] == ["total", "", "7,063,427,072"]


def test_names_are_no_markup():
    wild = "<script>alert(1)</script>&"
    for shown in (
        Schedule(name=wild),
        LLAVA.model_copy(update={"family": wild}),
        evaluate(LLAVA.model_copy(update={"id": wild}), schedule=Schedule(name=wild)),
    ):
        page = Cells(shown._repr_html_())
        assert "script" not in page.tags
        assert wild in page.text


@pytest.mark.parametrize("model_id", list_models())
def test_every_model_survives_as_data_and_is_shown(model_id):
    model = load_model(model_id)
    assert Model(**json.loads(json.dumps(model.to_dict()))) == model
    assert model.id in Cells(model._repr_html_()).text
    assert str(model).startswith(f"{model.id} ({model.family}), configuration {model.status}: ")


@pytest.mark.parametrize("method_id", list_methods())
def test_every_methods_schedule_survives_as_data_and_is_shown(method_id):
    method = load_method(method_id)
    model, workload = load_model(method.reference.model), method.reference.workload
    schedule = method.schedule(model, workload)
    report = evaluate(model, workload, schedule)
    for shown in (str(report), Cells(report._repr_html_()).text):
        assert model.id in shown
        for assumption in schedule.method.assumed:
            assert assumption in shown
    answer = report.to_dict()
    assert json.loads(json.dumps(answer)) == answer
    assert answer["conventions"]["exact"]["scheduled"] == report.total()
    assert type(schedule)(**json.loads(json.dumps(schedule.to_dict()))) == schedule
    assert {row[0] for row in Cells(schedule._repr_html_()).rows[1:]} - {"rounding", "—"} == set(
        schedule.primitives
    )
    assert "=" not in str(schedule), "words, not fields of specs"


@settings(max_examples=100, deadline=None)
@given(SCHEDULES)
def test_any_schedule_survives_as_data_and_is_shown(schedule):
    assert Schedule(**json.loads(json.dumps(schedule.to_dict()))) == schedule
    assert str(schedule)
    assert Cells(schedule._repr_html_()).rows


def test_data_that_is_changed_is_refused():
    table = HALF.to_dict()
    table["stages"][0]["ratio"] = "3/2"
    with pytest.raises(InvalidInput, match=r"stages.0.ratio 3/2 is outside \(0, 1\]"):
        Schedule(**table)
