"""Times that were computed and published as if measured are detected."""

from __future__ import annotations

import pytest
from vlm_tokencost.costmodel.plausible import computed_signs, of_peak
from vlm_tokencost.presets.device import load_device

A100 = "a100-80gb"


def test_a_share_of_the_peak_by_hand():
    # AIM README, LLaVA-OneVision-7B: 11.64 TFLOP in 41.22 ms = 282.4 TFLOP/s of 312
    share = of_peak(11.64e12, 41.22e-3, load_device(A100), "fp16")
    assert share == pytest.approx(282.387 / 312, rel=1e-5)


#: TFLOP and ms of AIM's table, which LLM-Viewer computed, that rule 1 or 2 detects by itself.
@pytest.mark.parametrize(
    ("tflop", "ms"), [(14.76, 55.03), (23.65, 86.89), (22.9, 83.94), (11.64, 41.22), (3.85, 13.68)]
)
def test_computed_times_reach_too_much_of_the_peak(tflop, ms):
    (sign, *_) = computed_signs(ms / 1e3, load_device(A100), 28, tflop * 1e12)
    assert "of the dense peak" in sign


def test_computed_times_are_below_what_python_takes():
    # PruMerge on LLaVA-1.5-7B, V100: 15.3 ms; 0.6 · 32 = 19.2 ms
    (sign,) = computed_signs(15.3e-3, load_device("v100"), 32)
    assert sign == ("15.3 ms is less than the 19.2 ms in which eager Python launches 32 layers")
    assert not computed_signs(15.3e-3, load_device("v100"), 32, eager=False)


@pytest.mark.parametrize(
    ("name", "seconds", "layers", "flops", "eager"),
    [
        (A100, 27.8e-3, 32, None, True),  # VisionZip, 220 tokens
        (A100, 36e-3, 32, None, True),  # CoIn, 380 tokens
        # TinyChat, RTX 4090, Llama-3-8B, 4096 tokens: 0.446 s
        ("rtx-4090", 0.446, 32, 2 * 4096 * 7.5e9 + 32 * 2 * 4096**2 * 4096, False),
    ],
)
def test_measured_times_raise_no_doubt(name, seconds, layers, flops, eager):
    assert not computed_signs(seconds, load_device(name), layers, flops, eager=eager)


def test_geforce_cards_boost_above_their_stated_clock():
    card, server = load_device("rtx-4090"), load_device(A100)
    for device, refused in ((card, False), (server, True)):
        flops = 0.9 * device.peak("fp16")
        assert bool(computed_signs(1.0, device, 32, flops)) is refused


@pytest.mark.parametrize(
    ("name", "most"), [("rtx-4090", 0.97), ("rtx-3090", 0.97), (A100, 0.85), ("l40s", 0.85)]
)
def test_shares_of_the_peak_that_prefills_reach(name, most):
    device = load_device(name)
    for share, refused in ((most - 0.001, False), (most + 0.001, True)):
        flops = share * device.peak("fp16")
        assert bool(computed_signs(1.0, device, 32, flops)) is refused
