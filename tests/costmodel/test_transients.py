"""What a layer holds beside weights and cache, by hand on layers of a few features."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from vlm_tokencost.costmodel.transients import (
    Running,
    Work,
    attention_terms,
    feed_forward_bytes,
    largest,
    layer_terms,
    map_bytes,
)

# query, key, attended and FFN tokens, pairs, keys of cross-attention
WORK = Work(5, 6, 7, 3, 35, 11)


def network(**changes):
    fields = {
        "kind": "experts",
        "gated": True,
        "intermediate_size": 8,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 5,
        "num_experts": 4,
    }
    return SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "hidden", "values"),
    [
        # three tokens to two of four experts: 6 pairs of d + 4·m = 10 + 32 values
        ({}, 10, 6 * 42),
        # 4·d = 120 values where outputs are put back in order
        ({}, 30, 6 * 120),
        # without a gate d + 3·m = 10 + 24, less than 4·d = 40
        ({"gated": False}, 10, 6 * 40),
        ({"gated": False}, 6, 6 * 30),
        # gate, up and product of a wide shared expert on every token
        ({"shared_intermediate_size": 100}, 10, 3 * 3 * 100),
    ],
)
def test_experts(changes, hidden, values):
    # and the router's scores: three tokens by four experts, 2 + 4 + 2 bytes each
    assert feed_forward_bytes(network(**changes), hidden, 3) == 2 * values + 8 * 3 * 4


@pytest.mark.parametrize(
    ("gated", "activation", "maps"), [(True, 1, 3), (True, 2, 3), (False, 1, 2), (False, 2, 3)]
)
def test_a_dense_network(gated, activation, maps):
    own = network(kind="dense", gated=gated)
    assert feed_forward_bytes(own, 10, 3, activation) == 2 * maps * 3 * 8


def attention(heads=4, keys=4, size=2, **changes):
    fields = {
        "kind": "standard",
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "head_dim": size,
        "query_width": heads * size,
        "key_width": keys * size,
    }
    return SimpleNamespace(**{**fields, **changes})


def block(**parts):
    missing = dict.fromkeys(("attention", "cross_attention", "cross_feed_forward", "feed_forward"))
    return SimpleNamespace(**{**missing, **parts})


def test_fused_attention_holds_q_k_v_and_the_output():
    (found,) = attention_terms(block(attention=attention()), WORK, Running("sdpa"), False)
    # 5 queries of 8, 6 keys and values of 8 each, 5 outputs of 8; two bytes
    assert found == {"attention": 2 * (5 * 8 + 6 * 16 + 5 * 8), "mask": 0}
    (masked,) = attention_terms(block(attention=attention()), WORK, Running("sdpa"), True)
    assert masked["mask"] == 35  # a byte for each pair
    (flash,) = attention_terms(block(attention=attention()), WORK, Running("flash"), True)
    assert flash["mask"] == 0


def test_eager_attention_holds_its_scores():
    (found,) = attention_terms(block(attention=attention()), WORK, Running("eager"), False)
    # 8 bytes for each of 4 heads' 35 scores; keys and values are the cache's
    assert found == {"attention": 2 * 5 * 8 + 8 * 4 * 35, "mask": 2 * 35}
    (own,) = attention_terms(block(attention=attention()), WORK, Running("eager"), False, False)
    assert own["attention"] == found["attention"] + 2 * 6 * 16


@pytest.mark.parametrize(
    ("running", "masked", "repeated"),
    [
        (Running("eager"), False, True),
        (Running("sdpa"), False, False),
        (Running("sdpa"), True, True),
        (Running("sdpa", old=True), False, True),
        (Running("flash", old=True), True, False),
    ],
)
def test_groups_of_keys_are_repeated(running, masked, repeated):
    grouped = attention(keys=1)
    (found,) = attention_terms(block(attention=grouped), WORK, running, masked)
    # 7 keys and values that are attended to, for each of 4 heads
    assert found.get("repeated K, V", 0) == repeated * 2 * 7 * (8 + 8)
    (alike,) = attention_terms(block(attention=attention()), WORK, running, masked)
    assert "repeated K, V" not in alike


def test_latent_attention_has_keys_and_values_for_every_head():
    # 4 heads: 3 features of query and key, 2 of value
    own = attention(kind="latent", head_dim=3, v_head_dim=2, query_width=12, key_width=3)
    (found,) = attention_terms(block(attention=own), WORK, Running("sdpa"), False)
    assert found["attention"] == 2 * (5 * 12 + 6 * (12 + 8) + 5 * 8)


def test_cross_attention():
    crossing = block(cross_attention=attention(keys=1))
    # 5 queries of 8 and their outputs, 11 keys and values of 2
    (found,) = attention_terms(crossing, WORK, Running("sdpa"), False)
    assert found == {"attention": 2 * (5 * 8 + 2 * 11 * 2 + 5 * 8)}
    (eager,) = attention_terms(crossing, WORK, Running("eager"), False)
    scores = 8 * 4 * 5 * 11
    assert eager["attention"] == 2 * (5 * 8 + 2 * 11 * 2) + scores
    assert eager["repeated K, V"] == 2 * 2 * 11 * 8


def test_maps_that_are_kept():
    own = block(attention=attention(), cross_attention=attention(heads=3))
    assert map_bytes(own, WORK) == 2 * (4 * 35 + 3 * 5 * 11)
    assert map_bytes(block(), WORK) == 0


def test_a_block_is_at_its_attention_or_at_its_network():
    own = block(attention=attention(), feed_forward=network(kind="dense"))
    # stream: 9 embeddings and twice 5 tokens of 10 features; the network holds 5 more
    attending = 2 * 10 * (9 + 2 * 5) + 2 * (5 * 8 + 6 * 16 + 5 * 8)
    assert sum(layer_terms(own, 10, 9, WORK, Running("sdpa")).values()) == attending
    wide = block(attention=attention(), feed_forward=network(kind="dense", intermediate_size=99))
    found = layer_terms(wide, 10, 9, WORK, Running("sdpa"))
    assert found == {"stream": 2 * 10 * (9 + 3 * 5), "feed-forward": 2 * 3 * 3 * 99}
    # behind cross-attention the network sees 5 queries, not 3 tokens of the FFN
    crossing = block(
        cross_attention=attention(),
        feed_forward=network(kind="dense"),
        cross_feed_forward=network(kind="dense", intermediate_size=99),
    )
    found = layer_terms(crossing, 10, 9, WORK, Running("sdpa"))
    assert found["feed-forward"] == 2 * 3 * 5 * 99


def test_the_largest_of_nothing_is_nothing():
    assert largest([]) == {}
    assert largest([{"a": 1, "b": 3}, {"c": 5}]) == {"c": 5}
