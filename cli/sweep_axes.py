"""Axes of a sweep as typed: ranges START:STOP[:STEP] and lists, exact and bounded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import TypeVar

from ..costmodel import InvalidInput
from ..costmodel.numeric import whole
from ..costmodel.tokens.base import Size
from ..costmodel.workload import image_size
from .keep_ratios import keep_ratio

Value = TypeVar("Value")
#: Values of one axis; a grid of more has other bounds to fear.
MOST_VALUES = 1_000_000
#: Stages of one schedule.
MOST_STAGES = 4


def names(texts: Sequence[str], name: str) -> tuple[str, ...]:
    """Return the ids of an axis, repeated or separated by commas.

    Raises:
        InvalidInput: An empty one, or one that is given twice.
    """
    found = [part.strip() for text in texts for part in text.split(",")]
    if not all(found):
        raise InvalidInput(name, ",".join(texts), "names nothing", "give ids, separated by commas")
    return _distinct(found, name, str)


def wholes(texts: Sequence[str], name: str, minimum: int = 0) -> tuple[int, ...]:
    """Return the whole numbers of an axis.

    Raises:
        InvalidInput: Something else, an empty range, a step of 0, a number that is given twice.

    >>> wholes(["1:9:4", "20,30"], "--batch")
    (1, 5, 9, 20, 30)
    """

    def number(text: str) -> Fraction:
        return Fraction(whole(text, name, minimum=minimum))

    def step(text: str) -> Fraction:
        return Fraction(whole(text, name))

    values = [int(value) for value in _values(texts, name, number, step, "2:16:2")]
    return _distinct(values, name, str)


def ratios(texts: Sequence[str], name: str) -> tuple[Fraction, ...]:
    """Return the keep ratios of an axis, exact.

    Raises:
        InvalidInput: One outside (0, 1], or as `wholes` does.

    >>> [str(value) for value in ratios(["0.1:0.3:0.1", "1/3"], "--keep")]
    ['1/10', '1/5', '3/10', '1/3']
    """

    def step(text: str) -> Fraction:
        if re.fullmatch(r"[0-9]*\.?[0-9]+ ?%?", text) and not Fraction(text.rstrip(" %")):
            return Fraction(0)
        return keep_ratio(text, name)

    values = _values(texts, name, lambda text: keep_ratio(text, name), step, "0.1:1:0.1")
    return _distinct(list(values), name, lambda value: f"{float(value):g}")


def sizes(texts: Sequence[str], name: str) -> tuple[Size, ...]:
    """Return the image sizes of an axis: HEIGHTxWIDTH, or SIDE of squares and ranges of them.

    Raises:
        InvalidInput: Something else, or as `wholes` does.

    >>> sizes(["224:448:112", "560x1120"], "--image-size")
    ((224, 224), (336, 336), (448, 448), (560, 1120))
    """
    found: list[Size] = []
    for text in texts:
        for part in text.split(","):
            if ":" in part:
                sides = wholes([part], name, minimum=1)
                found += [image_size((side, side), name) for side in sides]
            else:
                found.append(image_size(part.strip(), name))
    return _distinct(found, name, lambda size: f"{size[0]}x{size[1]}")


def stage_counts(text: str | None, name: str) -> tuple[int, ...]:
    """Return how many stages schedules have: "2", or "1..3" for one to three.

    Raises:
        InvalidInput: Something else, or more than are swept over.

    >>> stage_counts("1..3", "--stages")
    (1, 2, 3)
    """
    if text is None:
        return (1,)
    way_out = f"give a number such as 2, or a span such as 1..3, of at most {MOST_STAGES}"
    ends = re.split(r"\.\.|:", text.strip())
    if len(ends) > 2 or not all(re.fullmatch(r"[0-9]{1,3}", end) for end in ends):
        raise InvalidInput(name, text, "is not a number of stages", way_out)
    first, last = int(ends[0]), int(ends[-1])
    if not 1 <= first <= last:
        raise InvalidInput(name, text, "is an empty span", way_out)
    if last > MOST_STAGES:
        raise InvalidInput(name, text, f"is above {MOST_STAGES} stages", way_out)
    return tuple(range(first, last + 1))


def _values(
    texts: Sequence[str],
    name: str,
    number: Callable[[str], Fraction],
    step: Callable[[str], Fraction],
    example: str,
) -> Iterator[Fraction]:
    """Yield the values of ranges and single values; a range has its STOP where a step meets it."""
    way_out = f"give START:STOP or START:STOP:STEP, such as {example}, or a list"
    left = MOST_VALUES
    for text in texts:
        for part in text.split(","):
            ends = [end.strip() for end in part.split(":")]
            if len(ends) > 3 or not all(ends):
                raise InvalidInput(name, text, "is not a range or a list", way_out)
            if len(ends) == 1:
                first = last = number(ends[0])
                gap = Fraction(1)
            else:
                first, last = number(ends[0]), number(ends[1])
                if len(ends) == 2 and first.denominator * last.denominator > 1:
                    raise InvalidInput(name, part, "has no step", way_out)
                gap = step(ends[2]) if len(ends) == 3 else Fraction(1)
            if not gap:
                raise InvalidInput(name, part, "has a step of 0", way_out)
            if first > last:
                raise InvalidInput(name, part, "is an empty range", "start at most where it stops")
            count = (last - first) // gap + 1
            left -= count
            if left < 0:
                problem = f"has more than {MOST_VALUES:,} values"
                raise InvalidInput(name, part, problem, "give a larger step")
            yield from (first + gap * place for place in range(count))


def _distinct(
    values: Sequence[Value], name: str, shown: Callable[[Value], str]
) -> tuple[Value, ...]:
    seen: set[Value] = set()
    for value in values:
        if value in seen:
            raise InvalidInput(name, shown(value), "is given twice", "give it once")
        seen.add(value)
    return tuple(values)
