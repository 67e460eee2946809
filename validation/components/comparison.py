"""The closed form beside the count, component by component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from typing import NamedTuple

from ...costmodel import Bill, Model, Workload, evaluate
from ...costmodel.operators import COMPONENTS
from .parts import OUTSIDE, Parts

#: Decode forwards that are run: the first, and one that tells a cache that grows from one that
#: does not.
DECODE_FORWARDS = 2


class Row(NamedTuple):
    """FLOPs, or visual tokens, of one component in one phase of a workload.

    Attributes:
        phase: "prefill", "decode 1", "decode 2".
        component: A component of the cost model, or "visual tokens".
        analytic: By the closed form.
        beyond: What transformers is known to spend besides (`Parts.beyond`).
        counted: By the counter.
    """

    phase: str
    component: str
    analytic: int
    beyond: int
    counted: int

    @property
    def difference(self) -> int:
        """Counted less analytic, less what is known to come besides."""
        return self.counted - self.analytic - self.beyond


def compare(
    parts: Parts,
    model: Model,
    workload: Workload,
    left_out: tuple[str, ...] = (),
) -> tuple[Row, ...]:
    """Run a workload, and return each component's figures.

    Args:
        parts: The transformers model.
        model: The model that the closed form is of.
        workload: Images or frames, and text, of one request.
        left_out: Components that transformers cannot run here.
    """
    report = evaluate(model, workload)
    plan = report.dense
    visual: list[int] = []
    prefill = parts.counted(lambda: visual.append(parts.prefill(plan)))
    expected = plan.visual_input.visual_tokens
    rows = [Row("prefill", "visual tokens", expected, 0, visual[0])] if parts.arranges else []
    bill, beyond = report.bill("exact"), parts.beyond(plan, 0)
    rows += _rows("prefill", bill, beyond, prefill, left_out)
    for step in range(1, DECODE_FORWARDS + 1):
        counted = parts.counted(parts.decode)
        bill, beyond = report.decode_forward(step), parts.beyond(plan, step)
        rows += _rows(f"decode {step}", bill, beyond, counted, left_out)
    return tuple(rows)


def _rows(
    phase: str,
    bill: Bill,
    beyond: Mapping[str, int],
    counted: Mapping[str, int],
    left_out: Container[str],
) -> Iterator[Row]:
    analytic: Counter[str] = Counter()
    for place, flops in bill.by_component().items():
        analytic[place] += flops
    for component in (*COMPONENTS, OUTSIDE):
        expected, besides = analytic[component], beyond.get(component, 0)
        found = counted.get(component, 0)
        if component not in left_out and (expected or found):
            yield Row(phase, component, expected, besides, found)
