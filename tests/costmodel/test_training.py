"""Training steps by hand, against 6ND, and GPU hours against PyramidDrop's."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from vlm_tokencost.costmodel import Counting, InvalidInput, Report, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.primitives.training import Training
from vlm_tokencost.costmodel.training import explaining_share, gpu_hour_ratio, training_step
from vlm_tokencost.presets import load_method, load_model

# LLaVA-1.5-7B: 32 layers, d = 4096, m = 11008; CLIP with 577 tokens; vocabulary 32064
TRAINED_ENCODER = Training(frozen_encoder=False)


def asked(model: str = "llava-1.5-7b", text: int = 64, **primitives: Any) -> Report:
    schedule = Schedule(**primitives) if primitives else None
    return evaluate(load_model(model), Workload(text_tokens=text), schedule)


def test_a_dense_step_by_hand():
    step = training_step(asked())
    linears = 640 * (4 * 4096**2 + 3 * 4096 * 11008)
    attention = 2 * 640**2 * 4096
    assert step.by_component() == {
        # Frozen: the prefill's golden figure, and nothing else
        "vision": 381_918_216_192,
        # 1024 → 4096 → 4096 over 576 tokens; the first has no gradient of its input
        "connector": 2 * 576 * (2 * 1024 * 4096 + 3 * 4096 * 4096),
        # Each product with one gradient for each of its two operands
        "decoder": 32 * 2 * 3 * (linears + attention),
        "head": 2 * 3 * 640 * 4096 * 32064,
        "selection": 0,
    }
    assert step.total == sum(step.by_component().values())
    assert step.bounds == ()


def test_six_flops_per_weight_and_token():
    # Kaplan et al. and PaLM: 6N, and 12·L·H·Q·T of attention, for each of T tokens
    weights, tokens = 32 * (4 * 4096**2 + 3 * 4096 * 11008), 640
    decoder = training_step(asked()).by_component()["decoder"]
    assert decoder == tokens * (6 * weights + 12 * 32 * 4096 * tokens)


def test_recomputation_is_a_forward_pass_of_the_llm_layers():
    once, again = (training_step(asked(), Training(recompute=how)) for how in (False, True))
    assert again.recomputation.total == 8_504_035_246_080  # the decoder's golden figure
    assert again.total - once.total == again.recomputation.total


def test_a_trained_encoder():
    step, frozen = training_step(asked(), TRAINED_ENCODER), training_step(asked())
    one_layer = 2 * (577 * (4 * 1024**2 + 2 * 1024 * 4096) + 2 * 577**2 * 1024)
    patches = 2 * 576 * 3 * 14**2 * 1024
    # Of 24 layers the last is computed in vain; patches have no gradient of the image
    assert 24 * one_layer + patches == 381_918_216_192
    assert step.by_component()["vision"] == (24 + 2 * 23) * one_layer + 2 * patches
    # and the connector passes gradients on
    assert step.by_component()["connector"] == 3 * 24_159_191_040
    kept = ("decoder", "head", "selection")
    assert all(step.by_component()[part] == frozen.by_component()[part] for part in kept)


def test_a_trained_convolutional_encoder():
    report = asked("fastvlm-0.5b")
    # Of 1024×1024 pixels the stem's first convolution, 3 → 96 of 3×3, has 512×512 positions, and
    # no gradient of the image
    first = 2 * 512**2 * 3 * 96 * 9
    forward = report.bill().by_component()["vision"]
    assert training_step(report, TRAINED_ENCODER).by_component()["vision"] == 3 * forward - first


def test_a_schedule_is_active_in_the_step():
    report = asked(stages=[{"first_layer": 2, "ratio": 0.5}])
    step = training_step(report)
    layers = [640] * 2 + [352] * 30
    decoder = sum(6 * (n * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * n * n * 4096) for n in layers)
    assert step.by_component()["decoder"] == decoder
    assert step.by_component()["head"] == 6 * 352 * 4096 * 32064
    assert training_step(report, scheduled=False) == training_step(asked())


def test_frozen_tokens_have_fewer_products():
    # In 4 layers the 576 visual tokens expose keys and values and nothing else
    step = training_step(asked(layers=[{"kind": "freeze", "layers": [3, 4, 5, 6]}]))
    whole = 640 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 640**2 * 4096
    part = 64 * (2 * 4096**2 + 3 * 4096 * 11008) + 640 * 2 * 4096**2 + 2 * 64 * 640 * 4096
    assert step.by_component()["decoder"] == 6 * (28 * whole + 4 * part)


def test_a_choice_without_parameters_has_no_backward_pass():
    model = load_model("llava-1.5-7b")
    schedule = load_method("pyramiddrop").schedule(model, Workload())
    report = evaluate(model, Workload(), schedule)
    chosen = report.bill().by_component()["selection"]
    step = training_step(report, Training(recompute=True))
    assert step.by_component()["selection"] == chosen > 0
    assert step.bounds == ()


LEARNED = {
    "parameters": "d * 2",
    "terms": [
        {
            "kind": "linear",
            "name": "scorer",
            "tokens": "M",
            "in_features": "d",
            "out_features": "2",
        }
    ],
}


def test_a_choice_with_parameters_is_trained():
    report = asked(
        stages=[{"first_layer": 2, "ratio": 0.5}],
        selection={
            "name": "scorer",
            "computes": "a score of each token",
            **LEARNED,
            "ideal": {"launches": "1", "attention_map": "0"},
        },
    )
    step = training_step(report)
    assert step.by_component()["selection"] == 3 * 2 * 576 * 4096 * 2
    (bound,) = step.bounds
    assert "selection" in bound


def test_norms_before_the_connector_are_trained_too():
    # InternVL3-8B: merge, norm, 4096 → 3584 → 3584 over 256 tokens: the norm needs the gradient
    step = training_step(asked("internvl3-8b"))
    forward = 2 * 256 * (4096 * 3584 + 3584 * 3584)
    assert step.by_component()["connector"] == 3 * forward


def test_a_bound_is_called_one():
    # Molmo's pooling attention reads the frozen encoder's output, and learned padding in it
    (bound,) = training_step(asked("molmo-7b-d")).bounds
    assert "connector" in bound
    assert training_step(asked("molmo-7b-d"), TRAINED_ENCODER).bounds == ()


def test_a_mixture_costs_its_expectation():
    ways = [
        {"probability": 0.5},
        {"probability": 0.25, "schedule": {"compress": {"tokens": 64}}},
        {"probability": 0.25, "skipped": True},
    ]
    step = training_step(asked(mixture=ways))
    dense = training_step(asked()).total
    small = training_step(asked(compress={"tokens": 64})).total
    # Each of some hundred entries is rounded to whole FLOPs
    assert abs(step.total - Fraction(dense, 2) - Fraction(small, 4)) <= 300


def test_a_schedule_states_how_it_is_trained():
    report = asked(training={"recompute": True, "fixed_share": 0.26, "frozen_encoder": False})
    expected = training_step(asked(), Training(recompute=True, frozen_encoder=False))
    assert training_step(report).total == expected.total


def test_counting_keeps_its_choices():
    model, workload = load_model("llava-1.5-7b"), Workload()
    causal = training_step(evaluate(model, workload, None, Counting(causal=True)))
    # n(n + 1)/2 pairs of n² in 32 layers, three times, 4·d FLOP each
    fewer = 32 * 3 * 4 * 4096 * (640**2 - 640 * 641 // 2)
    assert training_step(asked()).total - causal.total == fewer


@pytest.mark.parametrize(
    ("report", "field"),
    [
        (lambda: asked("instructblip-flan-t5-xl"), "model"),
        (lambda: asked(stream={"stride": 0.5}), "stream"),
    ],
    ids=["encoder–decoder", "stream"],
)
def test_what_no_step_is_known_of(report, field):
    with pytest.raises(InvalidInput) as refusal:
        training_step(report())
    assert refusal.value.field == field


# --- GPU hours ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("visual", "ratio", "dense", "scheduled", "share"),
    [
        # arXiv 2410.17247: LLaVA-1.5 104 → 79 h; 79/104 = 0.7596, (0.7596 − 0.4656)/0.5344
        (576, 0.4656, 104, 79, 0.55),
        # LLaVA-NeXT 366 → 218 h; 218/366 = 0.5956, (0.5956 − 0.4545)/0.5455
        (2880, 0.4545, 366, 218, 0.26),
    ],
    ids=["LLaVA-1.5", "LLaVA-NeXT"],
)
def test_pyramiddrop_hours_need_a_fixed_share(visual, ratio, dense, scheduled, share):
    model = load_model("llava-1.5-7b")
    workload = Workload(visual_tokens=visual, text_tokens=0)
    schedule = load_method("pyramiddrop").schedule(model, workload)
    report = evaluate(model, workload, schedule)
    gated = Fraction(report.total("gated"), report.total("gated", scheduled=False))
    assert round(float(gated), 4) == ratio
    explained = explaining_share(gated, Fraction(scheduled, dense))
    assert explained is not None and round(float(explained), 2) == share
    assert gpu_hour_ratio(gated, explained) * dense == scheduled


@pytest.mark.parametrize(("kept", "hours"), [(0.4, 204), (0.6, 240)])
def test_the_fixed_share_of_one_setting_predicts_the_others(kept, hours):
    # arXiv 2410.17247: LLaVA-NeXT trains 366 h, and 204, 218 and 240 h with λ = 0.4, 0.5 and 0.6;
    # 0.2587 is what λ = 0.5 says (above), and the other two follow to 1.2 %
    workload = Workload(visual_tokens=2880, text_tokens=0)
    kept = Fraction(str(kept))
    stages = [{"first_layer": 8 * stage, "ratio": kept**stage} for stage in (1, 2, 3)]
    report = evaluate(load_model("llava-1.5-7b"), workload, Schedule(stages=stages))
    ratio = Fraction(report.total("gated"), report.total("gated", scheduled=False))
    predicted = 366 * gpu_hour_ratio(ratio, Fraction("0.2587"))
    assert float(predicted) == pytest.approx(hours, rel=0.012)


def test_any_share_explains_what_does_not_change():
    assert explaining_share(Fraction(1), Fraction(1, 2)) is None
    assert gpu_hour_ratio(Fraction(1, 4), Fraction(0)) == Fraction(1, 4)
    assert gpu_hour_ratio(Fraction(1, 4), Fraction(1)) == 1


def test_mergers_of_tapped_layers():
    # Qwen3-VL-2B: the connector and three mergers of tapped layers, each 4096 → 4096 → 2048 behind
    # a norm that is trained, so that both products pass gradients on to it
    report = asked("qwen3-vl-2b")
    forward = 2 * 4 * report.dense.connector_tokens * (4096 * 4096 + 4096 * 2048)
    step = training_step(report)
    for name in ("forward", "activation_gradients", "weight_gradients"):
        assert step.passes[name].by_component()["connector"] == forward
    assert "vision" not in step.activation_gradients.by_component()
