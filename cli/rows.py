"""A bill beside another as flat rows, as the library gives them."""

from ..costmodel.rows import Row as Row
from ..costmodel.rows import component_rows as component_rows
from ..costmodel.rows import null_row as null_row
from ..costmodel.rows import priced as priced
