"""What a reduction method does: primitives that lower to tokens per layer."""

import math
from fractions import Fraction
from typing import Annotated, Literal, Self, TypeVar

from pydantic import StrictBool, model_validator

from .errors import InvalidInput
from .numeric import Converted, Count, Positive, Ratio, Spec, whole

Rounding = Literal["floor", "round", "ceil", "float-floor"]
#: Rules that choose or merge tokens; `costmodel.selection` prices what each computes.
Selection = Literal["fastv", "pyramiddrop", "visionzip", "divprune", "tome", "sparsevlm"]
SpecType = TypeVar("SpecType", bound=Spec)


def kept_tokens(ratio: Fraction, tokens: int, rounding: Rounding) -> int:
    """Return how many of `tokens` a keep ratio leaves.

    floor, ceil and round (half to even) act on the exact product; float-floor truncates the
    binary product, as released code does: 0.7 of 2880 is 2016 exactly, but 2015 in floats.

    >>> [kept_tokens(Fraction(7, 10), 2880, rule) for rule in ("floor", "float-floor")]
    [2016, 2015]
    """
    if rounding == "float-floor":
        return int(float(ratio) * tokens)
    if rounding == "round":
        return round(ratio * tokens)
    return math.floor(ratio * tokens) if rounding == "floor" else math.ceil(ratio * tokens)


def ratio_text(ratio: Fraction) -> str:
    """Return a ratio as the shortest decimal that equals it, or as a fraction if none does.

    >>> [ratio_text(Fraction(1, 2)), ratio_text(Fraction(1, 3))]
    ['0.5', '1/3']
    """
    decimal = str(float(ratio)).removesuffix(".0")
    return decimal if Fraction(decimal) == ratio else str(ratio)


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput("", value, "is not a text", "give a text")
    if len(value) > LONGEST_NAME or not (value.isprintable()):
        raise InvalidInput(
            "",
            value,
            "is not one short printable line",
            f"give up to {LONGEST_NAME} printable characters",
        )
    return value


#: A schedule's name goes into titles and comments: one printable line.
LONGEST_NAME = 80
Name = Annotated[str, Converted(_name)]


class Compress(Spec):
    """Reduce the visual tokens once, between encoder and LLM.

    Attributes:
        tokens, ratio: How many are left, absolutely or of those that the encoder leaves (all of
            the dense count unless it merges); give one.
        at: Whether the connector runs on all tokens ("after-connector") or on the kept ones.
    """

    tokens: Positive | None = None
    ratio: Ratio | None = None
    at: Literal["after-connector", "before-connector"] = "after-connector"

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        return _exactly_one(self, "tokens", "ratio")


class Stage(Spec):
    """From `first_layer` (0-based) on, the decoder processes this many visual tokens.

    Attributes:
        first_layer: First layer that sees the reduced sequence; so many full layers run before.
        tokens: Visual tokens left.
        ratio: Visual tokens left, as a share of those that enter layer 0 (never of the stage
            before).
        withdraw: Leave no visual token at all.
    """

    first_layer: Count
    tokens: Positive | None = None
    ratio: Ratio | None = None
    withdraw: StrictBool = False

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        return _exactly_one(self, "tokens", "ratio", "withdraw")


def _merged_per_layer(value: object) -> int | tuple[int, ...]:
    if isinstance(value, list | tuple):
        return tuple(whole(amount, "") for amount in value)
    return whole(value, "")


class EncoderMerge(Spec):
    """Merge tokens inside every encoder block, between its attention and its FFN.

    Attributes:
        merged_per_layer: Tokens that each block merges away in each crop: one number for all
            blocks, or a list with one for each; a list that ends with the contributing layers
            merges nothing in the rest.
    """

    merged_per_layer: Annotated[int | tuple[int, ...], Converted(_merged_per_layer)]


def _exactly_one(spec: SpecType, *fields: str) -> SpecType:
    given = [field for field in fields if getattr(spec, field) not in (None, False)]
    if len(given) != 1:
        raise InvalidInput(
            "",
            None,
            f"gives {' and '.join(given) or 'no amount'}",
            f"give exactly one of {', '.join(fields)}",
        )
    return spec


class Schedule(Spec):
    """A reduction schedule: which visual tokens exist where.

    Attributes:
        name: For the reader; prices never depend on it.
        encoder: Reduction inside the encoder.
        compress: Reduction before the LLM.
        stages: Reductions inside the LLM, in order of layers, never growing.
        rounding: How a ratio becomes a whole number of tokens.
        selection: The rule that chooses the tokens, whose own cost is then priced.

    A schedule without a selection rule prices no selection: its component is 0.
    """

    name: Name = ""
    encoder: EncoderMerge | None = None
    compress: Compress | None = None
    stages: tuple[Stage, ...] = ()
    rounding: Rounding = "floor"
    selection: Selection | None = None

    @classmethod
    def keep(cls, ratio: object, layer: object, rounding: Rounding = "floor") -> Self:
        """Return the schedule "from `layer` on, keep `ratio` of the visual tokens".

        >>> Schedule.keep(0.5, layer=2).stages[0].ratio
        Fraction(1, 2)
        """
        return cls(stages=(Stage(first_layer=layer, ratio=ratio),), rounding=rounding)
