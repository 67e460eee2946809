"""Reduced models keep what a count depends on but the widths, and tell those apart."""

from __future__ import annotations

from typing import Any

import pytest
from driven_presets import DRIVEN
from vlm_tokencost.costmodel import InvalidInput, Model
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.reduced import reduced


def shape(model: Model) -> dict[str, Any]:
    """Return what a reduced model keeps."""
    vision, decoder = model.vision, model.decoder
    text, deepstack = decoder.attention, model.connector.deepstack
    return {
        "layers": (vision.num_hidden_layers, vision.contributing_layers, decoder.num_hidden_layers),
        "queries per key": text.num_attention_heads // text.num_key_value_heads,
        "biases": (text.qkv_bias, text.output_bias, vision.attention.qkv_bias),
        "feed-forward": (vision.feed_forward.gated, decoder.feed_forward.gated),
        "patches": (vision.patch_embedding, vision.position_embeddings, vision.class_token),
        "norms": (vision.norm, vision.embedding_norm, vision.final_norm, vision.layer_scale),
        "windows": vision.windows,
        "stages": [stage.kind for stage in model.connector.stages],
        "merge": model.connector.merge_size,
        "newline": model.connector.newline,
        "tied": decoder.tie_word_embeddings,
        "rule": model.token_rule,
        "windows of the LLM": decoder.sliding_window,
        "cross-attention": [block.cross_attention is not None for block in decoder.blocks],
        "deepstack": deepstack
        and (deepstack.encoder_layers, [stage.kind for stage in deepstack.stages]),
        "layers side by side": vision.features // vision.hidden_size,
        "tiles": vision.joint,
        "experts per token": getattr(decoder.feed_forward, "num_experts_per_tok", None),
        "further rows": (decoder.embedding_rows or decoder.vocab_size) - decoder.vocab_size,
    }


@pytest.mark.parametrize("width", [16, 64, 100, 256])
@pytest.mark.parametrize("model_id", DRIVEN)
def test_reduced_keeps_the_structure_and_tells_sizes_apart(model_id: str, width: int) -> None:
    full = load_model(model_id)
    small = reduced(full, width)
    vision, decoder = small.vision, small.decoder
    text, merge = decoder.attention, full.connector.merge_size
    patch = vision.patch_embedding
    assert small.id == f"{model_id} (reduced)"
    assert shape(small) == shape(full)
    assert width <= decoder.hidden_size <= max(5 * width, 400)
    sizes = [
        decoder.hidden_size,
        decoder.feed_forward.intermediate_size,
        decoder.vocab_size,
        text.head_dim,
        text.num_attention_heads,
        vision.hidden_size,
        vision.feed_forward.intermediate_size,
        vision.attention.head_dim,
        vision.attention.num_attention_heads,
        3 * patch.patch_size**2 * patch.temporal_patch_size,
    ]
    if 1 < text.num_key_value_heads != text.num_attention_heads:
        sizes.append(text.num_key_value_heads * text.head_dim)
        sizes.append(text.num_key_value_heads)
    if merge > 1:
        sizes.append(merge**2 * vision.hidden_size)
    assert len(set(sizes)) == len(sizes), sizes
    assert decoder.vocab_size <= 1024


def test_reduced_widths_of_llava() -> None:
    small = reduced(load_model("llava-1.5-7b"))
    # 4 heads of 16; 64 · 11008/4096 = 172; 5 encoder heads of 12, three times that
    assert (small.decoder.hidden_size, small.decoder.feed_forward.intermediate_size) == (64, 172)
    assert (small.vision.hidden_size, small.vision.feed_forward.intermediate_size) == (60, 180)


def test_reduced_merger_stays_square_beside_a_decoder_of_its_width() -> None:
    # Qwen2.5-VL-32B: the merged width 4 · 1280 = 5120 is the decoder's too
    model = load_model("qwen2.5-vl-7b")
    stages = [stage.model_dump() for stage in model.connector.stages]
    stages[-1]["out_features"] = 5120
    wide = Model(
        **{
            **model.model_dump(),
            "connector": {**model.connector.model_dump(), "stages": stages},
            "decoder": {**model.decoder.model_dump(), "hidden_size": 5120},
        }
    )
    small = reduced(wide)
    merged = 4 * small.vision.hidden_size
    first, last = small.connector.stages[-2:]
    assert (first.in_features, first.out_features) == (merged, merged)
    assert (last.in_features, last.out_features) == (merged, small.decoder.hidden_size)


def test_reduced_experts_are_few() -> None:
    small = reduced(load_model("qwen3-vl-30b-a3b")).decoder
    # 8 of 17 experts; 16 heads of 12 and 4 more features per head; 256 · 768/2048 = 96
    assert small.feed_forward.model_dump(include={"num_experts", "intermediate_size"}) == {
        "num_experts": 17,
        "intermediate_size": 96,
    }
    assert small.hidden_size == 256


def test_reduced_tables_of_llama_3_2_vision() -> None:
    vision = reduced(load_model("llama3.2-vision-11b")).vision
    # Positions of 4 tiles and tile embeddings for 9 aspect ratios each, and three gates
    expected = [9 * 4 * 1601 * vision.hidden_size, 2 * 9 * 4 * vision.hidden_size, 3]
    assert [extra.count for extra in vision.extra_parameters] == expected


@pytest.mark.parametrize(
    ("model_id", "field"),
    [
        ("kimi-vl-a3b", "decoder.attention.kind"),
        ("phi-4-multimodal", "decoder.adapter"),
        ("blip2-flan-t5-xl", "decoder.encoder_layers"),
        ("openvla-7b", "second_vision"),
        ("mobilevlm-v2-1.7b", "connector.stages."),
    ],
)
def test_reduced_refuses_parts_that_no_driven_model_has(model_id: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        reduced(load_model(model_id))
    assert caught.value.field.startswith(field)


@pytest.mark.parametrize("width", [0, 15, "wide", 2.5])
def test_reduced_refuses_widths(width: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        reduced(load_model("llava-1.5-7b"), width)
    assert caught.value.field == "width"
