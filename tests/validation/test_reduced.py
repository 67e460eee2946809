"""Reduced models keep what a count depends on but the widths, and tell those apart."""

from __future__ import annotations

from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput, Model
from vlm_tokencost.presets import list_models, load_model
from vlm_tokencost.validation.reduced import reduced


def shape(model: Model) -> dict[str, Any]:
    """Return what a reduced model keeps."""
    vision, decoder = model.vision, model.decoder
    text = decoder.attention
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
    }


@pytest.mark.parametrize("width", [16, 64, 100, 256])
@pytest.mark.parametrize("model_id", list_models())
def test_reduced_keeps_the_structure_and_tells_sizes_apart(model_id: str, width: int) -> None:
    full = load_model(model_id)
    small = reduced(full, width)
    vision, decoder = small.vision, small.decoder
    text, merge = decoder.attention, full.connector.merge_size
    assert small.id == f"{model_id} (reduced)"
    assert shape(small) == shape(full)
    assert width <= decoder.hidden_size <= max(5 * width, 300)
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
        3 * 14 * 14 * vision.patch_embedding.temporal_patch_size,
    ]
    if text.num_key_value_heads != text.num_attention_heads:
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


@pytest.mark.parametrize("width", [0, 15, "wide", 2.5])
def test_reduced_refuses_widths(width: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        reduced(load_model("llava-1.5-7b"), width)
    assert caught.value.field == "width"
