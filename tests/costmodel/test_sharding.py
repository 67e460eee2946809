"""Models on several devices: what each holds and sends, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput, Report, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.peak import Asking, Peak, peak
from vlm_tokencost.costmodel.sharding import Sharding, communication, shard, stages
from vlm_tokencost.costmodel.weights import Storage, weight_bytes
from vlm_tokencost.presets import load_model

# LLaVA-1.5-7B: 32 layers, d = 4096, 32 heads of 128, m = 11008, vocabulary 32064
# Qwen2-VL-7B: 28 layers, d = 3584, 28 heads and 4 of keys, m = 18944, vocabulary 152064


def asked(model: str = "llava-1.5-7b", schedule: Any = None, **workload: Any) -> Report:
    own = Schedule(stages=schedule) if schedule else None
    return evaluate(load_model(model), Workload(**workload), own)


def spread(report: Report, **sharding: Any) -> Peak:
    return peak(report, Asking(sharding=Sharding(**sharding)))


def test_a_quarter_of_every_layer():
    model = load_model("llava-1.5-7b")
    whole = weight_bytes(model, Storage())
    quarter = weight_bytes(shard(model, Sharding(4)), Storage())
    # Matrices are shared, norms are not; the vocabulary of 32,064 is 4 · 8,016
    assert quarter["layers"] == 2 * (32 * ((4 * 4096**2 + 3 * 4096 * 11008) // 4 + 2 * 4096) + 4096)
    assert quarter["head"] == quarter["embedding"] == whole["head"] // 4
    assert quarter["vision"] == whole["vision"]
    assert quarter["connector"] == whole["connector"]
    found = spread(asked(), tp=4)
    assert found.kv_per_layer == (640 * 2**14 // 4,) * 32
    (prefill,) = (one for one in found.phases if one.name == "prefill")
    assert prefill.terms["feed-forward"] == 3 * 2 * 640 * 11008 // 4
    assert prefill.terms["stream"] == 4 * 2 * 640 * 4096, "hidden states are whole everywhere"


def test_key_heads_are_replicated():
    model = load_model("qwen2-vl-7b")
    for tp, heads in ((2, 2), (4, 1), (28, 1)):
        own = shard(model, Sharding(tp)).decoder.attention if tp < 28 else None
        if own is None:
            with pytest.raises(InvalidInput, match="tp 28 does not divide the 18,944 FFN columns"):
                shard(model, Sharding(tp))
        else:
            assert own.num_key_value_heads == heads
    # 64 heads, 8 of keys: on 16 devices, two hold the same one
    model = load_model("qwen2.5-vl-72b")
    assert shard(model, Sharding(16)).decoder.attention.num_key_value_heads == 1
    assert shard(model, Sharding(16)).decoder.attention.num_attention_heads == 4


def test_rows_of_embedding_and_head_are_padded_to_the_devices():
    # 128,264 rows of embedding and 128,256 of head: 8016.5 and 8016 on each of 16 devices
    model = load_model("llama3.2-vision-11b")
    own = shard(model, Sharding(16)).decoder
    assert (own.embedding_rows, own.vocab_size) == (8017, 8016)
    assert shard(load_model("llava-1.5-7b"), Sharding(4)).decoder.embedding_rows is None


def test_an_encoder_is_shared_when_asked():
    model = load_model("llava-1.5-7b")
    whole, half = (
        weight_bytes(shard(model, Sharding(2, encoder=shared)), Storage())["vision"]
        for shared in (False, True)
    )
    # CLIP: 24 layers of four 1024² and two 1024·4096 matrices, and biases of three projections
    # and of the first FFN matrix
    shared = 24 * (4 * 1024**2 + 2 * 1024 * 4096 + 3 * 1024 + 4096)
    assert whole - half == 2 * shared // 2


def test_stages_hold_their_own_layers():
    report = asked()
    model = report.model
    own = [weight_bytes(model, Storage(), stage) for stage in stages(model, Sharding(pp=4))]
    whole = weight_bytes(model, Storage())
    assert [sum(one.values()) for one in own][1] == 8 * 2 * (
        4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096
    )
    assert sum(sum(one.values()) for one in own) == sum(whole.values())
    assert own[0]["head"] == own[3]["vision"] == own[3]["embedding"] == 0
    found = spread(report, pp=4)
    assert found.stage == 0, "encoder and connector weigh more than the head"
    assert found.kv_per_layer == (640 * 2**14,) * 8


@pytest.mark.parametrize(
    ("pp", "sizes"), [(2, [14, 14]), (3, [9, 10, 9]), (5, [5, 6, 6, 6, 5]), (28, [1] * 28)]
)
def test_stages_are_as_even_as_they_can_be(pp, sizes):
    own = stages(load_model("qwen2-vl-7b"), Sharding(pp=pp))
    assert [len(one.layers) for one in own] == sizes
    assert [layer for one in own for layer in one.layers] == list(range(28))
    assert [one.first for one in own] == [True] + [False] * (pp - 1)
    assert [one.last for one in own] == [False] * (pp - 1) + [True]


def test_a_tied_head_is_copied_to_the_last_stage():
    model = load_model("qwen2-vl-2b")
    first, last = (weight_bytes(model, Storage(), one) for one in stages(model, Sharding(pp=2)))
    assert first["embedding"] == last["head"] == 2 * 151_936 * 1536


def test_how_many_devices_there_are():
    assert Sharding(4, 2).devices == 8
    assert Sharding().devices == 1


def test_what_devices_send():
    report = asked(schedule=({"first_layer": 2, "ratio": 0.5},), text_tokens=64, batch=3)
    model = report.model
    dense = communication(model, report.dense, Sharding(4))
    # The embedding's all-reduce and two in each layer; in a ring of 4 each device sends 6/4 of
    # the values, and 3/4 of the logits
    values = 3 * 4096 * (640 + 32 * 2 * 640)
    assert dense.tensor == 2 * values * 6 // 4 + 2 * 3 * 32064 * 3 // 4
    assert dense.all_reduces == 65
    assert dense.pipeline == 0
    pruned = communication(model, report.scheduled, Sharding(4))
    values = 3 * 4096 * (640 + 2 * 2 * 640 + 30 * 2 * 352)
    assert pruned.tensor == 2 * values * 6 // 4 + 2 * 3 * 32064 * 3 // 4
    decode = communication(model, report.scheduled, Sharding(4), decode=True)
    assert decode.tensor == 2 * 3 * 4096 * 65 * 6 // 4 + 2 * 3 * 32064 * 3 // 4
    staged = communication(model, report.scheduled, Sharding(pp=2))
    assert (staged.tensor, staged.all_reduces) == (0, 0)
    assert staged.pipeline == 2 * 3 * 352 * 4096, "what layer 16 receives"


def test_bytes_and_all_reduces_are_of_one_stage():
    # Two stages of 16 layers. Without the schedule the first sends more: the embedding's all-reduce
    # of 640 tokens outweighs the logits of one position.
    report = asked(schedule=({"first_layer": 2, "ratio": 0.5},), text_tokens=64)
    model, spread_out = report.model, Sharding(tp=2, pp=2)
    first = communication(model, report.dense, spread_out)
    assert (first.stage, first.all_reduces) == (0, 1 + 32)
    assert first.tensor == 2 * 640 * 4096 * 33
    # A decode forward sends one token's 4096 values 33 times from the first stage; from the last
    # 32 times, and half of 32,064 logits: more bytes, one all-reduce less.
    last = communication(model, report.dense, spread_out, decode=True)
    assert (last.stage, last.all_reduces) == (1, 32)
    assert last.tensor == 2 * 4096 * 32 + 2 * 32064 // 2


def test_shared_encoder_layers_reduce_too():
    report = asked(text_tokens=64, batch=3)
    model = report.model
    alone = communication(model, report.dense, Sharding(2))
    shared = communication(model, report.dense, Sharding(2, encoder=True))
    # CLIP: 24 layers with two all-reduces of 577 tokens of 1024 values; in a ring of two, each
    # device sends all of them
    assert shared.all_reduces - alone.all_reduces == 48
    assert shared.tensor - alone.tensor == 2 * 3 * 24 * 2 * 577 * 1024
    decode = [
        communication(model, report.dense, Sharding(2, encoder=one), decode=True)
        for one in (False, True)
    ]
    assert decode[0] == decode[1]


def test_more_devices_never_need_more_each():
    report = asked("qwen2.5-vl-72b")
    totals = [spread(report, tp=tp).total for tp in (1, 2, 4, 8)]
    assert totals == sorted(totals, reverse=True)
    staged = [spread(report, pp=pp).total for pp in (1, 2, 4, 8)]
    assert staged == sorted(staged, reverse=True)


@pytest.mark.parametrize(
    ("model_id", "sharding", "fragment"),
    [
        ("llava-1.5-7b", {"tp": 3}, "tp 3 does not divide the 32 attention heads of the LLM"),
        ("qwen2-vl-7b", {"tp": 8}, "tp 8 does not divide the 28 attention heads"),
        ("llava-1.5-7b", {"tp": 0}, "tp 0 is below 1"),
        ("llava-1.5-7b", {"pp": 33}, "pp 33 is more than the 32 decoder layers"),
        ("internvl3-78b", {"tp": 2, "encoder": True}, "25 attention heads"),
        ("llava-1.5-7b", {"encoder": True}, "shard_encoder has no devices"),
        ("instructblip-flan-t5-xl", {"pp": 2}, "encoder of its own"),
        ("fastvlm-7b", {"tp": 2, "encoder": True}, "convolutional"),
    ],
)
def test_devices_that_do_not_divide(model_id, sharding, fragment):
    with pytest.raises(InvalidInput, match=fragment):
        spread(asked(model_id), **sharding)
