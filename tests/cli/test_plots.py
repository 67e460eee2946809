"""The layers figure: files of every kind, what it says, and that its bars are the bill."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from vlm_tokencost.costmodel import Schedule, evaluate
from vlm_tokencost.presets import load_model

MODEL = ("--model", "llava-1.5-7b", "--prune-layer", 2, "--keep", 0.5)
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize("ending", MAGIC)
def test_plot_layers_writes_each_form(tokencost, tmp_path, ending):
    path = tmp_path / f"layers.{ending}"
    result = tokencost("plot", "layers", *MODEL, "--output", path)
    assert (result.status, result.out) == (0, ""), "standard output is for data"
    assert str(path) in result.err
    assert path.read_bytes().startswith(MAGIC[ending])
    again = tmp_path / f"again.{ending}"
    tokencost("plot", "layers", *MODEL, "--output", again)
    assert again.read_bytes() == path.read_bytes(), "the same figure every day"


def test_the_figure_says_what_it_shows(tokencost, tmp_path):
    path = tmp_path / "layers.svg"
    tokencost("plot", "layers", *MODEL, "--output", path)
    text = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))
    for part in (
        "llava-1.5-7b",
        "5.2729 TFLOP of 8.9104 TFLOP (59.18 %)",
        "convention exact",
        "576 visual + 0 structural + 64 text tokens, batch 1",
        "from layer 2 on keep 0.5: 288 visual tokens",
        "vision encoder",
        "LLM decoder",
        "GFLOP per layer",
        "attention scores",
        "attention projections",
        "feed-forward",
        "dense baseline",
        "saved (pale)",
        "336×336: ",
    ):
        assert part in text


def test_the_bars_are_the_bill():
    from vlm_tokencost.cli.plots.layers import draw

    report = evaluate(load_model("llava-1.5-7b"), schedule=Schedule.keep(0.5, layer=2))
    figure = draw(report, "exact")
    vision, decoder = figure.axes
    # 24 and 32 layers, three parts each; behind the pruned decoder's the baseline's; one outline
    assert [len(axis.patches) for axis in (vision, decoder)] == [24 * 3 + 1, 2 * 32 * 3 + 1]
    bars = [patch for patch in decoder.patches if hasattr(patch, "get_height")]
    pale = sum(bar.get_height() for bar in bars if (bar.get_alpha() or 1) < 1)
    full = sum(bar.get_height() for bar in bars) - pale
    # Dense and scheduled decoder, in units of 10⁹ FLOP
    assert round(pale, 6) == 8504.035246
    assert round(full, 6) == 4866.567045
    assert decoder.get_ylim()[1] > max(
        patch.get_y() + patch.get_height()
        for patch in decoder.patches
        if hasattr(patch, "get_height")
    ), "nothing is cut off"
    assert decoder.get_ylim() == vision.get_ylim()


@pytest.mark.parametrize("model_id", ["qwen2.5-vl-7b", "internvl3-8b"])
def test_the_baseline_s_outline_follows_the_layers(model_id):
    from vlm_tokencost.cli.plots.layers import draw

    report = evaluate(load_model(model_id), schedule=Schedule.keep(0.5, layer=2))
    by_layer = report.bill("exact", scheduled=False).by_layer()
    for axis, component in zip(draw(report, "exact").axes, ("vision", "decoder"), strict=True):
        (outline,) = [patch for patch in axis.patches if hasattr(patch, "get_data")]
        steps = [round(value * 10**9) for value in outline.get_data().values]
        assert steps == [by_layer[component, layer] for layer in range(len(steps))], (
            "Qwen2.5-VL's full-attention layers stand out where they are"
        )


#: Where a second stack begins: DINOv2-L has 24 layers, CLIP-L 24 of which 23 contribute, the T5
#: encoder of Flan-T5-XL 24.
STACKS = {
    "openvla-7b": ("vision encoders, the second from layer 24 on", "LLM decoder"),
    "mini-gemini-7b": ("vision encoders, the second from layer 24 on", "LLM decoder"),
    "blip2-flan-t5-xl": ("vision encoder", "LLM encoder, and decoder from layer 24 on"),
}


@pytest.mark.parametrize(("model_id", "titles"), STACKS.items(), ids=STACKS)
def test_a_second_stack_is_marked(model_id, titles):
    from vlm_tokencost.cli.plots.layers import draw

    for axis, title in zip(draw(evaluate(load_model(model_id)), "exact").axes, titles, strict=True):
        assert axis.get_title() == title
        borders = [line.get_xdata()[0] for line in axis.lines]
        assert borders == ([23.5] if "24" in title else [])


@pytest.mark.parametrize("model_id", ["llava-1.5-7b", "smolvlm-256m", "fastvlm-0.5b"])
def test_ticks_are_layers(model_id):
    from vlm_tokencost.cli.plots.layers import draw

    figure = draw(evaluate(load_model(model_id)), "exact")
    for width in (3, 6.9, 20):
        figure.set_size_inches(width, 3)
        for axis in figure.axes:
            assert [tick for tick in axis.get_xticks() if tick != int(tick)] == []


def test_a_name_with_signs_of_mathematics_is_drawn_as_text(tokencost, tmp_path):
    plan, path = tmp_path / "plan.toml", tmp_path / "x.svg"
    plan.write_text("name = 'cost $\\frac{$ x'\n[[stages]]\nfirst_layer = 2\nratio = 0.5\n")
    result = tokencost(
        "plot", "layers", "--model", "llava-1.5-7b", "--schedule", plan, "--output", path
    )
    assert result.status == 0
    assert "$\\frac{$" in path.read_text()


def test_published_conventions_draw_the_decoder_alone():
    from vlm_tokencost.cli.plots.layers import draw

    figure = draw(evaluate(load_model("llava-1.5-7b")), "survey")
    (axis,) = figure.axes
    assert axis.get_ylabel() == "GMAC per layer"


def test_an_existing_figure_survives_a_mistake(tokencost, tmp_path):
    path = Path(tmp_path / "layers.png")
    path.write_bytes(b"old")
    assert tokencost("plot", "layers", *MODEL, "--batch", 0, "--output", path).status == 2
    assert path.read_bytes() == b"old"
