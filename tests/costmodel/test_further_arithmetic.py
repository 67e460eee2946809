"""Single parts by hand: what one stage, block or encoder is handed and what it yields."""

from typing import Any

import pytest
from other_decoders import CROSS, FFN, HEADS
from vlm_tokencost.costmodel.architecture import Connector
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
from vlm_tokencost.costmodel.architecture.variants import Adapter, CrossAttention
from vlm_tokencost.costmodel.architecture.vision import TOWERS
from vlm_tokencost.costmodel.connectors import STAGES, Flow
from vlm_tokencost.costmodel.operators import Attention, Convolution, Linear, Operator

GRID = (24, 24)


def flow(grids: dict[tuple[int, int], int], batch: int = 1, text: int = 0) -> Flow:
    return Flow(grids=grids, batch=batch, arranged=0, text_tokens=text)


def shape(operator: Operator) -> tuple[Any, ...]:
    """Return an operator's name and every size that it was handed."""
    if isinstance(operator, Linear):
        return operator.name, operator.tokens, operator.in_features, operator.out_features
    if isinstance(operator, Convolution):
        channels = operator.in_channels, operator.out_channels
        return operator.name, operator.positions, *channels, operator.kernel
    sides = operator.queries, operator.keys, operator.pairs
    return operator.name, *sides, operator.heads, operator.query_key_size, operator.value_size


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


HEADED = {"qkv_bias": True, "output_bias": True}
QFORMER: dict[str, Any] = {
    "kind": "q-former",
    "hidden_size": 8,
    "num_hidden_layers": 5,
    "num_queries": 3,
    "attention": {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 4, **HEADED},
    "cross_attention": {
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "source_size": 6,
        "norms": 1,
        **HEADED,
    },
    "cross_attention_frequency": 2,
    "feed_forward": {"intermediate_size": 16, "gated": False, "bias": True},
    "norm": "layer",
}


@pytest.mark.parametrize(
    ("layers", "frequency", "crossing"),
    [(5, 2, [0, 2, 4]), (5, 3, [0, 3]), (6, 2, [0, 2, 4]), (1, 2, [0]), (5, 1, [0, 1, 2, 3, 4])],
)
def test_layers_of_a_q_former_that_read_the_image(layers, frequency, crossing):
    changes = {"num_hidden_layers": layers, "cross_attention_frequency": frequency}
    stage = STAGES.build({**QFORMER, **changes})
    operators = list(stage.operators("stage 0", flow({(1, 7): 1})))
    names = [operator.name for operator in operators]
    found = [layer for layer in range(layers) if f"stage 0 layer {layer} cross query" in names]
    assert found == crossing
    # a layer: 4·(8² + 8), the norm behind it 2·8, 2·8·16 + 16 + 8, and the norm behind that
    layer = 4 * 72 + 16 + 280 + 16
    # cross-attention: 2·(8² + 8), 2·(6·8 + 8), a norm; besides: 3 queries of 8, the first norm
    cross = 2 * 72 + 2 * 56 + 16
    assert stage.parameters() == layers * layer + len(crossing) * cross + 3 * 8 + 16
    # MACs: 4·3·8² + 2·3²·8 + 2·3·8·16 everywhere; 2·3·8² + 2·7·6·8 + 2·3·7·8
    macs = layers * (768 + 144 + 768) + len(crossing) * (384 + 672 + 336)
    assert sum(operator.macs for operator in operators) == macs


def test_a_q_former_reads_each_image_by_itself():
    stage = STAGES.build({**QFORMER, "num_hidden_layers": 1, "vocab_size": 100})
    operators = list(stage.operators("s", flow({(1, 7): 2}, batch=5, text=4)))
    name = "s layer 0 "
    # 10 images of 7 tokens; in each 3 queries join 4 words
    assert [shape(operator) for operator in operators] == [
        (name + "query", 70, 8, 8),
        (name + "key", 70, 8, 8),
        (name + "value", 70, 8, 8),
        (name + "scores and values", 70, 70, 7 * 7 * 10, 2, 4, 4),
        (name + "output", 70, 8, 8),
        (name + "cross query", 30, 8, 8),
        (name + "cross key", 70, 6, 8),
        (name + "cross value", 70, 6, 8),
        (name + "cross scores and values", 30, 70, 3 * 7 * 10, 2, 4, 4),
        (name + "cross output", 30, 8, 8),
        (name + "up", 30, 8, 16),
        (name + "down", 30, 16, 8),
        (name + "text up", 40, 8, 16),
        (name + "text down", 40, 16, 8),
    ]


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


def test_features_of_a_token_packer_are_those_of_both_maps():
    packer = STAGES.build({"kind": "token-packer", **CELLS["token-packer"][0]})
    linear = STAGES.build({"kind": "linear", "in_features": 16, "out_features": 24, "bias": True})
    connector = Connector(name="under test", stages=[packer, linear], source=["test"])
    assert packer.leaving(10 + 20) == 16
    # 576 tokens become 12×12
    assert connector.connected(GRID) == (12, 12)


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
