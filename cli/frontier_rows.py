"""A frontier as flat rows and as JSON: raw integers, unrounded doubles."""

from __future__ import annotations

from fractions import Fraction

from ..costmodel.frontier import Standing
from ..costmodel.frontier.retention import MEANING
from ..costmodel.frontier.together import Figures
from ..costmodel.latency import Side
from .frontier_run import Answer
from .frontier_words import unit_of
from .latency_rows import BOUNDS, bounds
from .method_rows import number
from .rows import Row
from .summary import heading


def records(answer: Answer) -> list[Row]:
    """Return a row for each schedule that is shown."""
    rows = []
    for one, figures, side in answer.shown:
        row = _figures(answer, one, figures, side)
        times = dict.fromkeys(BOUNDS) if side is None else bounds(side.ttft) or {}
        row.update({f"ttft_{name}_seconds": value for name, value in times.items()})
        rows.append(row)
    return rows


def _figures(answer: Answer, one: Standing, figures: Figures, side: Side | None) -> Row:
    """Return what every form gives of a schedule."""
    cost = cost_of(answer, one, side)
    return {
        "schedule": answer.solved.grid.text(one.point.stages),
        "stages": len(one.point.stages),
        "best": is_best(answer, one),
        "average_visual_tokens": float(figures.average_visual_tokens),
        "retention_proxy": float(one.retention),
        "importance": answer.solved.importance.name,
        "cost": number(cost) if answer.limit.quantity != "ttft" else float(cost),
        "cost_unit": unit_of(answer.limit),
        "share_of_dense": float(cost / answer.dense),
        "exact_flops": figures.exact_flops,
        "kv_cache_bytes": figures.kv_cache_bytes,
        "equal_schedules": one.point.ties,
    }


def cost_of(answer: Answer, one: Standing, side: Side | None) -> Fraction:
    """Return a schedule's cost as the scalar path has it, which the search's agrees with."""
    if answer.limit.quantity != "ttft":
        return one.cost
    assert side is not None
    return Fraction(side.ttft.central)


def is_best(answer: Answer, one: Standing) -> bool:
    """Tell whether a schedule is the best within the budget."""
    return answer.budget is not None and one is answer.solved.standing[-1]


def payload(answer: Answer, rows: list[Row]) -> Row:
    """Return the answer as JSON; rows are `records`."""
    solved, limit = answer.solved, answer.limit
    grid, weights = solved.grid, solved.importance
    found = heading(solved.report)
    del found["schedule"]
    budget = answer.budget
    return {
        **found,
        "cost": {
            "quantity": limit.quantity,
            "convention": limit.convention if limit.quantity == "flops" else None,
            "unit": unit_of(limit),
            "dense": _json(answer, answer.dense),
            "least": _json(answer, solved.least),
            "floor": _json(answer, answer.floor),
            "budget_option": limit.option,
            "budget_typed": limit.typed,
            "budget": None if budget is None else _json(answer, budget),
        },
        "retention": {
            "is_proxy": True,
            "meaning": MEANING,
            "importance": weights.name,
            "weights": list(weights.weights),
            "weights_exact": weights.exact,
        },
        "grid": {
            "first_layers": list(grid.layers),
            "levels": [
                {"ratio": float(level.ratio), "visual_tokens": level.tokens}
                for level in grid.levels
            ],
            "stages": [count for count in grid.stages if count],
            "dense": 0 in grid.stages,
            "rounding": grid.rounding,
            "schedules": grid.space.size,
        },
        "device": None if answer.timed is None else _device(answer),
        "non_dominated": len(solved.standing),
        "points": [
            _point(answer, row, *shown) for row, shown in zip(rows, answer.shown, strict=True)
        ],
    }


def _point(answer: Answer, row: Row, one: Standing, figures: Figures, side: Side | None) -> Row:
    stages = [
        {
            "first_layer": layer,
            "ratio": float(answer.solved.grid.levels[level].ratio),
            "visual_tokens": answer.solved.grid.levels[level].tokens,
        }
        for layer, level in one.point.stages
    ]
    once = ("importance", "cost_unit")  # said of all points
    kept = {name: row[name] for name in row if name not in once and "_seconds" not in name}
    times = None if side is None else bounds(side.ttft)
    return {**kept, "stages": stages, "ttft_seconds": times}


def _device(answer: Answer) -> Row:
    assert answer.timed is not None
    found = answer.timed.found
    numbers = found.arithmetic[0].numbers
    return {
        "id": found.device.id,
        "verification": found.device.verification,
        "unverified": list(found.device.unverified),
        "runtime": found.running.runtime,
        "attention": found.running.attention,
        "weight_bits": numbers.weights,
        "activation_bits": numbers.activations,
        "kv_bits": numbers.kv,
        "load_ms": float(found.running.load_ms),
    }


def _json(answer: Answer, amount: Fraction) -> int | float:
    """Return a cost: whole numbers stay whole, but for seconds."""
    return float(amount) if answer.limit.quantity == "ttft" else number(amount)
