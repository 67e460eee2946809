"""The algebra: one closed form per function, for Python ints and numpy arrays alike.

Symbols (the same letters in the documentation and in `--explain`):

    n             tokens that an operator processes        d       hidden size
    pairs         query–key pairs that attention scores    m       FFN intermediate size
    h, h_kv       query heads, key/value heads             d_h     head size
    c_in, c_out   input and output features                k       kernel elements (ΠK)

Ints stay ints of any size. Arrays are float64: an integer array is converted on entry, because
int64 would overflow silently. One MAC is one multiply–accumulate; 1 MAC = 2 FLOP.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Number = TypeVar("Number", int, NDArray[np.float64])
else:
    Number = TypeVar("Number")


class ClosedForm(Protocol):
    """A formula that carries its text and the names of its operands."""

    text: str
    symbols: tuple[str, ...]

    def __call__(self, *operands: Any) -> Any:
        """Evaluate the closed form; ints give an int, arrays an array."""


FLOPS_PER_MAC = 2


def closed_form(text: str) -> Callable[[Callable[..., Any]], ClosedForm]:
    """Attach the closed form `text`, in the function's own argument names, to a formula."""

    def decorate(function: Callable[..., Any]) -> ClosedForm:
        @functools.wraps(function)
        def formula(*operands: Any) -> Any:
            return function(*[_operand(value) for value in operands])

        formula.text = text  # type: ignore[attr-defined]
        formula.symbols = tuple(inspect.signature(function).parameters)  # type: ignore[attr-defined]
        return formula  # type: ignore[return-value]

    return decorate


def _operand(value: Any) -> Any:
    if type(value) is int or not hasattr(value, "dtype"):
        return value
    if value.ndim == 0:  # a numpy scalar: back to Python's exact int
        return value.item()
    return value.astype("float64", copy=False)


def substitute(text: str, values: Mapping[str, object]) -> str:
    """Write a closed form with its numbers in place of its symbols.

    >>> substitute("2 · n · d", {"n": 640, "d": 4096})
    '2 · 640 · 4096'
    """
    return re.sub(r"[A-Za-z_]+", lambda symbol: str(values[symbol.group()]), text)


@closed_form("n · c_in · c_out")
def linear_macs(n: Number, c_in: int, c_out: int) -> Number:
    """MACs of a matrix product [n, c_in] × [c_in, c_out]; biases count 0."""
    return n * c_in * c_out


@closed_form("pairs · h · (d_qk + d_v)")
def attention_macs(pairs: Number, h: int, d_qk: int, d_v: int) -> Number:
    """MACs of Q·Kᵀ and A·V over `pairs` query–key pairs; softmax and scaling count 0."""
    return pairs * h * (d_qk + d_v)


@closed_form("n · c_in · c_out · k")
def convolution_macs(n: Number, c_in: int, c_out: int, k: int) -> Number:
    """MACs of a convolution at n output positions; c_in is per group, k the kernel's elements."""
    return n * c_in * c_out * k


@closed_form("n · n")
def square_pairs(n: Number) -> Number:
    """Pairs of full attention over n tokens: the operator scores all, whatever a mask hides."""
    return n * n


@closed_form("n · (n + 1) / 2 - out · (out + 1) / 2")
def window_pairs(n: Number, out: Number) -> Number:
    """Causal pairs within a window; the last query has `out` of the n tokens behind it."""
    return (n * (n + 1) - out * (out + 1)) // 2


@closed_form("v · (v - 1) / 2 + out · (out + 1) / 2")
def block_pairs(v: Number, out: Number) -> Number:
    """Pairs that v tokens which all attend to one another add to causal ones within a window.

    The window leaves `out` of the v tokens behind for the last of them.
    """
    return (v * (v - 1) + out * (out + 1)) // 2


@closed_form("steps · kept + (first + last) · steps / 2 + full · w")
def window_decode_pairs(
    kept: Number, first: int, last: int, steps: int, full: int, w: int
) -> Number:
    """Keys that decode forwards read in a layer of window w: Σ (kept + i), then w each time.

    Forwards `first` to `last` are the `steps` ones below the window's limit; `full` follow.
    """
    return steps * kept + (first + last) * steps // 2 + full * w


@closed_form("steps · kept + (first + last) · steps / 2")
def decode_pairs(kept: Number, first: int, last: int, steps: int) -> Number:
    """Keys that `steps` decode forwards, first to last, read in one layer: Σ (kept + i)."""
    return steps * kept + (first + last) * steps // 2


@closed_form("4 · n · d²")
def projection_term(n: Number, d: int) -> Number:
    """The papers' four d×d projections in MACs: no GQA, no separate head size."""
    return 4 * n * d * d


@closed_form("2 · n² · d")
def score_term(n: Number, d: int) -> Number:
    """The papers' attention products in MACs: Q·Kᵀ and A·V, causality ignored."""
    return 2 * n * n * d


@closed_form("2 · (q + k) · d²")
def parted_projection_term(q: Number, k: Number, d: int) -> Number:
    """The papers' four projections of q updated and k exposed tokens: 4nd² where both are n."""
    return 2 * (q + k) * d * d


@closed_form("2 · p · d")
def pair_term(p: Number, d: int) -> Number:
    """The papers' attention products over p query–key pairs: 2n²d where all n² are scored."""
    return 2 * p * d


@closed_form("2 · n · d · m")
def plain_ffn_term(n: Number, d: int, m: int) -> Number:
    """The FFN of the `survey` convention in MACs: two matrices."""
    return 2 * n * d * m


@closed_form("3 · n · d · m")
def gated_ffn_term(n: Number, d: int, m: int) -> Number:
    """The FFN of the `gated` convention in MACs: three matrices (gate, up, down)."""
    return 3 * n * d * m


@closed_form("⌈values · bits / 8⌉")
def cached_bytes(values: int, bits: int) -> int:
    """Bytes of the values that one token leaves in one layer's cache, rounded up."""
    return (values * bits + 7) // 8
