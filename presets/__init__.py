"""Data with its sources: model presets, and readers of schedule files."""

from .loader import list_models as list_models
from .loader import load_model as load_model
from .schedule_file import read_schedule as read_schedule
