"""`tokencost sweep`: what cannot be priced is told in one sentence; ranges are exact."""

from __future__ import annotations

import pytest
from vlm_tokencost.cli.sweep_axes import ratios, sizes, stage_counts, wholes
from vlm_tokencost.costmodel import InvalidInput

MODEL = ("--model", "llava-1.5-7b")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--keep", "0.1:1:0", "--prune-layer", 2), "--keep 0.1:1:0 has a step of 0"),
        (("--keep", "0.5:0.1:0.1", "--prune-layer", 2), "is an empty range"),
        (("--keep", "0:1:0.1", "--prune-layer", 2), "--keep 0 is outside (0, 1]"),
        (("--keep", "0.5,1.2", "--prune-layer", 2), "--keep 1.2 is outside (0, 1]"),
        (("--keep", "0.5:1", "--prune-layer", 2), "--keep 0.5:1 has no step"),
        (("--keep", "0.1:0.2:0.1:3", "--prune-layer", 2), "is not a range or a list"),
        (("--keep", "", "--prune-layer", 2), "is not a range or a list"),
        (("--keep", "half", "--prune-layer", 2), "--keep half is not a number"),
        (("--keep", "0.5,1/2", "--prune-layer", 2), "--keep 0.5 is given twice"),
        (("--keep", 0.5), "--keep 0.5 needs --prune-layer"),
        (("--prune-layer", "1:9"), "--prune-layer 1:9 needs --keep"),
        (("--keep", 0.5, "--prune-layer", "2:40:2"), "--prune-layer 40 is not a layer of llava"),
        (("--keep", 0.5, "--prune-layer", "1.5"), "--prune-layer 1.5 is not a whole number"),
        (("--keep", 0.5, "--prune-layer", 3, "--stages", 2), "the 1 value of --prune-layer"),
        (("--keep", 0.5, "--prune-layer", 3, "--stages", 5), "--stages 5 is above 4 stages"),
        (("--keep", 0.5, "--prune-layer", 3, "--stages", "3..1"), "--stages 3..1 is an empty span"),
        (("--keep", 0.5, "--prune-layer", 3, "--stages", "x"), "is not a number of stages"),
        (("--stages", 2), "--stages 2 has no layers and shares"),
        (
            ("--keep", "0.001:1:0.001", "--prune-layer", "1:31", "--stages", 3),
            "the grid has 746,920,665,000 rows",
        ),
        (("--batch", "1:9999999"), "--batch 1:9999999 has more than 1,000,000 values"),
        (("--batch", "0,1"), "--batch 0 is below 1"),
        (("--method", "fastw"), "--method fastw is not known; did you mean fastv?"),
        (("--method", "fastv,,tome"), "--method fastv,,tome names nothing"),
        (("--method", "fastv", "--tokens", 3), "--tokens cannot go with --method"),
        (("--method", "fastv", "--keep", 1, "--prune-layer", 2), "cannot go with --method"),
        (("--schedule", "keep 0.5 @ 2", "--tokens", 3), "--tokens cannot go with --schedule"),
        (("--schedule", "keep 0.5 @"), "--schedule"),
        (("--budget", 64), "--budget needs --method"),
        (("--tokens-at", "before-connector"), "--tokens-at needs --tokens"),
        (("--rounding", "ceil"), "--rounding has no ratio to round"),
        (("--keep", 1, "--prune-layer", 2, "--rounding", "up"), "--rounding up is not a choice"),
        (("--device", "b900"), "--device b900 is not known"),
        (("--device", "h100", "--causal"), "--causal is of counting FLOPs"),
        (("--runtime", "graph"), "--runtime graph changes nothing without --device"),
        (("--device", "h100", "--bits", 5), "--bits 5 is not a choice"),
        (("--device", "h100", "--bits", "4:16:4"), "--bits 12 is not a choice"),
        (("--kv-bits", "4,8"), "--kv-bits 4,8 changes nothing without --device"),
        (("--frames", 4, "--images", 2), "--frames 4 is one video"),
        (("--image-size", "1x2x3"), "--image-size 1x2x3 is not a height and a width"),
        (("--limit", 0), "--limit 0 is below 1"),
        (("--format", "table"), "--format table is not a choice"),
        (("--format", "parquet"), "--format parquet cannot go to standard output"),
        (("--resume",), "--resume needs a file to go on with"),
        (("--output", "/no/where/x.csv"), "--output /no/where/x.csv is in a directory that does"),
        (("--config", "x.json"), "--model and --config both name a model"),
        (("--implementation", "latent=absorbed"), "--implementation"),
        (("--implementation", "selection=released"), "no schedule names a selection rule"),
    ],
    ids=str,
)
def test_mistakes_are_one_sentence(tokencost, words, sentence):
    found = tokencost("sweep", *MODEL, *words)
    assert (found.status, found.out) == (2, "")
    assert sentence in found.err and found.err.startswith("error: ")
    assert found.err.count("\n") == 1 and "; " in found.err


def test_a_layer_that_one_of_several_models_lacks(tokencost):
    words = ("--model", "llava-1.5-7b,qwen2.5-vl-7b", "--prune-layer", "1:31", "--keep", 0.5)
    found = tokencost("sweep", *words)
    assert (found.status, found.out) == (2, "")
    assert "--prune-layer 31 is not a layer of qwen2.5-vl-7b, which has 28" in found.err


def test_no_model(tokencost):
    found = tokencost("sweep", "--batch", "1:3")
    assert (found.status, found.out) == (2, "")
    assert "--model is missing" in found.err


def test_ranges_are_exact():
    # In floats 0.1 + 0.2 is above 0.3, and 0.7 / 0.1 below 7
    assert [str(value) for value in ratios(["0.1:0.3:0.1"], "--keep")] == ["1/10", "1/5", "3/10"]
    assert len(ratios(["0.001:1:0.001"], "--keep")) == 1000
    assert ratios(["0.05:1:0.1"], "--keep")[-1] * 100 == 95  # no step meets 1
    assert wholes(["1:31"], "--batch") == tuple(range(1, 32))
    assert wholes(["8:64:8", "100"], "--batch") == (*range(8, 65, 8), 100)
    assert sizes(["336", "448x224,10:12"], "--image-size") == (
        (336, 336),
        (448, 224),
        (10, 10),
        (11, 11),
        (12, 12),
    )
    assert stage_counts(None, "--stages") == (1,)
    assert stage_counts("2:4", "--stages") == (2, 3, 4)
    with pytest.raises(InvalidInput, match="given twice"):
        wholes(["1:3,2"], "--batch")
