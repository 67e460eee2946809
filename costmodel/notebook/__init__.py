"""How notebooks show reports, schedules and models: small tables of plain HTML."""

from .shown import model_html as model_html
from .shown import report_html as report_html
from .shown import schedule_html as schedule_html
