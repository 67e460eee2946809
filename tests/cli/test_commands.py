"""What the commands print: contract of the JSON, every format, files, options that count."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
MAIN_JOB = ("ratio", "--model", "llava-1.5-7b", "--prune-layer", 2, "--keep", 0.5)


def schema(name: str) -> dict[str, object]:
    return json.loads((ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text())


def test_ratio_json_holds_the_golden_figures(tokencost):
    answer = tokencost(*MAIN_JOB, "--format", "json").json()
    assert answer["model"] == "llava-1.5-7b"
    workload = answer["workload"]
    assert [workload[key] for key in ("visual_tokens", "structural_tokens", "text_tokens")] == [
        576,
        0,
        64,
    ]
    assert workload["batch"] == 1
    # 576 + 64 = 640 for 2 layers, then floor(0.5 · 576) + 64 = 352 for the other 30
    assert answer["schedule"]["tokens_per_layer"] == [640] * 2 + [352] * 30
    # (2 · 576 + 30 · 288) / 32 = 306
    assert answer["schedule"]["average_visual_tokens"] == 306.0
    # Golden figures: conventions survey and gated in MAC, exact in FLOP
    assert answer["conventions"]["survey"] == {
        "unit": "MAC",
        "phase": "prefill",
        "baseline": 3_328_599_654_400,
        "scheduled": 1_899_432_509_440,
        "ratio": 1_899_432_509_440 / 3_328_599_654_400,
    }
    gated = answer["conventions"]["gated"]
    assert (gated["baseline"], gated["scheduled"]) == (4_252_017_623_040, 2_433_283_522_560)
    exact = answer["conventions"]["exact"]
    assert (exact["unit"], exact["baseline"]) == ("FLOP", 8_910_375_321_600)
    assert exact["scheduled"] == 5_272_907_120_640
    assert exact["components"] == {
        "vision": {"baseline": 381_918_216_192, "scheduled": 381_918_216_192},
        "connector": {"baseline": 24_159_191_040, "scheduled": 24_159_191_040},
        "decoder": {"baseline": 8_504_035_246_080, "scheduled": 4_866_567_045_120},
        "head": {"baseline": 262_668_288, "scheduled": 262_668_288},
        "selection": {"baseline": 0, "scheduled": 0},
    }
    # One CLIP layer on 577 tokens: 2·(577·(4·1024² + 2·1024·4096) + 2·577²·1024) FLOP
    one_layer = 2 * (577 * (4 * 1024**2 + 2 * 1024 * 4096) + 2 * 577**2 * 1024)
    assert exact["unused_encoder_layers"] == one_layer
    # LLM over 64 text tokens, 32 layers: 2·(64·(4·4096² + 3·4096·11008) + 2·64²·4096) each
    text = 32 * 2 * (64 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 64**2 * 4096)
    assert answer["floor"]["amount"] == 381_918_216_192 + 24_159_191_040 + text + 262_668_288


REQUESTS = {
    "dense": (),
    "fastv": ("--prune-layer", 2, "--keep", 0.5),
    "three stages": tuple(
        word
        for layer, keep in ((8, 0.5), (16, 0.25), (24, 0.125))
        for word in ("--prune-layer", layer, "--keep", keep)
    ),
    "compress": ("--tokens", 64, "--tokens-at", "before-connector"),
    "counted otherwise": (
        *("--causal", "--logits", "all", "--encoder-layers", "contributing"),
        *("--text-tokens", 0, "--batch", 3, "--new-tokens", 20, "--visual-tokens", 200),
    ),
    "one convention": ("--convention", "survey"),
    "several images": ("--image-size", "300x400", "--image-size", "800x200"),
}


@pytest.mark.parametrize("words", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("model", ["llava-1.5-7b", "qwen2.5-vl-3b", "llava-onevision-7b"])
def test_json_fits_its_schema(tokencost, model, words):
    ratio = tokencost("ratio", "--model", model, *words, "--format", "json").json()
    jsonschema.validate(ratio, schema("ratio"))
    cost = tokencost("cost", "--model", model, *words, "--format", "json").json()
    jsonschema.validate(cost, schema("cost"))
    full = ("--per-layer", "--explain")
    cost = tokencost("cost", "--model", model, *words, *full, "--format", "json").json()
    jsonschema.validate(cost, schema("cost"))


def test_models_json_fits_its_schema(tokencost):
    listed = tokencost("models", "list", "--format", "json").json()
    jsonschema.validate(listed, schema("models-list"))
    for row in listed:
        shown = tokencost("models", "show", row["id"], "--format", "json").json()
        jsonschema.validate(shown, schema("models-show"))
        assert shown["parameters"]["total"] == row["parameters"]


def test_without_a_schedule_both_sides_are_the_dense_model(tokencost):
    answer = tokencost("ratio", "--model", "llava-1.5-7b", "--format", "json").json()
    assert answer["schedule"]["tokens_per_layer"] == [640] * 32
    for figures in answer["conventions"].values():
        assert figures["baseline"] == figures["scheduled"]
        assert figures["ratio"] == 1


def test_one_convention_alone(tokencost):
    answer = tokencost(*MAIN_JOB, "--convention", "gated", "--format", "json").json()
    assert list(answer["conventions"]) == ["gated"]
    assert "exact" not in tokencost(*MAIN_JOB, "--convention", "gated").out


def test_csv_has_raw_integers(tokencost):
    rows = list(csv.DictReader(io.StringIO(tokencost(*MAIN_JOB, "--format", "csv").out)))
    assert len(rows) == 3 + 5, "three totals and five components"
    total = next(row for row in rows if row["convention"] == "exact")
    assert total["component"] == "total"
    assert int(total["baseline"]) == 8_910_375_321_600
    assert rows[0]["unit"] == "MAC"


def test_markdown_ends_in_a_sentence_for_a_paper(tokencost):
    out = tokencost(*MAIN_JOB, "--convention", "exact", "--format", "markdown").out
    sentence = out.splitlines()[-1]
    for part in ("llava-1.5-7b", "576 visual", "64 text", "5.2729 TFLOP", "59.18 %", "exact"):
        assert part in sentence
    for part in ("1 MAC = 2 FLOP", "vision encoder", "connector", "head", "selection"):
        assert part in sentence, "what is included"
    assert sentence.endswith(".")


def test_latex_escapes_and_uses_booktabs(tokencost):
    out = tokencost(*MAIN_JOB, "--format", "latex").out
    assert "\\toprule" in out
    assert "57.06 \\%" in out
    body = [line for line in out.splitlines() if not line.startswith("%")]
    assert all(line.isascii() for line in body)


def test_table_names_unit_convention_and_choices(tokencost):
    out = " ".join(tokencost(*MAIN_JOB).out.split())
    for part in (
        "576 visual + 0 structural + 64 text = 640",
        "0–1: 640, 2–31: 352 tokens",
        "306.00 of 576 visual tokens n_l per decoder layer",
        "TMAC",
        "TFLOP",
        "selection: not specified, 0 counted",
        "floor [exact]: 1.2374 TFLOP = 13.89 %",
        "rounding floor",
        "logits of the last position",
        "24 encoder layers computed (output of 1 not used)",
        "336×336",
    ):
        assert part in out


@pytest.mark.parametrize(
    ("words", "change"),
    [
        # causal: pairs n(n+1)/2 instead of n², times 4·d FLOP, in each layer
        (("--causal",), -sum((n * n - n * (n + 1) // 2) * 4 * 4096 for n in [640] * 32)),
        # head on 640 positions instead of 1
        (("--logits", "all"), 639 * 2 * 4096 * 32064),
        # one CLIP layer less
        (
            ("--encoder-layers", "contributing"),
            -2 * (577 * (4 * 1024**2 + 2 * 1024 * 4096) + 2 * 577**2 * 1024),
        ),
    ],
    ids=["causal", "logits all", "encoder layers contributing"],
)
def test_counting_options_change_the_exact_figure(tokencost, words, change):
    answer = tokencost("ratio", "--model", "llava-1.5-7b", *words, "--format", "json").json()
    assert answer["conventions"]["exact"]["baseline"] == 8_910_375_321_600 + change
    assert answer["conventions"]["survey"]["baseline"] == 3_328_599_654_400


def test_visual_tokens_given_leave_the_encoder_alone(tokencost):
    words = ("--visual-tokens", 100, "--text-tokens", 0, "--format", "json")
    answer = tokencost("ratio", "--model", "llava-1.5-7b", *words).json()
    components = answer["conventions"]["exact"]["components"]
    assert components["vision"]["baseline"] == 381_918_216_192
    assert answer["workload"]["visual_tokens_given"] is True
    # 32 layers on 100 tokens: 2·(100·(4·4096² + 3·4096·11008) + 2·100²·4096)
    layer = 2 * (100 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 100**2 * 4096)
    assert components["decoder"]["baseline"] == 32 * layer
    table = tokencost("ratio", "--model", "llava-1.5-7b", "--visual-tokens", 100).out
    assert "100 visual (given" in table


def test_json_says_what_was_run(tokencost):
    answer = tokencost(*MAIN_JOB, "--format", "json").json()
    # 577 = 576 patches and a class token
    assert answer["workload"]["encoder_tokens"] == 577
    assert answer["workload"]["connector_tokens"] == 576
    schedule = answer["schedule"]
    assert schedule["connector_tokens"] == 576
    assert schedule["visual_tokens_per_layer"] == [576] * 2 + [288] * 30
    # 2 · 32 heads · 128 · 2 bytes in each of 32 layers: 640 tokens; 2 · 640 + 30 · 352 tokens
    assert schedule["kv_cache_bytes"] == {
        "bits": 16,
        "baseline": 32 * 640 * 16_384,
        "scheduled": (2 * 640 + 30 * 352) * 16_384,
        "read_per_step": (2 * 640 + 30 * 352) * 16_384,
    }
    shown = tokencost("models", "show", "qwen2.5-vl-7b", "--format", "json").json()
    # 78·78 patches of 14 px, merged 2×2
    assert shown["default_tokens"] == {
        "encoder": 6_084,
        "connector": 1_521,
        "visual": 1_521,
        "structural": 2,
    }
    assert shown["kv_cache_bytes_per_token"] == {"bits": 16, "bytes": 57_344}


def test_layers_name_their_tokens(tokencost):
    words = ("--prune-layer", 2, "--keep", 0.5, "--per-layer", "--format", "json")
    rows = tokencost("cost", "--model", "llava-1.5-7b", *words).json()["layers"]
    tokens = {
        (row["component"], row["layer"]): (row["baseline_tokens"], row["scheduled_tokens"])
        for row in rows
        if row["convention"] == "exact"
    }
    assert tokens["vision", None] == (576, 576)  # patches
    assert tokens["vision", 5] == (577, 577)
    assert tokens["connector", None] == (576, 576)
    assert tokens["decoder", 1] == (640, 640)
    assert tokens["decoder", 2] == (640, 352)


def test_the_title_names_the_phases_that_are_priced(tokencost):
    words = ("ratio", "--model", "llava-1.5-7b", "--new-tokens", 9)
    assert "prefill and generation cost" in tokencost(*words).out
    assert "generation cost" not in tokencost(*words, "--convention", "survey").out


def test_images_repeats_one_size(tokencost):
    words = ("--images", 3, "--image-size", "896x448", "--format", "json")
    three = tokencost("ratio", "--model", "internvl3-8b", *words).json()
    assert three["workload"]["image_sizes"] == ["896x448"] * 3
    assert three["workload"]["visual_tokens"] == 3 * 768  # 2 tiles and a thumbnail
    one = tokencost("ratio", "--model", "internvl3-8b", "--format", "json").json()
    two = tokencost("ratio", "--model", "internvl3-8b", "--images", 2, "--format", "json").json()
    assert two["workload"]["image_sizes"] == ["448x448"] * 2
    assert two["workload"]["visual_tokens"] == 2 * one["workload"]["visual_tokens"] == 512
    assert two["workload"]["structural_tokens"] == 4


def test_tokens_before_the_connector_spare_it(tokencost):
    def components(at):
        words = ("--tokens", 64, "--tokens-at", at, "--format", "json")
        answer = tokencost("ratio", "--model", "llava-1.5-7b", *words).json()
        return answer["conventions"]["exact"]["components"]

    after, before = components("after-connector"), components("before-connector")
    assert after["connector"]["scheduled"] == 24_159_191_040
    # 64 tokens through 1024→4096→4096
    assert before["connector"]["scheduled"] == 2 * 64 * (1024 * 4096 + 4096 * 4096)
    assert after["decoder"] == before["decoder"]


def test_rounding_is_applied(tokencost):
    def tokens(rounding):
        words = ("--visual-tokens", 2880, "--prune-layer", 0, "--keep", 0.7, "--text-tokens", 0)
        answer = tokencost(
            "ratio", "--model", "llava-1.5-7b", *words, "--rounding", rounding, "--format", "json"
        ).json()
        return answer["schedule"]["tokens_per_layer"][0]

    # 0.7 · 2880 = 2016 exactly, but 2015.999… in binary floats
    assert [tokens(rule) for rule in ("floor", "round", "ceil", "float-floor")] == [
        2016,
        2016,
        2016,
        2015,
    ]


def test_new_tokens_are_a_phase_of_their_own(tokencost):
    words = (*MAIN_JOB, "--new-tokens", 100)
    priced = tokencost(*words, "--format", "json").json()["conventions"]
    assert [priced[name]["phase"] for name in ("survey", "gated", "exact")] == [
        "prefill",
        "prefill",
        "generation",
    ]
    rows = list(csv.DictReader(io.StringIO(tokencost(*words, "--format", "csv").out)))
    assert {(row["convention"], row["phase"]) for row in rows} == {
        ("survey", "prefill"),
        ("gated", "prefill"),
        ("exact", "generation"),
        ("memory", "prefill"),  # KV stored
        ("memory", "generation"),  # KV read
    }
    sentence = tokencost(*words, "--format", "markdown").out.splitlines()[-1]
    assert "the prefill from 3.3286 to 1.8994 TMAC, 57.06 % of dense" in sentence
    assert "the prefill and 99 decode forwards from 10.2" in sentence
    terms = tokencost("cost", *words[1:], "--explain", "--format", "json").json()["terms"]
    assert {row["phase"] for row in terms} == {
        "prefill",
        "decode forward 1",
        "decode forwards 1–99",
    }


@pytest.mark.parametrize(
    ("ending", "start"),
    [(".json", "{"), (".csv", "model,"), (".md", "###"), (".tex", "%"), (".txt", "llava-1.5-7b:")],
)
def test_output_takes_its_form_from_the_ending(tokencost, tmp_path, ending, start):
    path = tmp_path / f"answer{ending}"
    path.write_text("old")
    result = tokencost(*MAIN_JOB, "--output", path)
    assert (result.status, result.out) == (0, "")
    assert path.read_text().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_output_through_a_link_replaces_its_target(tokencost, tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    assert tokencost(*MAIN_JOB, "--output", link).status == 0
    assert link.is_symlink()
    assert json.loads(target.read_text())["model"] == "llava-1.5-7b"


def test_a_schedule_file_is_priced(tokencost):
    path = ROOT / "docs" / "examples" / "pyramid.toml"
    words = ("--text-tokens", 0, "--schedule", path, "--format", "json")
    answer = tokencost("ratio", "--model", "llava-1.5-7b", *words).json()
    visual = [576] * 8 + [288] * 8 + [144] * 8 + [72] * 8
    assert answer["schedule"]["visual_tokens_per_layer"] == visual
    # PyramidDrop prints 1.78 T for this schedule; 0.4656 of the dense 3.8172 T
    assert round(answer["conventions"]["gated"]["scheduled"] / 1e12, 4) == 1.7774
    assert round(answer["conventions"]["gated"]["ratio"], 4) == 0.4656


def test_models_list_filters(tokencost):
    def ids(*words):
        return [row["id"] for row in tokencost("models", "list", *words, "--format", "json").json()]

    assert ids("llava-1.5*") == ["llava-1.5-7b", "llava-1.5-13b"]
    assert ids("QWEN2.5-VL") == [f"qwen2.5-vl-{size}b" for size in (3, 7, 32, 72)]
    assert len(ids()) >= 118


@pytest.mark.parametrize(
    ("model_id", "said"),
    [
        ("ovis2-2b", "no exact count; a published size, among the sources, agrees"),
        ("flamingo-80b", "not compared; the record is from memory"),
        ("pixtral-12b", "none found to compare with"),
        ("openvla-7b", "7,541,237,184 (equal)"),
    ],
)
def test_models_show_says_what_a_count_was_compared_with(tokencost, model_id, said):
    out = " ".join(tokencost("models", "show", model_id).out.split())
    assert f"published parameters: {said}" in out


def test_models_show_names_sources_and_verification(tokencost):
    out = tokencost("models", "show", "qwen2.5-vl-7b").out
    for part in ("verified", "8,292,166,656", "57,344 bytes per token", "source [vision]", "8x8"):
        assert part in out


def test_unverified_figures_are_named_in_every_output(tokencost, monkeypatch):
    from vlm_tokencost.cli import request
    from vlm_tokencost.presets import load_model

    def doubtful(model_id):
        update = {"status": "partial", "unverified": ("vision.num_attention_heads",)}
        return load_model(model_id).model_copy(update=update)

    monkeypatch.setattr(request, "load_model", doubtful)
    for form in ("table", "json", "csv", "markdown", "latex"):
        for command in ("ratio", "cost"):
            out = tokencost(command, "--model", "llava-1.5-7b", "--format", form).out
            assert "partial" in out
            assert "vision.num" in out


def test_version(tokencost):
    from vlm_tokencost.costmodel import __version__

    assert tokencost("--version").out == f"tokencost {__version__}\n"


def test_no_words_print_help(tokencost):
    result = tokencost()
    assert result.status == 0
    assert "ratio" in result.out
