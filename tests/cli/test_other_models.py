"""Models besides the plain ones, and the options that are for them: what every output says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
#: 11-billion model whose images are keys of cross-attention in 8 of 40 layers
MLLAMA = ("--model", "llama3.2-vision-11b")
PRUNED = ("--prune-layer", 10, "--keep", 0.5)


def schema(name):
    return json.loads((ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text())


@pytest.mark.parametrize("command", ["ratio", "cost"])
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("llama3.2-vision-11b", "cross-attention"),
        ("blip2-flan-t5-xl", "encoder–decoder"),
        ("kimi-vl-a3b", "latent attention"),
    ],
)
def test_a_convention_without_meaning_is_null_with_the_reason(tokencost, command, model, reason):
    answer = tokencost(command, "--model", model, "--format", "json").json()
    jsonschema.validate(answer, schema(command))
    for name in ("survey", "gated"):
        figures = answer["conventions"][name]
        figures = figures if command == "ratio" else figures["prefill"]
        assert (figures["baseline"], figures["scheduled"], figures["ratio"]) == (None, None, None)
        assert reason in figures["reason"]
    assert answer["conventions"]["exact"]
    for form in ("table", "markdown", "latex"):
        assert reason in tokencost(command, "--model", model, "--format", form).out
    rows = tokencost(command, "--model", model, "--format", "csv").out.splitlines()
    assert any(",survey,prefill,total,MAC,,," in row for row in rows)
    alone = tokencost(command, "--model", model, "--convention", "survey", "--format", "json")
    assert alone.status == 0
    assert list(alone.json()["conventions"]) == ["survey"]
    assert tokencost(command, "--model", model, "--convention", "gated").status == 0


def test_a_figure_of_such_a_convention_is_refused(tokencost, tmp_path):
    figure = tmp_path / "a.svg"
    words = ("--convention", "survey", "--output", figure)
    result = tokencost("plot", "layers", *MLLAMA, *words)
    assert (result.status, result.out) == (2, "")
    assert "cross-attention" in result.err
    assert not figure.exists()
    assert tokencost("plot", "layers", *MLLAMA, *PRUNED, "--output", figure).status == 0


def test_keys_of_cross_attention(tokencost):
    answer = tokencost("ratio", *MLLAMA, *PRUNED, "--format", "json").json()
    keys = answer["schedule"]["cross_tokens_per_layer"]
    # 4 tiles of 1601 tokens in layers 3 and 8; half of them from layer 10 on
    layers = (3, 8, 13, 18, 23, 28, 33, 38)
    assert {layer: count for layer, count in enumerate(keys) if count is not None} == {
        layer: 6404 if layer < 10 else 3202 for layer in layers
    }
    assert set(answer["schedule"]["tokens_per_layer"]) == {65}  # <|image|> and 64 text tokens
    assert answer["workload"]["visual_tokens"] == 6404
    plain = tokencost("ratio", "--model", "llava-1.5-7b", "--format", "json").json()
    assert plain["schedule"]["cross_tokens_per_layer"] is None


@pytest.mark.parametrize("command", ["ratio", "cost"])
@pytest.mark.parametrize(
    "model", ["llama3.2-vision-11b", "blip2-flan-t5-xl", "kimi-vl-a3b", "fastvlm-0.5b"]
)
def test_json_of_every_kind_fits_its_schema(tokencost, command, model):
    words = ("--new-tokens", 3, *(("--per-layer", "--explain") if command == "cost" else ()))
    answer = tokencost(command, "--model", model, *words, "--format", "json").json()
    jsonschema.validate(answer, schema(command))
    if command == "cost":
        steps = answer["token_steps"]
        assert steps["encoder tokens"]
        assert str(answer["workload"]["encoder_tokens"]) in steps["encoder tokens"]


def test_used_tiles(tokencost):
    """One of four tiles holds a 560×560 image: 1601 keys, and one tile in the encoder."""
    words = ("--processor", "tiles=used", "--format", "json")
    answer = tokencost("ratio", *MLLAMA, *words).json()
    assert answer["workload"]["visual_tokens"] == 1601
    assert answer["workload"]["encoder_tokens"] == 1608
    assert answer["workload"]["processor"] == {"tiles": "used"}


def test_processor_limits(tokencost):
    size = ("--model", "qwen2-vl-7b", "--image-size", "2000x2000")

    def tokens(*words):
        return tokencost("ratio", *size, *words, "--format", "json").json()["workload"]

    assert tokens()["visual_tokens"] == 71 * 71  # 2000 / 28 = 71.4
    capped = tokens("--processor", "max_pixels=1003520")
    assert capped["visual_tokens"] == 35 * 35  # √1,003,520 = 1001.8 = 35.8 cells of 28
    assert capped["processor"] == {"max_pixels": 1_003_520}
    assert tokens("--processor", "limits=class")["visual_tokens"] == 35 * 35  # 1280 · 28 · 28
    larger = tokens("--processor", "min_pixels=4014080", "--processor", "max_pixels=9000000")
    assert larger["visual_tokens"] == 72 * 72  # √4,014,080 = 2003.5 = 71.6 cells, rounded up


def test_a_video(tokencost):
    words = ("--frames", 8, "--image-size", "448x448")
    video = tokencost("ratio", "--model", "qwen2.5-vl-7b", *words, "--format", "json").json()
    jsonschema.validate(video, schema("ratio"))
    assert video["workload"]["frames"] == 8
    assert video["workload"]["visual_tokens"] == 4 * 16 * 16  # pairs of frames, cells of 28
    assert "8 frames of 448×448" in tokencost("ratio", "--model", "qwen2.5-vl-7b", *words).out
    default = tokencost("ratio", "--model", "llava-video-7b", "--format", "json").json()
    # 64 frames of 13 · 13 tokens and a newline per row
    assert (default["workload"]["frames"], default["workload"]["visual_tokens"]) == (64, 11_648)


def test_implementations(tokencost):
    def decoder(*words, model="kimi-vl-a3b"):
        answer = tokencost("ratio", "--model", model, *words, "--format", "json").json()
        return answer["conventions"]["exact"]["components"]["decoder"]["baseline"]

    usual = decoder()
    tokens = 1024 + 4 + 64
    every = decoder("--implementation", "experts=all")
    # 26 layers of experts: 64 instead of 6 run for each token, three matrices of 2048 · 1408
    assert every - usual == 26 * 2 * tokens * (64 - 6) * 3 * 2048 * 1408
    absorbed = decoder("--implementation", "latent=absorbed")
    # per layer: the expansion 512·16·256 goes, 16·512·(128 + 128) per query and wider pairs come
    pairs = tokens * tokens * 16 * ((576 + 512) - (192 + 128))
    assert absorbed - usual == 27 * 2 * pairs
    merged = decoder("--implementation", "adapters=merged", model="phi-4-multimodal")
    beside = decoder(model="phi-4-multimodal")
    assert beside - merged == 32 * 2 * (545 + 64) * 256 * 45_056
    text = tokencost("ratio", "--model", "kimi-vl-a3b", "--implementation", "experts=all").out
    assert "experts all, on all tokens" in " ".join(text.split())


MISTAKES = {
    "two models": ((*MLLAMA, "--config", "x.json"), ("--config", "--model", "one of them")),
    "no such file": (("--config", "/no/where/config.json"), ("config.json",)),
    "frames and images": (
        ("--model", "qwen2-vl-7b", "--frames", 8, "--images", 2),
        ("--frames 8", "--images"),
    ),
    "frames and sizes": (
        ("--model", "qwen2-vl-7b", "--frames", 8, "--image-size", 8, "--image-size", 9),
        ("--frames 8", "sizes"),
    ),
    "no frames": (("--model", "qwen2-vl-7b", "--frames", 0), ("--frames 0", "at least 1")),
    "frames of a word": (("--model", "qwen2-vl-7b", "--frames", "x"), ("--frames x", "whole")),
    "endless video": (("--model", "qwen2-vl-7b", "--frames", 10**7), ("--frames", "1,000,000")),
    "frames for images alone": (
        ("--model", "llava-1.5-7b", "--frames", 8),
        ("--frames 8", "takes no video"),
    ),
    "processor form": ((*MLLAMA, "--processor", "max_tiles"), ("--processor max_tiles", "=")),
    "processor key": (
        (*MLLAMA, "--processor", "max_tile=3"),
        ("--processor max_tile=3", "did you mean max_tiles?"),
    ),
    "processor value": (
        ("--model", "qwen2-vl-7b", "--processor", "max_pixels=many"),
        ("--processor max_pixels=many", "whole"),
    ),
    "processor twice": (
        (*MLLAMA, "--processor", "tiles=used", "--processor", "tiles=padded"),
        ("--processor tiles=padded", "second time"),
    ),
    "processor without effect": (
        ("--model", "llava-1.5-7b", "--processor", "max_pixels=9"),
        ("--processor max_pixels=9", "changes nothing"),
    ),
    "no class limits": (
        ("--model", "llava-1.5-7b", "--processor", "limits=class"),
        ("--processor limits=class", "changes nothing"),
    ),
    "implementation key": (
        ("--model", "kimi-vl-a3b", "--implementation", "expert=all"),
        ("--implementation expert=all", "did you mean experts?"),
    ),
    "implementation value": (
        ("--model", "kimi-vl-a3b", "--implementation", "experts=some"),
        ("--implementation some", "routed, all"),
    ),
    "implementation without effect": (
        ("--model", "llava-1.5-7b", "--implementation", "latent=absorbed"),
        ("--implementation latent=absorbed", "has no latent attention"),
    ),
    "implementation and survey": (
        (
            *("--model", "qwen3-vl-30b-a3b", "--convention", "survey"),
            *("--implementation", "experts=all"),
        ),
        ("--implementation", "exact"),
    ),
}


@pytest.mark.parametrize(("words", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(tokencost, words, fragments):
    result = tokencost("ratio", *words)
    assert (result.status, result.out) == (2, "")
    assert result.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in result.err


#: (words after `validate`, fragments): what no forward pass can be compared with
NOT_RUN = {
    "default video": (("--model", "video-llava-7b"), ("video_llava", "cannot be built")),
    "experts": (
        ("--model", "qwen3-vl-30b-a3b", "--implementation", "experts=all"),
        ("--implementation", "leave"),
    ),
    "tiles": ((*MLLAMA, "--processor", "tiles=used"), ("--processor", "leave")),
    "not in transformers": (("--model", "molmo-7b-d"), ("molmo", "cannot be built")),
    "suite and config": (("--measure", "--config", "x", "--output", "x.json"), ("--config",)),
    "suite and frames": (("--measure", "--frames", 8, "--output", "x.json"), ("--frames",)),
}


@pytest.mark.parametrize(("words", "fragments"), NOT_RUN.values(), ids=NOT_RUN)
def test_what_cannot_be_run(tokencost, words, fragments):
    result = tokencost("validate", *words)
    assert (result.status, result.out) == (2, "")
    assert result.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in result.err


# --- models compare, models import ----------------------------------------------------------------


def test_models_side_by_side(tokencost):
    ids = ("llava-1.5-7b", "llama3.2-vision-11b", "kimi-vl-a3b")
    rows = tokencost("models", "compare", *ids, "--format", "json").json()
    jsonschema.validate(rows, schema("models-compare"))
    assert [row["id"] for row in rows] == list(ids)
    for row in rows:
        alone = tokencost("ratio", "--model", row["id"], "--format", "json").json()
        for name, figures in row["conventions"].items():
            assert figures["amount"] == alone["conventions"][name]["baseline"]
    table = tokencost("models", "compare", *ids).out
    for part in ("num_hidden_layers", "kv_lora_rank", "8.9104 TFLOP", "—", *ids):
        assert part in table
    columns = tokencost("models", "compare", *ids, "--format", "csv").out.splitlines()
    assert len(columns) == 1 + len(ids)


@pytest.mark.parametrize(
    ("ids", "fragment"),
    [(("llava-1.5-7b",), "two ids"), (("llava-1.5-7b", "lava-1.5-7b"), "did you mean")],
)
def test_comparisons_that_are_none(tokencost, ids, fragment):
    result = tokencost("models", "compare", *ids)
    assert (result.status, result.out) == (2, "")
    assert fragment in result.err


CONFIG = ROOT / "docs" / "examples" / "qwen3-vl-2b" / "config.json"


def test_a_config_is_priced_like_its_preset(tokencost):
    words = (*PRUNED, "--image-size", "512x512", "--format", "json")
    preset = tokencost("ratio", "--model", "qwen3-vl-2b", *words).json()
    config = tokencost("ratio", "--config", CONFIG, *words).json()
    assert config["conventions"] == preset["conventions"]
    assert config["status"] == "partial"
    assert any("preprocessor" in field for field in config["defaulted"])
    table = tokencost("ratio", "--config", CONFIG, *PRUNED).out
    assert "defaults of the model type unless said otherwise" in " ".join(table.split())


def test_import_writes_a_preset(tokencost, tmp_path):
    printed = tokencost("models", "import", CONFIG, "--id", "mine")
    assert printed.status == 0
    assert '[models."mine"]' in printed.out or "[models.mine]" in printed.out
    file = tmp_path / "mine.toml"
    written = tokencost("models", "import", CONFIG, "--id", "mine", "--output", file)
    assert (written.status, written.out) == (0, "")
    assert file.read_text() == printed.out


def test_import_does_not_replace_what_it_reads(tokencost, tmp_path):
    file = tmp_path / "config.json"
    file.write_bytes(CONFIG.read_bytes())
    result = tokencost("models", "import", file, "--output", file)
    assert (result.status, result.out) == (2, "")
    assert file.read_bytes() == CONFIG.read_bytes()
    missing = tokencost("models", "import", file, "--output", tmp_path / "no" / "a.toml")
    assert missing.status == 2


def test_offline(tokencost, monkeypatch, tmp_path):
    code = "from vlm_tokencost.cli.main import main; import sys; main(sys.argv[1:])"
    run = subprocess.run(
        [sys.executable, "-c", code, "ratio", "--hf", "org/no-such-model"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1
    assert "org/no-such-model" in run.stderr
