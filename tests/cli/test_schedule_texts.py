"""--schedule given a line, layer:ratio pairs, a LightCompress file, or the name of a file."""

import pytest

MODEL = ("--model", "llava-1.5-7b")


def per_layer(tokencost, text, *words, model=MODEL):
    run = tokencost("ratio", *model, *words, "--schedule", text, "--format", "json")
    assert run.status == 0, run.err
    return run.json()["schedule"]["visual_tokens_per_layer"]


def test_a_line_is_priced(tokencost):
    assert per_layer(tokencost, "compress 64 | keep 0.5 @ 16") == [64] * 16 + [32] * 16


def test_layers_are_shares_of_the_model_s_depth(tokencost):
    assert per_layer(tokencost, "withdraw @ 3/4") == [576] * 24 + [0] * 8
    qwen = ("--model", "qwen2.5-vl-7b", "--image-size", "448x448")
    assert per_layer(tokencost, "withdraw @ 3/4", model=qwen) == [256] * 21 + [0] * 7


def test_pairs_are_of_what_reaches_the_layer(tokencost):
    assert per_layer(tokencost, "2:0.5;6:0.3") == [576] * 2 + [288] * 4 + [86] * 26


def test_a_lightcompress_file_is_priced(tokencost, tmp_path):
    path = tmp_path / "fastv.yml"
    path.write_text(
        "sparse:\n    method: TokenReduction\n    special:\n        method: FastV\n"
        "        pruning_loc: 3\n        rate: 0.778\n"
    )
    assert per_layer(tokencost, path) == [576] * 3 + [128] * 29


def test_a_file_called_like_a_statement_is_a_file(tokencost, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compress 64").write_text("[compress]\ntokens = 32\n")
    assert per_layer(tokencost, "compress 64") == [32] * 32


def test_rounding_goes_with_any_share(tokencost):
    # 0.4 · 576 = 230.4
    for line in ("keep 0.4 @ 0", "profile step 0.4", "cache read 0.4 | withdraw @ 20"):
        run = tokencost("ratio", *MODEL, "--schedule", line, "--rounding", "ceil")
        assert run.status == 0, run.err
    assert per_layer(tokencost, "profile step 0.4", "--rounding", "ceil") == [231] * 32
    refused = tokencost("ratio", *MODEL, "--schedule", "compress 64", "--rounding", "ceil")
    assert refused.status == 2
    assert "has no ratio to round" in refused.err


MISTAKES = {
    "kep 0.5 @ 2": "--schedule kep 0.5 @ 2 at column 1: kep is no statement; did you mean keep?",
    "keep 0.5 @ 40": "at column 12: in keep: 40 is not a layer of this model, which has 32",
    "keep 0.2 @ 2 | keep 0.9 @ 9": "at column 21: in keep: 0.9 leaves 518 visual tokens",
    "withdraw @ 32": "at column 12: in withdraw: 32 is not a layer of this model",
    "cache read 0.5 @ 32": "at column 18: in cache: 32 is not a layer of this model",
    "subset 0.5 @ 40-": "at column 14: in subset: layers is not a list of layers",
    "mix 0.5: (keep 0.5 @ 50) / 0.5: dense": "at column 22: in keep: 50 is not a layer",
    "2:0.5;40:0.5": "at column 7: 40 is not a layer of this model",
    "2:0.01;3:0.1": "at column 8: 0.1 leaves 0 of the 5 visual tokens that reach the layer",
    "select divprune | keep 0.5 @ 2": "at column 8: in select: divprune has no `compress`",
    "round ceil": "reduces nothing",
    "missing.toml": "--schedule missing.toml cannot be read (No such file or directory)",
    "missing.yml": "--schedule missing.yml cannot be read (No such file or directory)",
    "no/such/file": "--schedule no/such/file cannot be read (No such file or directory)",
    "a name with spaces.toml": "cannot be read (No such file or directory)",
    "pyramid": "--schedule pyramid cannot be read (No such file or directory)",
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.items(), ids=list(MISTAKES))
def test_mistakes_are_one_sentence(tokencost, text, sentence):
    run = tokencost("ratio", *MODEL, "--schedule", text)
    assert run.status == 2
    assert run.out == ""
    assert sentence in run.err
    assert run.err.count("\n") == 1


def test_signs_alone_are_a_line_and_not_a_file(tokencost):
    assert (
        "at column 1: ;;; is no statement"
        in tokencost("ratio", *MODEL, "--schedule", ";;;").err.strip()
    )
    missing = tokencost("ratio", *MODEL, "--schedule", "missing.toml").err.strip()
    assert missing.endswith("or a line such as 'keep 0.5 @ 2'")
