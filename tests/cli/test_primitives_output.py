"""Schedules of every primitive through the commands: figures, forms, schemas."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
MODEL = ("--model", "llava-1.5-7b")
#: LLaVA-1.5-7B: T, d, m; 576 visual and 64 text tokens.
T, D, M_FFN, V, N = 32, 4096, 11008, 576, 64

SCHEDULES = {
    "freeze": '[[layers]]\nkind = "freeze"\nlayers = [3, 5]\n',
    "sparse": '[[layers]]\nkind = "sparse"\npairs = 0.5\nffn = 0.25\n',
    "subset": '[[layers]]\nkind = "subset"\nratio = 0.5\nlayers = [1]\n',
    "profile": '[[layers]]\nkind = "profile"\ncurve = "sigmoid"\nlayer = 10\nratio = 0.2\n',
    "withdraw": '[[layers]]\nkind = "withdraw"\nlayer = 16\n',
    "inject": '[[layers]]\nkind = "inject"\nlayer = 2\n',
    "cache": "[cache]\nread = 0.25\nfocal_layers = [0]\ngenerated = 0.5\nrescan = 0.5\n",
    "channels": "[channels]\nkey = 0.25\nffn = 0.5\n[bits]\nkv = 4\n",
    "stream": "[stream]\nstride = 0.25\nbank = 100\n",
    "input": "[input]\npatches = 0.5\n",
    "encoder": '[encoder]\nstages = [{ first_layer = 6, ratio = 0.25 }]\nop = "pool"\n',
    "mixture": "[[mixture]]\nprobability = 0.25\nschedule = { compress = { tokens = 64 } }\n"
    "[[mixture]]\nprobability = 0.5\n[[mixture]]\nprobability = 0.25\nskipped = true\n",
    "selection": '[compress]\ntokens = 64\nextra = 1\n[selection]\nname = "mine"\n'
    'computes = "cosines"\n'
    'terms = [{ name = "cosines", tokens = "V", in_features = "d", out_features = "V" }]\n'
    'ideal = { launches = "M" }\n'
    'released = { launches = "M", attention_map = "h * V * V" }\n',
}


def dense_layer(n: int) -> int:
    """MACs of one layer over n tokens: 4nd² + 2n²d + 3ndm."""
    return 4 * n * D * D + 2 * n * n * D + 3 * n * D * M_FFN


def layer(q: int, k: int, f: int, pairs: int) -> int:
    """MACs of a layer that updates q, exposes k, scores pairs and feeds f to its FFN."""
    return 2 * q * D * D + 2 * k * D * D + 2 * pairs * D + 3 * f * D * M_FFN


#: FLOPs of the decoder's prefill, by hand.
DECODER = {
    # Two layers update and feed the 64 text tokens alone; keys are all 640.
    "freeze": 2 * ((T - 2) * dense_layer(640) + 2 * layer(64, 640, 64, 64 * 640)),
    # ⌊576²/2⌋ visual pairs, and 2 · 576 · 64 + 64² with text; 144 + 64 tokens in the FFN
    "sparse": 2 * T * layer(640, 640, 208, 165_888 + 2 * 576 * 64 + 64 * 64),
    # Layer 1 attends among 288 + 64 tokens, and feeds all 640 to its FFN.
    "subset": 2 * ((T - 1) * dense_layer(640) + layer(352, 352, 640, 352 * 352)),
    "withdraw": 2 * 16 * (dense_layer(640) + dense_layer(64)),
    "inject": 2 * (2 * dense_layer(64) + 30 * dense_layer(640)),
    # The FFN has 5504 channels; prefills compute keys in full.
    "channels": 2 * T * (4 * 640 * D * D + 2 * 640 * 640 * D + 3 * 640 * D * 5504),
    # 144 new visual tokens and 64 others attend to 576 + 64 + 100 of the bank.
    "stream": 2 * T * layer(208, 208, 208, 208 * 740),
    "input": 2 * T * dense_layer(288 + 64),
    "encoder": 2 * T * dense_layer(144 + 64),
    # A quarter at 128 tokens, half at 640, a quarter not at all.
    "mixture": 2 * T * (dense_layer(128) + 2 * dense_layer(640)) // 4,
    "selection": 2 * T * dense_layer(65 + 64),
    "cache": 2 * T * dense_layer(640),
}


@pytest.fixture
def asked(tokencost, tmp_path):
    def run(name: str, *words: object):
        path = tmp_path / f"{name}.toml"
        path.write_text(SCHEDULES[name], encoding="utf-8")
        return tokencost(words[0], *MODEL, "--schedule", path, *words[1:])

    return run


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_form(asked, name):
    for command in ("ratio", "cost"):
        answer = asked(name, command, "--format", "json", "--new-tokens", 3).json()
        schema = json.loads((ROOT / "docs" / "schemas" / f"{command}.schema.json").read_text())
        jsonschema.validate(answer, schema)
        for form in ("table", "csv", "markdown", "latex"):
            assert asked(name, command, "--format", form).status == 0
    assert asked(name, "cost", "--explain", "--new-tokens", 3).status == 0


@pytest.mark.parametrize("name", DECODER)
def test_the_decoders_flops(asked, name):
    components = asked(name, "ratio", "--format", "json").json()["conventions"]["exact"]
    assert components["components"]["decoder"]["scheduled"] == DECODER[name]


def test_published_formulas_of_parted_layers(asked):
    survey = asked("freeze", "ratio", "--format", "json").json()["conventions"]["survey"]
    # 2(q + k)d² + 2pd + 2fdm with q = f = 64, k = 640, p = 64 · 640 in two layers
    frozen = 2 * 704 * D * D + 2 * 64 * 640 * D + 2 * 64 * D * M_FFN
    full = 4 * 640 * D * D + 2 * 640 * 640 * D + 2 * 640 * D * M_FFN
    assert survey["scheduled"] == 30 * full + 2 * frozen


def test_the_cost_of_choosing(asked):
    answer = asked("selection", "ratio", "--format", "json").json()
    # 576 · 4096 · 576 MACs; a round for each of 65; 32 heads of 576² entries, 2 bytes each
    work = answer["schedule"]["selection_work"]
    assert work["ideal"]["flops"] == 2 * 576 * 4096 * 576
    assert work["ideal"]["serial_launches"] == 65
    assert work["ideal"]["attention_map_bytes"] == 0
    assert work["released"]["attention_map_bytes"] == 2 * 32 * 576 * 576
    selection = answer["conventions"]["exact"]["components"]["selection"]
    assert selection == {"baseline": 0, "scheduled": 2 * 576 * 4096 * 576}


def test_released_code_can_be_priced(tokencost):
    words = ("ratio", *MODEL, "--method", "pyramiddrop", "--format", "json")
    answer = tokencost(*words, "--implementation", "selection=released").json()
    # Three stages project queries, keys and values of n tokens anew and score one row: before
    # them there are 640, 352 and 208 tokens.
    macs = sum(3 * n * D * D + n * D for n in (640, 352, 208))
    assert answer["conventions"]["exact"]["components"]["selection"]["scheduled"] == 2 * macs
    assert answer["counting"]["selection"] == "released"


def test_released_needs_a_rule(tokencost):
    words = ("ratio", *MODEL, "--tokens", 64, "--implementation", "selection=released")
    result = tokencost(*words)
    assert result.status == 2
    assert "names no selection rule" in result.err


def test_the_cache(asked):
    answer = asked("cache", "ratio", "--format", "json").json()["schedule"]
    # Layer 0 reads all 576 visual tokens, the others ⌊0.25 · 576⌋ = 144; all store 576.
    assert answer["kv_per_layer"]["stored"] == [640] * 32
    assert answer["kv_per_layer"]["read"] == [640] + [208] * 31
    # 2 · 4096 values of 2 bytes per token and layer
    assert answer["kv_cache_bytes"]["read_per_step"] == (640 + 31 * 208) * 16_384


def test_narrow_keys_in_four_bits(asked):
    kv = asked("channels", "ratio", "--format", "json").json()["schedule"]["kv_cache_bytes"]
    # 32 heads · (32 + 128) values of half a byte for 576 tokens, 32 · 256 for 64, in 32 layers
    assert kv["scheduled"] == 32 * (576 * 32 * 160 + 64 * 32 * 256) // 2
    assert kv["bits"] == 4
