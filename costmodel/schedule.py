"""What a reduction method does: primitives that lower to tokens per layer."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import StrictBool, model_validator

from .errors import InvalidInput, suggestion
from .kinds import lazily, lazily_all
from .numeric import Converted, Count, Positive, Ratio, Spec, whole

Rounding = Literal["floor", "round", "ceil", "float-floor"]
#: Rules that choose or merge tokens and are known by name; `costmodel.selection` prices them.
RuleName = Literal["fastv", "pyramiddrop", "visionzip", "divprune", "tome", "sparsevlm"]
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
        at: Whether the connector runs on all tokens ("after-connector") or on the kept ones; or
            "instead-of-connector", where the method has its own, which its selection prices.
        extra: Tokens that come on top and pass the connector: merged from the rest.
        learned: Tokens that come on top of these, behind the connector.

    >>> Compress(tokens=64).at
    'after-connector'
    """

    tokens: Positive | None = None
    ratio: Ratio | None = None
    extra: Count = 0
    learned: Count = 0
    at: Literal["after-connector", "before-connector", "instead-of-connector"] = "after-connector"

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

    >>> Stage(first_layer=2, ratio=0.5).ratio
    Fraction(1, 2)
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

    >>> EncoderMerge(merged_per_layer=[16, 8]).merged_per_layer
    (16, 8)
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


def _encoder(value: object) -> Any:
    """Return what an `encoder` table describes: merging in every block, or stages."""
    if isinstance(value, Mapping) and "stages" in value:
        return lazily(".primitives.encoding:EncoderStages")(value)
    if value is None or isinstance(value, Spec):
        return value
    if not isinstance(value, Mapping):
        raise InvalidInput("", None, "is not a table of keys", "give a table of keys")
    return EncoderMerge(**value)


def _layer_rules(value: object) -> tuple[Any, ...]:
    if isinstance(value, list | tuple) and not value:
        return ()  # few schedules have one
    from .primitives.layers import LAYER_RULES

    return LAYER_RULES.build_all(value)


def selection_rule(value: object) -> Any:
    """Return a rule by its name, or the description of one.

    Raises:
        InvalidInput: No such rule, or a description that is wrong.
    """
    if value is None:
        return value
    if isinstance(value, str):
        names = get_args(RuleName)
        if value not in names:
            hint = suggestion(value, names).replace("known keys:", "choose from")
            raise InvalidInput("", value, "is not a choice", hint)
        return value
    if not isinstance(value, Mapping | Spec):
        hint = f"name one of {', '.join(get_args(RuleName))}, or describe a rule"
        raise InvalidInput("", str(value), "is neither a rule's name nor its description", hint)
    return lazily(".selection.described:Described")(value)


class Schedule(Spec):
    """A reduction schedule: which visual tokens exist where.

    Ratios are of the M visual tokens that enter decoder layer 0. `stages` and `layers` together
    allow each layer the least that any of them allows, so their order is immaterial.

    Attributes:
        name: For the reader; prices never depend on it.
        input: Reduction before the encoder.
        encoder: Reduction inside the encoder: merging in every block, or stages.
        compress: Reduction before the LLM.
        stages: Reductions inside the LLM, in order of layers, never growing.
        layers: Rules on which tokens are active in which layer of the LLM.
        cache: What of the keys and values is stored and read afterwards.
        channels, bits: Widths and precision.
        stream: One step of a sliding window.
        mixture: Ways that a router sends requests, with their probabilities.
        training: How the schedule is used in training.
        rounding: How a ratio becomes a whole number of tokens.
        selection: The rule that chooses the tokens, whose own cost is then priced: its name, or
            its description.

    A schedule without a selection rule prices no selection: its component is 0.

    >>> stage = Stage(first_layer=16, withdraw=True)
    >>> print(Schedule(compress=Compress(tokens=64), stages=[stage]))
    compress: tokens 64; stages: from layer 16 on no visual token
    """

    name: Name = ""
    input: Annotated[Any, Converted(lazily(".primitives.inputs:Input"))] = None
    encoder: Annotated[Any, Converted(_encoder)] = None
    compress: Compress | None = None
    stages: tuple[Stage, ...] = ()
    layers: Annotated[tuple[Any, ...], Converted(_layer_rules)] = ()
    cache: Annotated[Any, Converted(lazily(".primitives.cache:Cache"))] = None
    channels: Annotated[Any, Converted(lazily(".primitives.widths:Channels"))] = None
    bits: Annotated[Any, Converted(lazily(".primitives.widths:Bits"))] = None
    stream: Annotated[Any, Converted(lazily(".primitives.stream:Stream"))] = None
    mixture: Annotated[tuple[Any, ...], Converted(lazily_all(".primitives.mixture:Branch"))] = ()
    training: Annotated[Any, Converted(lazily(".primitives.training:Training"))] = None
    rounding: Rounding = "floor"
    selection: Annotated[Any, Converted(selection_rule)] = None

    @model_validator(mode="after")
    def _probabilities_sum(self) -> Self:
        if self.mixture and sum(branch.probability for branch in self.mixture) != 1:
            total = ratio_text(sum(branch.probability for branch in self.mixture))
            problem = f"has probabilities that sum to {total}"
            raise InvalidInput("mixture", None, problem, "give probabilities that sum to 1")
        return self

    @property
    def primitives(self) -> tuple[str, ...]:
        """Names of the primitives that the schedule uses."""
        return tuple(name for name in PRIMITIVES if getattr(self, name))

    def __str__(self) -> str:
        """Return what the schedule does in words."""
        from .brief import schedule_line  # commands know the model

        return schedule_line(self)

    def _repr_html_(self) -> str:
        """Return the schedule as notebooks show it."""
        from .notebook import schedule_html

        return schedule_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that say something, for JSON; shares are texts.

        `type(schedule)(**schedule.to_dict())` is the schedule.

        >>> Schedule.keep(0.5, layer=2).to_dict()["stages"][0]["ratio"]
        '1/2'
        """
        table = self.model_dump(mode="json")
        return {name: value for name, value in table.items() if value not in (None, "", [])}

    @classmethod
    def keep(cls, ratio: object, layer: object, rounding: Rounding = "floor") -> Self:
        """Return the schedule "from `layer` on, keep `ratio` of the visual tokens".

        >>> Schedule.keep(0.5, layer=2).stages[0].ratio
        Fraction(1, 2)
        """
        return cls(stages=(Stage(first_layer=layer, ratio=ratio),), rounding=rounding)


#: What a schedule is composed of; `stages` is the usual case of `layers`.
PRIMITIVES = (
    "input",
    "encoder",
    "compress",
    "stages",
    "layers",
    "cache",
    "channels",
    "bits",
    "stream",
    "mixture",
    "selection",
    "training",
)
