"""Numbers for people: prefixes, percentages, compact ranges. Data formats never use these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_PREFIXES = (("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0))


def prefix(amounts: Iterable[int | None]) -> tuple[str, int]:
    """Return the SI prefix that suits the largest amount, and its power of ten.

    Amounts that there are not are None.

    >>> prefix([8_910_375_321_600, 24_159_191_040])
    ('T', 12)
    """
    largest = max((amount for amount in amounts if amount is not None), default=0)
    for name, power in _PREFIXES:
        if largest >= 10**power:
            return name, power
    return "", 0


def scaled(amount: int | None, power: int) -> str:
    """Return an amount in units of 10^power: four decimals, or four digits when it is small.

    None is a dash.

    >>> scaled(8_910_375_321_600, 12)
    '8.9104'
    """
    if amount is None:
        return "—"
    if not power or not amount:
        return f"{amount:,}"
    if 100 * amount < 10**power:
        return f"{amount / 10**power:.4g}"
    # In whole ten-thousandths, rounded half up: a float would lose the last digits of large ones.
    shown = (2 * amount * 10**4 + 10**power) // (2 * 10**power)
    return f"{shown // 10**4:,}.{shown % 10**4:04d}"


def with_prefix(amount: int, unit: str) -> str:
    """Return an amount with its own prefix and unit.

    >>> with_prefix(8_910_375_321_600, "FLOP")
    '8.9104 TFLOP'
    """
    name, power = prefix([amount])
    return f"{scaled(amount, power)} {name}{unit}"


def three_digits(amount: float) -> str:
    """Return an amount rounded to three significant digits, written out.

    >>> three_digits(1095.4), three_digits(775.4), three_digits(0.0612)
    ('1,100', '775', '0.0612')
    """
    return f"{float(f'{amount:.3g}'):,.15g}"


def percent(part: int | None, whole: int | None) -> str:
    """Return a share in percent, or a dash when there is nothing to share."""
    return f"{100 * part / whole:.2f} %" if whole and part is not None else "—"


def runs(values: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return runs of equal values as (first, last, value).

    >>> runs([640, 640, 352])
    [(0, 1, 640), (2, 2, 352)]
    """
    found: list[tuple[int, int, int]] = []
    for index, value in enumerate(values):
        if found and found[-1][2] == value:
            found[-1] = (found[-1][0], index, value)
        else:
            found.append((index, index, value))
    return found


def span(first: int, last: int) -> str:
    """Return "2–31", or "2" for a single layer."""
    return f"{first}–{last}" if last > first else str(first)


def ranges(indices: Sequence[int]) -> str:
    """Return ascending indices as ranges.

    >>> ranges([0, 1, 2, 7])
    '0–2, 7'
    """
    starts = [index for index in indices if index - 1 not in indices]
    ends = [index for index in indices if index + 1 not in indices]
    return ", ".join(span(first, last) for first, last in zip(starts, ends, strict=True))


def compact(values: Sequence[int]) -> str:
    """Return values per layer as ranges.

    >>> compact([640, 640, 352])
    '0–1: 640, 2: 352'
    """
    return ", ".join(f"{span(first, last)}: {value}" for first, last, value in runs(values))
