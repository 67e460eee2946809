"""The Q-Former against transformers' classes on the meta device and recorded counts."""

from typing import Any

import pytest
from counted_modules import counted, empty, on_meta, priced, stored
from vlm_tokencost.costmodel import InvalidInput, Workload, evaluate
from vlm_tokencost.costmodel.architecture import Connector
from vlm_tokencost.costmodel.connectors import STAGES, Flow
from vlm_tokencost.presets import load_model

ATTENTION = {
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "qkv_bias": True,
    "output_bias": True,
}
BLIP2 = {
    "kind": "q-former",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_queries": 32,
    "attention": ATTENTION,
    "cross_attention": {**ATTENTION, "source_size": 1408, "norms": 1},
    "cross_attention_frequency": 2,
    "feed_forward": {"intermediate_size": 3072, "gated": False, "bias": True},
    "norm": "layer",
}
INSTRUCTBLIP = {**BLIP2, "vocab_size": 30523, "position_embeddings": 512}
IMAGE = (1, 257)  # 16×16 patches of 224/14 and the class token


def connector(qformer: dict[str, Any], llm: int) -> Connector:
    projection = {"kind": "linear", "in_features": 768, "out_features": llm, "bias": True}
    return Connector(name="under test", stages=[qformer, projection], source=["test"])


def flow(images: int, text: int, batch: int = 1) -> Flow:
    return Flow(grids={IMAGE: images}, batch=batch, arranged=0, text_tokens=text)


@pytest.mark.parametrize(
    ("qformer", "llm", "recorded"),
    [
        # 12 layers of 4·(768² + 768) + 2·768·3072 + 3072 + 768 + 2·2·768 = 7,087,872, 6 of
        # 2·(768² + 768) + 2·(1408·768 + 768) + 2·768 = 3,346,944 more, and 2·768 of the first
        # norm: 105,137,664; the projection has 768·2560 + 2560 = 1,968,640
        (BLIP2, 2560, 107_106_304),
        (BLIP2, 4096, 108_287_488),
        (BLIP2, 2048, 106_712_576),
        # 12·(2·768·3072 + 3072 + 768 + 2·768) = 56,687,616 more, and (30523 + 512)·768
        (INSTRUCTBLIP, 4096, 188_809_984),
        (INSTRUCTBLIP, 5120, 189_597_440),
        (INSTRUCTBLIP, 2048, 187_235_072),
    ],
    ids=["opt-2.7b", "opt-6.7b", "flan-t5-xl", "vicuna-7b", "vicuna-13b", "instruct-flan-t5-xl"],
)
def test_parameters_equal_the_recorded_count(
    qformer: dict[str, Any], llm: int, recorded: int
) -> None:
    # Checkpoints store the queries, 32·768 = 24,576, beside Q-Former and projection: blip2-opt-2.7b
    # has 3,744,761,856 = 985,952,256 + 107,106,304 + 24,576 + 2,651,678,720 of the LLM.
    assert connector(qformer, llm).parameters(llm) == recorded + 24_576


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("text", [0, 40])
def test_blip2_equals_transformers(images: int, text: int) -> None:
    from torch import nn
    from transformers import Blip2QFormerConfig
    from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel

    config = Blip2QFormerConfig(attn_implementation="eager")
    module, projection = (
        on_meta(lambda: Blip2QFormerModel(config)),
        on_meta(lambda: nn.Linear(768, 4096)),
    )

    def run() -> None:
        queries, seen = empty(images, 32, 768), empty(images, 257, 1408)
        projection(module(query_embeds=queries, encoder_hidden_states=seen).last_hidden_state)

    built = connector(BLIP2, 4096)
    assert priced(built.operators(flow(images, text))) == counted(run)  # no text is read
    assert built.parameters(4096) == stored(module, projection) + 32 * 768


@pytest.mark.parametrize(("images", "batch"), [(1, 1), (1, 4), (3, 2)])
@pytest.mark.parametrize("text", [1, 40])
def test_instructblip_equals_transformers(images: int, batch: int, text: int) -> None:
    from torch import nn
    from transformers import InstructBlipQFormerConfig
    from transformers.models.instructblip.modeling_instructblip import InstructBlipQFormerModel

    config = InstructBlipQFormerConfig(vocab_size=30523, attn_implementation="eager")
    module, projection = (
        on_meta(lambda: InstructBlipQFormerModel(config)),
        on_meta(lambda: nn.Linear(768, 4096)),
    )
    crops = images * batch

    def run() -> None:
        found = module(
            input_ids=empty(crops, text).long(),
            query_embeds=empty(crops, 32, 768),
            encoder_hidden_states=empty(crops, 257, 1408),
        ).last_hidden_state
        projection(found[:, :32])

    built = connector(INSTRUCTBLIP, 4096)
    assert priced(built.operators(flow(images, text, batch))) == counted(run)
    assert built.parameters(4096) == stored(module, projection) + 32 * 768


def test_an_instruction_of_no_tokens_costs_what_blip2_costs() -> None:
    with_text, without = (connector(each, 4096) for each in (INSTRUCTBLIP, BLIP2))
    assert [*with_text.operators(flow(2, 0))] == [*without.operators(flow(2, 0))]


def test_an_image_becomes_the_queries() -> None:
    built = connector(INSTRUCTBLIP, 4096)
    assert built.connected(IMAGE) == (1, 32)
    assert not built.per_token
    assert built.stages[0].leaving(1408) == 768
    with pytest.raises(ValueError, match="takes 1408 features but gets 1024"):
        built.stages[0].leaving(1024)


def test_positions_without_words_are_refused() -> None:
    with pytest.raises(InvalidInput, match="position_embeddings without vocab_size"):
        connector({**BLIP2, "position_embeddings": 512}, 4096)


def test_words() -> None:
    assert connector(BLIP2, 2560).stages[0].text == (
        "q-former: 32 queries of 768, 12 layers, reads the image"
    )
    assert connector(INSTRUCTBLIP, 2560).stages[0].text.endswith("the image and the instruction")


# --- small ones, by hand

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
def test_layers_that_read_the_image(layers: int, frequency: int, crossing: list[int]) -> None:
    changes = {"num_hidden_layers": layers, "cross_attention_frequency": frequency}
    stage = STAGES.build({**QFORMER, **changes})
    operators = list(
        stage.operators("stage 0", Flow({(1, 7): 1}, batch=1, arranged=0, text_tokens=0))
    )
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


def test_each_image_is_read_by_itself() -> None:
    stage = STAGES.build({**QFORMER, "num_hidden_layers": 1, "vocab_size": 100})
    operators = list(stage.operators("s", Flow({(1, 7): 2}, batch=5, arranged=0, text_tokens=4)))
    name = "s layer 0 "
    # 10 images of 7 tokens; in each 3 queries join 4 words
    assert [operator[3:] for operator in operators] == [
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


@pytest.mark.parametrize("structural", [0, 2])
@pytest.mark.parametrize("text", [0, 7, 64])
def test_the_text_is_read_without_structural_tokens(structural: int, text: int) -> None:
    model = load_model("instructblip-vicuna-7b")
    rule = model.token_rule.model_copy(update={"structural_per_image": structural})
    changed = model.model_copy(update={"token_rule": rule})
    report = evaluate(changed, Workload(text_tokens=text))
    assert report.dense.query == (32 + text + structural,) * 32
    joined = 32 + text  # queries and instruction
    layer = 4 * joined * 768**2 + 2 * joined**2 * 768 + 2 * joined * 768 * 3072
    cross = 2 * 32 * 768**2 + 2 * 257 * 1408 * 768 + 2 * 32 * 257 * 768
    macs = 12 * layer + 6 * cross + 32 * 768 * 4096
    assert report.bill().by_component()["connector"] == 2 * macs
