"""Totals of whole arrays of stage schedules."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from ..architecture.model import Model
from ..errors import InvalidInput
from ..flops import CONVENTIONS
from ..memory import kv_cache_bytes
from ..plan import plan
from ..report import Report
from ..schedule import Rounding, Schedule, kept_tokens, ratio_text
from ..workload import Counting, Workload
from .block import BLOCK, BYTES, BlockPricer
from .layers import OUTPUTS, Layer, Output, layer_prices, obstacle
from .shares import exact_shares

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


class Totals(NamedTuple):
    """Figures of many schedules, float64; None where a convention has no meaning for the model.

    Attributes:
        survey, gated: MACs of the prefill's decoder layers.
        exact: FLOPs of everything that a ratio compares: encoder, connector, decoder, head, and
            decode forwards where the workload has some.
        kv_cache_bytes: Keys and values after the prefill.
        visual_tokens: Visual tokens summed over the decoder layers that have a place for them.
    """

    survey: Array | None
    gated: Array | None
    exact: Array
    kv_cache_bytes: Array
    visual_tokens: Array


class StagePricer:
    """Prices arrays of stages (K₁, r₁, …, K_s, r_s) for one model and workload.

    With M visual tokens entering layer 0 and n_i = ⌊r_i·M⌋ (or another rounding) from layer K_i on,

        total = constant + Σ_g b_g · Σ_l n_l + c_g · Σ_l n_l²

    over groups g of layers of the same price; see `layers` for the coefficients, which are those of
    the scalar path, and `block` for the sums. A whole figure below 2⁵³ is exact; a larger one is
    within 1e-14 of the exact one, because no term is negative and few are added.

    Attributes:
        outputs: Figures that the model has.
        dense: Figures of the run without any reduction, exact.
        entering_visual_tokens: M.
        placed_layers: Layers that have a place for visual tokens; their average is
            `visual_tokens` / `placed_layers`.
    """

    def __init__(
        self,
        model: Model,
        workload: Workload | None = None,
        counting: Counting | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        """Read the prices of every layer off the scalar path.

        Arguments are those of `evaluate`; the schedule is what acts besides the stages, such as
        `compress`, and says the rounding.

        Raises:
            InvalidInput: A request that the scalar path refuses, or something that acts besides
                the stages and is not priced over arrays: `layers`, `cache`, `stream`, `channels`,
                `mixture`, `selection`, and causal counting where windows bind or images attend
                inside.
        """
        workload, counting = workload or Workload(), counting or Counting()
        base = plan(model, workload, schedule)
        refused = obstacle(model, base, counting, schedule)
        if refused:
            raise refused
        prices = layer_prices(model, base, counting, workload.new_tokens - 1)
        self.outputs = tuple(name for name in OUTPUTS if name in prices.layers[0].terms)
        self.dense = _dense(Report(model, workload, None, counting, plan(model, workload), base))
        self.entering_visual_tokens = base.entering_visual_tokens
        self.placed_layers = sum(one.in_sequence or one.crosses for one in base.layout)
        self._count = len(prices.layers)
        self._rounding: Rounding = "floor" if schedule is None else schedule.rounding
        constants = {
            name: sum((layer.terms[name].constant for layer in prices.layers), Fraction(0))
            + prices.rest[name]
            for name in self.outputs
        }
        _check_signs(prices.layers, constants)
        self._block = BlockPricer(
            prices.layers, constants, self.entering_visual_tokens, self._rounding
        )

    def price(self, layers: Sequence[Any], numerators: Sequence[Any], denominator: int) -> Totals:
        """Return the figures of schedules: an array of layers and one of numerators a stage.

        Raises:
            InvalidInput: A schedule that the scalar path refuses too: layers that do not grow or
                do not exist, shares that leave nothing or that grow.
        """
        import numpy as np

        rows = len(layers[0]) if len(layers) else 0
        found = {name: np.empty(rows) for name in self.outputs}
        self.price_into(found, layers, numerators, denominator)
        return Totals(**{name: found.get(name) for name in OUTPUTS})  # type: ignore[arg-type]

    def price_into(
        self,
        out: dict[Output, Array],
        layers: Sequence[Any],
        numerators: Sequence[Any],
        denominator: int,
        *,
        known_whole: bool = False,
    ) -> None:
        """Write the figures of schedules into arrays; otherwise as `price`.

        `known_whole` says that all values are whole numbers, as those of a grid's reader are.
        """
        if not exact_shares(denominator, self.entering_visual_tokens):
            problem = f"is too large for {self.entering_visual_tokens:,} visual tokens"
            raise InvalidInput("denominator", denominator, problem, "price them one by one")
        _check_shapes(layers, numerators)
        if not known_whole and not all(_whole(one) for one in (*layers, *numerators)):
            problem = "have values that are not whole"
            raise InvalidInput("layers, numerators", None, problem, "give whole numbers")
        rows = len(layers[0])
        for start in range(0, rows, BLOCK):
            part = slice(start, min(start + BLOCK, rows))
            figures = {name: one[part] for name, one in out.items()}
            chosen = [one[part] for one in layers]
            shares = [one[part] for one in numerators]
            if not self._block.price(figures, chosen, shares, denominator):
                raise self._complaint(chosen, shares, denominator)

    def _complaint(self, layers: list[Any], numerators: list[Any], denominator: int) -> Exception:
        """Return what is wrong with the first schedule that is."""
        stages = [(*map(int, firsts),) for firsts in zip(*layers, strict=True)]
        shares = [(*map(int, counts),) for counts in zip(*numerators, strict=True)]
        for firsts, counts in zip(stages, shares, strict=True):
            before, current = -1, self.entering_visual_tokens
            for layer, numerator in zip(firsts, counts, strict=True):
                if not before < layer < self._count:
                    behind = "" if before < 0 else f" behind {before}"
                    problem = f"is not a layer{behind} of this model, which has {self._count}"
                    hint = f"give layers that grow, 0 to {self._count - 1}"
                    return InvalidInput("first_layer", layer, problem, hint)
                share = Fraction(numerator, denominator)
                kept = kept_tokens(share, self.entering_visual_tokens, self._rounding)
                if not 1 <= kept <= current:
                    problem = f"leaves {kept:,} of {current:,} visual tokens"
                    hint = "give shares that leave some, and no more than the stage before"
                    return InvalidInput("ratio", ratio_text(share), problem, hint)
                before, current = layer, kept
        return AssertionError("a schedule that is wrong has a reason")


def _check_shapes(layers: Sequence[Any], numerators: Sequence[Any]) -> None:
    if not len(layers) or len(numerators) != len(layers):
        problem = f"are {len(layers)} arrays of layers and {len(numerators)} of shares"
        raise InvalidInput("layers", None, problem, "give as many of both, at least one")
    if any(len(one) != len(layers[0]) for one in (*layers, *numerators)):
        problem = "are arrays of different lengths"
        raise InvalidInput("layers", None, problem, "give arrays of one length")


def _check_signs(layers: Sequence[Layer], constants: dict[Output, Fraction]) -> None:
    """The bound on rounding holds for sums of whole terms that are not negative."""
    rates = [rate for layer in layers for one in layer.terms.values() for rate in one[1:]]
    assert min([*rates, *constants.values()]) >= 0, "more tokens never cost less"
    assert all(2 % rate.denominator == 0 for rate in rates), "rates are whole or halves"


def _whole(values: Any) -> bool:
    """Tell whether an array is of whole numbers; one of an integer type is at once."""
    import numpy as np

    if np.issubdtype(values.dtype, np.integer):
        return True
    return bool(np.equal(np.floor(values), values).all())


def _dense(report: Report) -> dict[Output, int]:
    found: dict[Output, int] = {
        name: report.total(name, scheduled=False)
        for name in CONVENTIONS
        if report.obstacle(name) is None
    }
    found[BYTES] = kv_cache_bytes(report.model, report.dense, 16, report.counting.execution)
    found["visual_tokens"] = sum(
        tokens * (layout.in_sequence or layout.crosses)
        for tokens, layout in zip(report.dense.visual, report.dense.layout, strict=True)
    )
    return found
