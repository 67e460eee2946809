"""Numbers for people, as the library writes them."""

from ..costmodel.units import compact as compact
from ..costmodel.units import percent as percent
from ..costmodel.units import prefix as prefix
from ..costmodel.units import ranges as ranges
from ..costmodel.units import runs as runs
from ..costmodel.units import scaled as scaled
from ..costmodel.units import span as span
from ..costmodel.units import three_digits as three_digits
from ..costmodel.units import with_prefix as with_prefix
