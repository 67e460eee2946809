"""Visual-token rules, one module per kind; a rule is imported when a model names it."""

from .base import LARGEST_SIDE as LARGEST_SIDE
from .base import RULES as RULES
from .base import Geometry as Geometry
from .base import Processor as Processor
from .base import Rule as Rule
from .base import Size as Size
from .base import VisualInput as VisualInput
from .base import visual_input as visual_input
