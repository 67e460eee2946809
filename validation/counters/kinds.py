"""What an operator is, by its name: a kind of product, arithmetic without formula, or neither.

Names are written as torch prints them, `aten.mm`; tracing and profiling write `aten::mm`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Literal

#: `attention` is every product of two stacks of matrices, which eager attention alone is made of.
Kind = Literal["linear", "attention", "convolution"]

#: Words of the operator names that multiply matrices, such as `_grouped_mm` or `conv2d`.
_PRODUCT = re.compile(
    r"(^|_)((add|b|addb|baddb)?mm|matmul|(add)?mv|v?dot|linear|einsum|attention|cdist"
    r"|conv(?!ert)\w*)(_|$)"
)
#: Operators that copy, arrange or fill; dropout does nothing outside training.
_MOVES = re.compile(
    r"(to_)?copy|clone|contiguous|lift(_fresh)?|type_as|unsafe_\w+|reshape\w*|resize|dropout"
    r"|cat|concat(enate)?|[hvd]?stack|repeat(_interleave)?|tile|roll|flip|rot90|tri[lu]|\w*pad\w*"
    r"|index(?!_add|_reduce)\w*|gather|take\w*|\w*scatter|masked_\w+|where|embedding"
    r"|pixel_\w*shuffle|im2col|fill|zero"
)
#: Operators that return booleans or indices.
_DECIDES = re.compile(
    r"eq|ne|[lg][te]|(not_)?equal|(less|greater)(_equal)?|is\w+|any|all|logical_\w+|bitwise_\w+"
    r"|and|x?or|arg\w+|nonzero\w*|searchsorted|bucketize|one_hot|bincount"
)
_ALLOCATES = re.compile(r"new_\w+|\w+_like")


def torch_name(name: str) -> str:
    """Return `aten.mm` for `aten::mm`."""
    return name.replace("::", ".")


def kind_of(name: str) -> Kind:
    """Return the kind of a product.

    >>> kind_of("aten.addmm"), kind_of("aten.baddbmm"), kind_of("aten.conv2d")
    ('linear', 'attention', 'convolution')
    """
    bare = _bare(name)
    if "conv" in bare:
        return "convolution"
    return "attention" if "bmm" in bare or "attention" in bare else "linear"


def is_product(name: str) -> bool:
    """Return whether an operator multiplies matrices, convolves or attends."""
    return _PRODUCT.search(name.rpartition(".")[2]) is not None


@cache
def computes(name: str) -> bool:
    """Return whether an operator does arithmetic on tensors.

    It does unless its schema says that it returns a view or no tensor, or takes no tensor, or its
    name says that it allocates, copies, rearranges, compares or returns indices. Operators
    without a schema in torch are taken to compute.
    """
    bare = _bare(name)
    if any(names.fullmatch(bare) for names in (_MOVES, _DECIDES, _ALLOCATES)):
        return False
    # `detach_` is no view by its schema, but `detach` is.
    operator = _first_overload(name.rstrip("_")) or _first_overload(name)
    if operator is None:
        return True
    schema = operator._schema
    takes, gives = (
        any("Tensor" in str(value.type) for value in values)
        for values in (schema.arguments, schema.returns)
    )
    return takes and gives and not operator.is_view


def _bare(name: str) -> str:
    return name.rpartition(".")[2].strip("_")


def _first_overload(name: str) -> Any:
    import torch

    packet: Any = torch.ops
    try:
        for part in name.split("."):
            packet = getattr(packet, part)
        return getattr(packet, packet.overloads()[0])
    except (AttributeError, IndexError):
        return None
