"""Schedules as people write them: one line, layer:ratio pairs, a LightCompress file; and back."""

from .source import Written as Written
from .source import open_written as open_written
from .source import read_text as read_text
from .text import parse_schedule as parse_schedule
from .written import schedule_text_form as schedule_text_form
from .written import schedule_toml as schedule_toml
