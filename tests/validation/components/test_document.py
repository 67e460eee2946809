"""The committed run: complete, without a difference, and shown as it is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from vlm_tokencost.costmodel import Workload, evaluate
from vlm_tokencost.presets import load_model
from vlm_tokencost.presets.huggingface import read_config
from vlm_tokencost.validation.components.__main__ import BEGIN, END, main
from vlm_tokencost.validation.components.build import config_names, load
from vlm_tokencost.validation.components.cases import workloads
from vlm_tokencost.validation.components.decoders import PRESETS
from vlm_tokencost.validation.components.document import differing, rows_of, table
from vlm_tokencost.validation.components.families import FAMILIES

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((DOCS / "components.json").read_text(encoding="utf-8"))
    return read


def test_it_is_complete(document: dict[str, Any]) -> None:
    entries = document["entries"]
    assert [entry["config"] for entry in entries] == [*config_names(), *PRESETS]
    assert {entry["model_type"] for entry in entries} == {*FAMILIES, "deepseek_v2", "deepseek_v3"}
    assert len(FAMILIES) == 25
    for entry in entries:
        components = {row["component"] for row in rows_of(entry)} | set(entry["not_run"])
        assert components == {"visual tokens", "vision", "connector", "decoder", "head"}


def test_it_asks_for_images_of_several_sizes_and_videos(document: dict[str, Any]) -> None:
    for entry in document["entries"]:
        names = [workload["name"] for workload in entry["workloads"]]
        assert names[:3] == ["default image", "wide image", "three images"]
    videos = {
        entry["model_type"]
        for entry in document["entries"]
        if any(workload["frames"] for workload in entry["workloads"])
    }
    assert videos >= {"llava_next_video", "llava_onevision", "video_llava", "qwen2_vl", "qwen3_vl"}


def test_nothing_differs(document: dict[str, Any]) -> None:
    assert differing(document) == 0
    rows = [row for entry in document["entries"] for row in rows_of(entry)]
    assert len(rows) > 30 * 3 * 9
    for row in rows:
        assert row["counted"] - row["analytic"] - row["beyond"] == row["difference"] == 0
    assert {row["phase"] for row in rows} == {"prefill", "decode 1", "decode 2"}


def test_what_goes_beyond_is_explained(document: dict[str, Any]) -> None:
    for entry in document["entries"]:
        assert bool(entry["beyond"]) == any(row["beyond"] for row in rows_of(entry))
    explained = {entry["config"] for entry in document["entries"] if entry["beyond"]}
    assert explained == BEYOND.keys()


#: What transformers spends beyond the closed form: workload, phase, component, FLOPs.
BEYOND = {
    # 2·n² for the mask of 4 tiles of 1,608 tokens
    "llama3.2-vision-11b": ("default image", "prefill", "vision", 2 * 6_432**2),
    # 1,024 visual, 4 structural and 64 text tokens, expanded again in each of 27 layers
    "kimi-vl-a3b": (
        "default image",
        "decode 1",
        "decoder",
        27 * 2 * (1_024 + 4 + 64) * 512 * 16 * (128 + 128),
    ),
    # 421 visual and 64 text tokens
    "deepseek-vl2-small": (
        "default image",
        "decode 1",
        "decoder",
        27 * 2 * (421 + 64) * 512 * 16 * (128 + 128),
    ),
    "deepseek-vl2": (
        "default image",
        "decode 1",
        "decoder",
        30 * 2 * (421 + 64) * 512 * 32 * (128 + 128),
    ),
}


@pytest.mark.parametrize("name", BEYOND)
def test_how_much_goes_beyond(name: str, document: dict[str, Any]) -> None:
    (entry,) = (entry for entry in document["entries"] if entry["config"] == name)
    asked, phase, component, flops = BEYOND[name]
    (workload,) = (workload for workload in entry["workloads"] if workload["name"] == asked)
    beyond = {(row["phase"], row["component"]): row["beyond"] for row in workload["rows"]}
    assert beyond[phase, component] == flops
    assert {place for (_, place), more in beyond.items() if more} == {component}


def test_golden_figures_among_them(document: dict[str, Any]) -> None:
    # docs/conventions.md, nothing of the code at work: LLaVA-1.5-7B with 64 text tokens
    entry = document["entries"][config_names().index("llava-1.5-7b")]
    default = entry["workloads"][0]
    assert (default["images"], default["text_tokens"]) == (["336x336"], 64)
    prefill = {
        row["component"]: row["counted"] for row in default["rows"] if row["phase"] == "prefill"
    }
    assert prefill == {
        "visual tokens": 576,
        "vision": 381_918_216_192,
        "connector": 24_159_191_040,
        "decoder": 8_504_035_246_080,
        "head": 262_668_288,
    }
    (decode,) = (
        row["counted"]
        for row in default["rows"]
        if (row["phase"], row["component"]) == ("decode 1", "decoder")
    )
    assert decode == 13_288_079_360


def test_the_closed_form_is_still_the_one_that_was_counted(document: dict[str, Any]) -> None:
    for entry in document["entries"]:
        name = entry["config"]
        model = load_model(name) if name in PRESETS else read_config(load(name), model_id=name)
        asked = workloads(model)
        assert list(asked) == [workload["name"] for workload in entry["workloads"]]
        for workload in entry["workloads"]:
            report = evaluate(model, asked[workload["name"]])
            bills = {
                "prefill": report.bill("exact").by_component(),
                "decode 1": report.decode_forward(1).by_component(),
                "decode 2": report.decode_forward(2).by_component(),
            }
            for row in workload["rows"]:
                if row["component"] != "visual tokens":
                    assert bills[row["phase"]].get(row["component"], 0) == row["analytic"], name


def test_presets_are_the_models_that_were_counted(document: dict[str, Any]) -> None:
    """A preset of a config's name costs what was counted, on the same patches and tokens."""
    from vlm_tokencost.presets import list_models

    compared = 0
    for name in set(config_names()) & set(list_models()):
        preset, read = load_model(name), read_config(load(name))
        for images in ((), ((300, 300),)):
            ours, theirs = (evaluate(m, Workload(images=images)) for m in (preset, read))
            if ours.dense.visual_input.crops != theirs.dense.visual_input.crops:
                continue  # the preset has the checkpoint's processor, the config none
            compared += 1
            for component in ("vision", "connector"):
                counted = theirs.bill("exact").by_component()[component]
                assert ours.bill("exact").by_component()[component] == counted, (name, component)
    assert compared > 20


def test_the_page_shows_it(document: dict[str, Any]) -> None:
    page = (DOCS / "components.md").read_text(encoding="utf-8")
    assert BEGIN + table(document) + END in page
    for version in ("tokencost_version", "transformers", "torch", "date"):
        assert document[version] in page


def test_one_family_is_run_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "llava_next.json"
    assert main(["--family", "llava_next", "--output", str(output)]) == 0
    written = json.loads(output.read_text(encoding="utf-8"))
    assert [entry["config"] for entry in written["entries"]] == ["llava-next-mistral-7b"]
    assert capsys.readouterr().out == table(written) + "0 differences\n"


def test_unknown_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--family", "clip"]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"Error: --family clip is not known; choose from llava, .*\n", error)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from vlm_tokencost.validation.components.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
