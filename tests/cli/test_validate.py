"""`tokencost validate`: answers in every form, choices, and mistakes told before anything runs."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import jsonschema
import pytest
from shallow_models import shallow
from vlm_tokencost.cli import request
from vlm_tokencost.validation import build as building
from vlm_tokencost.validation import compare as comparing

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "validate.schema.json").read_text())
MODEL = ("--model", "llava-1.5-7b")
#: 4·5 merged tokens, vision start and end, 9 of text: 31 tokens
QWEN = ("--model", "qwen2-vl-7b", "--image-size", "112x140", "--text-tokens", 9)
HALF = ("--prune-layer", 2, "--keep", 0.5)
QUICK = ("--scale", "reduced", "--device", "meta")


@pytest.fixture
def few_layers(monkeypatch):
    """Let every model be shallow."""
    monkeypatch.setattr(request, "load_model", shallow)


# --- answers -------------------------------------------------------------------------------------


def test_a_method_at_full_size(tokencost):
    result = tokencost("validate", *MODEL, "--method", "fastv", "--format", "json")
    assert (result.status, result.err) == (0, "")
    answer = result.json()
    jsonschema.validate(answer, SCHEMA)
    rows = answer["rows"]
    assert {row["difference"] for row in rows} == {0}
    settings = {(row["counter"], row["scale"], row["device"]) for row in rows}
    assert settings == {("torch", "full", "meta")}

    def counted(side, phase, component):
        where = (side, phase, component)
        return sum(
            row["counted"] for row in rows if (row["side"], row["phase"], row["component"]) == where
        )

    assert counted("baseline", "prefill", "vision") == 381_918_216_192
    assert counted("baseline", "prefill", "decoder") == 8_504_035_246_080
    assert counted("scheduled", "prefill", "decoder") == 4_866_567_045_120
    assert counted("baseline", "decode", "decoder") == 13_288_079_360
    # The last of 640 tokens looks at all of them in layer 1.
    assert counted("scheduled", "prefill", "selection") == 2 * 640 * 32 * 128
    assert counted("baseline", "prefill", "selection") == 0
    # 8,910,375,321,600 for the prefill, and the decode forward with its head
    dense = 8_910_375_321_600 + 13_288_079_360 + 262_668_288
    assert answer["runs"][0]["counted"] == answer["runs"][0]["analytic"] == dense
    assert answer["runs"][1]["tokens_per_layer"] == [640] * 2 + [352] * 30
    assert answer["schedule"]["method"]["id"] == "fastv"
    assert answer["versions"]["torch"]


@pytest.mark.usefixtures("few_layers")
def test_all_counters(tokencost):
    words = ("--method", "fastv", "--counter", "all", "--scale", "reduced", "--format", "json")
    answer = tokencost("validate", *QWEN, *words).json()
    jsonschema.validate(answer, SCHEMA)
    runs = {(run["counter"], run["side"]): run for run in answer["runs"]}
    assert list(runs) == [
        (counter, side)
        for counter in ("torch", "fvcore", "profiler")
        for side in ("baseline", "scheduled")
    ]
    assert {run["device"] for run in runs.values()} == {"cpu"}
    assert {run["largest_difference"] for run in runs.values()} == {0}
    assert runs["torch", "baseline"]["counted"] == runs["fvcore", "baseline"]["counted"]
    # 8·10 patches of 2·3·14·14 values, for an encoder as wide as its convolution's output
    blind = [row for row in answer["rows"] if row["counted"] is None]
    assert [(row["counter"], row["operator"], row["unseen"]) for row in blind] == [
        ("profiler", "convolution", ["aten.conv3d"])
    ] * 2
    assert {row["difference"] for row in blind} == {None}
    assert blind[0]["analytic"] % (2 * 80 * 2 * 3 * 14 * 14) == 0
    profiled = runs["profiler", "baseline"]
    assert profiled["not_compared"] == blind[0]["analytic"]
    assert profiled["counted"] + blind[0]["analytic"] == runs["torch", "baseline"]["counted"]


@pytest.mark.usefixtures("few_layers")
def test_what_a_counter_cannot_see_is_named(tokencost):
    table = " ".join(tokencost("validate", *QWEN, "--counter", "profiler").out.split())
    assert "torch.profiler with_flops (matrix products and convolutions), reduced model" in table
    note, rest = table.split("no formula for aten.conv3d, so ")
    assert rest.partition(" FLOP of vision (convolution) stay uncompared")[1]
    assert "aten.softmax ×" in rest
    assert "aten.conv3d" not in note + rest, "it is named once: its closed form is not 0"


@pytest.mark.usefixtures("few_layers")
def test_dead_layers_are_named(tokencost):
    words = (*MODEL, "--text-tokens", 1, "--counter", "fvcore")
    result = tokencost("validate", *words)
    assert result.status == 0
    table = " ".join(result.out.split())
    assert "fvcore, baseline: tracing drops layers whose output nothing uses" in table


@pytest.mark.usefixtures("few_layers")
@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown", "latex"])
def test_formats(tokencost, form):
    result = tokencost("validate", *QWEN, *HALF, *QUICK, "--format", form)
    assert (result.status, result.err) == (0, "")
    if form == "json":
        jsonschema.validate(result.json(), SCHEMA)
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(result.out)))
        assert {row["difference"] for row in rows} == {"0"}
        assert {row["model"] for row in rows} == {"qwen2-vl-7b"}
        assert {row["unit"] for row in rows} == {"FLOP"}
        assert all(row["counted"] == row["analytic"] for row in rows)
        assert {row["side"] for row in rows} == {"baseline", "scheduled"}
    else:
        text = " ".join(result.out.split())
        for fragment in ("difference", "decode forward", "connector", "transformers"):
            assert fragment in text
    if form == "markdown":
        # vision 3, connector 1, decoder 2, head 1, and 3 in the decode forward; on two sides
        assert "agree to the last FLOP in all 20 comparisons" in result.out.splitlines()[-1]


@pytest.mark.usefixtures("few_layers")
def test_output_to_a_file(tokencost, tmp_path):
    path = tmp_path / "counted.json"
    result = tokencost("validate", *QWEN, *QUICK, "--output", path)
    assert (result.status, result.out) == (0, "")
    jsonschema.validate(json.loads(path.read_text()), SCHEMA)


@pytest.mark.usefixtures("few_layers")
def test_the_workload_is_what_runs(tokencost):
    def answer(*words):
        result = tokencost("validate", *QWEN, *HALF, *QUICK, "--format", "json", *words).json()
        assert {row["difference"] for row in result["rows"]} == {0}
        return result

    one, batch = answer(), answer("--batch", 2)
    amounts = [[row["counted"] for row in each["rows"]] for each in (one, batch)]
    assert amounts[1] == [2 * amount for amount in amounts[0]]
    generated = answer("--new-tokens", 4)
    assert [run["decode_forwards"] for run in generated["runs"]] == [3, 3]
    heads = [
        [row["counted"] for row in each["rows"] if row["component"] == "head"]
        for each in (one, generated, answer("--logits", "all"))
    ]
    head = heads[0][0]
    # prefill and decode of the baseline, then of the scheduled run with 10 of 20 visual tokens
    assert heads == [[head] * 4, [head, 3 * head] * 2, [31 * head, head, 21 * head, head]]
    two = answer("--image-size", "56x84")
    assert two["runs"][0]["tokens_per_layer"] == [20 + 2 * 3 + 2 * 2 + 9] * 3


@pytest.mark.usefixtures("few_layers")
def test_where_each_counter_runs_by_default(tokencost):
    def settings(*words):
        answer = tokencost("validate", *QWEN, "--format", "json", *words).json()
        return {(run["counter"], run["scale"], run["device"]) for run in answer["runs"]}

    assert settings() == {("torch", "full", "meta")}
    assert settings("--device", "cpu") == {("torch", "full", "cpu")}
    assert settings("--scale", "reduced") == {("torch", "reduced", "cpu")}
    assert settings("--counter", "profiler") == {("profiler", "reduced", "cpu")}


# --- differences ---------------------------------------------------------------------------------


@pytest.fixture
def wrong_closed_form(monkeypatch, few_layers):
    """Let the model that runs have another vocabulary than the one that is priced."""
    real = comparing.build

    def build(model, *rest, **named):
        decoder = model.decoder.model_copy(update={"vocab_size": model.decoder.vocab_size + 5})
        return real(model.model_copy(update={"decoder": decoder}), *rest, **named)

    monkeypatch.setattr(comparing, "build", build)


@pytest.mark.usefixtures("wrong_closed_form")
def test_a_difference_is_printed_and_fails(tokencost, tmp_path):
    result = tokencost("validate", *QWEN, "--format", "json")
    assert result.status == 1
    # 5 rows more of 3584 columns, once per forward
    assert [
        (row["phase"], row["difference"]) for row in result.json()["rows"] if row["difference"]
    ] == [("prefill", 2 * 5 * 3584), ("decode", 2 * 5 * 3584)]
    assert result.err == "error: 2 differences from the closed form; please report\n"
    assert result.json()["runs"][0]["largest_difference"] == 2 * 5 * 3584
    path = tmp_path / "counted.md"
    result = tokencost("validate", *QWEN, "--output", path)
    assert (result.status, result.out) == (1, "")
    assert "+35,840" in path.read_text()
    assert "closed form and count differ in 2 of 10 comparisons" in path.read_text()


# --- mistakes ------------------------------------------------------------------------------------


def assert_one_sentence(result, fragments):
    assert result.status == 2, result
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1, "one line"
    for fragment in fragments:
        assert fragment in result.err, result.err


def blocked(monkeypatch, *packages):
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


#: (words after `validate`, fragments that the sentence must hold)
MISTAKES = {
    "no model": ((), ("--model", "models list")),
    "unknown model": (("--model", "lava-1.5-7b"), ("did you mean llava-1.5-7b?",)),
    "keep above 1": ((*MODEL, "--prune-layer", 2, "--keep", 1.5), ("--keep 1.5", "(0, 1]")),
    "unknown method": ((*MODEL, "--method", "fastvv"), ("did you mean fastv?",)),
    "counter": ((*MODEL, "--counter", "torhc"), ("--counter torhc", "did you mean torch?")),
    "counter unlike any": ((*MODEL, "--counter", "x"), ("all, fvcore, profiler, torch",)),
    "scale": ((*MODEL, "--scale", "half"), ("--scale half", "full, reduced")),
    "device": ((*MODEL, "--device", "gpu0"), ("--device gpu0", "cpu, cuda, meta")),
    "causal": ((*MODEL, "--causal"), ("--causal", "does not change what runs")),
    "encoder layers": (
        (*MODEL, "--encoder-layers", "contributing"),
        ("--encoder-layers", "does not change what runs"),
    ),
    "visual tokens": (
        (*MODEL, "--visual-tokens", 9),
        ("--visual-tokens 9", "choose the image size instead"),
    ),
    "new tokens": ((*MODEL, "--new-tokens", 66), ("--new-tokens 66", "at most 65")),
    "fvcore on meta": (
        (*MODEL, "--device", "meta", "--counter", "fvcore"),
        ("--device meta", "--counter fvcore", "--device cpu --scale reduced"),
    ),
    "profiler on meta": (
        (*MODEL, "--device", "meta", "--counter", "profiler"),
        ("--device meta", "--counter profiler"),
    ),
    "all on meta": ((*MODEL, "--device", "meta", "--counter", "all"), ("--counter torch",)),
    "before a merger": (
        (*QWEN, "--tokens", 9, "--tokens-at", "before-connector"),
        ("9 tokens before the connector of qwen2-vl-7b", "--tokens-at"),
    ),
    "merging on a grid": (
        ("--model", "qwen2-vl-7b", "--method", "tome"),
        ("--method tome", "merges neighbouring patches", "another method"),
    ),
    "tokens above": ((*MODEL, "--tokens", 577), ("--tokens 577", "1 to 576")),
    "output": ((*MODEL, "--output", "/no/where/x.json"), ("--output", "directory")),
    "format": ((*MODEL, "--format", "jsn"), ("--format jsn", "did you mean json?")),
    "unknown option": ((*MODEL, "--counters", "all"), ("did you mean --counter?",)),
    "no value": ((*MODEL, "--counter"), ("--counter", "tokencost validate --help")),
}


@pytest.mark.parametrize(("words", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_explained_without_torch(tokencost, monkeypatch, words, fragments):
    blocked(monkeypatch, "torch", "transformers", "fvcore")
    assert_one_sentence(tokencost("validate", *words), fragments)


@pytest.mark.parametrize("package", ["torch", "transformers", "fvcore"])
def test_a_missing_package_names_the_extra(tokencost, monkeypatch, tmp_path, package):
    monkeypatch.chdir(tmp_path)
    blocked(monkeypatch, package)
    monkeypatch.setattr(comparing, "count", lambda *_: pytest.fail("something was counted"))
    words = (*QWEN, "--counter", "all", "--scale", "reduced", "--output", "x.json")
    result = tokencost("validate", *words)
    assert_one_sentence(result, (f"{package} is not installed", "vlm-tokencost[validation]"))
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_not_used_may_be_missing(tokencost, monkeypatch, few_layers):
    blocked(monkeypatch, "fvcore")
    assert tokencost("validate", *QWEN, *QUICK).status == 0


@pytest.mark.parametrize("counter", ["torch", "fvcore", "profiler", "all"])
def test_no_cuda(tokencost, monkeypatch, counter):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = tokencost("validate", *MODEL, "--device", "cuda", "--counter", counter)
    assert_one_sentence(result, ("--device cuda is not available", "--device cpu or --device meta"))


def test_too_little_memory(tokencost, monkeypatch, tmp_path):
    monkeypatch.setattr(building, "free_bytes", lambda device: 3_200_000_000)
    monkeypatch.setattr(building, "build_from_config", lambda *_: pytest.fail("built"))
    path = tmp_path / "kept.json"
    path.write_text("precious")
    words = (*MODEL, "--device", "cpu", "--scale", "full", "--output", path)
    result = tokencost("validate", *words)
    # float32: 7,063,427,072 parameters · 4 = 28.254 GB; 32 layers of keys and values of 640 tokens,
    # 2·4096 wide, · 4 = 0.671 GB, of two layers while they grow 0.042 GB; maps of 32 heads, 640²,
    # · (3·4 + 4) = 0.210 GB; states of 640 · (10·4096 + 3·11008) · 4 = 0.189 GB; logits: 29.366
    assert_one_sentence(
        result,
        (
            "--device cpu needs 29.4 GB for llava-1.5-7b, 3.2 GB are free",
            "give --scale reduced or --device meta",
        ),
    )
    assert path.read_text() == "precious"
    assert [file.name for file in tmp_path.iterdir()] == ["kept.json"], "no temporary file is left"


def test_an_unsupported_family_lists_the_supported(tokencost, monkeypatch):
    other = shallow("llava-1.5-7b").model_copy(update={"model_type": "llava_extra"})
    monkeypatch.setattr(request, "load_model", lambda _: other)
    known = ("llava_onevision, internvl, qwen2_vl, qwen2_5_vl, qwen3_vl",)
    assert_one_sentence(tokencost("validate", *MODEL), ("model_type llava_extra", *known))


def test_a_schedule_file_that_cannot_be_run(tokencost, tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text('[compress]\ntokens = 9\nat = "before-connector"\n')
    result = tokencost("validate", *QWEN, "--schedule", path)
    assert_one_sentence(result, ("9 tokens before the connector of qwen2-vl-7b", "compress.at"))


def test_an_interrupted_comparison_writes_nothing(tokencost, monkeypatch, tmp_path, few_layers):
    real = comparing.count

    def count(run, owners, counter):
        if counter == "fvcore":
            raise KeyboardInterrupt
        return real(run, owners, counter)

    monkeypatch.setattr(comparing, "count", count)
    words = ("--counter", "all", "--scale", "reduced", "--output", tmp_path / "x.json")
    result = tokencost("validate", *QWEN, *words)
    assert (result.status, result.out) == (130, "")
    assert not list(tmp_path.iterdir())
