"""Data with its sources: models, reduction methods, and readers of schedule files."""

from typing import TYPE_CHECKING, Any

from .loader import list_models as list_models
from .loader import load_model as load_model

if TYPE_CHECKING:
    from .method import Method as Method
    from .method import list_methods as list_methods
    from .method import load_method as load_method
    from .schedule_file import read_schedule as read_schedule

#: Names that few commands need, and their modules.
_LATER = {
    "Method": "method",
    "list_methods": "method",
    "load_method": "method",
    "read_schedule": "schedule_file",
}


def __getattr__(name: str) -> Any:
    """Import what few commands need when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
