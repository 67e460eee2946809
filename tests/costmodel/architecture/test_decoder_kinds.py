"""Decoders that are no plain stack: experts, latents, windows, cross-attention, T5, adapters.

Every expected figure is worked out beside it from the sizes in `other_decoders`: hidden size 48,
4 query heads and 2 key/value heads of 16, FFN 96 gated, vocabulary 1000, 6 layers.
"""

import pytest
from other_decoders import CROSS, FFN, HEADS, with_decoder
from refusals import refusal
from vlm_tokencost.costmodel import (
    Counting,
    InvalidInput,
    Schedule,
    Workload,
    evaluate,
    kv_bytes_per_token,
    kv_cache_bytes,
    model_parameters,
)
from vlm_tokencost.costmodel.architecture.decoder import Decoder
from vlm_tokencost.costmodel.memory import Execution
from vlm_tokencost.costmodel.plan import decode_keys

#: 10 visual + 6 text tokens
ASKED = Workload(visual_tokens=10, text_tokens=6)
N = 16
#: per token: query 48·64, key and value 2·48·32, output 64·48; FFN 3·48·96
PROJECTIONS, MATRICES = 48 * 64 + 2 * 48 * 32 + 64 * 48, 3 * 48 * 96
#: per pair: 4 heads · (16 + 16)
PAIR = 4 * 32
DENSE_LAYER = N * (PROJECTIONS + MATRICES) + N * N * PAIR


def decoder_macs(model, workload=ASKED, schedule=None, **counting):
    report = evaluate(model, workload, schedule, Counting(**counting))
    flops = report.bill().by_component()["decoder"]
    assert flops % 2 == 0
    return flops // 2


def test_a_plain_stack():
    assert decoder_macs(with_decoder()) == 6 * DENSE_LAYER


# --- experts -------------------------------------------------------------------------------------

EXPERTS = {
    "kind": "experts",
    "intermediate_size": 24,
    "gated": True,
    "bias": False,
    "num_experts": 8,
    "num_experts_per_tok": 2,
}


def test_experts_run_for_the_routed_pairs():
    layer = N * PROJECTIONS + N * N * PAIR
    layer += N * 48 * 8  # router
    layer += 2 * N * 3 * 48 * 24  # two experts of three matrices for each token
    assert decoder_macs(with_decoder(feed_forward=EXPERTS)) == 6 * layer


def test_all_experts_on_all_tokens():
    routed = decoder_macs(with_decoder(feed_forward=EXPERTS))
    every = decoder_macs(with_decoder(feed_forward=EXPERTS), experts="all")
    assert every - routed == 6 * (8 - 2) * N * 3 * 48 * 24


def test_shared_experts_a_gate_and_a_dense_first_layer():
    shared = {**EXPERTS, "shared_intermediate_size": 40, "shared_gate": True, "router_bias": True}
    dense_first = [{"layers": [0], "feed_forward": FFN}]
    model = with_decoder(feed_forward=shared, variants=dense_first)
    layer = N * PROJECTIONS + N * N * PAIR + N * 48 * 8 + 2 * N * 3 * 48 * 24
    layer += N * 3 * 48 * 40 + N * 48  # shared experts on all tokens, and their weight
    assert decoder_macs(model) == DENSE_LAYER + 5 * layer
    attention, norms = 48 * 64 + 2 * 48 * 32 + 64 * 48, 2 * 48
    experts = 8 * 3 * 48 * 24 + 48 * 8 + 8 + 3 * 48 * 40 + 48
    blocks = 6 * (attention + norms) + 3 * 48 * 96 + 5 * experts
    assert model_parameters(model)["decoder"] == 1000 * 48 + blocks + 48


def test_published_formulas_take_the_active_width():
    shared = {**EXPERTS, "shared_intermediate_size": 40}
    model = with_decoder(feed_forward=shared, variants=[{"layers": [0], "feed_forward": FFN}])
    bill = evaluate(model, ASKED).bill("gated")
    dense, active = 96, 2 * 24 + 40
    common = 4 * N * 48**2 + 2 * N**2 * 48
    assert bill.total == 6 * common + 3 * N * 48 * (dense + 5 * active)


# --- latent attention ----------------------------------------------------------------------------

#: 4 heads; keys of 12 + 4 rotary features, values of 8, latent of 20
LATENT = {
    **HEADS,
    "kind": "latent",
    "num_key_value_heads": 4,
    "kv_lora_rank": 20,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
}


def test_expanded_latent_attention():
    layer = N * (48 * 64 + 48 * 24 + 20 * 4 * (12 + 8) + 32 * 48)  # q, latent, expansion, output
    layer += N * N * 4 * (16 + 8) + N * MATRICES
    assert decoder_macs(with_decoder(attention=LATENT)) == 6 * layer


def test_absorbed_latent_attention():
    layer = N * (48 * 64 + 48 * 24 + 32 * 48)  # query, latent, output
    layer += N * 4 * (12 * 20 + 20 * 8)  # query into the latent, values out of it
    layer += N * N * 4 * ((20 + 4) + 20) + N * MATRICES
    assert decoder_macs(with_decoder(attention=LATENT), latent="absorbed") == 6 * layer


def test_recomputed_latents_are_expanded_in_every_forward():
    model = with_decoder(attention=LATENT)
    once = evaluate(model, ASKED)
    again = evaluate(model, ASKED, counting=Counting(latent="recomputed"))
    assert again.bill().total == once.bill().total  # the prefill expands everything anyway
    more = again.decode_forward(3).total - once.decode_forward(3).total
    # 16 tokens of the prefill and the two generated before, in each of 6 layers: 20 → 4 · (12 + 8)
    assert more == 2 * 6 * (16 + 2) * 20 * 4 * (12 + 8)
    execution = Execution(latent="recomputed")
    assert kv_cache_bytes(model, once.dense, 16, execution) == 6 * 16 * (20 + 4) * 2
    assert kv_cache_bytes(model, once.dense) == 6 * 16 * 4 * (16 + 8) * 2


def test_latent_queries_and_parameters():
    model = with_decoder(attention={**LATENT, "q_lora_rank": 10})
    plain = decoder_macs(with_decoder(attention=LATENT))
    assert decoder_macs(model) - plain == 6 * N * (48 * 10 + 10 * 64 - 48 * 64)
    attention = 48 * 10 + 10 + 10 * 64 + 48 * 24 + 20 + 20 * 80 + 32 * 48
    expected = 1000 * 48 + 6 * (attention + MATRICES + 2 * 48) + 48
    assert model_parameters(model)["decoder"] == expected


def test_the_cache_of_latent_attention():
    decoder = with_decoder(attention=LATENT).decoder
    assert kv_bytes_per_token(decoder) == 6 * 4 * (16 + 8) * 2
    assert kv_bytes_per_token(decoder, 16, Execution(latent="absorbed")) == 6 * (20 + 4) * 2


@pytest.mark.parametrize("convention", ["survey", "gated"])
def test_published_formulas_have_no_latent_attention(convention):
    report = evaluate(with_decoder(attention=LATENT), ASKED)
    assert "latent" in report.obstacle(convention)
    with pytest.raises(InvalidInput) as error:
        report.bill(convention)
    assert (error.value.field, error.value.value) == ("convention", convention)


# --- sliding windows -----------------------------------------------------------------------------

SLIDING = {"size": 5, "layers": [0, 1, 3, 4]}


def test_a_window_changes_no_prefill_but_its_causal_pairs():
    model, plain = with_decoder(sliding_window=SLIDING), with_decoder()
    assert decoder_macs(model) == decoder_macs(plain)
    # query i sees min(i + 1, 5) keys: 1 + 2 + 3 + 4 + 12 · 5 = 70 of 136
    saved = decoder_macs(plain, causal=True) - decoder_macs(model, causal=True)
    assert saved == 4 * (136 - 70) * PAIR


def test_a_window_limits_the_cache():
    model = with_decoder(sliding_window=SLIDING)
    dense = evaluate(model, ASKED).dense
    assert dense.kv_stored == (4, 4, 16, 4, 4, 16)  # the last 5 − 1 tokens
    assert kv_cache_bytes(model, dense) == (4 * 4 + 2 * 16) * 2 * 32 * 2
    assert decode_keys(dense, 3) == [5, 5, 19, 5, 5, 19]


@pytest.mark.parametrize("text", [0, 1, 2, 6])
def test_decode_forwards_read_no_more_than_the_window(text):
    model = with_decoder(sliding_window=SLIDING)
    asked = Workload(visual_tokens=1, text_tokens=text, new_tokens=8)
    report = evaluate(model, asked)
    keys = sum(
        min(1 + text + step, 5) if layer in SLIDING["layers"] else 1 + text + step
        for step in range(1, 8)
        for layer in range(6)
    )
    linear = 7 * 6 * (PROJECTIONS + MATRICES)
    assert report.bill(phase="decode").by_component()["decoder"] == 2 * (linear + keys * PAIR)
    by_step = [report.decode_forward(step).by_component()["decoder"] for step in range(1, 8)]
    assert sum(by_step) == report.bill(phase="decode").by_component()["decoder"]


def test_images_that_attend_to_later_tokens():
    window = {"size": 3, "layers": [0]}
    model = with_decoder(bidirectional="images", sliding_window=window)
    n, block = 16, 10

    def pairs(reach):  # the mask, entry by entry: text of 6 tokens, then one image of 10
        image = range(6, 16)
        return sum(
            (key <= query and query - key < reach) or (key in image and query in image)
            for query in range(n)
            for key in range(n)
        )

    assert block == len(range(6, 16))
    expected = 6 * N * (PROJECTIONS + MATRICES) + (pairs(3) + 5 * pairs(16)) * PAIR
    assert decoder_macs(model, causal=True) == expected


def test_a_prefix_sees_itself():
    model = with_decoder(bidirectional="prefix")
    assert decoder_macs(model, causal=True) == decoder_macs(model)


# --- cross-attention -----------------------------------------------------------------------------

CROSSING = [{"layers": [1, 4], "self_attention": False, "cross_attention": CROSS}]


def test_visual_tokens_as_keys():
    model = with_decoder(variants=CROSSING)
    report = evaluate(model, ASKED)
    text = 6
    own = text * (PROJECTIONS + MATRICES) + text * text * PAIR
    cross = text * (48 * 64 + 64 * 48) + 10 * 2 * 48 * 32 + text * 10 * PAIR + text * MATRICES
    assert report.bill().by_component()["decoder"] == 2 * (4 * own + 2 * cross)
    assert report.dense.query == (6,) * 6
    assert report.dense.cross == (0, 10, 0, 0, 10, 0)


def test_pruned_keys():
    model = with_decoder(variants=CROSSING)
    report = evaluate(model, ASKED, Schedule.keep(0.5, layer=2))
    assert report.scheduled.cross == (0, 10, 0, 0, 5, 0)
    saved = report.total(scheduled=False) - report.total()
    assert saved == 2 * (5 * 2 * 48 * 32 + 6 * 5 * PAIR)
    assert report.scheduled.average_visual_tokens == (10 + 5) / 2
    # four layers of 6 text tokens and the keys of two, 2 · 2 · 16 values of 2 bytes each
    assert kv_cache_bytes(model, report.scheduled) == (4 * 6 + 10 + 5) * 2 * 32 * 2


@pytest.mark.parametrize("cached", [True, False])
def test_decode_forwards_and_the_keys_of_images(cached):
    variants = [{**CROSSING[0], "cross_attention": {**CROSS, "cached": cached}}]
    report = evaluate(with_decoder(variants=variants), ASKED)
    own = PROJECTIONS + MATRICES + (6 + 1) * PAIR
    cross = 48 * 64 + 64 * 48 + 10 * PAIR + MATRICES
    cross += 0 if cached else 10 * 2 * 48 * 32
    assert report.decode_forward(1).by_component()["decoder"] == 2 * (4 * own + 2 * cross)
    stored = 10 if cached else 0
    assert report.dense.cross_stored == (0, stored, 0, 0, stored, 0)


def test_cross_attention_with_an_ffn_of_its_own():
    """As Flamingo has it, before the layer's own attention, from keys of another width."""
    inserted = [
        {
            "layers": [0, 3],
            "norms": 4,
            "extra_parameters": 2,
            "cross_attention": {**CROSS, "source_size": 48, "source_norm": True, "gates": 2},
            "cross_feed_forward": {"intermediate_size": 192, "gated": False, "bias": False},
        }
    ]
    model = with_decoder(variants=inserted)
    text = 6
    own = text * (PROJECTIONS + MATRICES) + text * text * PAIR
    cross = text * (48 * 64 + 64 * 48) + 10 * 2 * 48 * 32 + text * 10 * PAIR
    cross += text * 2 * 48 * 192
    assert evaluate(model, ASKED).bill().by_component()["decoder"] == 2 * (6 * own + 2 * cross)
    plain = 6 * (PROJECTIONS + MATRICES + 2 * 48)
    more = 2 * (48 * 64 + 64 * 48 + 2 * 48 * 32 + 48 + 2) + 2 * 2 * 48 * 192 + 2 * (2 * 48 + 2)
    assert model_parameters(model)["decoder"] == 1000 * 48 + plain + more + 48


def test_rules_that_rank_tokens_of_the_sequence_do_not_fit():
    schedule = Schedule.keep(0.5, layer=2).model_copy(update={"selection": "fastv"})
    with pytest.raises(InvalidInput) as error:
        evaluate(with_decoder(variants=CROSSING), ASKED, schedule)
    assert (error.value.field, error.value.value) == ("selection", "fastv")


# --- encoder–decoder -----------------------------------------------------------------------------

T5 = {
    "encoder_layers": 4,
    "variants": [{"layers": [4, 5], "norms": 3, "cross_attention": CROSS}],
}


def test_the_llm_encoder_reads_and_the_decoder_writes():
    report = evaluate(with_decoder(**T5), ASKED)
    assert report.dense.query == (16, 16, 16, 16, 1, 1)
    assert report.dense.cross == (0, 0, 0, 0, 16, 16)
    start = PROJECTIONS + MATRICES + PAIR  # one token, which sees itself
    start += 48 * 64 + 64 * 48 + 16 * 2 * 48 * 32 + 16 * PAIR
    expected = 4 * DENSE_LAYER + 2 * start
    assert report.bill().by_component()["decoder"] == 2 * expected
    assert report.bill().by_component()["head"] == 2 * 48 * 1000


def test_generated_tokens_skip_the_llm_encoder():
    report = evaluate(with_decoder(**T5), ASKED)
    step = PROJECTIONS + MATRICES + (1 + 3) * PAIR  # start token and three generated ones
    step += 48 * 64 + 64 * 48 + 16 * PAIR
    assert report.decode_forward(3).by_component()["decoder"] == 2 * 2 * step
    assert report.dense.kv_stored == (0, 0, 0, 0, 1, 1)
    assert decode_keys(report.dense, 3) == [0, 0, 0, 0, 4, 4]
    model = with_decoder(**T5)
    assert kv_cache_bytes(model, report.dense) == 2 * (1 + 16) * 2 * 32 * 2
    assert kv_bytes_per_token(model.decoder) == 2 * 2 * 32 * 2


def test_pruning_in_the_llm_encoder_shortens_the_keys():
    report = evaluate(with_decoder(**T5), ASKED, Schedule.keep(0.5, layer=2))
    assert report.scheduled.query == (16, 16, 11, 11, 1, 1)
    assert report.scheduled.cross == (0, 0, 0, 0, 11, 11)


def test_the_llm_encoder_has_no_causal_mask():
    model = with_decoder(**T5)
    assert decoder_macs(model, causal=True) == decoder_macs(model)


# --- adapters, heads, embeddings -----------------------------------------------------------------


def test_adapters_beside_the_weights():
    model = with_decoder(adapter={"rank": 3, "stored_ranks": [3, 5]})
    # query-key-value 48 + 128, output 64 + 48, gate-up 48 + 192, down 96 + 48
    widths = (48 + 128) + (64 + 48) + (48 + 192) + (96 + 48)
    plain = with_decoder()
    assert decoder_macs(model) - decoder_macs(plain) == 6 * N * 3 * widths
    assert decoder_macs(model, adapters="merged") == decoder_macs(plain)
    more = model_parameters(model)["decoder"] - model_parameters(plain)["decoder"]
    assert more == 6 * (3 + 5) * widths


@pytest.mark.parametrize(
    ("changes", "decoder", "head"),
    [
        ({}, 0, 48_000),
        ({"tie_word_embeddings": True}, 0, 0),
        ({"tie_word_embeddings": True, "head_stored": True}, 0, 48_000),
        ({"head_bias": True}, 0, 49_000),
        ({"embedding_rows": 1008}, 8 * 48, 48_000),
        ({"position_embeddings": 2050}, 2050 * 48, 48_000),
        ({"extra_parameters": [{"name": "table", "count": 7}]}, 7, 48_000),
        ({"norms_per_block": 4}, 6 * 2 * 48, 48_000),
        ({"norm": "layer"}, 13 * 48, 48_000),  # a bias for each of 6 · 2 + 1 norms
        ({"norm": "layer without bias"}, 0, 48_000),
        ({"attention": {**HEADS, "qk_norm": True}}, 6 * 2 * 16, 48_000),
        ({"attention": {**HEADS, "qk_norm": "all heads"}}, 6 * (64 + 32), 48_000),
    ],
    ids=str,
)
def test_parameters_that_are_no_matrix_of_a_block(changes, decoder, head):
    plain, counted = model_parameters(with_decoder()), model_parameters(with_decoder(**changes))
    assert counted["decoder"] - plain["decoder"] == decoder
    assert counted["head"] == head


# --- what does not fit ---------------------------------------------------------------------------

WRONG = {
    "layer twice": ({"variants": [{"layers": [1]}, {"layers": [1]}]}, "layer 1 is in two variants"),
    "no such layer": ({"variants": [{"layers": [6]}]}, "layer 6 does not exist"),
    "window": ({"sliding_window": {"size": 5, "layers": [6]}}, "beyond the last"),
    "all encoder": ({"encoder_layers": 6}, "leaves no layer"),
    "no cross-attention": ({"encoder_layers": 3}, "without cross-attention"),
    "top_k": ({"feed_forward": {**EXPERTS, "num_experts_per_tok": 9}}, "exceeds num_experts 8"),
    "latent heads": (
        {"attention": {**LATENT, "num_key_value_heads": 2}},
        "as many key/value heads",
    ),
    "rope": ({"attention": {**LATENT, "qk_rope_head_dim": 16}}, "is not below head_dim"),
    "kind": ({"attention": {**HEADS, "kind": "latend"}}, "is not a choice"),
}


@pytest.mark.parametrize(("changes", "fragment"), WRONG.values(), ids=WRONG)
def test_misfits(changes, fragment):
    decoder = {**dict(with_decoder().decoder), **changes}
    error = refusal(Decoder, **decoder)
    assert fragment in error.problem
