"""`tokencost memory`: phases, what fits, several devices, every format, and mistakes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import pytest

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
SCHEMA = json.loads((SCHEMAS / "memory.schema.json").read_text())
LLAVA = ("memory", "--model", "llava-1.5-7b")
HALF = ("--prune-layer", 2, "--keep", 0.5)
WEIGHTS = 2 * 7_063_427_072


def asked(tokencost, *words):
    answer = tokencost(*words, "--format", "json").json()
    jsonschema.validate(answer, SCHEMA)
    return answer["memory"]


def phases(side):
    return {one["phase"]: one for one in side["phases"]}


def test_the_question_reads_as_in_other_commands():
    cost = json.loads((SCHEMAS / "cost.schema.json").read_text())["properties"]
    for name in ("workload", "counting", "schedule", "unverified"):
        assert SCHEMA["properties"][name] == cost[name], "update memory.schema.json"


def test_phases_of_both_sides(tokencost):
    answer = asked(tokencost, *LLAVA, *HALF, "--new-tokens", 100)
    before, after = answer["baseline"], answer["scheduled"]
    for side in (before, after):
        assert side["weights"]["total"] == WEIGHTS == sum(side["weights"]["components"].values())
        for one in side["phases"]:
            assert one["bytes"] == sum(one["terms"].values())
        assert side["peak_bytes"] == max(one["bytes"] for one in side["phases"])
        assert side["kv_cache"]["after_prefill"] == sum(side["kv_cache"]["per_layer"])
        assert len(side["prefill_layers"]) == 32
    # 2·32·128·2 bytes a token and layer; 640 tokens, from layer 2 on 352
    assert before["kv_cache"]["per_layer"] == [640 * 2**14] * 32
    assert after["kv_cache"]["per_layer"] == [640 * 2**14] * 2 + [352 * 2**14] * 30
    grown = after["kv_cache"]["final"] - after["kv_cache"]["after_prefill"]
    assert grown == 99 * 32 * 2**14
    assert answer["ratio"] == after["peak_bytes"] / before["peak_bytes"] < 1
    assert answer["fit"] is answer["sharding"] is None


def test_logits_by_version_and_option(tokencost):
    def logits(*words):
        terms = phases(asked(tokencost, *LLAVA, *words)["baseline"])["logits"]["terms"]
        return terms["logits"], terms["logits in 32 bits"]

    one = 32064  # logits of a position
    assert logits() == (2 * one, 4 * one)
    assert logits("--logits", "all") == (640 * 2 * one, 4 * one)
    assert logits("--transformers", "old") == (640 * 2 * one, 640 * 4 * one)
    assert logits("--transformers", "old", "--batch", 2) == (1280 * 2 * one, 1280 * 4 * one)


def test_eager_attention_and_its_maps(tokencost):
    eager = ("--attention", "eager")
    kept = asked(tokencost, *LLAVA, *eager, "--output-attentions")["baseline"]
    assert phases(kept)["logits"]["terms"]["attention maps"] == 32 * 2 * 32 * 640**2
    assert kept["peak_term"] == "attention maps"
    assert "attention maps" not in phases(asked(tokencost, *LLAVA, *eager)["baseline"])["logits"]


def test_bits(tokencost):
    four = asked(tokencost, *LLAVA, "--bits", 4, "--kv-bits", 8)
    # 32 layers of four d×d and three d×m matrices in blocks of 64: 4.5 bits a weight
    linears = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert WEIGHTS - four["baseline"]["weights"]["total"] == linears * (32 - 9) // 16
    assert four["baseline"]["kv_cache"]["per_layer"][0] == 640 * 2**13
    assert (four["options"]["quantized"], four["options"]["weight_bits"]) == ("llm", [4, 4])
    every = asked(tokencost, *LLAVA, "--bits", 4, "--quantized", "all")
    assert every["options"]["quantized"] == "all"
    # CLIP's 24 layers of four d×d and two d×m, and the projector's two matrices, in 4.5 bits too
    more = 24 * (4 * 1024**2 + 2 * 1024 * 4096) + 1024 * 4096 + 4096**2
    fewer = four["baseline"]["weights"]["total"] - every["baseline"]["weights"]["total"]
    assert more * (32 - 9) // 16 <= fewer <= (more + 588 * 1024) * (32 - 9) // 16
    double = asked(tokencost, *LLAVA, "--bits", 4, "--quantization", "nf4-double")
    assert double["baseline"]["weights"]["total"] < four["baseline"]["weights"]["total"]


def test_what_fits_a_device(tokencost):
    fit = asked(tokencost, *LLAVA, *HALF, "--device", "a100-80gb", "--new-tokens", 64)["fit"]
    assert fit["device"] == "a100-80-sxm"
    assert fit["capacity_bytes"] == 80 * 10**9
    assert fit["scheduled"]["largest_batch"] > fit["baseline"]["largest_batch"] > 1
    for side in ("baseline", "scheduled"):
        assert fit[side]["fits"]
        assert fit[side]["excess_bytes"] == fit[side]["peak_bytes"] - 80 * 10**9
    batch = fit["baseline"]["largest_batch"]
    words = (*LLAVA, "--device", "a100-80gb", "--new-tokens", 64, "--batch")
    assert asked(tokencost, *words, batch)["fit"]["baseline"]["fits"]
    assert not asked(tokencost, *words, batch + 1)["fit"]["baseline"]["fits"]


def test_a_model_that_does_not_fit(tokencost, tmp_path):
    words = ("memory", "--model", "qwen2.5-vl-72b", "--device", "a100-80gb")
    fit = asked(tokencost, *words)["fit"]
    assert not fit["baseline"]["fits"]
    assert (fit["baseline"]["largest_batch"], fit["baseline"]["largest_context"]) == (0, 0)
    changes = {one["change"]: one["total"] for one in fit["remedies"]}
    # 73.4 billion parameters: 147 GB in 16 bits, halved by two devices, about 40 GB in 4 bits
    assert set(changes) >= {"--bits 4", "--tp 2"}
    assert "--tp 4" not in changes, "two devices are enough"
    for change, total in changes.items():
        again = asked(tokencost, *words, *change.split())["fit"]["baseline"]
        assert again["fits"]
        assert again["peak_bytes"] == total
    out = tokencost(*words).out
    assert "does not fit a100-80-sxm" in out
    assert "--bits 4" in out
    tiny = tokencost("memory", "--model", "qwen2.5-vl-72b", "--device", "jetson-orin-nano-super-8")
    # 70.2 billion weights of linears at 4.5 bits, and 5.0 GB of embedding and head, shared by 8
    # devices; 1.4 GB of encoder and connector, and 0.5 GB of context, on each
    assert "what would: --bits 4 --tp 8 (7.2" in " ".join(tiny.out.split())
    path = tmp_path / "watch.toml"
    path.write_text(
        'id = "watch"\nbase = "t4"\nmemory_gb = 1\nsource = ["a guess"]\nname = "Watch"\n'
    )
    none = tokencost("memory", "--model", "qwen2.5-vl-72b", "--device", path)
    assert "and no change that is tried would" in " ".join(none.out.split())


def test_phases_say_which_layers_and_whose_peak(tokencost):
    words = (*LLAVA, *HALF, "--visual-tokens", 2880, "--attention", "eager")
    out = tokencost(*words).out
    # Eager scores of 2,944 tokens: the last full layer outweighs all that see 1,504
    assert "prefill (layer 31 / 1) = peak" in out
    assert "decode (not run)" in out
    assert "decode (not run)" not in tokencost(*words, "--new-tokens", 2).out


def test_several_devices(tokencost):
    answer = asked(tokencost, *LLAVA, *HALF, "--tp", 2, "--pp", 2)
    assert answer["sharding"]["tp"] == answer["sharding"]["pp"] == 2
    assert answer["baseline"]["kv_cache"]["per_layer"] == [640 * 2**13] * 16
    # What layer 16 receives: 640 tokens, and 352 of the schedule
    prefill = answer["sharding"]["prefill"]
    assert prefill["baseline"]["pipeline"] == 2 * 640 * 4096
    assert prefill["scheduled"]["pipeline"] == 2 * 352 * 4096
    out = tokencost(*LLAVA, "--tp", 2).out
    assert "memory of the fullest device" in out
    assert "all-reduces" in out
    assert "stage that sends most" not in out
    # Of a decode forward the last stage sends most: no embedding, but the logits.
    decode = answer["sharding"]["decode_forward"]["baseline"]
    assert (decode["stage"], decode["all_reduces"]) == (1, 32)
    out = tokencost(*LLAVA, "--tp", 2, "--pp", 2).out
    assert [line.split()[-1] for line in out.splitlines() if "sends most" in line] == ["1", "2"]


def test_the_largest_context_names_its_batch(tokencost):
    fit = asked(tokencost, *LLAVA, "--device", "t4", "--batch", 64)["fit"]["baseline"]
    assert fit["largest_context_batch"] == 1
    assert fit["largest_context"] > 640
    out = tokencost(*LLAVA, "--device", "t4", "--batch", 64).out
    assert "largest context at batch 1 [tokens]" in out
    # Both sides share a row where their batches agree, and have one each where not.
    both = tokencost(*LLAVA, "--tokens", 8, "--device", "t4", "--batch", 16).out
    rows = [line.split() for line in both.splitlines() if "largest context at batch" in line]
    assert [row[4] for row in rows] == ["1", "16"]
    assert rows[0][-1] == rows[1][-2] == "—"


def test_what_grows_in_the_largest_context_is_said(tokencost):
    shown = " ".join(tokencost(*LLAVA, "--device", "a100").out.split())
    assert "by memory alone, where the text grows and the visual tokens stay;" in shown


def test_every_format_has_the_same_figures(tokencost):
    words = (*LLAVA, *HALF, "--device", "a100-80gb")
    answer = asked(tokencost, *words)
    rows = list(csv.DictReader(io.StringIO(tokencost(*words, "--format", "csv").out)))
    found = {(row["phase"], row["term"]): row for row in rows}
    assert len(found) == len(rows)
    assert int(found["peak", "total"]["scheduled"]) == answer["scheduled"]["peak_bytes"]
    assert int(found["prefill", "KV cache"]["baseline"]) == 640 * 2**19
    assert (
        int(found["device", "largest batch"]["baseline"])
        == (answer["fit"]["baseline"]["largest_batch"])
    )
    shown = f"{answer['scheduled']['peak_bytes'] / 2**30:.3f}"
    for form in ("table", "markdown", "latex"):
        assert shown in tokencost(*words, "--format", form).out
    assert max(map(len, tokencost(*words).out.splitlines())) <= 100


def test_estimates_are_called_so(tokencost):
    assert "a loop holds less" in " ".join(
        tokencost("memory", "--model", "qwen3-vl-30b-a3b").out.split()
    )
    assert "an estimate" in tokencost("memory", "--model", "fastvlm-7b").out


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (("--device", "a100-80g"), ("--device a100-80g", "did you mean")),
        (("--attention", "fused"), ("--attention fused", "sdpa")),
        (("--bits", 5), ("--bits 5", "choose from 4, 8, 16")),
        (("--kv-bits", "two"), ("--kv-bits two",)),
        (("--output-attentions",), ("--output-attentions", "--attention eager")),
        (("--transformers", "4.40"), ("--transformers 4.40", "new, old")),
        (("--transformers", "old", "--logits", "last"), ("--transformers old", "--logits")),
        (("--quantization", "nf4"), ("--quantization nf4", "--bits")),
        (("--bits", 8, "--quantization", "nf4"), ("--quantization nf4", "4 bits")),
        (("--quantized", "all"), ("--quantized all", "--bits")),
        (("--tp", 3), ("--tp 3", "32 attention heads")),
        (("--tp", 0), ("--tp 0", "below 1")),
        (("--pp", 64), ("--pp 64", "32 decoder layers")),
        (("--shard-encoder",), ("--shard-encoder", "tp")),
        (("--causal",), ("--causal", "no byte")),
        (("--encoder-layers", "contributing"), ("--encoder-layers", "no byte")),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_mistakes(tokencost, words, fragments):
    result = tokencost(*LLAVA, *words)
    assert (result.status, result.out) == (2, "")
    for fragment in fragments:
        assert fragment in result.err


def test_bits_that_the_schedule_contradicts(tokencost, tmp_path):
    path = tmp_path / "bits.toml"
    path.write_text("[bits]\nkv = 4\nweights = 8\n")
    answer = asked(tokencost, *LLAVA, "--schedule", path)
    assert answer["options"]["weight_bits"] == [16, 8]
    assert answer["scheduled"]["kv_cache"]["per_layer"][0] == 640 * 2**12
    assert answer["baseline"]["kv_cache"]["per_layer"][0] == 640 * 2**14
    for words in (("--kv-bits", 8), ("--bits", 4)):
        result = tokencost(*LLAVA, "--schedule", path, *words)
        assert (result.status, result.out) == (2, "")
        assert f"{words[0]} {words[1]} stands beside the schedule's own" in result.err


def test_the_device_file_is_not_replaced(tokencost, tmp_path):
    path = tmp_path / "mine.toml"
    text = 'id = "mine"\nbase = "t4"\nmemory_gb = 20\nsource = ["a label"]\nname = "Mine"\n'
    path.write_text(text)
    result = tokencost(*LLAVA, "--device", path, "--output", path)
    assert (result.status, result.out) == (2, "")
    assert "--output" in result.err
    assert path.read_text() == text
    fit = asked(tokencost, *LLAVA, "--device", path)["fit"]
    assert (fit["device"], fit["capacity_bytes"]) == ("mine", 20 * 10**9)
