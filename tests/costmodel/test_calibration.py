"""Constants refitted to times that were made from known ones."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from measured_files import PASSES, PEAK, PRODUCTS, TOKENS, TRUE, pass_us, product_us
from refusals import refusal
from vlm_tokencost.costmodel.agreement import agreement, compared
from vlm_tokencost.costmodel.calibration import (
    Sample,
    fit_compute,
    fit_passes,
    fit_products,
    impossible,
    passes_can_be_fitted,
    updated,
    with_efficiency,
)
from vlm_tokencost.costmodel.device import Device, Efficiency, Peaks
from vlm_tokencost.costmodel.measured import Measurements, PassRow, PrefillRow, ProductRow

pytest.importorskip("scipy")
A100 = Device(
    id="a100",
    name="A100",
    vendor="",
    architecture="",
    peaks=Peaks(bf16=312, int8=624),
    memory_gb=80,
    bandwidth_gb_s=2039,
    verification="own",
    source=("a test",),
)


def measured(true=TRUE, tokens=TOKENS, stretch=lambda: 1.0):
    products = tuple(
        ProductRow(2, count, name, *shape, 1e-6 * product_us(count, *shape, true) * stretch())
        for count in tokens
        for name, shape in PRODUCTS.items()
    )
    passes = tuple(
        PassRow(2, count, name, 1e-6 * pass_us(count, numbers, true) * stretch())
        for count in tokens
        for name, numbers in PASSES.items()
    )
    return Measurements(products, passes)


def test_constants_are_found_again():
    sample = Sample(A100, measured(), "bf16")
    found = fit_products([sample], Efficiency()) | fit_passes([sample], Efficiency())
    assert found.keys() == TRUE.keys()
    for name, value in found.items():
        assert isinstance(value, Fraction)
        assert float(value) == pytest.approx(TRUE[name], rel=2e-3), name
    fitted = updated(Efficiency(), found, "here")
    assert fitted.source == "here"
    assert fitted.attention == Efficiency().attention
    assert agreement(sample.rows(fitted)).mape < 1e-3
    # the file's own constants are far from the usual ones
    assert agreement(sample.rows(Efficiency())).mape > 0.15


def test_constants_are_found_in_noise_and_beside_an_outlier():
    noise = random.Random(7)
    rows = measured(stretch=lambda: 1 + noise.uniform(-0.05, 0.05))
    # a kernel that fell back to another one: three times as long
    slow = rows.products[10]._replace(seconds=3 * rows.products[10].seconds)
    products = (*rows.products[:10], slow, *rows.products[11:])
    sample = Sample(A100, Measurements(products, rows.passes), "bf16")
    found = fit_products([sample], Efficiency())
    assert float(found["compute"]) == pytest.approx(TRUE["compute"], rel=0.04)
    assert float(found["memory"]) == pytest.approx(TRUE["memory"], rel=0.04)
    assert float(found["launch_us"]) == pytest.approx(TRUE["launch_us"], rel=0.09)


def test_one_set_of_constants_for_several_devices():
    h100 = A100.model_copy(update={"peaks": Peaks(bf16=989), "bandwidth_gb_s": Fraction(3350)})
    rows = tuple(
        row._replace(seconds=time.central)
        for row, _, time in compared(
            with_efficiency(h100, "bf16", Efficiency(compute="0.6", memory="0.8", exponent=2)),
            measured(),
            "bf16",
        )
        if isinstance(row, ProductRow)
    )
    true = {**TRUE, "launch_us": 6.0}
    samples = [Sample(A100, measured(true), "bf16"), Sample(h100, Measurements(rows), "bf16")]
    found = fit_products(samples, Efficiency())
    for name in ("compute", "memory", "exponent", "launch_us"):
        assert float(found[name]) == pytest.approx(true[name], rel=2e-3)


def test_too_few_rows():
    rows = measured(tokens=(1, 512))
    error = refusal(fit_products, [Sample(A100, rows, "bf16")], Efficiency())
    assert str(error) == "rows are too few: 8 different matrix products; measure 12 or more"
    # the same shapes again are no others
    again = Measurements(rows.products * 3, rows.passes[:5] * 3)
    error = refusal(fit_products, [Sample(A100, again, "bf16")], Efficiency())
    assert "8 different matrix products" in str(error)
    assert not passes_can_be_fitted(Sample(A100, again, "bf16"))
    error = refusal(fit_passes, [Sample(A100, again, "bf16")], Efficiency())
    assert "5 different elementwise rows" in str(error)
    # without products nothing tells the widths of passes
    alone = Sample(A100, Measurements((), measured().passes), "bf16")
    assert not passes_can_be_fitted(alone)
    refusal(fit_passes, [alone], Efficiency())


@pytest.mark.parametrize(
    ("tokens", "bound"),
    [((2048, 3072, 4096), "the bandwidth"), ((1, 8, 16, 64), "the peak rate")],
    ids=["long", "short"],
)
def test_rows_of_one_regime(tokens, bound):
    sample = Sample(A100, measured(tokens=tokens), "bf16")
    error = refusal(fit_products, [sample], Efficiency())
    assert f"say too little of {bound}: 0 products" in str(error)
    assert "add products of" in error.way_out


def test_times_that_only_another_device_has():
    error = refusal(
        fit_products, [Sample(A100, measured({**TRUE, "compute": 3.0}), "bf16")], Efficiency()
    )
    assert "would need more than the peak rate" in str(error)
    fast = compared(A100, measured({**TRUE, "compute": 3.0}), "bf16")
    assert impossible(fast) is not None
    assert impossible(compared(A100, measured(), "bf16")) is None
    assert impossible([]) is None


def test_the_peak_rate_from_one_prefill():
    # 1e15 FLOP at a share of 312e12 FLOP/s, and 1 ms that no constant changes
    def predict(tokens, efficiency):
        return tokens * 1e12 / (float(efficiency.compute) * PEAK) + 1e-3

    point = PrefillRow(2, 1000, 1e15 / (0.55 * PEAK) + 1e-3)
    assert fit_compute([point], predict, Efficiency()) == {"compute": Fraction("0.55")}
    two = [point, PrefillRow(3, 2000, 2e15 / (0.55 * PEAK) + 1e-3)]
    assert fit_compute(two, predict, Efficiency()) == {"compute": Fraction("0.55")}
    late = [PrefillRow(2, 1000, 1e15 / (0.01 * PEAK))]
    assert "less than 2 % of the peak rate" in str(
        refusal(fit_compute, late, predict, Efficiency())
    )
    soon = [PrefillRow(2, 1000, 1e15 / (2 * PEAK))]
    assert "more than the peak rate" in str(refusal(fit_compute, soon, predict, Efficiency()))


def test_where_new_constants_go():
    new = Efficiency(compute="0.5")
    usual = with_efficiency(A100, "bf16", new)
    assert usual.efficiency == new
    assert usual.efficiency_by_precision == {}
    eight = with_efficiency(A100, "int8", new)
    assert eight.efficiency == A100.efficiency
    assert eight.constants("int8") == new
    own = A100.model_copy(update={"efficiency_by_precision": {"bf16": Efficiency()}})
    assert with_efficiency(own, "bf16", new).constants("bf16") == new
    assert with_efficiency(own, "bf16", new).efficiency == A100.efficiency
