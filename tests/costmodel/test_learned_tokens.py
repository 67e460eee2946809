"""Learned tokens enter the LLM beside kept ones, and come from no connector."""

from __future__ import annotations

from vlm_tokencost.costmodel import Schedule, Workload, evaluate, plan
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")


def compressed(**compress):
    return Schedule(compress=compress)


def test_merged_tokens_pass_the_connector_and_learned_ones_do_not():
    merged = plan(LLAVA, Workload(), compressed(tokens=64, extra=9, at="before-connector"))
    learned = plan(LLAVA, Workload(), compressed(tokens=64, learned=9, at="before-connector"))
    assert merged.visual == learned.visual == (73,) * 32
    assert (merged.connector_tokens, learned.connector_tokens) == (73, 64)


def test_learned_tokens_may_join_all_others():
    workload = Workload(text_tokens=0)
    one_more = evaluate(LLAVA, workload, compressed(ratio=1, learned=1))
    assert one_more.scheduled.visual == (577,) * 32
    # 4nd² + 2n²d + 3ndm for n = 577, where no text is
    layer = 4 * 577 * 4096**2 + 2 * 577**2 * 4096 + 3 * 577 * 4096 * 11008
    assert one_more.bill("gated").total == 32 * layer
