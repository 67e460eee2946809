"""What choosing the tokens costs: rules known by name, and rules that data describes."""

from .mixed import SelectionCost as SelectionCost
from .mixed import report_selection as report_selection
from .rules import RULES as RULES
from .rules import Recycling as Recycling
from .rules import Rule as Rule
from .rules import contextual_tokens as contextual_tokens
from .rules import recycled as recycled
from .rules import recycling as recycling
from .work import SelectionWork as SelectionWork
from .work import decode_selection as decode_selection
from .work import selection_operators as selection_operators
from .work import selection_work as selection_work
