"""Data with its sources: models, reduction methods, and readers of schedule files."""

from typing import TYPE_CHECKING, Any

from .loader import list_models as list_models
from .loader import load_model as load_model
from .schedule_file import read_schedule as read_schedule

if TYPE_CHECKING:
    from .method import Method as Method
    from .method import list_methods as list_methods
    from .method import load_method as load_method


def __getattr__(name: str) -> Any:
    """Import the methods when one is asked for: most commands need none."""
    if name not in {"Method", "list_methods", "load_method"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import method

    return getattr(method, name)
