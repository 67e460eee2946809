"""What verdicts must not say: bounds that runs exceed, fits that any figure would find."""

import random
from decimal import Decimal

import pytest
from audited import LLAVA, NEXT, claim, verdict
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.costmodel.clock import Running
from vlm_tokencost.costmodel.latency import latency
from vlm_tokencost.presets.auditing.audit import audit
from vlm_tokencost.presets.auditing.setting import report_of
from vlm_tokencost.presets.claim import Claim, load_claims
from vlm_tokencost.presets.device import load_device

VISIONZIP = {"applies": "visionzip", "budget": 160, **NEXT}


def committed(claim_id, **changes):
    """Audit a committed claim, or one that differs from it in some fields."""
    known = load_claims()
    own = known[claim_id]
    if changes:
        own = Claim(**{**own.model_dump(exclude_unset=True), **changes})
    return audit(own, known)


@pytest.mark.parametrize("device", ["a100-80-sxm", "rtx-4090"])
@pytest.mark.parametrize("schedule", ["compress 64", "keep 0.5 @ 2"])
@pytest.mark.parametrize(("attention", "backend"), [("eager", "eager"), ("fused", "sdpa")])
def test_estimates_of_the_latency_model_are_plausible(device, schedule, attention, backend):
    """What `latency` estimates for both runs is nothing that the audit may doubt."""
    for batch, new_tokens in ((1, 1), (16, 1), (1, 200), (16, 200)):
        fields = {
            "schedule": schedule,
            "batch": batch,
            "new_tokens": new_tokens,
            "text_tokens": 64,
            "attention": attention,
            "device": device,
            **LLAVA,
        }
        report = report_of(claim("speed-up", 1, "×", **fields))
        found = latency(report, load_device(device), Running(attention=backend))
        sides = found.dense, found.scheduled
        gains = {
            "llm-prefill": [one.stages["prefill"].time for one in sides],
            "ttft": [one.ttft for one in sides],
            "end-to-end": [one.end_to_end for one in sides],
        }
        if new_tokens > 1:
            gains["decode"] = [one.mean.time for one in sides]
        for scope, (dense, own) in gains.items():
            factor = f"{dense.central / own.central:.4g}"
            judged = verdict("speed-up", factor, "×", scope=scope, **fields)
            assert judged.verdict == "plausible", (scope, batch, new_tokens, factor)


def test_a_cache_that_is_copied_makes_more_of_a_forward():
    # Weights of 32·(4·4096² + 3·4096·11008) + 32,064·4096 numbers are 13.2 GB; 2,880 tokens of
    # 524,288 B are 1.51 GB, read, and where the cache is concatenated read and written once more:
    # (13.2 + 3·1.51) / (13.2 + 3·0.08) = 1.32; (13.2 + 1.51) / (13.2 + 0.08) = 1.11 otherwise.
    fields = {"scope": "decode", "batch": 1, **VISIONZIP}
    assert verdict("speed-up", "1.29", "×", **fields).verdict == "plausible"
    static = verdict("speed-up", "1.29", "×", attention="fused", runtime="graph", **fields)
    assert (static.verdict, static.rule) == ("impossible", "kv-share")


def test_stated_eager_attention_is_judged_as_eager():
    # FastV on 2,880 tokens: 2.0 times fewer FLOPs, 3.4 times fewer scores.
    fields = {"scope": "llm-prefill", "applies": "fastv", "attention": "eager", **NEXT}
    for device in ("", "a100-80-sxm"):
        found = verdict("speed-up", "2.2", "×", device=device, **fields)
        assert found.verdict == "plausible"
        beyond = verdict("speed-up", "9", "×", device=device, **fields)
        assert "eager attention on both sides" in beyond.reason
        assert "fused" not in beyond.reason


def test_only_what_no_software_does_is_impossible_on_a_device():
    # FLOPs fall 2.0 times; a prefill of 2,880 tokens takes 0.12 to 0.5 s on an A100.
    fields = {"scope": "llm-prefill", "applies": "fastv", "device": "a100-80-sxm", **NEXT}
    found = verdict("speed-up", "3.0", "×", attention="fused", **fields)
    assert (found.verdict, found.rule) == ("needs scope", "same-software")
    assert verdict("speed-up", "30", "×", attention="fused", **fields).verdict == "impossible"


def test_bounds_are_of_the_scope_and_its_parts():
    # Neither attention alone nor serving is a part of the time to the first token.
    found = verdict("speed-up", 2, "×", scope="ttft", **VISIONZIP)
    assert {name for name, _ in found.bounds} == {"ttft", "prefill", "llm-prefill"}


@pytest.mark.parametrize("digits", [2, 3])
def test_random_costs_are_not_reproduced(digits):
    """Of figures between 0.3 and 3 T, few are 64 tokens', by whatever reading."""
    numbers = random.Random(7)
    reproduced = 0
    for _ in range(60):
        value = f"{10 ** numbers.uniform(-0.52, 0.48):.{digits}g}"
        fields = {"applies": "visionzip", "budget": 64, **LLAVA}
        reproduced += verdict("flops", value, "TFLOP", **fields).verdict.startswith("reprod")
    assert reproduced <= 60 / 4


def test_one_digit_reproduces_nothing():
    # At 192 tokens exact FLOPs of LLM and encoder are 2.9 T, which prints as 3, as 3.4 T would.
    fields = {"applies": "visionzip", "budget": 192, **LLAVA}
    found = verdict("flops", 3, "TFLOP", **fields)
    assert found.verdict == "plausible"
    assert found.missing == ("another digit",)
    # 32·(4·576·4096² + 2·576²·4096 + 3·576·4096·11008) = 3.817 T: the one reading that is left.
    stated = verdict("flops", 4, "TFLOP", dense=True, convention="gated", text_tokens=0, **LLAVA)
    assert stated.verdict == "reproduced"


def test_two_tokens_are_no_prompt():
    # 64 of 576 tokens are 11.11 %; f(64)/f(576) is 10.8 % (survey), which two others make 11.1.
    fields = {"applies": "visionzip", "budget": 64, **LLAVA}
    found = verdict("flops ratio", "11.1", "%", **fields)
    assert (found.verdict, found.rule) == ("not checkable", "incomplete")
    assert "the prompt, which would have" in found.missing[0]
    assert "that of the visual tokens alone" in found.reason


def test_a_prompt_that_most_figures_would_find_proves_nothing():
    # From 8 to 120 others a dense 7B costs 3.0 to 3.6, 3.9 to 4.6 or 7.7 to 9.3 T.
    found = verdict("flops", "4.21", "TFLOP", dense=True, **LLAVA)
    assert (found.verdict, found.rule) == ("plausible", "fit")
    assert "That proves little" in found.reason


def test_a_prompt_that_gives_the_table_proves_something():
    # gated at 118 others: 4.621 dense; 2.13 for 576, 309, 204 and 113 tokens in 3, 4, 9 and 16.
    for claim_id, text in (("SV199", "118 "), ("SV200", "119 ")):
        found = committed(claim_id)
        assert found.verdict == "reproduced with an assumption"
        assert found.assumption.startswith(text)
        assert "beside it too" in found.reason


def test_two_prompts_in_one_table():
    # 12.8 % would take 86 to 89 text tokens, the 15.6 % beside it 76 to 79.
    for claim_id in ("fastv-03", "sparsevlm-01"):
        found = committed(claim_id)
        assert (found.verdict, found.rule) == ("plausible", "one-prompt")


def test_a_dense_figure_that_the_setting_does_not_give_condemns_no_row():
    # 71.9 G a layer are 447 tokens by the survey formula; the image makes 256.
    for claim_id in ("SV111", "SV112", "SV114", "SV115", "SV117", "SV118"):
        found = committed(claim_id)
        assert found.verdict == "not checkable"
        assert "71.9 GFLOP" in found.reason


def test_what_was_worked_out_here_is_no_published_claim():
    fields = {"schedule": "compress 0.25", **LLAVA}
    assert verdict("token ratio", 25, "%", **fields).verdict == "reproduced"
    own = verdict("token ratio", 25, "%", verification="calculated", **fields)
    assert (own.verdict, own.rule) == ("not checkable", "calculated")


def test_what_nobody_saw_says_so():
    found = verdict(
        "token ratio", 25, "%", schedule="compress 0.25", verification="memory", **LLAVA
    )
    assert found.reason.endswith("The figure was not seen in a source.")


def test_a_model_that_stands_in_proves_less():
    stands = {"stands_in": "the same LLM", **LLAVA}
    fields = {"convention": "gated", "text_tokens": 0}
    found = verdict("flops", "3.82", "TFLOP", dense=True, **fields, **stands)
    assert (found.verdict, found.rule) == ("reproduced with an assumption", "stand-in")
    assert found.assumption == "the same LLM"
    wrong = verdict("flops", "5.00", "TFLOP", dense=True, **fields, **stands)
    assert (wrong.verdict, wrong.rule) == ("not checkable", "stand-in")
    # 13.8 k and 6.4 k tokens are 256.5 and 99.97 T: the second alone is as printed, 99.8.
    row = committed("dualcomp-04")
    assert (row.verdict, row.rule) == ("not checkable", "stand-in")
    assert "198.1 TFLOP" in row.reason


def test_memory_of_a_table_is_measured_in_one_way():
    # 16.8 GiB dense is eager attention; its pruned rows are no eager runs, nor all fused ones.
    for claim_id in ("measured-coin-01", "measured-coin-07", "measured-coin-10", "hawk-10"):
        assert committed(claim_id).verdict == "plausible"
    alone = verdict("memory", "16.8", "GB", dense=True, **NEXT)
    assert alone.verdict == "reproduced with an assumption"
    pruned = claim("memory", "15.7", "GB", "pruned", baseline="dense", **VISIONZIP)
    dense = claim("memory", "16.8", "GB", "dense", dense=True, **NEXT)
    beside = {one.id: one for one in (pruned, dense)}
    assert audit(dense, beside).verdict == "plausible"
    assert audit(pruned, beside).verdict == "plausible"


def test_random_memory_is_not_reproduced():
    """Of three-digit figures just above the weights few are reproduced."""
    numbers = random.Random(7)
    values = {f"{numbers.uniform(14.5, 20):.1f}" for _ in range(40)}
    found = [verdict("memory", one, "GB", dense=True, **NEXT).verdict for one in values]
    assert sum(one.startswith("reproduced") for one in found) <= len(values) / 5


def test_a_printed_dense_figure_holds_what_may_be_saved():
    # 33 GB printed for 26.7 GB of weights (24.9 GiB): 6 GB and more are no weights, 27 are left.
    found = committed("SV151")
    assert found.verdict == "plausible"
    fields = {"schedule": "keep 0.25 @ 2", "model": "llava-1.5-13b", "batch": 1}
    # Without it 1 − 26.7 / (29.2 · 1.15) = 20.5 %, with what allocators reserve.
    assert verdict("memory reduction", 18, "%", **fields).verdict == "plausible"
    assert verdict("memory reduction", 40, "%", **fields).verdict == "impossible"


def test_a_lighter_recipe_saves_more_than_flops():
    # Steps keep 45.8 % of their FLOPs; without recomputed activations 3/4 of that, 34.3 %.
    fields = {"applies": "pyramiddrop", "scope": "training", **NEXT}
    found = verdict("training reduction", 60, "%", **fields)
    assert (found.verdict, found.rule) == ("needs scope", "training-bound")
    assert verdict("training reduction", 68, "%", **fields).verdict == "impossible"


def test_times_of_unknown_images_are_not_checked():
    fields = {"model": "qwen2.5-vl-7b", "device": "a100-80-sxm", "scope": "llm-prefill"}
    found = verdict("time", 200, "ms", dense=True, **fields)
    assert found.verdict == "not checkable"
    assert "the size of the images, or the visual tokens" in found.missing


def test_an_unstated_answer_is_named():
    # Loading, encoder and prefill take less than a second; an answer takes what it takes.
    fields = {"device": "a100-80-sxm", "dense": True, **NEXT}
    found = verdict("time", 5, "s", **fields)
    assert found.verdict == "needs scope"
    assert "the length of the answers" in found.missing


def test_repeated_figures_are_those_that_they_repeat():
    known = load_claims()
    repeats = [one for one in known.values() if one.repeats]
    assert len(repeats) >= 10
    for one in repeats:
        other = known[one.repeats]
        assert not other.repeats
        assert (one.model, one.quantity, one.unit) == (other.model, other.quantity, other.unit)
        assert abs(one.base - other.base) <= max(one.step, other.step) / 2, one.id


@pytest.mark.parametrize(
    "fields",
    [
        {"quantity": "flops reduction", "value": 110, "unit": "%"},
        {"quantity": "flops reduction", "value": 1, "unit": "fraction"},
        {"follows": [{"kind": "equal", "of": ["one"]}]},
        {"baseline": "one"},
        {"repeats": "one"},
    ],
)
def test_what_cannot_be_is_refused(fields):
    usual = {"quantity": "flops", "value": 3, "unit": "TFLOP"}
    with pytest.raises(InvalidInput):
        Claim(id="one", method="m", source="s", **{**usual, **fields})


def test_a_baseline_is_of_the_same_model():
    other = claim("time", Decimal(300), "ms", "other", dense=True, model="llava-1.5-13b")
    with pytest.raises(InvalidInput, match=r"is of llava-1\.5-13b, not of llava-1\.5-7b"):
        verdict("time", 100, "ms", known=[other], baseline="other", applies="fastv", **LLAVA)


def test_both_ends_of_a_range_are_told():
    # 105 to 186 % of the time are 1/1.86 = 0.54 to 1/1.05 = 0.95 times as fast.
    found = verdict("time ratio", 105, "%", most="186", scope="prefill", **VISIONZIP)
    assert found.reason.startswith(("0.5362 to 0.9569×", "0.5376 to 0.9524×"))


def test_macs_are_called_macs():
    # 32·(4·576·4096² + 2·576²·4096 + 3·576·4096·11008) multiply-adds, printed as 3,817 TFLOPs.
    assert "3.817 TMAC" in committed("SV001").reason
    doubled = verdict(
        "flops", "7.634", "TFLOP", dense=True, convention="gated", text_tokens=0, **LLAVA
    )
    assert "7.634 TFLOP" in doubled.reason


def test_a_supposed_field_must_be_filled():
    with pytest.raises(InvalidInput, match="visual_tokens is empty"):
        claim("speed-up", 2, "×", supposed=["visual_tokens"], applies="fastv", **LLAVA)
    found = verdict(
        "token ratio",
        25,
        "%",
        schedule="compress 0.25",
        text_tokens=9,
        supposed=["text_tokens"],
        **LLAVA,
    )
    assert found.verdict == "reproduced with an assumption"
    assert found.assumption == "9 text tokens"


def test_a_reading_with_the_encoder_is_an_assumption_unless_stated():
    # 45 % is FastV's with half of the tokens from layer 2 on; without text the LLM alone saves
    # 46 to 47.4 %, and with CLIP 45.0.
    fields = {"applies": "fastv", **LLAVA}
    found = verdict("flops reduction", 45, "%", **fields)
    assert found.verdict == "reproduced with an assumption"
    assert "encoder is meant" in found.assumption
    assert verdict("flops reduction", 45, "%", scope="prefill", **fields).verdict == "reproduced"


def test_decode_without_a_length_is_still_bounded_by_its_device():
    fields = {"applies": "fastv", "scope": "decode", "device": "h100-sxm", **LLAVA}
    found = verdict("speed-up", "3.1", "×", **fields)
    assert found.verdict == "needs scope"
