"""Stage schedules of a grid that no other one beats, in cost and in what they retain.

frontier(report, grid, importance, measure)   the non-dominated schedules within a budget
Grid                                          first layers, keep levels and numbers of stages
Importance                                    weight of each layer: the retention proxy's
Flops, Cache                                  what a schedule costs; first_token.FirstToken: time
search                                        the dynamic program, over tables of whole numbers
"""

from .grid import Grid as Grid
from .grid import Level as Level
from .measures import Cache as Cache
from .measures import Flops as Flops
from .measures import Measure as Measure
from .measures import cost_table as cost_table
from .retention import Importance as Importance
from .search import Frontier as Frontier
from .search import Point as Point
from .search import Space as Space
from .search import Table as Table
from .search import search as search
from .solved import Solved as Solved
from .solved import Standing as Standing
from .solved import frontier as frontier
