"""Where the parts meet: a plan becomes a reduction, a count becomes rows, text becomes raters."""

from __future__ import annotations

from typing import Any

import pytest
from small_models import ONE_IMAGE, driven, request_of
from vlm_tokencost.costmodel import EncoderMerge, Schedule, evaluate
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.compare import Setting, _rows
from vlm_tokencost.validation.counters import Count, count_by_module
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.rules import rule_of
from vlm_tokencost.validation.sequence import TEXT, VISUAL, Tokens

LLAVA = ONE_IMAGE[0]
PROFILER = Setting("profiler", "reduced", "cpu")


def test_merging_is_per_crop() -> None:
    schedule = Schedule(encoder=EncoderMerge(merged_per_layer=16), selection="tome")
    report = evaluate(load_model("llava-next-mistral-7b"), None, schedule)
    reduction = Reduction.of(schedule, report.scheduled)
    # 5 crops of 577 tokens each lose 16 in all 24 blocks; 5 · (576 − 23·16) enter the LLM
    assert reduction.merged == (16,) * 24
    assert (reduction.entering, reduction.compressed) == (1040, None)


def rows_of(flops: dict[Any, Any], unseen: dict[str, int]) -> dict[tuple[str, str], Any]:
    """Return (counted, difference, unseen) of LLaVA-1.5-7B's vision rows."""
    bill = evaluate(load_model("llava-1.5-7b")).bill("exact")
    rows = _rows(PROFILER, "baseline", "prefill", bill, Count(flops, unseen), None)
    return {
        (row.component, row.kind): (row.counted, row.difference, row.unseen)
        for row in rows
        if row.component == "vision"
    }


#: Closed forms of the encoder: 577² pairs · 16 heads · (64 + 64) · 24 layers, 2 FLOP each, …
VISION = {
    "attention": 2 * 577**2 * 16 * 128 * 24,
    "convolution": 2 * 576 * 3 * 1024 * 14**2,
    "linear": 2 * 577 * (4 * 1024**2 + 2 * 1024 * 4096) * 24,
}


def test_an_unseen_product_hides_its_own_kind_alone() -> None:
    seen = {("vision", 0): {"attention": VISION["attention"]}}
    rows = rows_of(seen, {"aten.conv3d": 1, "aten.gelu": 24})
    assert rows["vision", "attention"] == (VISION["attention"], 0, ())
    assert rows["vision", "convolution"] == (None, None, ("aten.conv3d",))
    assert rows["vision", "linear"] == (0, -VISION["linear"], ())


def test_an_unseen_product_hides_no_difference() -> None:
    seen = {("vision", None): {"convolution": 5}}
    rows = rows_of(seen, {"aten.conv3d": 1})
    assert rows["vision", "convolution"] == (5, 5 - VISION["convolution"], ())


def test_withdrawal_chooses_nothing() -> None:
    driver = driven(LLAVA.model)
    withdrawn = Reduction(visual=(16, 16, 0, 0, 0, 0), selection="sparsevlm")
    request = request_of(driver, LLAVA)
    counts = count_by_module(lambda: driver.prefill(request, withdrawn), driver.owners())
    assert ("selection", None) not in counts
    assert ("decoder", 5) in counts


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        # Texts 0 and 2 look like the image; behind it, 2 alone.
        ("TVVTT", [False, True, False]),
        # Text 0 alone looks like it and stands before it: all text behind rates.
        ("TVVNN", [False, True, True]),
        # Nothing stands behind.
        ("TNNVV", [True, False, False]),
    ],
)
def test_sparsevlms_raters_see_the_image(kinds: str, expected: list[bool]) -> None:
    import torch

    alike, other = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    if kinds == "TVVTT":
        states = torch.stack([alike, alike, alike, alike, other])
    else:
        states = torch.stack([other if kind == "N" else alike for kind in kinds])
    tokens = Tokens(
        states=states[None],
        positions=torch.arange(5)[None],
        kinds=torch.tensor([[VISUAL if kind == "V" else TEXT for kind in kinds]]),
        origin=torch.arange(5)[None],
        visual=2,
        text=3,
    )
    rule: Any = rule_of(Reduction(selection="sparsevlm"), driven(LLAVA.model).adapter)
    rule.begin(tokens)
    assert rule.raters.tolist() == [expected]


@pytest.mark.parametrize(("dtype", "wide"), [("bfloat16", "float32"), ("float64", "float64")])
def test_sizes_of_merged_tokens_are_counted_exactly(dtype: str, wide: str) -> None:
    import torch

    # bfloat16 holds whole numbers to 256 alone, and 577 tokens may become one.
    driver = driven.__wrapped__(LLAVA.model)  # casting would round the shared one
    seen: list[torch.dtype] = []

    def merge(_: int, __: Any, states: torch.Tensor, sizes: torch.Tensor) -> Any:
        seen.append(sizes.dtype)
        return states, sizes

    request = request_of(driver, LLAVA)
    pixels = request.pixels.inputs["pixel_values"].to(getattr(torch, dtype))
    driver.model.to(getattr(torch, dtype))
    with torch.no_grad():
        driver.adapter.merged_tower_states(
            request.pixels._replace(inputs={"pixel_values": pixels}), merge
        )
    assert seen == [getattr(torch, wide)] * 5
