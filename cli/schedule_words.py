"""A schedule in words, as the library says it."""

from ..costmodel.schedule_words import merges as merges
from ..costmodel.schedule_words import off_grid as off_grid
from ..costmodel.schedule_words import schedule_text as schedule_text
