"""Exact numbers on entry: what the user typed is what is priced."""

import operator
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import core_schema

from .errors import InvalidInput

#: No count of tokens, layers or requests in use comes near; larger ones are slips.
LARGEST = 10**9
#: A ratio that is no short decimal is one of whole numbers of up to so many digits: every ratio has
#: a text of bounded length that it is read back from.
MOST_DIGITS = 45


def whole(value: object, field: str, minimum: int = 0, maximum: int = LARGEST) -> int:
    """Return `value` as a Python int.

    Accepts ints, numpy integer scalars and strings of digits; refuses bools, floats and words.

    Raises:
        InvalidInput: `value` is not a whole number in [`minimum`, `maximum`].

    >>> whole("640", "text_tokens")
    640
    """
    way_out = f"give a whole number of at least {minimum:,}"
    number: int | None = None
    if isinstance(value, str):
        # Digits alone: int() would also take "1_000", and fail on 5,000 digits by another error.
        typed = value.strip()
        digits = typed[1:] if typed.startswith(("+", "-")) else typed
        if len(digits) < 40 and digits.isascii() and digits.isdecimal():
            number = int(typed)
    elif not isinstance(value, bool):
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            number = None
    if number is None:
        raise InvalidInput(field, value, "is not a whole number", way_out)
    if number < minimum:
        raise InvalidInput(field, value, f"is below {minimum:,}", way_out)
    if number > maximum:
        raise InvalidInput(field, value, f"is above {maximum:,}", "give a plausible number")
    return number


def ratio(value: Any, field: str) -> Fraction:
    """Return a keep ratio in (0, 1] as the exact decimal that was written.

    A float stands for its shortest decimal, so that 0.7 of 2880 is 2016 and not the 2015 that
    binary arithmetic gives.

    Raises:
        InvalidInput: `value` is not a number in (0, 1].

    >>> ratio(0.7, "keep")
    Fraction(7, 10)
    """
    way_out = "give a keep ratio in (0, 1], such as 0.5"
    problem = "is not a number"
    try:
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, str) and len(value) > (2 * MOST_DIGITS + 3 if "/" in value else 40):
            raise TypeError
        typed = value
        if isinstance(value, (float, Decimal)) or hasattr(value, "dtype"):
            typed = str(value)  # the shortest decimal, also of numpy's float32
        if isinstance(typed, str) and "e" in typed.lower() and _far_exponent(typed):
            raise OverflowError  # 10**999999999 would never be done
        number = Fraction(typed)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        raise InvalidInput(field, value, problem, way_out) from None
    if not 0 < number <= 1:
        raise InvalidInput(field, value, "is outside (0, 1]", way_out)
    if number.denominator > 10**MOST_DIGITS and Fraction(str(float(number))) != number:
        raise InvalidInput(field, value, f"has more than {MOST_DIGITS} digits", way_out)
    return number


def _far_exponent(text: str) -> bool:
    """Tell whether a number's exponent has four digits or more."""
    return re.search(r"[eE][+-]?0*[1-9][0-9]{3}", text) is not None


if TYPE_CHECKING:  # pydantic keeps this name to itself; the class is public as type(BaseModel)
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)


class _SpecType(ModelMetaclass):
    """Raises `InvalidInput` where a spec is built; parts of it report through the whole."""

    def __call__(cls, /, *args: Any, **data: Any) -> Any:
        try:
            return super().__call__(*args, **data)
        except ValidationError as error:
            spec: Any = cls
            raise InvalidInput.from_validation(error, spec) from None


class Spec(BaseModel, metaclass=_SpecType):
    """Base of all specs: frozen, no unknown keys, errors as one sentence.

    Raises:
        InvalidInput: On construction, for the first field that is wrong.
    """

    # Validators are built on first use: a command needs few of them, and start-up is short.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        defer_build=True,
    )


class Converted:
    """Annotation of a spec's field: its value is what `convert(value)` returns.

    Plain functions in pydantic's schema, because validators that are found by annotation are
    inspected once per field, which a command would wait for.
    """

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        """Remember the conversion; it raises `InvalidInput` without a field for a bad value."""
        self.convert = convert

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Tell pydantic to call the conversion."""
        return core_schema.no_info_plain_validator_function(self.convert)


#: A whole number ≥ 0, ≥ 1, and an exact keep ratio in (0, 1].
Count = Annotated[int, Converted(lambda value: whole(value, ""))]
Positive = Annotated[int, Converted(lambda value: whole(value, "", minimum=1))]
Ratio = Annotated[Fraction, Converted(lambda value: ratio(value, ""))]

__all__ = ["LARGEST", "Converted", "Count", "Positive", "Ratio", "Spec", "ratio", "whole"]
