"""Every model type, cut in depth: what transformers computes is what the closed form says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput, Model, Workload
from vlm_tokencost.presets import load_model
from vlm_tokencost.presets.huggingface import read_config
from vlm_tokencost.presets.huggingface.families import FAMILIES as READERS
from vlm_tokencost.validation.components.build import build, build_decoder, config_names, load
from vlm_tokencost.validation.components.cases import workloads
from vlm_tokencost.validation.components.comparison import Row, compare
from vlm_tokencost.validation.components.decoders import LEFT_OUT, PRESETS
from vlm_tokencost.validation.components.document import ENCODER_NOT_RUN
from vlm_tokencost.validation.components.families import FAMILIES, parts_class
from vlm_tokencost.validation.reduced import resized

#: What is asked: the rest is in the committed document.
ASKED = ("three images", "video", "long text")


def differing(rows: tuple[Row, ...]) -> list[Row]:
    return [row for row in rows if row.difference]


@pytest.mark.parametrize("name", config_names())
def test_no_difference(name: str, shallow: Callable[[str], dict[str, Any]]) -> None:
    config = shallow(name)
    model, parts = read_config(config), build(config)
    assert model.decoder.num_hidden_layers <= 12
    left_out = ("vision",) if config["model_type"] in ENCODER_NOT_RUN else ()
    for label, workload in workloads(model).items():
        if label in ASKED:
            rows = compare(parts, model, workload, left_out)
            assert not differing(rows), label
            expected = {"vision", "connector", "decoder", "head"} - set(left_out)
            expected |= {"visual tokens"} if parts.arranges else set()
            assert {row.component for row in rows} == expected
            assert {row.phase for row in rows} == {"prefill", "decode 1", "decode 2"}


@pytest.mark.parametrize("name", PRESETS)
def test_decoders_alone(name: str) -> None:
    model = load_model(name)
    model = resized(model, decoder=resized(model.decoder, num_hidden_layers=3))
    rows = compare(build_decoder(model), model, Workload(), LEFT_OUT)
    assert not differing(rows)
    assert {row.component for row in rows} == {"decoder", "head"}


def test_every_model_type_that_can_be_read_is_counted() -> None:
    assert set(FAMILIES) == set(READERS) == {load(name)["model_type"] for name in config_names()}


def test_unknown_model_type() -> None:
    with pytest.raises(InvalidInput, match="model_type clip cannot be counted; choose from llava"):
        parts_class("clip")


def test_windows_are_seen_in_the_cache(shallow: Callable[[str], dict[str, Any]]) -> None:
    # Gemma 3: five of six layers see 1,024 tokens. Behind 1,124 tokens of text and an image their
    # decode forward reads 1,024 keys, the sixth all; both forwards differ by that layer's key:
    # 4 · 8 heads · 256 = 8,192 FLOPs.
    config = shallow("gemma3-4b")
    model = read_config(config)
    assert model.decoder.sliding_window is not None
    assert model.decoder.sliding_window.layers == (0, 1, 2, 3, 4)
    rows = compare(build(config), model, workloads(model)["long text"])
    first, second = (
        row.counted for row in rows if row.component == "decoder" and row.phase.startswith("decode")
    )
    assert second - first == 8_192


# --- a wrong closed form is seen ------------------------------------------------------------------


def changed(model: Model, part: str, **figures: Any) -> Model:
    return resized(model, **{part: resized(getattr(model, part), **figures)})


def test_a_wider_feed_forward_network_is_seen(shallow: Callable[[str], dict[str, Any]]) -> None:
    config = shallow("llava-1.5-7b")
    model, parts = read_config(config), build(config)
    ffn = model.decoder.feed_forward
    wrong = changed(
        model, "decoder", feed_forward=resized(ffn, intermediate_size=ffn.intermediate_size + 1)
    )
    rows = differing(compare(parts, wrong, Workload()))
    # 3 layers of three matrices, one column more in each, for 576 + 64 tokens, then for one:
    # 2 · 640 · 4096 · 3 · 3 = 47,185,920; 2 · 4096 · 3 · 3 = 73,728
    assert [(row.phase, row.component, row.difference) for row in rows] == [
        ("prefill", "decoder", -47_185_920),
        ("decode 1", "decoder", -73_728),
        ("decode 2", "decoder", -73_728),
    ]


def test_a_missing_encoder_layer_is_seen(shallow: Callable[[str], dict[str, Any]]) -> None:
    config = shallow("qwen2-vl-7b")
    model, parts = read_config(config), build(config)
    wrong = changed(model, "vision", num_hidden_layers=2, contributing_layers=2)
    (row,) = differing(compare(parts, wrong, Workload(images=((56, 56),))))
    # 16 patches of 1280 in one layer: four projections, pairs, two matrices of 5120:
    # 2·16·(4·1280² + 2·1280·5120) + 4·16²·1280 = 630,456,320
    assert (row.phase, row.component, row.difference) == ("prefill", "vision", 630_456_320)


def test_other_windows_are_seen(shallow: Callable[[str], dict[str, Any]]) -> None:
    config = shallow("qwen2.5-vl-3b")
    model, parts = read_config(config), build(config)
    wrong = changed(model, "vision", windows=None)
    (row,) = differing(compare(parts, wrong, Workload(images=((224, 112),))))
    # 16×8 patches in two windows of 64: layers 0 and 2 have 2·64² pairs, not 128²:
    # 2 layers · 4 · 1280 · (8,192 − 16,384) = −83,886,080
    assert (row.component, row.difference) == ("vision", -83_886_080)


def test_a_forgotten_merger_is_seen(shallow: Callable[[str], dict[str, Any]]) -> None:
    config = shallow("qwen3-vl-2b")
    model, parts = read_config(config), build(config)
    wrong = changed(model, "connector", deepstack=None)
    (row,) = differing(compare(parts, wrong, Workload(images=((256, 256),))))
    # two mergers of 64 tokens: 4·1024 to itself, then to 2048: 2·2·64·(4096² + 4096·2048)
    assert (row.component, row.difference) == ("connector", 6_442_450_944)


def test_another_token_rule_is_seen(shallow: Callable[[str], dict[str, Any]]) -> None:
    config = shallow("llava-next-video-7b")
    model, parts = read_config(config), build(config)
    rule = model.token_rule
    assert rule.video is not None
    video = resized(rule.video, pool=3)  # the class halves the sides of a frame's grid
    wrong = resized(model, token_rule=resized(rule, video=video))
    rows = differing(compare(parts, wrong, Workload(frames=2)))
    tokens = next(row for row in rows if row.component == "visual tokens")
    assert (tokens.analytic, tokens.counted) == (2 * 8 * 8, 2 * 12 * 12)
