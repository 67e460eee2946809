"""Rules on gains, times and memory; expected values are worked out beside them."""

from decimal import Decimal

import pytest
from audited import LLAVA, NEXT, claim, verdict
from vlm_tokencost.costmodel import InvalidInput, UnknownName
from vlm_tokencost.presets.auditing.audit import audit
from vlm_tokencost.presets.claim import Claim

VISIONZIP = {"applies": "visionzip", "budget": 160, **NEXT}


@pytest.mark.parametrize(
    ("scope", "value", "expected", "where"),
    [
        # f(2880)/f(160) is 20 to 20.5 by convention; with CLIP's five crops 10.9.
        ("llm-prefill", 15, "plausible", "llm-prefill"),
        ("llm-prefill", 25, "needs scope", "llm-prefill"),  # with eager attention
        ("llm-prefill", 60, "impossible", "llm-prefill"),
        ("prefill", 15, "needs scope", "llm-prefill"),
        ("ttft", 9, "plausible", "ttft"),
        ("end-to-end", 15, "needs scope", "llm-prefill"),
        ("", 9, "plausible", "end-to-end"),
        ("", 15, "needs scope", "llm-prefill"),
        ("", 300, "needs scope", "attention"),  # (2880/160)² = 324
        ("", 400, "impossible", "end-to-end"),
        ("end-to-end", 300, "impossible", "end-to-end"),
    ],
)
def test_scopes(scope, value, expected, where):
    found = verdict("speed-up", value, "×", scope=scope, **VISIONZIP)
    assert (found.verdict, found.scope) == (expected, where)


def test_shares_of_time_are_gains():
    # 95 % less time is 20 times, 10 % of the time 10 times as fast.
    fields = {"scope": "prefill", **VISIONZIP}
    assert verdict("time reduction", 89, "%", **fields).verdict == "plausible"
    # 97 % is 33 times: more than FLOPs allow, not more than scores in memory do.
    assert verdict("time reduction", 97, "%", **fields).verdict == "needs scope"
    assert verdict("time reduction", 99, "%", **fields).verdict == "impossible"
    assert verdict("time ratio", 10, "%", **fields).verdict == "plausible"
    assert verdict("time ratio", 2, "%", **fields).verdict == "impossible"


def test_times_with_a_baseline_imply_a_gain():
    fields = {"scope": "prefill", **VISIONZIP}
    assert verdict("time", "27.8", "ms", baseline="218", **fields).verdict == "plausible"
    assert verdict("time", "5.0", "ms", baseline="218", **fields).verdict == "impossible"
    whole = {**fields, "scope": "end-to-end"}
    assert verdict("total time", 756, "s", baseline="2293", **whole).verdict == "plausible"


def test_decoding_gains_the_cache_share():
    # 2,880 of 0.524 MB are 1.5 GB beside 13.2 GB of weights: 1.1 at most for one request.
    fields = {"scope": "decode", "batch": 1, **VISIONZIP}
    assert verdict("speed-up", "1.08", "×", **fields).verdict == "plausible"
    found = verdict("speed-up", "1.5", "×", **fields)
    assert (found.verdict, found.rule) == ("impossible", "kv-share")


def test_many_requests_together_share_the_weights():
    fields = {"scope": "decode", **VISIONZIP}
    found = verdict("speed-up", "1.5", "×", **fields)
    assert (found.verdict, "the batch" in found.missing) == ("needs scope", True)


def test_answers_dilute_a_prefill():
    # A100: a prefill of 2,880 tokens takes 0.13 to 0.4 s, 512 decode forwards 4 to 20 s.
    fields = {"scope": "end-to-end", "device": "a100-80-sxm", "batch": 1, **VISIONZIP}
    assert verdict("speed-up", "3.0", "×", new_tokens=1, **fields).verdict == "plausible"
    found = verdict("speed-up", "3.0", "×", new_tokens=512, **fields)
    assert (found.verdict, found.rule, found.scope) == ("needs scope", "amdahl", "ttft")
    # Even the LLM's prefill alone, with 28 MB of scores for every one that fused kernels keep:
    # (2880/160)² = 324 times fewer, but no fewer weights to read.
    assert verdict("speed-up", 60, "×", new_tokens=512, **fields).verdict == "impossible"


def test_nothing_is_known_of_another_model():
    found = verdict("speed-up", 3, "×", applies="visionzip", budget=64)
    assert (found.verdict, found.rule) == ("not checkable", "incomplete")


def test_an_assumed_schedule_condemns_nobody():
    # TopV's kept share is not published: 55 % is our guess.
    found = verdict("speed-up", 3, "×", applies="topv", **LLAVA)
    assert found.verdict == "not checkable"
    assert any("assumed" in one for one in found.missing)


def test_a_selection_is_charged():
    # EvoComp's compressor is a layer of 32 over all tokens: without it 9.2 at 64 of 576 tokens.
    fields = {"scope": "llm-prefill", **LLAVA}
    whole = {"scope": "prefill", **LLAVA}
    evocomp = verdict("speed-up", 5, "×", applies="evocomp", budget=64, **whole)
    bare = verdict("speed-up", 5, "×", schedule="compress 64", **whole)
    assert (
        evocomp.bound
        < bare.bound
        < verdict("speed-up", 5, "×", schedule="compress 64", **fields).bound
    )


A100 = {"device": "a100-80-sxm", "dense": True, "scope": "llm-prefill"}


def test_a_usual_time_is_plausible():
    found = verdict("time", 218, "ms", **A100, **NEXT)
    assert (found.verdict, found.rule) == ("plausible", "latency-interval")


def test_more_than_the_peak_is_impossible():
    # 2·6.5e9·2880 FLOP = 37 TFLOP in 60 ms are 620 TFLOP/s of 312.
    found = verdict("time", 60, "ms", **A100, **NEXT)
    assert (found.verdict, found.rule) == ("impossible", "peak-share")


def test_a_time_far_above_its_stage_contains_more():
    found = verdict("time", 5000, "ms", **A100, **NEXT)
    assert (found.verdict, found.rule) == ("needs scope", "contains-more")


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [("eager", "needs scope"), ("", "needs scope"), ("graph", "plausible")],
)
def test_python_launches_no_layer_in_half_a_millisecond(runtime, expected):
    # 0.65 ms are measured of Hugging Face's code; leaner eager code may be faster.
    # 32 layers · 0.6 ms = 19.2 ms; 64 tokens take 7 ms of weights on an A100.
    fields = {**A100, "dense": False, "schedule": "compress 64", "runtime": runtime}
    found = verdict("time", 15, "ms", **fields, **LLAVA)
    assert found.verdict == expected
    assert (found.rule == "host-floor") is (expected != "plausible")


def test_a_decode_forward_reads_all_weights():
    # 13.2 GB at 2.04 TB/s are 6.5 ms.
    fields = {**A100, "scope": "decode", "runtime": "graph", **LLAVA}
    assert verdict("time", 10, "ms", **fields).verdict == "plausible"
    found = verdict("time", 4, "ms", **fields)
    assert (found.verdict, found.rule) == ("impossible", "physical-floor")


def test_what_is_missing_is_named():
    found = verdict("time", 218, "ms", dense=True, scope="llm-prefill", **NEXT)
    assert found.missing == ("the device",)
    end = verdict("time", 2, "s", **{**A100, "scope": "end-to-end"}, **NEXT)
    assert "the length of the answers" in end.missing


def test_less_than_the_weights_is_impossible():
    # 7,063,427,072 parameters of 2 bytes: 14.13 GB, 13.16 GiB.
    assert verdict("memory", "13.0", "GB", dense=True, **LLAVA).rule == "weights-floor"
    assert verdict("memory", "13.5", "GB", dense=True, **LLAVA).verdict != "impossible"


def test_quantised_weights_take_less():
    found = verdict("memory", "5.0", "GB", dense=True, weight_bits=4, **LLAVA)
    assert found.verdict != "impossible"


def test_eager_scores_make_the_published_peak():
    # 13.16 weights + 1.44 cache + 2.06 scores + 0.13 encoder: 16.79 GiB (four papers print
    # 16.7 or 16.8 GB).
    found = verdict("memory", "16.8", "GB", dense=True, **NEXT)
    assert found.verdict == "reproduced with an assumption"
    assert "eager attention" in found.assumption and "GiB" in found.assumption


def test_far_more_than_one_request_takes_needs_its_batch():
    assert verdict("memory", 60, "GB", dense=True, **LLAVA).verdict == "needs scope"


def test_saving_more_than_all_but_the_weights_is_impossible():
    fields = {"schedule": "compress 64", "batch": 1, **LLAVA}
    found = verdict("memory reduction", 60, "%", **fields)
    assert (found.verdict, found.rule) == ("impossible", "memory-bound")
    assert verdict("memory reduction", 3, "%", **fields).verdict != "impossible"


def test_besides_the_weights():
    # 64 of 576 tokens leave 128 of 640 in the cache: 80 % less.
    fields = {"schedule": "compress 64", "text_tokens": 64, **LLAVA}
    found = verdict("dynamic memory reduction", "80.0", "%", **fields)
    assert found.verdict == "reproduced with an assumption"
    assert verdict("dynamic memory reduction", 99, "%", **fields).verdict == "impossible"


TRAINED = {"applies": "pyramiddrop", "scope": "training", **NEXT}


def test_more_than_the_flops_cannot_be_saved():
    # Steps save 54 % of their FLOPs.
    found = verdict("training reduction", 70, "%", **TRAINED)
    assert (found.verdict, found.rule) == ("impossible", "training-bound")
    assert verdict("training reduction", 40, "%", **TRAINED).verdict == "plausible"
    assert verdict("training speed-up", "1.7", "×", **TRAINED).verdict == "plausible"
    assert verdict("training ratio", 30, "%", **TRAINED).verdict == "impossible"


def test_hours_are_held_against_those_beside_them():
    fields = {**TRAINED, "baseline": "366"}
    assert verdict("training time", 218, "h", **fields).verdict == "plausible"
    assert verdict("training time", 100, "h", **fields).verdict == "impossible"
    assert verdict("training time", 218, "h", **TRAINED).verdict == "not checkable"


@pytest.mark.parametrize(
    ("fields", "error", "named"),
    [
        ({"model": "llava-9"}, UnknownName, "llava-9"),
        ({"model": "llava-1.5-7b", "applies": "fastvv"}, UnknownName, "fastvv"),
        (
            {"model": "llava-1.5-7b", "applies": "divprune", "budget": 900},
            InvalidInput,
            "budget",
        ),
        ({"model": "llava-1.5-7b", "schedule": "keep 0.5 @ 99"}, InvalidInput, "99"),
        ({"model": "llava-1.5-7b", "schedule": "keep half"}, InvalidInput, "half"),
        ({"model": "llava-1.5-7b", "schedule": {"stage": []}}, InvalidInput, "stage"),
    ],
)
def test_what_does_not_fit_is_an_error(fields, error, named):
    with pytest.raises(error, match=named):
        verdict("flops ratio", 50, "%", **fields)


def test_an_unknown_device_is_an_error():
    with pytest.raises(UnknownName, match="a101"):
        verdict("time", 100, "ms", dense=True, device="a101", scope="llm-prefill", **LLAVA)


def test_texts_are_recorded():
    found = audit(
        Claim(id="x", method="m", source="s", quantity="setting", unit="text", printed="K = 2")
    )
    assert (found.verdict, found.rule) == ("not checkable", "no-number")


def test_a_dense_run_has_no_gain_over_itself():
    for quantity, unit in (("speed-up", "×"), ("flops ratio", "%"), ("training reduction", "%")):
        found = verdict(quantity, 55, unit, dense=True, **LLAVA)
        assert (found.verdict, found.missing) == ("not checkable", ("what it is compared with",))


def test_a_count_is_not_its_own_proof():
    # LLaVA-1.5 makes 576 tokens of any image, whatever a claim says besides.
    fields = {"dense": True, "model": "llava-1.5-7b"}
    found = verdict("visual tokens", 600, "tokens", visual_tokens=600, **fields)
    assert found.verdict == "inconsistent"
    assert found.value == 576


def test_decode_forwards_cost_their_weights_and_keys():
    # 32·(4·4096² + 3·4096·11008) + 32,064·4096 weights and 641 keys of 32·2·4096: 13.55 GFLOP.
    flops = 2 * (32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32064 * 4096 + 641 * 32 * 2 * 4096)
    fields = {"dense": True, "scope": "decode", "text_tokens": 64, **LLAVA}
    found = verdict("flops", f"{flops / 1e9:.2f}", "GFLOP", **fields)
    assert (found.verdict, found.value) == ("reproduced", flops / 1e9)


def test_a_reserve_is_recognised_without_a_model():
    fields = {"applies": "dstp", "baseline": Decimal("15.1")}
    found = verdict("memory", "18.6", "GB", **fields)
    assert (found.verdict, found.rule) == ("plausible", "reserve")
    assert verdict("memory", "9.0", "GB", **fields).verdict == "not checkable"


def test_bounds_are_in_the_claims_unit():
    # A bound of b times is 1 − 1/b of the time saved, 1/b of it left, and 218 ms / b.
    fields = {"scope": "llm-prefill", "applies": "visionzip", "budget": 160, **NEXT}
    factor = verdict("speed-up", 8, "×", **fields).bound
    assert verdict("time reduction", 80, "%", **fields).bound == pytest.approx(100 - 100 / factor)
    assert verdict("time ratio", 20, "%", **fields).bound == pytest.approx(100 / factor)
    timed = verdict("time", 40, "ms", baseline=Decimal(218), **fields)
    assert timed.bound == pytest.approx(218 / factor)


def test_a_baseline_must_be_of_the_same_kind():
    flops = claim("flops", 1, "TFLOP", "flops")
    with pytest.raises(InvalidInput, match="baseline flops prints flops, not time"):
        verdict("time", 40, "ms", known=[flops], baseline="flops", applies="fastv", **LLAVA)


@pytest.mark.parametrize("value", ["0", "-3"])
def test_amounts_are_positive(value):
    with pytest.raises(InvalidInput, match="positive"):
        claim("time", value, "ms")
    assert claim("memory reduction", value, "%").value == Decimal(value)


def test_a_prompt_between_two_whole_numbers():
    # gated at 118 text tokens 4.6205 T, at 119 4.6274: 4.624 is an average over prompts.
    found = verdict("flops", "4.624", "TFLOP", dense=True, convention="gated", **LLAVA)
    assert found.verdict == "reproduced with an assumption"
    assert "118 to 119 text tokens" in found.assumption


def test_eager_attention_shrinks_faster_than_flops():
    # FastV on 2,880 tokens: FLOPs of the LLM fall 2.0 times; with scores in memory, of which
    # (2 + 30/4)/32 = 29.7 % are left, its prefill falls by less than 1 / 0.297 = 3.37 times.
    fields = {"scope": "llm-prefill", "applies": "fastv", **NEXT}
    found = verdict("speed-up", "2.3", "×", **fields)
    assert (found.verdict, found.rule) == ("needs scope", "eager-attention")
    assert "the kernel of attention" in found.missing
    assert verdict("speed-up", "2.3", "×", attention="fused", **fields).verdict == "impossible"
    assert verdict("speed-up", "3.5", "×", **fields).verdict == "impossible"
