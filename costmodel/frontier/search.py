"""Non-dominated stage schedules by dynamic programming: exact, over whole numbers.

A schedule is a row of stages (place K_j, level a_j) with K_1 < K_2 < … and a_1 > a_2 > …; level
L is the dense one. With C_K(a) the sum of c_l(a) − c_l(L) over the layers from place K on, it
costs

    C_K1(a_1) + Σ_{j ≥ 2} (C_Kj(a_j) − C_Kj(a_{j−1}))

more than the dense run, and its value is the same sum over the value table. What a further stage
adds depends on its place, the level before and its own alone. So of the schedules with equal
numbers of stages, ended at one level before one place, those that another one beats in cost and
in value (or in one of them, at equality in the other) lead to nothing: to drop them loses no
answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

#: Steps of a search, each of which moves thousands of schedules: more take many minutes.
MOST_STEPS = 2_000_000
#: The largest sum that arrays hold, with room for one addition more.
_MOST = 2**62


class Table(NamedTuple):
    """A quantity that is a sum over layers of what each layer has with its tokens.

    Attributes:
        dense: The sum without any stage.
        changes: changes[layer][level]: what a layer has at a level, less what it has densely.
    """

    dense: int
    changes: tuple[tuple[int, ...], ...]


class Point(NamedTuple):
    """A non-dominated schedule.

    Attributes:
        cost, value: Its sums.
        stages: (first layer, level) of each stage; none is the dense run.
        ties: How many other schedules of the grid have the same cost and value.
    """

    cost: int
    value: int
    stages: tuple[tuple[int, int], ...]
    ties: int


class Space(NamedTuple):
    """The schedules that are searched.

    Attributes:
        layers: First layers that a stage may have, growing.
        levels: How many levels below the dense one there are, by growing tokens.
        stages: Numbers of stages that are allowed, growing; 0 is the dense run.
    """

    layers: tuple[int, ...]
    levels: int
    stages: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of schedules.

        >>> Space((1, 2, 3), 2, (0, 1, 2)).size  # 1 + 3·2 + 3·1
        10
        """
        places = len(self.layers)
        return sum(math.comb(places, s) * math.comb(self.levels, s) for s in self.stages)

    @property
    def deepest(self) -> int:
        """The most stages that a schedule of the space can have."""
        most = min(len(self.layers), self.levels)
        return max((count for count in self.stages if count <= most), default=0)

    @property
    def steps(self) -> int:
        """Pairs of levels, place by place, that one stage follows another with, and first ones."""
        pairs = self.levels * (self.levels - 1) // 2
        return len(self.layers) * (self.levels + max(self.deepest - 1, 0) * pairs)


class Frontier(NamedTuple):
    """What a search found.

    Attributes:
        points: By growing cost and value; the last is the best within the budget.
        least: The least cost in the space, whatever the budget.
    """

    points: tuple[Point, ...]
    least: int


def search(space: Space, cost: Table, value: Table, budget: int | None = None) -> Frontier:
    """Return every non-dominated schedule whose cost does not exceed the budget.

    Of schedules with equal cost and value, the one with the fewest stages stands, and of these the
    first by (layer, level) of its stages.

    Raises:
        InvalidInput: An empty space, or sums that 64 bits do not hold.
    """
    if not space.size:
        problem = "makes no schedule of these layers and keep ratios"
        raise InvalidInput("stages", None, problem, "give more of these, or fewer stages")
    return _Search(space, cost, value, budget).found()


class _Labels(NamedTuple):
    """Schedules that no other one of the set beats, by growing cost.

    Attributes:
        cost, value: What they cost and are worth more than the dense run, in units of the search.
        code: Their stages as a number whose order is the order of ties.
        standing_for: How many schedules each is.
    """

    cost: Numbers
    value: Numbers
    code: Numbers
    standing_for: Numbers

    def moved(self, cost: int, value: int, code: int) -> _Labels:
        return _Labels(self.cost + cost, self.value + value, self.code + code, self.standing_for)

    def within(self, most: int) -> _Labels:
        end = int(self.cost.searchsorted(most, side="right"))
        return self if end == len(self.cost) else _Labels(*(column[:end] for column in self))


class _Search:
    """Tables in the search's own units, and the labels that are carried from place to place."""

    def __init__(self, space: Space, cost: Table, value: Table, budget: int | None) -> None:
        self.space, self.table = space, (cost, value)
        self.dense = space.levels  # the level above all
        self.units = [_unit(table, space) for table in self.table]
        #: sums[0 or 1][place][level]: C_K(level) and its counterpart, in units.
        self.sums = [
            _sums(table, space, unit) for table, unit in zip(self.table, self.units, strict=True)
        ]
        self.digits = len(space.layers) * space.levels + 1
        if space.steps > MOST_STEPS:
            problem = f"make {space.steps:,} steps of the search, more than {MOST_STEPS:,}"
            raise InvalidInput("layers and keep ratios", None, problem, "give fewer of them")
        if self.digits**space.deepest * (space.deepest + 1) >= _MOST:
            problem = f"make {self.digits - 1:,} choices for each of {space.deepest} stages"
            raise InvalidInput("layers and keep ratios", None, problem, "give fewer of them")
        self.cheapest = self._cheapest()
        self.budget: int | None = None
        if budget is not None:  # clipped to what arrays can be compared with
            self.budget = max(min((budget - cost.dense) // self.units[0], _MOST), -_MOST)

    def found(self) -> Frontier:
        cost = self.table[0]
        least = self.cheapest[0][0][self.dense]
        assert least is not None
        total = cost.dense + least * self.units[0]
        points = tuple(map(self._point, *self._solved())) if self._fits(least) else ()
        return Frontier(points, total)

    def _fits(self, cost: int) -> bool:
        return self.budget is None or cost <= self.budget

    def _solved(self) -> list[list[int]]:
        """Return the columns of the frontier: cost, value, code, count, as Python's numbers."""
        import numpy as np

        space, deepest = self.space, self.space.deepest
        start = _Labels(*(np.array([number], dtype=np.int64) for number in (0, 0, 0, 1)))
        ended: list[_Labels] = []
        if 0 in space.stages and self._fits(0):
            ended.append(start)
        # carried[used][level]: what ends at a level, begun before the present place.
        carried: list[dict[int, _Labels]] = [{self.dense: start}, *({} for _ in range(deepest))]
        for place in range(len(space.layers)):
            for used in range(deepest - 1, -1, -1):  # downwards: one stage at a place
                for level in range(space.levels):
                    new = self._begun(carried[used], used, place, level)
                    if new is None:
                        continue
                    if used + 1 in space.stages:
                        done = new if self.budget is None else new.within(self.budget)
                        mark = (used + 1) * self.digits**deepest
                        ended.append(done.moved(0, 0, mark))
                    if used + 1 < deepest:
                        kept = self._hopeful(new, used + 1, place + 1, level)
                        before = carried[used + 1].get(level)
                        parts = [kept] if before is None else [before, kept]
                        carried[used + 1][level] = _best(parts)
            ended = [_best(ended)] if ended else []
        return [column.tolist() for column in _best(ended)]

    def _begun(
        self, carried: dict[int, _Labels], used: int, place: int, level: int
    ) -> _Labels | None:
        """Return what begins a stage of this level at a place."""
        code = (place * self.space.levels + level + 1) * self.digits ** (
            self.space.deepest - used - 1
        )
        parts = []
        for before, labels in carried.items():
            if before > level and len(labels.cost):
                cost, value = (sums[place][level] - sums[place][before] for sums in self.sums)
                moved = labels.moved(cost, value, code)
                parts.append(self._hopeful(moved, used + 1, place + 1, level))
        return _best(parts) if any(len(part.cost) for part in parts) else None

    def _hopeful(self, labels: _Labels, used: int, place: int, level: int) -> _Labels:
        """Drop what exceeds the budget however it goes on, and what cannot go on or end."""
        further = self.cheapest[used][place][level]
        if further is None:
            return labels.within(-(2**63))
        return labels if self.budget is None else labels.within(self.budget - further)

    def _cheapest(self) -> list[list[list[int | None]]]:
        """Return the least that may be added: by stages used, place from which on, and level.

        None where no schedule of the space goes on or ends so.
        """
        space, sums = self.space, self.sums[0]
        places, levels, deepest = len(space.layers), space.levels, space.deepest
        table: list[list[list[int | None]]] = []
        for used in range(deepest, -1, -1):
            end = 0 if used in space.stages else None
            rows: list[list[int | None]] = [[end] * (levels + 1)]
            for place in range(places - 1, -1, -1):
                row = list(rows[0])
                if used < deepest:
                    following = table[0][place + 1]
                    for level in range(levels + 1):
                        added = [
                            sums[place][after] - sums[place][level] + more
                            for after in range(level)
                            if (more := following[after]) is not None
                        ]
                        known = row[level]
                        row[level] = min(added if known is None else [known, *added], default=None)
                rows.insert(0, row)
            table.insert(0, rows)
        return table

    def _point(self, cost: int, value: int, code: int, count: int) -> Point:
        """Return a label as a point: its stages read off its code."""
        space, deepest, stages = self.space, self.space.deepest, []
        code %= self.digits**deepest
        for left in range(deepest - 1, -1, -1):
            digit, code = divmod(code, self.digits**left)
            if digit:
                place, level = divmod(digit - 1, space.levels)
                stages.append((space.layers[place], level))
        total, worth = (
            table.dense + amount * unit
            for table, amount, unit in zip(self.table, (cost, value), self.units, strict=True)
        )
        return Point(total, worth, tuple(stages), count - 1)


def _unit(table: Table, space: Space) -> int:
    """Return the largest unit of which all changes are whole numbers.

    Raises:
        InvalidInput: Sums that 64 bits do not hold even so.
    """
    unit = math.gcd(*(change for row in table.changes for change in row)) or 1
    largest = sum(max(map(abs, row), default=0) for row in table.changes) // unit
    # A label and what moves it: the level before is taken back, the new one added.
    if 3 * largest >= _MOST:
        problem = f"sums to {largest:.1e} units, more than 64 bits hold"
        raise InvalidInput("cost or value", None, problem, "give a smaller workload")
    return unit


def _sums(table: Table, space: Space, unit: int) -> list[list[int]]:
    """Return the sums over the layers from each place on, by level; 0 at the dense level."""
    found = []
    for layer in space.layers:
        columns = zip(*table.changes[layer:], strict=True)
        found.append([*(sum(column) // unit for column in columns), 0])
    return found


def _best(parts: Sequence[_Labels]) -> _Labels:
    """Return what no other label beats, once for each cost and value."""
    import numpy as np

    columns: list[Any] = [np.concatenate(column) for column in zip(*parts, strict=True)]
    if len(columns[0]) < 2:
        return _Labels(*columns)
    order = np.argsort(columns[0], kind="stable")  # merges runs, which the parts are
    cost, value = columns[0][order], columns[1][order]
    highest = np.maximum.accumulate(value)
    first = np.flatnonzero(np.r_[True, cost[1:] != cost[:-1]])  # of each cost
    last = np.r_[first[1:], len(cost)] - 1
    better = np.r_[True, highest[last[1:]] > highest[last[:-1]]]  # than all that cost less
    first, last = first[better], last[better]
    # Of each cost that is better, the labels of its highest value; the lowest code stands for all.
    sizes = last - first + 1
    of_cost = np.repeat(np.arange(len(first)), sizes)
    before = np.r_[0, np.cumsum(sizes)[:-1]]
    members = np.arange(len(of_cost)) + np.repeat(first - before, sizes)
    chosen = value[members] == highest[last][of_cost]
    members, of_cost = members[chosen], of_cost[chosen]
    starts = np.flatnonzero(np.r_[True, of_cost[1:] != of_cost[:-1]])
    rows = order[members]
    return _Labels(
        cost[first],
        highest[last],
        np.minimum.reduceat(columns[2][rows], starts),
        np.add.reduceat(columns[3][rows], starts),
    )
