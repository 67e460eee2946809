"""Predictions beside measured times: bytes of passes, errors and their groups."""

from __future__ import annotations

import pytest
from refusals import refusal
from vlm_tokencost.costmodel.agreement import (
    Agreement,
    Compared,
    agreement,
    bits_precision,
    by,
    compared,
    size,
)
from vlm_tokencost.costmodel.device import Device, Peaks
from vlm_tokencost.costmodel.measured import (
    Measurements,
    PassRow,
    ProductRow,
    Widths,
    pass_bytes,
    widths,
)
from vlm_tokencost.costmodel.timing import Interval


def device(**peaks):
    return Device(
        id="d",
        name="D",
        vendor="",
        architecture="",
        peaks=Peaks(**(peaks or {"bf16": 312})),
        memory_gb=80,
        bandwidth_gb_s=2039,
        verification="own",
        source=("a test",),
    )


def row(operator, c_in, c_out, tokens=1, line=2, seconds=1e-6):
    return ProductRow(line, tokens, operator, c_in, c_out, seconds)


#: LLaMA-3-8B: d = 4096, 32 heads and 8 of keys and values of 128 each, m = 14336.
LLAMA3 = Widths(4096, 4096, 1024, 14336)


def test_widths_come_from_the_products():
    rows = [
        row("attn_post_proj", 4096, 4096),
        row("attn_pre_proj", 4096, 4096 + 2 * 1024),
        row("mlp_down_proj", 14336, 4096),
        row("mlp_down_proj", 14336, 4096, tokens=8),
        row("another", 7, 9),
    ]
    assert widths(rows) == LLAMA3


def test_widths_that_products_do_not_show():
    assert widths([]) == Widths()
    assert widths([row("mlp_down_proj", 14336, 4096)]) == Widths(4096, 0, 0, 14336)
    # two shapes of one name, or two hidden sizes, say nothing
    assert widths([row("mlp_down_proj", 8, 4), row("mlp_down_proj", 9, 4)]) == Widths()
    assert widths([row("mlp_down_proj", 8, 4), row("attn_post_proj", 5, 5)]) == Widths()


def test_bytes_of_passes():
    # numbers per token: 4 d, 4 d, 3 (q + kv), 3 m, 2 d; two bytes each, ten tokens
    for name, numbers in (
        ("input_layernorm", 16384),
        ("post_attention_layernorm", 16384),
        ("attn_rope", 3 * 5120),
        ("mlp_act", 43008),
        ("add", 8192),
    ):
        assert pass_bytes(PassRow(2, 10, name, 1.0), LLAMA3) == 20 * numbers
    # 40 MB hold 4882 tokens of 8 KiB; one more, and both operands come from memory
    assert pass_bytes(PassRow(2, 4882, "add", 1.0), LLAMA3) == 2 * 4882 * 2 * 4096
    assert pass_bytes(PassRow(2, 4883, "add", 1.0), LLAMA3) == 2 * 4883 * 3 * 4096


def test_passes_without_known_bytes():
    assert pass_bytes(PassRow(2, 10, "softmax", 1.0), LLAMA3) == 0
    for name in ("add", "input_layernorm", "attn_rope", "mlp_act"):
        assert pass_bytes(PassRow(2, 10, name, 1.0), Widths()) == 0


def test_prediction_of_a_product_and_a_pass():
    products = tuple(
        row(name, c_in, c_out, 2048, line, 1e-3)
        for line, (name, c_in, c_out) in enumerate(
            [
                ("attn_pre_proj", 4096, 12288),
                ("attn_post_proj", 4096, 4096),
                ("mlp_down_proj", 11008, 4096),
            ],
            2,
        )
    )
    measured = Measurements(products, (PassRow(1, 2048, "mlp_act", 100e-6),))
    found = compared(device(), measured, "bf16")
    assert [one.row.line for one in found] == [1, 2, 3, 4]
    # 2·2048·4096² FLOP at 0.75·312e12 and 3·2·4096·... bytes at 0.9·2039e9, p = 1.5, 6 µs
    compute = 2 * 2048 * 4096 * 4096 / (0.75 * 312e12)
    memory = 2 * (2 * 2048 * 4096 + 4096 * 4096) / (0.9 * 2039e9)
    time = (compute**1.5 + memory**1.5) ** (2 / 3) + 6e-6
    assert found[2].time.central == pytest.approx(time, rel=1e-12)
    assert found[2].error == pytest.approx(time / 1e-3 - 1, rel=1e-12)
    # 3·11008·2048 numbers of two bytes: 135.3 MB at 0.8·2039 GB/s, and 2.5 µs
    time = 3 * 11008 * 2048 * 2 / (0.8 * 2039e9) + 2.5e-6
    assert found[0].kind == "elementwise"
    assert found[0].time.central == pytest.approx(time, rel=1e-12)
    assert found[0].roofline_error == pytest.approx(135266304 / 2039e9 / 1e-4 - 1, rel=1e-9)


def test_passes_move_16_bits_beside_products_of_fewer_and_32_beside_32():
    shapes = [("attn_pre_proj", 4096, 12288), ("attn_post_proj", 4096, 4096)]
    products = tuple(row(name, c_in, c_out, 2048, 2, 1e-3) for name, c_in, c_out in shapes)
    measured = Measurements(products, (PassRow(1, 2048, "input_layernorm", 1e-4),))
    own = device(fp32=19.5, bf16=312, int8=624)
    for precision, bits, wide in (("int8", 8, 2), ("bf16", 16, 2), ("fp32", 32, 4)):
        (norm, *_) = compared(own, measured, precision, bits)
        time = wide * 4 * 4096 * 2048 / (0.8 * 2039e9) + 2.5e-6
        assert norm.time.central == pytest.approx(time, rel=1e-12)


def test_a_published_profile_of_other_widths():
    """Vidur's medians of LLaMA-3-8B on an A100, 32,768 tokens; the constants never saw them.

    Source: github.com/microsoft/vidur, data/profiling/compute/a100/meta-llama/Meta-Llama-3-8B/
    mlp.csv at 41ab8ab, first row.
    """
    products = {
        "attn_pre_proj": (4096, 6144, 7.2595e-3),
        "attn_post_proj": (4096, 4096, 4.926e-3),
        "mlp_up_proj": (4096, 28672, 33.094e-3),
        "mlp_down_proj": (14336, 4096, 16.6075e-3),
    }
    rows = tuple(
        ProductRow(2, 32768, name, c_in, c_out, seconds)
        for name, (c_in, c_out, seconds) in products.items()
    )
    passes = (PassRow(2, 32768, "add", 0.471e-3), PassRow(2, 32768, "attn_rope", 0.776e-3))
    found = by(compared(device(), Measurements(rows, passes), "bf16"), lambda one: one.row.operator)
    assert all(found[name].mape < 0.06 for name in products)
    assert found["add"].mape < 0.06  # 3 d: 268 MB lie in no cache
    # the kernel is slower than its bytes: what the notes say of 16-bit accesses
    assert -0.25 < found["attn_rope"].bias < -0.15


def paired(errors, tokens=1):
    """Return comparisons with these errors: measured 1 s, lower 0.5 s, upper 1.05 s."""
    return [
        Compared(row("a", 1, 1, tokens, seconds=1.0), "product", Interval(0.5, 1 + error, 1.05))
        for error in errors
    ]


def test_errors_of_a_group():
    found = agreement([*paired([0.1, -0.3]), *paired([0.05])])
    assert found.rows == 3
    assert found.mape == pytest.approx((0.1 + 0.3 + 0.05) / 3)
    assert found.bias == pytest.approx((0.1 - 0.3 + 0.05) / 3)
    assert found.worst == pytest.approx(0.3)
    assert found.roofline == pytest.approx(0.5)
    assert found.inside == 1
    slow = paired([0.0])[0]._replace(time=Interval(0.5, 0.8, 0.9))
    assert agreement([slow]).inside == 0
    assert agreement([]) == Agreement(0, None, None, None, None, None)


def test_size_classes():
    sizes = [size(paired([0.0], tokens)[0]) for tokens in (1, 64, 65, 512, 513, 2048, 2049)]
    assert sizes == [0, 0, 1, 1, 2, 2, 3]


def test_bits_name_an_arithmetic():
    assert bits_precision(device(bf16=1, fp16=1), 16) == "bf16"
    assert bits_precision(device(fp16=1), 16) == "fp16"
    assert bits_precision(device(fp8=1, int8=1), 8) == "fp8"
    assert bits_precision(device(bf16=1, int8=1), 8) == "int8"
    error = refusal(bits_precision, device(bf16=1, fp32=1), 8)
    assert str(error) == "bits 8 has no arithmetic on d; choose from 32, 16"
