"""Connector stages, one module per kind; a stage is imported when a model names it."""

from .base import STAGES as STAGES
from .base import Flow as Flow
from .base import Stage as Stage
