"""The time of a kernel and of a pass: bounds by hand, constants that are refused."""

from __future__ import annotations

import pytest
from toy_device import device
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.costmodel.clock import host_was_measured
from vlm_tokencost.costmodel.device import Efficiency
from vlm_tokencost.costmodel.timing import kernel_time, pass_time, pessimistic


@pytest.mark.parametrize("value", [True, False, "nan", "1e999", "9" * 41, 0, -1, 10**9 + 1])
def test_figures_that_are_no_numbers(value):
    with pytest.raises(InvalidInput):
        device(memory_gb=value)


def test_shares_end_at_one_and_exponents_begin_there():
    for name in ("compute", "memory", "elementwise_memory", "attention", "vision"):
        assert getattr(Efficiency(**{name: 1}), name) == 1
        with pytest.raises(InvalidInput):
            Efficiency(**{name: "1.0001"})
    assert Efficiency(exponent=1).exponent == 1
    with pytest.raises(InvalidInput):
        Efficiency(exponent="0.9999")


@pytest.mark.parametrize(
    ("constants", "shares"),
    [
        ({}, (0.5, 0.7)),  # 2/3 of 0.75, and 7/9 of 0.9
        ({"compute": "0.9", "memory": "0.95"}, (0.5, 0.7)),  # never more than those
        ({"compute": "0.45", "memory": "0.72"}, (0.3, 0.56)),
        ({"compute": "0.5", "memory": "0.9"}, (1 / 3, 0.7)),
    ],
)
def test_shares_of_slow_software(constants, shares):
    assert pessimistic(Efficiency(**constants)) == pytest.approx(shares)


@pytest.mark.parametrize("constants", [{}, {"compute": "0.45", "memory": "0.72", "exponent": 2}])
def test_the_bounds_of_a_kernel_by_hand(constants):
    own = Efficiency(**constants)
    c, b, p = float(own.compute), float(own.memory), float(own.exponent)
    slow_c, slow_b = (0.5, 0.7) if not constants else (0.3, 0.56)
    # 6e12 FLOP at 100 TFLOP/s are 60 ms, 20e9 bytes at 1 TB/s 20 ms; 6 µs for the launch
    found = kernel_time(6e12, 20e9, 100e12, 1e12, own)
    assert found.lower == pytest.approx(0.060)
    assert found.central == pytest.approx(((0.06 / c) ** p + (0.02 / b) ** p) ** (1 / p) + 6e-6)
    slow = ((0.06 / slow_c) ** p + (0.02 / slow_b) ** p) ** (1 / p) + 6e-6
    assert found.upper == pytest.approx(slow)
    assert kernel_time(1e12, 40e9, 100e12, 1e12, own).lower == pytest.approx(0.040)
    assert kernel_time(0, 0, 100e12, 1e12, own) == (0, 0, 0)


def test_the_bounds_of_a_pass_by_hand():
    found = pass_time(8e9, 1e12, Efficiency())
    assert found.lower == pytest.approx(0.008)
    assert found.central == pytest.approx(0.010 + 2.5e-6)  # 0.8 of the bandwidth
    assert found.upper == pytest.approx(0.008 / 0.7 + 2.5e-6)
    slow = pass_time(8e9, 1e12, Efficiency(elementwise_memory="0.4"))
    assert slow.upper == pytest.approx(0.008 / 0.35 + 2.5e-6)  # 7/8 of 0.4
    assert pass_time(0, 1e12, Efficiency()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("vendor", "name", "measured"),
    [
        ("NVIDIA", "NVIDIA A100 80GB SXM4", True),
        ("NVIDIA", "NVIDIA Jetson AGX Orin", False),
        ("NVIDIA", "NVIDIA GH200", False),
        ("NVIDIA", "NVIDIA GB200", False),
        ("AMD", "AMD Instinct MI300X", False),
    ],
)
def test_hosts_that_were_measured(vendor, name, measured):
    assert host_was_measured(device(vendor=vendor, name=name)) is measured
