"""Every selection rule on every family that it fits, run at full size on meta and counted.

Expected counts come from the cost model; what is run, from arithmetic here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from counted_runs import (
    FAMILIES,
    INTERNVL,
    LLAVA,
    NEXT,
    ONEVISION,
    QWEN2,
    QWEN2_5,
    TEXT,
    Case,
    Reducing,
    Run,
    assert_equal,
    staged,
    total,
)
from vlm_tokencost.costmodel import Compress, Schedule, Stage, Workload, evaluate
from vlm_tokencost.costmodel.schedule import EncoderMerge
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.reduction import Reduction

RunOf = Callable[..., Run]
#: Their connector takes tokens one by one.
ONE_BY_ONE = [LLAVA, NEXT, ONEVISION]
#: Encoder blocks, and those whose output is used.
BLOCKS = {LLAVA: (24, 23), NEXT: (24, 23), ONEVISION: (26, 26)}
PER_CROP = 32


class Rule(NamedTuple):
    """What is priced, what is run, and where."""

    schedule: Callable[[Case], Schedule]
    reducing: Reducing
    cases: list[Case] = FAMILIES


def stages(rule: str, *steps: tuple[int, str]) -> Callable[[Case], Schedule]:
    ratios = tuple(Stage(first_layer=first, ratio=ratio) for first, ratio in steps)
    return lambda case: Schedule(stages=ratios, selection=rule)  # type: ignore[arg-type]


def fastv(case: Case, visual: int, layers: int) -> Reduction:
    return staged(visual, layers, (2, visual // 2), selection="fastv")


def pyramiddrop(case: Case, visual: int, layers: int) -> Reduction:
    steps = (8, visual // 2), (16, visual // 4), (24, visual // 8)
    return staged(visual, layers, *steps, selection="pyramiddrop")


def sparsevlm(case: Case, visual: int, layers: int) -> Reduction:
    steps = (2, visual // 2), (6, visual // 3), (15, visual // 5)
    return staged(visual, layers, *steps, selection="sparsevlm")


def divprune(case: Case, visual: int, layers: int) -> Reduction:
    return Reduction(compressed=(56, "after-connector"), entering=56, selection="divprune")


def visionzip_place(case: Case) -> str:
    return "before-connector" if case in ONE_BY_ONE else "after-connector"


def visionzip(case: Case, visual: int, layers: int) -> Reduction:
    left = PER_CROP * case.crop_count
    return Reduction(
        compressed=(left, visionzip_place(case)),  # type: ignore[arg-type]
        entering=left,
        selection="visionzip",
    )


def zipped(case: Case) -> Schedule:
    compress = Compress(tokens=PER_CROP * case.crop_count, at=visionzip_place(case))  # type: ignore[arg-type]
    return Schedule(compress=compress, selection="visionzip")


def tome(case: Case, visual: int, layers: int) -> Reduction:
    blocks, contributing = BLOCKS[case]
    rows, columns = case.crops[0][0]
    left = case.crop_count * (rows * columns - 16 * contributing)
    return Reduction(merged=(16,) * blocks, entering=left, selection="tome")


RULES = {
    "fastv": Rule(stages("fastv", (2, "1/2")), fastv),
    "pyramiddrop": Rule(stages("pyramiddrop", (8, "1/2"), (16, "1/4"), (24, "1/8")), pyramiddrop),
    "visionzip": Rule(zipped, visionzip),
    "divprune": Rule(
        lambda case: Schedule(compress=Compress(tokens=56), selection="divprune"), divprune
    ),
    "tome": Rule(
        lambda case: Schedule(encoder=EncoderMerge(merged_per_layer=16), selection="tome"),
        tome,
        ONE_BY_ONE,
    ),
    "sparsevlm": Rule(stages("sparsevlm", (2, "1/2"), (6, "1/3"), (15, "1/5")), sparsevlm),
}


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}-{case.model}")
        for name, rule in RULES.items()
        for case in rule.cases
    ],
)
def test_generation(run_of: RunOf, name: str, case: Case) -> None:
    check(run_of, name, case)


@pytest.mark.parametrize(
    ("name", "case"),
    [("fastv", LLAVA), ("tome", LLAVA), ("sparsevlm", LLAVA), ("visionzip", QWEN2_5)],
    ids=str,
)
def test_batch(run_of: RunOf, name: str, case: Case) -> None:
    check(run_of, name, case, batch=2)


def check(run_of: RunOf, name: str, case: Case, batch: int = 1) -> None:
    run = run_of(case, RULES[name].reducing, batch=batch)
    workload = Workload(images=case.images, text_tokens=TEXT, batch=batch)
    report = evaluate(load_model(case.model), workload, RULES[name].schedule(case))
    assert_equal(report.bill("exact"), run.prefill)
    assert_equal(report.decode_forward(1), run.decode(1))
    assert total(run.prefill, "selection") > 0


# 2 FLOP per multiply–accumulate, LLaVA-1.5-7B with 576 visual and 64 text tokens.
SELECTION = {
    "fastv": 640 * 32 * 128,  # the last token's row in layer 1
    # 640, 352 and 208 tokens: one query, all keys, one row
    "pyramiddrop": 3 * 4096 * 4096 + (640 + 352 + 208) * (4096 * 4096 + 4096),
    # the class token's row, and 577 − 27 dominant − 5 targets, each against 5 targets
    "visionzip": 577 * 16 * 64 + 545 * 5 * 64,
    "divprune": 576 * 576 * 4096,
    # 577 − 16·l tokens, every other one against the rest: (289 − 8l)·(288 − 8l) in 24 blocks
    "tome": sum((289 - 8 * block) * (288 - 8 * block) * 64 for block in range(24)),
    # raters; rows of 64 text tokens over 640, 352, 256 tokens; 576 → 288 keeps 278: 298 dropped,
    # 90 recycled, 10 clusters; 288 → 192: 188, 100, 31, 4; 192 → 115: 112, 80, 25, 3
    "sparsevlm": 576 * 64 * 4096
    + 64 * (640 + 352 + 256) * 4096
    + (90 * 90 + 31 * 31 + 25 * 25) * 4096,
}


@pytest.mark.parametrize("name", SELECTION)
def test_selection_by_hand(run_of: RunOf, name: str) -> None:
    run = run_of(LLAVA, RULES[name].reducing)
    assert total(run.prefill, "selection") == 2 * SELECTION[name]


@pytest.mark.parametrize("case", [INTERNVL, QWEN2, QWEN2_5], ids=str)
def test_visionzip_behind_a_merger_by_hand(run_of: RunOf, case: Case) -> None:
    # InternVL: the class token's row over 32² + 1 tokens of 16·64; 256 candidates, 5 of 32 merged.
    # Qwen: the whole map of 32·46 patches of 16·80; 368 candidates.
    patches = case.crops[0][0][0] * case.crops[0][0][1]
    scores, size = (1_025 * 16 * 64, 64) if case is INTERNVL else (patches**2 * 16 * 80, 80)
    run = run_of(case, visionzip)
    similarities = (patches // 4 - 32) * 5 * size
    assert total(run.prefill, "selection") == 2 * (scores + similarities)
