"""Data with its sources: models, reduction methods, devices, and readers of schedule files."""

from typing import TYPE_CHECKING, Any

from .loader import list_models as list_models
from .loader import load_model as load_model

if TYPE_CHECKING:
    from .device import list_devices as list_devices
    from .device import load_device as load_device
    from .device import read_device as read_device
    from .language import parse_schedule as parse_schedule
    from .language import schedule_text_form as schedule_text_form
    from .language import schedule_toml as schedule_toml
    from .method import Method as Method
    from .method import MethodSchedule as MethodSchedule
    from .method import list_methods as list_methods
    from .method import load_method as load_method
    from .schedule_file import read_schedule as read_schedule

#: Names that few commands need, and their modules.
_LATER = {
    "Method": "method",
    "MethodSchedule": "method",
    "list_devices": "device",
    "list_methods": "method",
    "load_device": "device",
    "load_method": "method",
    "parse_schedule": "language",
    "read_device": "device",
    "read_schedule": "schedule_file",
    "schedule_text_form": "language",
    "schedule_toml": "language",
}

__all__ = [
    "Method",
    "MethodSchedule",
    "list_devices",
    "list_methods",
    "list_models",
    "load_device",
    "load_method",
    "load_model",
    "parse_schedule",
    "read_device",
    "read_schedule",
    "schedule_text_form",
    "schedule_toml",
]


def __getattr__(name: str) -> Any:
    """Import what few commands need when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    """Name what there is, imported or not."""
    return __all__
