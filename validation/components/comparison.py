"""The closed form beside the count, component by component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple

from ...costmodel import Bill, Counting, Model, Workload, evaluate
from ...costmodel.operators import COMPONENTS
from .parts import OUTSIDE, Parts

#: Decode forwards that are run: the first, and one that tells a cache that grows from one that
#: does not.
DECODE_FORWARDS = 2


class Row(NamedTuple):
    """FLOPs, or visual tokens, of one component in one phase of one workload.

    Attributes:
        phase: "prefill", "decode 1", "decode 2".
        component: A component of the cost model, or "visual tokens".
        analytic, counted: By the closed form and by the counter.
    """

    workload: str
    phase: str
    component: str
    analytic: int
    counted: int

    @property
    def difference(self) -> int:
        """Counted less analytic."""
        return self.counted - self.analytic


def compare(
    parts: Parts,
    model: Model,
    workload: Workload,
    name: str,
    counting: Counting | None = None,
    left_out: tuple[str, ...] = (),
) -> tuple[Row, ...]:
    """Run a workload, and return each component's figures.

    Args:
        parts: The transformers model.
        model: The model that the closed form is of.
        workload: Images or frames, and text.
        name: What the workload is called.
        counting: How the closed form is counted.
        left_out: Components that transformers cannot run here.
    """
    report = evaluate(model, workload, counting=counting)
    plan = report.dense
    visual: list[int] = []
    prefill = parts.counted(lambda: visual.append(parts.prefill(plan)))
    tokens = plan.batch * plan.visual_input.visual_tokens
    rows = [Row(name, "prefill", "visual tokens", tokens, visual[0])]
    rows += _rows(name, "prefill", report.bill("exact"), prefill, left_out)
    for step in range(1, DECODE_FORWARDS + 1):
        counted = parts.counted(lambda: parts.decode(plan))
        rows += _rows(name, f"decode {step}", report.decode_forward(step), counted, left_out)
    return tuple(rows)


def _rows(
    name: str, phase: str, bill: Bill, counted: Counter[str], left_out: tuple[str, ...]
) -> Iterator[Row]:
    analytic: Counter[str] = Counter()
    for component, flops in bill.by_component().items():
        analytic[component] += flops
    for component in (*COMPONENTS, OUTSIDE):
        if component not in left_out and (analytic[component] or counted[component]):
            yield Row(name, phase, component, analytic[component], counted[component])
