"""Many stage schedules at once: the prices of the scalar path over numpy arrays.

StagePricer(model, workload)   totals of every convention and KV bytes of whole arrays
Combinations                   the rows of a grid of stages, by their numbers
as_shares                      keep ratios as whole numerators over one denominator
"""

from .combinations import Combinations as Combinations
from .pricer import StagePricer as StagePricer
from .pricer import Totals as Totals
from .shares import Shares as Shares
from .shares import as_shares as as_shares
