"""What a printed figure may be of: readings of a cost, and the search for those that give it."""

from __future__ import annotations

from .lines import Setting, answer, setting_of
from .printed import Printed, read_printed
from .readings import Reading, price, reading, readings
from .search import Explanation, Search

__all__ = [
    "Explanation",
    "Printed",
    "Reading",
    "Search",
    "Setting",
    "answer",
    "price",
    "read_printed",
    "reading",
    "readings",
    "setting_of",
]
