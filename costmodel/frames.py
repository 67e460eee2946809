"""Reports as pandas data frames; pandas is optional."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import MissingExtra
from .flops import CONVENTIONS
from .payload import provenance, ratio_rows
from .report import Report

if TYPE_CHECKING:
    import pandas

#: The largest whole number that a column of integers holds.
LARGEST_INTEGER = 2**63 - 1


def report_frame(report: Report) -> pandas.DataFrame:
    """Return what a ratio compares, one row per convention and component; see `to_pandas`.

    Raises:
        MissingExtra: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtra("pandas", "pandas") from None

    rows = [{**provenance(report), **row} for row in ratio_rows(report, CONVENTIONS)]
    frame = pandas.DataFrame(rows)
    for side in ("baseline", "scheduled"):
        frame[side] = _amounts([row[side] for row in rows], pandas)
    return frame


def _amounts(values: list[int | None], pandas: Any) -> Any:
    """Return a column of whole numbers, some missing: floats would lose their last digits."""
    fits = all(value is None or value <= LARGEST_INTEGER for value in values)
    return pandas.array(values, dtype="Int64" if fits else "object")
