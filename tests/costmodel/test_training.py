"""A training step and GPU hours, by hand and against the papers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from vlm_tokencost.costmodel import (
    COUNTING_PLACEHOLDER,
)
