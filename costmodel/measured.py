"""Measured times of operators, and the bytes of those that a profile names without shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from .passes import activation_numbers, add_numbers, norm_numbers, rotation_numbers


class ProductRow(NamedTuple):
    """A measured matrix product [tokens, in_features] × [in_features, out_features].

    Attributes:
        line: Line of the file that it stands on.
        tokens: Rows of the left factor.
        operator: Name, only to group by.
        in_features: Inner size.
        out_features: Columns of the right factor.
        seconds: Time.
    """

    line: int
    tokens: int
    operator: str
    in_features: int
    out_features: int
    seconds: float


class PassRow(NamedTuple):
    """A measured elementwise pass over so many tokens; its name says which."""

    line: int
    tokens: int
    operator: str
    seconds: float


class PrefillRow(NamedTuple):
    """The measured time of a whole prefill of so many tokens."""

    line: int
    tokens: int
    seconds: float


class Measurements(NamedTuple):
    """What a file of measurements holds."""

    products: tuple[ProductRow, ...] = ()
    passes: tuple[PassRow, ...] = ()
    prefills: tuple[PrefillRow, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(map(len, self))


class Widths(NamedTuple):
    """Widths of a decoder layer, as far as they are known; 0 is not known."""

    hidden_size: int = 0
    query_width: int = 0
    key_value_width: int = 0
    intermediate_size: int = 0


def widths(products: Iterable[ProductRow]) -> Widths:
    """Return the widths that a profile's products show, by Vidur's names of them.

    attn_post_proj [q, d], attn_pre_proj [d, q + 2·kv], mlp_down_proj [m, d]; other names, and names
    with several shapes, show nothing.
    """
    shapes: dict[str, set[tuple[int, int]]] = {}
    for row in products:
        shapes.setdefault(row.operator, set()).add((row.in_features, row.out_features))

    def shape(name: str) -> tuple[int, int]:
        found = shapes.get(name, set())
        return next(iter(found)) if len(found) == 1 else (0, 0)

    query, hidden = shape("attn_post_proj")
    hidden_in, joint = shape("attn_pre_proj")
    intermediate, hidden_out = shape("mlp_down_proj")
    known = {size for size in (hidden, hidden_in, hidden_out) if size}
    if len(known) > 1:
        return Widths()
    key_value = (joint - query) // 2 if query and joint > query else 0
    return Widths(next(iter(known), 0), query, key_value, intermediate)


def _add(tokens: int, width: Widths, bits: int) -> int:
    return add_numbers(tokens, width.hidden_size, bits)


def _norm(tokens: int, width: Widths, bits: int) -> int:
    return int(norm_numbers(width.hidden_size))


def _rope(tokens: int, width: Widths, bits: int) -> int:
    known = width.query_width and width.key_value_width
    return int(rotation_numbers(width.query_width + width.key_value_width)) if known else 0


def _act(tokens: int, width: Widths, bits: int) -> int:
    return int(activation_numbers(width.intermediate_size))


#: Numbers per token of each pass that Vidur's profiles name; 0 where widths are not known.
PASSES: dict[str, Callable[[int, Widths, int], int]] = {
    "add": _add,
    "input_layernorm": _norm,
    "post_attention_layernorm": _norm,
    "attn_rope": _rope,
    "mlp_act": _act,
}


def pass_bytes(row: PassRow, width: Widths, bits: int = 16) -> float:
    """Return the bytes that a pass moves, or 0 if its name or its widths are not known."""
    if row.operator not in PASSES:
        return 0
    return row.tokens * PASSES[row.operator](row.tokens, width, bits) * bits / 8
