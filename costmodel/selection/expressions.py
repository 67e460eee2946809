"""Counts written as arithmetic over a plan's symbols, such as "M * (b - a) // crops"."""

import ast
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Annotated

from ..errors import InvalidInput
from ..numeric import Converted

#: Longer ones are no count of anything.
LONGEST = 200
#: No count of operations comes near; larger ones are slips, and would take memory to hold.
LARGEST = 10**30

#: What an expression may use, and what each symbol stands for.
SYMBOLS = {
    "V": "visual tokens before any compression",
    "M": "visual tokens that enter the LLM",
    "N": "text tokens",
    "S": "structural tokens",
    "n": "tokens of the sequence before a reduction in the LLM",
    "b": "visual tokens before it",
    "a": "visual tokens behind it",
    "l": "the first layer that sees the reduction",
    "T": "decoder layers",
    "d": "hidden size of the LLM",
    "m": "its intermediate size",
    "h": "its query heads",
    "h_kv": "its key/value heads",
    "d_h": "its head size",
    "P": "patches of all crops",
    "E": "tokens of the encoder's last contributing layer, over all crops",
    "Q": "query-key pairs of that layer",
    "d_e": "hidden size of the encoder",
    "m_e": "its intermediate size",
    "h_e": "its heads",
    "d_he": "its head size",
    "L_e": "its contributing layers",
    "L_a": "all its layers, which released code that asks for attention maps keeps",
    "c": "its class tokens in each crop, 1 or 0",
    "crops": "crops, or frames, that pass it",
    "frames": "frames of a video, or images",
    "C": "tokens that leave the connector",
    "R": "learned separators among V, such as newlines",
    "stored": "visual tokens that the cache stores, over all layers",
    "read": "visual tokens that a decode forward reads, over all layers",
}
#: Symbols that only an encoder of transformer layers has.
OF_THE_ENCODER = ("E", "Q", "d_e", "m_e", "h_e", "d_he", "L_e", "c")
_FUNCTIONS: dict[str, Callable[..., int]] = {
    "min": min,
    "max": max,
    "ceil": lambda top, bottom: -(-top // bottom),
    "isqrt": math.isqrt,
    "log2": lambda count: max(int(count) - 1, 1).bit_length(),
}
_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
}
_HINT = "write whole numbers, symbols, + - * // ( ), min, max, ceil(a, b), isqrt and log2"


def expression(value: object, symbols: Iterable[str] = SYMBOLS) -> str:
    """Return an expression over some symbols, as it was written.

    Raises:
        InvalidInput: Something else.

    >>> expression("576 * d")
    '576 * d'
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > LONGEST:
        raise InvalidInput("", None, "is not a short expression", _HINT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of "1or 2" before it is refused here
            tree = ast.parse(value, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InvalidInput("", value, "is not an expression", _HINT) from None
    _check(tree.body, value, tuple(symbols))
    return value


#: A field that holds an expression.
Expression = Annotated[str, Converted(expression)]


def computed(text: str, values: Mapping[str, int], field: str = "selection") -> int:
    """Return what an expression comes to.

    Raises:
        InvalidInput: It comes below 0, divides by 0, or uses a symbol that has no value here.

    >>> computed("ceil(M, 2) * d", {"M": 577, "d": 4})
    1156
    """
    try:
        result = _value(_parsed(text), values)
    except KeyError as error:
        problem = f"uses {error.args[0]}, which has no value here"
        hint = 'b, a, n and l need per = "reduction"; B needs a budget'
        if error.args[0] in OF_THE_ENCODER:
            hint = "choose a model whose encoder consists of transformer layers"
        raise InvalidInput(field, text, problem, hint) from None
    except ZeroDivisionError:
        raise InvalidInput(field, text, "divides by 0", "correct the expression") from None
    except ValueError:  # the root of what is negative
        raise InvalidInput(field, text, "comes below 0", "correct the expression") from None
    if not 0 <= result <= LARGEST:
        problem = "comes below 0" if result < 0 else "comes out of any range"
        raise InvalidInput(field, text, problem, "correct the expression")
    return result


@cache
def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _check(node: ast.expr, text: str, symbols: tuple[str, ...]) -> None:
    """Refuse what is no arithmetic over known symbols."""
    match node:
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return
        case ast.Name(id=name) if name in symbols:
            return
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            _check(left, text, symbols)
            _check(right, text, symbols)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if (
            name in _FUNCTIONS and _fitting(name, len(arguments))
        ):
            for argument in arguments:
                _check(argument, text, symbols)
        case ast.Name(id=name):
            known = ", ".join(symbols)
            raise InvalidInput("", text, f"uses {name}, which is no symbol", f"use {known}")
        case _:
            raise InvalidInput("", text, "is not an expression", _HINT)


def _fitting(name: str, arguments: int) -> bool:
    return arguments == 1 if name in ("isqrt", "log2") else arguments == 2


def _value(node: ast.expr, values: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int() as number):
            return min(number, LARGEST)
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=op, right=right):
            result = _OPERATIONS[type(op)](_value(left, values), _value(right, values))
            return max(min(result, LARGEST**2), -(LARGEST**2))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _FUNCTIONS[name](*(_value(argument, values) for argument in arguments))
    raise AssertionError("an expression was checked when it was read")
