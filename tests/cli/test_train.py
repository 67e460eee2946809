"""`tokencost train`: steps, purposes, GPU hours, every format, and mistakes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import pytest

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "schemas" / "train.schema.json").read_text()
)
LLAVA = ("train", "--model", "llava-1.5-7b")
PYRAMID = (*LLAVA, "--method", "pyramiddrop", "--text-tokens", 0)


def asked(tokencost, *words):
    answer = tokencost(*words, "--format", "json").json()
    jsonschema.validate(answer, SCHEMA)
    return answer


def test_the_question_reads_as_in_other_commands():
    path = Path(__file__).parents[2] / "docs" / "schemas" / "cost.schema.json"
    cost = json.loads(path.read_text())["properties"]
    for name in ("workload", "counting", "schedule", "unverified"):
        assert SCHEMA["properties"][name] == cost[name], "update train.schema.json"


def test_a_step_by_component_and_purpose(tokencost):
    exact = asked(tokencost, *LLAVA)["conventions"]["exact"]
    # 640 tokens: linears and attention of 32 layers, three times; see test_training.py
    layer = 640 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 640**2 * 4096
    head = 640 * 4096 * 32064
    assert exact["components"]["decoder"]["baseline"] == 32 * 6 * layer
    assert exact["components"]["head"]["baseline"] == 6 * head
    assert exact["components"]["vision"]["baseline"] == 381_918_216_192
    assert exact["passes"]["recomputation"]["baseline"] == 0
    assert exact["passes"]["weight_gradients"]["baseline"] == (
        2 * 32 * (layer - 2 * 640**2 * 4096) + 2 * head + 24_159_191_040
    )
    for parts in ("components", "passes"):
        assert sum(part["baseline"] for part in exact[parts].values()) == exact["baseline"]
    assert exact["ratio"] == 1
    assert exact["upper_bounds"] == []


def test_published_formulas_are_three_or_four_prefills(tokencost):
    # Golden: PyramidDrop 1.7774e12 of 3,817,152,184,320 MAC of a prefill by `gated`, 0.4656
    step = asked(tokencost, *PYRAMID)["conventions"]["gated"]
    assert step["baseline"] == 3 * 3_817_152_184_320
    again = asked(tokencost, *PYRAMID, "--recompute")["conventions"]["gated"]
    assert again["baseline"] == 4 * 3_817_152_184_320
    assert step["ratio"] == again["ratio"]
    assert round(step["ratio"], 4) == 0.4656


@pytest.mark.parametrize(
    ("words", "hours", "share"),
    [
        # arXiv 2410.17247: s + (1 − s)·0.4656 = 79/104, and s + (1 − s)·0.4545 = 218/366
        ((), (104, 79), 0.55),
        (("--visual-tokens", 2880), (366, 218), 0.26),
    ],
    ids=["LLaVA-1.5", "LLaVA-NeXT"],
)
def test_hours_of_pyramiddrop(tokencost, words, hours, share):
    given = ("--dense-hours", hours[0], "--scheduled-hours", hours[1])
    figures = asked(tokencost, *PYRAMID, *words, *given)["conventions"]["gated"]["hours"]
    assert round(figures["explaining_fixed_share"], 2) == share
    assert figures["gpu_hours"] is None, "no share was stated"
    stated = (*PYRAMID, *words, "--fixed-share", share, "--dense-hours", hours[0])
    figures = asked(tokencost, *stated)["conventions"]["gated"]["hours"]
    assert abs(figures["gpu_hours"] - hours[1]) < 0.005 * hours[0]


def test_a_schedule_states_its_training(tokencost, tmp_path):
    path = tmp_path / "trained.toml"
    path.write_text(
        "[training]\nrecompute = true\nfixed_share = 0.25\nfrozen_encoder = false\n"
        "[[stages]]\nfirst_layer = 2\nratio = 0.5\n"
    )
    answer = asked(tokencost, *LLAVA, "--schedule", path)
    assert answer["training"] == {
        "recompute": True,
        "frozen_encoder": False,
        "fixed_share": 0.25,
        "dense_hours": None,
        "scheduled_hours": None,
    }
    exact = answer["conventions"]["exact"]
    hours = exact["hours"]["gpu_hour_ratio"]
    assert hours == pytest.approx(0.25 + 0.75 * exact["ratio"], rel=1e-12)
    keep = ("--prune-layer", 2, "--keep", 0.5, "--recompute", "--train-encoder")
    assert asked(tokencost, *LLAVA, *keep)["conventions"]["exact"]["baseline"] == exact["baseline"]


def test_a_convention_without_meaning(tokencost):
    answer = asked(tokencost, "train", "--model", "llama3.2-vision-11b")
    gated = answer["conventions"]["gated"]
    assert gated["baseline"] is None
    assert "cross-attention" in gated["reason"]


def test_every_format_has_the_same_figures(tokencost):
    words = (*PYRAMID, "--fixed-share", 0.55, "--dense-hours", 104)
    exact = asked(tokencost, *words)["conventions"]["exact"]
    rows = list(csv.DictReader(io.StringIO(tokencost(*words, "--format", "csv").out)))
    (total,) = [
        row
        for row in rows
        if (row["convention"], row["phase"], row["component"])
        == ("exact", "training step", "total")
    ]
    assert int(total["scheduled"]) == exact["scheduled"]
    (hours,) = [row for row in rows if (row["convention"], row["unit"]) == ("exact", "hour")]
    assert float(hours["scheduled"]) == exact["hours"]["gpu_hours"]
    shown = f"{exact['scheduled'] / 10**12:.4f}"
    for form in ("table", "markdown", "latex"):
        out = tokencost(*words, "--format", form).out
        assert shown in out
        assert "GPU" in out
    assert max(map(len, tokencost(*words).out.splitlines())) <= 100


def test_an_upper_bound_is_said(tokencost):
    assert "upper bound: the connector" in tokencost("train", "--model", "molmo-7b-d").out


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (("--fixed-share", 1.5), ("--fixed-share 1.5", "[0, 1]")),
        (("--fixed-share", "half"), ("--fixed-share half",)),
        (("--dense-hours", 366), ("--dense-hours 366", "--fixed-share")),
        (("--dense-hours", 0), ("--dense-hours 0", "hours")),
        (("--dense-hours", "1e3"), ("--dense-hours 1e3", "hours")),
        (("--scheduled-hours", 218), ("--scheduled-hours 218", "--dense-hours")),
        (("--new-tokens", 4), ("--new-tokens", "not of training")),
        (("--logits", "last"), ("--logits last", "loss")),
        (("--convention", "gated", "--train-encoder"), ("--train-encoder", "exact")),
        (("--convention", "gated", "--causal"), ("--causal", "exact")),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_mistakes(tokencost, words, fragments):
    result = tokencost(*LLAVA, *words)
    assert (result.status, result.out) == (2, "")
    for fragment in fragments:
        assert fragment in result.err


def test_models_whose_steps_are_not_known(tokencost):
    result = tokencost("train", "--model", "instructblip-flan-t5-xl")
    assert (result.status, result.out) == (2, "")
    assert "encoder of its own" in result.err


def test_hours_that_no_share_explains(tokencost):
    # 60 hours for 50: longer than without the schedule, which no fixed share in [0, 1] makes
    words = (*PYRAMID, "--dense-hours", 50, "--scheduled-hours", 60)
    for figures in asked(tokencost, *words)["conventions"].values():
        assert figures["hours"]["explaining_fixed_share"] is None
    assert "no fixed share in [0, 1] explains the hours" in tokencost(*words).out
