"""Single parts by hand: what one stage, block or encoder is handed, and what it computes."""

from typing import Any

import pytest
from other_decoders import CROSS, FFN, HEADS
from vlm_tokencost.costmodel import Counting, Workload, evaluate, plan
from vlm_tokencost.costmodel.architecture.adapters import Adapter
from vlm_tokencost.costmodel.architecture.blocks import (
    ATTENTIONS,
    FEED_FORWARDS,
    Block,
    Execution,
    Place,
    Tokens,
)
from vlm_tokencost.costmodel.architecture.convolutional import ConvolutionalBlock
from vlm_tokencost.costmodel.architecture.convolutional_rows import FeatureMap
from vlm_tokencost.costmodel.architecture.variants import CrossAttention
from vlm_tokencost.costmodel.architecture.vision import TOWERS
from vlm_tokencost.costmodel.connectors import STAGES, Flow
from vlm_tokencost.costmodel.lower import lower_vision
from vlm_tokencost.costmodel.operators import Attention, Operator
from vlm_tokencost.presets import load_model

GRID = (24, 24)


def flow(grids: dict[tuple[int, int], int], batch: int = 1, text: int = 0) -> Flow:
    return Flow(grids=grids, batch=batch, arranged=0, text_tokens=text)


def shape(operator: Operator) -> tuple[Any, ...]:
    """Return an operator's name and every size that it was handed."""
    return operator[3:]


# --- connector stages ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "macs", "parameters"),
    [
        # each of 576 positions and 64 features sees one feature in 3×3 positions; 64·9 + 64
        ({"groups": 64}, 576 * 64 * 9, 640),
        ({"groups": 16}, 576 * 64 * 4 * 9, 64 * 4 * 9 + 64),
        ({}, 576 * 64 * 64 * 9, 64 * 64 * 9 + 64),
        ({"groups": 64, "stride": 2}, 144 * 64 * 9, 640),
        ({"groups": 64, "kernel_size": 1, "bias": False}, 576 * 64, 64),
    ],
    ids=["depthwise", "grouped", "full", "strided", "pointwise"],
)
def test_a_convolution_sees_the_features_of_its_group(changes, macs, parameters):
    figures = {"in_features": 64, "out_features": 64, "kernel_size": 3, "bias": True, **changes}
    stage = STAGES.build({"kind": "convolution", **figures})
    (operator,) = stage.operators("stage 0", flow({GRID: 1}))
    assert operator.macs == macs
    assert stage.parameters() == parameters
    # two crops in each of three requests
    (operator,) = stage.operators("stage 0", flow({GRID: 2}, batch=3))
    assert operator.macs == 6 * macs


@pytest.mark.parametrize(
    ("remainder", "grid", "pooled"),
    [
        ("cut", (24, 24), (12, 12)),
        ("kept", (24, 24), (12, 12)),
        ("cut", (27, 27), (13, 13)),
        ("kept", (27, 27), (14, 14)),
        ("cut", (27, 24), (13, 12)),
        ("kept", (24, 27), (12, 14)),
    ],
)
def test_pooling_cuts_or_keeps_rows_that_fill_no_square(remainder, grid, pooled):
    stage = STAGES.build({"kind": "pool", "size": 2, "remainder": remainder})
    assert stage.grid(grid) == pooled
    assert stage.flow(flow({grid: 5})).grids == {pooled: 5}


def test_pooling_cuts_unless_told():
    assert STAGES.build({"kind": "pool", "size": 4}).grid((27, 30)) == (6, 7)


def test_crops_of_two_sizes_that_become_one():
    stage = STAGES.build({"kind": "pool", "size": 2})
    assert stage.flow(flow({(4, 6): 1, (5, 7): 2, (6, 6): 1})).grids == {(2, 3): 3, (3, 3): 1}


CELLS = {
    # 6×6 tokens in 4 requests; each has 8×8 positions of its own
    "patch-mining": (
        {"hidden_size": 16, "source_features": 20, "cell_size": 8},
        (144, 144 * 64, 144 * 64, 1, 16, 16),
    ),
    # 6×6 tokens in cells of 2×2: 9 queries
    "token-packer": (
        {
            "scale": 2,
            "query_features": 10,
            "source_features": 20,
            "hidden_size": 16,
            "num_attention_heads": 2,
        },
        (36, 144, 144, 2, 8, 8),
    ),
    # windows of 4×4 padded to 2×2 windows: 4 queries, 16 keys each
    "attention-pool": (
        {
            "size": 4,
            "in_features": 10,
            "out_features": 16,
            "num_attention_heads": 3,
            "head_dim": 8,
            "bias": True,
        },
        (16, 256, 256, 3, 8, 8),
    ),
}


@pytest.mark.parametrize("kind", CELLS)
def test_a_query_attends_to_the_keys_of_its_cell(kind):
    figures, expected = CELLS[kind]
    stage = STAGES.build({"kind": kind, **figures})
    operators = stage.operators("stage 0", flow({(6, 6): 1}, batch=4))
    (attention,) = [each for each in operators if isinstance(each, Attention)]
    assert shape(attention) == ("stage 0 scores and values", *expected)


def test_patch_mining_by_hand():
    figures, _ = CELLS["patch-mining"]
    stage = STAGES.build({"kind": "patch-mining", **figures})
    projections = [shape(each) for each in stage.operators("s", flow({(6, 6): 1}))][:3]
    assert projections == [
        ("s query", 36, 16, 16),
        ("s key", 36 * 64, 20, 16),
        ("s value", 36 * 64, 20, 16),
    ]


# --- blocks --------------------------------------------------------------------------------------

#: A number for each count, so that none can stand in for another.
TOKENS = Tokens(
    query=3,
    key=5,
    ffn=7,
    keys_read=11,
    pairs=13,
    cross_projected=17,
    cross_keys=19,
    cross_pairs=23,
)
#: 4 heads; keys of 12 + 4 rotary features, values of 8, latents of 20 and 10
LATENT = {
    **HEADS,
    "kind": "latent",
    "num_key_value_heads": 4,
    "kv_lora_rank": 20,
    "q_lora_rank": 10,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
}
UNGATED = {**FFN, "gated": False}


def block(attention=None, cross=None, own_ffn=None, ffn=UNGATED) -> Block:
    return Block(
        attention=attention and ATTENTIONS.build(attention),
        cross_attention=cross and CrossAttention(**cross),
        cross_feed_forward=own_ffn and FEED_FORWARDS.build(own_ffn),
        feed_forward=FEED_FORWARDS.build(ffn),
        norms=2,
        extra_parameters=0,
    )


def shapes(what: Block, execution=None, adapter=None, tokens: Tokens = TOKENS):
    place = Place("decoder", (0,), execution or Execution())
    return [shape(each) for each in what.operators(place, 48, tokens, adapter)]


NETWORK = [("up", 7, 48, 96), ("down", 7, 96, 48)]


def test_grouped_attention_takes_each_count_to_its_place():
    assert shapes(block(HEADS)) == [
        ("query", 3, 48, 64),
        ("key", 5, 48, 32),
        ("value", 5, 48, 32),
        ("scores and values", 3, 11, 13, 4, 16, 16),
        ("output", 3, 64, 48),
        *NETWORK,
    ]


def test_latent_attention_takes_each_count_to_its_place():
    assert shapes(block(LATENT)) == [
        ("query latent", 3, 48, 10),
        ("query", 3, 10, 64),
        ("key-value latent", 5, 48, 24),
        ("key-value expansion", 5, 20, 4 * (12 + 8)),
        ("scores and values", 3, 11, 13, 4, 16, 8),
        ("output", 3, 32, 48),
        *NETWORK,
    ]


def test_recomputed_latent_attention_expands_every_key_that_it_reads():
    expanded = shapes(block(LATENT))
    assert expanded[3] == ("key-value expansion", 5, 20, 80)
    expanded[3] = ("key-value expansion", 11, 20, 80)
    assert shapes(block(LATENT), Execution(latent="recomputed")) == expanded


def test_absorbed_latent_attention_takes_each_count_to_its_place():
    assert shapes(block(LATENT), Execution(latent="absorbed")) == [
        ("query latent", 3, 48, 10),
        ("query", 3, 10, 64),
        ("key-value latent", 5, 48, 24),
        ("absorbed key", 4 * 3, 12, 20),
        ("scores and values", 3, 11, 13, 4, 24, 20),
        ("absorbed value", 4 * 3, 20, 8),
        ("output", 3, 32, 48),
        *NETWORK,
    ]


def test_cross_attention_and_its_ffn_take_each_count_to_its_place():
    crossing = block(HEADS, {**CROSS, "source_size": 40}, {**FFN, "intermediate_size": 80})
    assert shapes(crossing)[5:] == [
        ("cross query", 3, 48, 64),
        ("cross key", 17, 40, 32),
        ("cross value", 17, 40, 32),
        ("cross scores and values", 3, 19, 23, 4, 16, 16),
        ("cross output", 3, 64, 48),
        ("gate", 3, 48, 80),
        ("up", 3, 48, 80),
        ("down", 3, 80, 48),
        *NETWORK,
    ]


def test_cross_attention_in_the_place_of_attention():
    names = [name for name, *_ in shapes(block(None, CROSS))]
    assert names[:2] == ["cross query", "cross key"]
    assert "query" not in names


def test_cached_keys_are_not_projected_again():
    cached = shapes(block(None, CROSS), tokens=TOKENS._replace(cross_projected=0))
    assert cached == [
        ("cross query", 3, 48, 64),
        ("cross scores and values", 3, 19, 23, 4, 16, 16),
        ("cross output", 3, 64, 48),
        *NETWORK,
    ]


@pytest.mark.parametrize(("ffn", "width"), [(UNGATED, 96), (FFN, 2 * 96)], ids=["plain", "gated"])
def test_adapters_take_each_count_to_their_place(ffn, width):
    adapter = Adapter(rank=6, stored_ranks=(6, 2))
    adapted = block(HEADS, ffn=ffn)
    assert shapes(adapted, adapter=adapter)[-8:] == [
        ("query-key-value adapter in", 3, 48, 6),
        ("query-key-value adapter out", 3, 6, 64 + 2 * 32),
        ("output adapter in", 3, 64, 6),
        ("output adapter out", 3, 6, 48),
        ("gate-up adapter in", 7, 48, 6),
        ("gate-up adapter out", 7, 6, width),
        ("down adapter in", 7, 96, 6),
        ("down adapter out", 7, 6, 48),
    ]
    widths = (48 + 128) + (64 + 48) + (48 + width) + (96 + 48)
    assert adapter.parameters(adapted, 48) == (6 + 2) * widths
    assert shapes(adapted, Execution(adapters="merged"), adapter) == shapes(adapted)


# --- convolutional encoders ----------------------------------------------------------------------


def convolution(name: str, out: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "out_features": out, "bias": False, **more}


@pytest.mark.parametrize(
    ("scales", "rows", "parameters"),
    [
        (0, [convolution("widen", 20)], 8 * 20),
        # scales of what leaves: 20 features, not 8
        (1, [convolution("widen", 20)], 8 * 20 + 20),
        (3, [convolution("widen", 20)], 8 * 20 + 3 * 20),
        (2, [convolution("widen", 20), convolution("narrow", 6)], 8 * 20 + 20 * 6 + 2 * 6),
    ],
)
def test_scales_have_the_features_that_leave_the_block(scales, rows, parameters):
    under_test = ConvolutionalBlock(rows=rows, scales=scales)
    assert under_test.parameters(FeatureMap(8, 4)) == parameters


def test_scales_of_a_first_block_that_widens():
    first = {"scales": 2, "rows": [convolution("widen", 20, kernel_size=3, stride=2)]}
    usual = {"scales": 1, "rows": [convolution("same", 20)]}
    tower = TOWERS.build(
        {
            "kind": "convolutional",
            "name": "made up",
            "model_type": "made up",
            "stem": [convolution("stem", 8, kernel_size=2, stride=2)],
            "stages": [{"depth": 3, "first_block": first, "block": usual}],
            "source": ["made up for tests"],
        }
    )
    assert tower.layer_parameters(0) == 9 * 8 * 20 + 2 * 20
    assert [tower.layer_parameters(layer) for layer in (1, 2)] == [20 * 20 + 20] * 2
    assert tower.outside_parameters() == 3 * 2 * 2 * 8


# --- second encoders -----------------------------------------------------------------------------

#: Block of Mini-Gemini's ConvNeXt: features, pixels from position to position, first and last layer
CONVNEXT = [(192, 4, 0, 2), (384, 8, 3, 5), (768, 16, 6, 32), (1536, 32, 33, 35)]


@pytest.mark.parametrize(
    ("model_id", "images", "crops", "side"),
    [
        ("mini-gemini-7b", 1, 1, 768),
        ("mini-gemini-7b-hd", 1, 5, 1536),
        ("mini-gemini-7b-hd", 2, 10, 1536),
    ],
)
def test_a_second_encoder_sees_an_image_of_its_own(model_id, images, crops, side):
    size = "336x336" if model_id == "mini-gemini-7b" else "672x672"
    report = evaluate(load_model(model_id), Workload(images=(size,) * images))
    dense = report.dense
    assert dense.visual_input.second_crops == ((side // 32, side // 32),) * images
    assert dense.tower_positions == (crops * 576, images * (side // 32) ** 2)
    assert dense.encoder_positions == crops * 576
    by_layer = report.bill().by_layer()
    layers = [layer for part, layer in by_layer if part == "vision" and layer is not None]
    assert layers == list(range(24 + 36))
    clip = 2 * crops * (577 * 12 * 1024**2 + 2 * 577**2 * 1024)
    assert [by_layer["vision", layer] for layer in range(24)] == [clip] * 24
    assert dense.encoder_tokens[:24] == (crops * 577,) * 24
    for features, stride, first, last in CONVNEXT:
        positions = images * (side // stride) ** 2
        block = 2 * positions * (49 * features + 2 * features * 4 * features)
        for layer in range(24 + first, 24 + last + 1):
            assert by_layer["vision", layer] == block
            assert dense.encoder_tokens[layer] == dense.encoder_ffn[layer] == positions
            assert dense.encoder_pairs[layer] == 0


def test_a_second_encoder_that_sees_the_crops_of_the_first():
    model = load_model("openvla-7b")
    report = evaluate(model)
    dense = report.dense
    # DINOv2 has a class token and four registers beside 16×16 patches, SigLIP has none
    assert dense.tower_positions == (256, 256)
    assert dense.encoder_tokens == (261,) * 24 + (256,) * 27
    assert dense.encoder_pairs == (261**2,) * 24 + (256**2,) * 27
    dino = 2 * (261 * (4 * 1024**2 + 2 * 1024 * 4096) + 2 * 261**2 * 1024)
    siglip = 2 * (256 * (4 * 1152**2 + 2 * 1152 * 4304) + 2 * 256**2 * 1152)
    by_layer = report.bill().by_layer()
    found = [by_layer["vision", layer] for layer in range(51)]
    assert found == [dino] * 24 + [siglip] * 27
    assert ("vision", 51) not in by_layer


def test_layers_of_a_second_encoder_keep_their_numbers_without_the_unused_ones():
    model = load_model("openvla-7b")
    operators = lower_vision(
        model, plan(model, Workload()), Counting(encoder_layers="contributing")
    )
    layers = {layer for operator in operators for layer in operator.layers}
    # the last of 24 and of 27 layers are not read
    assert layers == {*range(23), *range(24, 24 + 26)}


# --- connectors of whole models ------------------------------------------------------------------


def test_mobilevlms_connector():
    # two linears on 576 patches, then 3×3 positions of one feature each on 12×12 pooled ones
    macs = 576 * (1024 * 2048 + 2048**2) + 144 * 2048 * 9
    assert (
        evaluate(load_model("mobilevlm-v2-1.7b")).bill().by_component()["connector"]
        == 2 * macs
        == 7_253_065_728
    )
