"""Schedules with arithmetic in them: published settings as data, for any model and any budget.

Wherever a schedule has a number of layers or tokens, a template may have an expression over

    T  decoder layers          V  dense visual tokens     B  the budget, if one is asked for
    crops, frames              N, S  text and structural tokens
    L  encoder layers that contribute                     P  patches of the smallest crop
    X  tokens that each crop becomes (the fewest)         G  side of the square of patches merged
    H, W  pixels of the largest image                     d_e, m_e  widths of the encoder

in the arithmetic of `costmodel.selection.expressions`: "T // 4", "32 * crops", "(T * B - 2 * V) //
(T - 2)". Text of the form "1/4" stays an exact ratio; "A / B" is the ratio of two expressions. A
`compress.at` of "one-by-one" is before a connector that takes tokens one by one, else after it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from ..costmodel import InvalidInput
from ..costmodel.numeric import Converted, Spec
from ..costmodel.schedule import Schedule
from ..costmodel.selection.expressions import computed, expression
from .case import Case, Primitives

#: Keys whose values count layers or tokens.
COUNTS = frozenset(
    {
        "first_layer",
        "layer",
        "layers",
        "focal_layers",
        "tokens",
        "stored_tokens",
        "read_tokens",
        "extra",
        "learned",
        "bank",
        "merged_per_layer",
        "crops",
    }
)
_WIDTHS = ("d_e", "m_e")
SYMBOLS = ("T", "V", "B", "N", "S", "crops", "frames", "L", "P", "X", "G", "H", "W", *_WIDTHS)


def _expression(value: object) -> str:
    return expression(value, SYMBOLS)


Expression = Annotated[str, Converted(_expression)]


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput("", None, "is not a table of keys", "write a schedule")
    unknown = value.keys() - Schedule.model_fields.keys()
    if unknown:
        raise InvalidInput("", min(unknown), "is no part of a schedule", "see the primitives")
    return dict(value)


#: What a published schedule may be for.
CASES = ("layers", "visual_tokens", "budget")


def _published(value: object) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list | tuple):
        raise InvalidInput("", None, "is not a list of tables", "write tables with a schedule")
    found = []
    for item in value:
        schedule = _table(item.get("schedule")) if isinstance(item, Mapping) else None
        if schedule is None or not set(CASES) & item.keys() or item.keys() - {*CASES, "schedule"}:
            problem = "is not a schedule and the case that it is for"
            raise InvalidInput("", None, problem, f"give schedule and {', '.join(CASES)}")
        found.append({**item, "schedule": schedule})
    return tuple(found)


class Template(Spec):
    """A schedule to be filled in.

    Attributes:
        schedule: Its tables, with expressions.
        published: Schedules that sources list for one depth (`layers`), count (`visual_tokens`) or
            `budget`, all that are given; the first that fits is used instead.
        meaning: What a budget means; not for a default.
        least, most: The smallest and the largest budget.
        offered: The budgets that there are, in any order, those below 1 left out; others round
            down to one of them. Without any, every budget is one.
    """

    strategy: Literal["schedule"]
    schedule: Annotated[dict[str, Any], Converted(_table)]
    published: Annotated[tuple[dict[str, Any], ...], Converted(_published)] = ()
    meaning: str = ""
    least: Expression = "1"
    most_budget: Expression = "V"
    offered: tuple[Expression, ...] = ()

    def most(self, case: Case) -> int | None:
        """Return the largest budget."""
        return computed(self.most_budget, case.symbols, "budget")

    def candidates(self, case: Case) -> Sequence[int] | None:
        """Return the budgets from the least to the largest, or those that are offered."""
        most = computed(self.most_budget, case.symbols, "budget")
        if self.offered:
            counts = {computed(one, case.symbols, "budget") for one in self.offered}
            return sorted(one for one in counts if 1 <= one <= most) or None
        if "B" in re.findall(r"\w+", self.least):
            return None
        return range(max(1, computed(self.least, case.symbols, "budget")), most + 1) or None

    def primitives(self, case: Case, budget: int | None = None) -> Primitives:
        """Return the fields of the schedule.

        Raises:
            InvalidInput: A budget out of reach.
        """
        values = dict(case.symbols)
        if budget is not None:
            values["B"] = budget
            least = computed(self.least, values, "budget")
            if self.offered:
                offered = self.candidates(case) or (case.visual_tokens,)
                least = offered[0]
                values["B"] = max((one for one in offered if one <= budget), default=budget)
            if budget < least:
                problem = f"is out of reach: the least is {least:,}"
                raise InvalidInput("budget", budget, problem, f"give {least:,} or more")
        places = {"one-by-one": "before-connector" if case.one_by_one else "after-connector"}
        tables = self._tables(case, budget)
        filled = {key: _filled(key, value, values, places) for key, value in tables.items()}
        schedule = Schedule(**filled)
        names = (*schedule.primitives, "rounding")
        return {name: getattr(schedule, name) for name in names if name != "selection"}

    def lists_depth(self, case: Case) -> bool:
        """Tell whether a source lists a schedule for the case's depth alone."""
        return any(
            one.keys() & {*CASES} == {"layers"} and one["layers"] == case.layers
            for one in self.published
        )

    def _tables(self, case: Case, budget: int | None) -> dict[str, Any]:
        """Return the schedule of the case, before it is filled in."""
        asked = {"layers": case.layers, "visual_tokens": case.visual_tokens, "budget": budget}
        for one in self.published:
            if all(one[key] == asked[key] for key in CASES if key in one):
                schedule: dict[str, Any] = one["schedule"]
                return schedule
        return self.schedule


def _filled(key: str, value: Any, values: dict[str, int], places: dict[str, str]) -> Any:
    """Return a value with its expressions computed; keys say which texts are expressions."""
    if isinstance(value, Mapping):
        return {inner: _filled(inner, item, values, places) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(key, item, values, places) for item in value]
    if not isinstance(value, str):
        return value
    if key == "at":
        return places.get(value, value)
    top, slash, bottom = value.partition(" / ")
    if slash:
        above, below = (computed(expression(part, SYMBOLS), values, key) for part in (top, bottom))
        return f"{above}/{below}"
    if key in COUNTS and "/" not in value.replace("//", ""):
        return computed(expression(value, SYMBOLS), values, key)
    return value
