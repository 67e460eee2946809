"""Rules of `layers`: which visual tokens are active in which decoder layer.

Every rule says what it allows in each layer, relative to the M tokens that enter layer 0; several
rules and the stages together allow the least of them. A token that a layer passes over keeps its
state and may take part in a later layer.
"""

import math
import re
from abc import abstractmethod
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import model_validator

from ..errors import InvalidInput
from ..kinds import Kinds
from ..numeric import Converted, Count, Ratio, Spec, ratio, whole
from ..schedule import Rounding, kept_tokens
from .activity import Activity

HERE = ".primitives.layers"
LAYER_RULES = Kinds(
    "layer rule",
    {
        "profile": f"{HERE}:Profile",
        "withdraw": f"{HERE}:Withdraw",
        "inject": f"{HERE}:Inject",
        "expand": f"{HERE}:Expand",
        "freeze": f"{HERE}:Freeze",
        "sparse": f"{HERE}:Sparse",
        "subset": f"{HERE}:Subset",
        "vectors": f"{HERE}:Vectors",
    },
)
#: More layers than any decoder has.
MOST_LAYERS = 10_000
_ALL, _NONE = Fraction(1), Fraction(0)
_ZERO = r"0{1,99}(\.0{0,99})?"


def share(value: Any) -> Fraction:
    """Return a share in [0, 1], exact as typed.

    Raises:
        InvalidInput: Something else.
    """
    number = isinstance(value, int | float | Fraction | Decimal) and not isinstance(value, bool)
    if (number and value == 0) or (isinstance(value, str) and re.fullmatch(_ZERO, value.strip())):
        return _NONE
    try:
        return ratio(value, "")
    except InvalidInput as error:
        problem = error.problem.replace("(0, 1]", "[0, 1]")
        raise InvalidInput("", value, problem, "give a share in [0, 1], such as 0.5") from None


def _shares(value: object) -> tuple[Fraction, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise InvalidInput("", None, "is not a list of shares", "give one share per layer")
    if len(value) > MOST_LAYERS:
        raise InvalidInput("", None, "is longer than any decoder", "give one share per layer")
    return tuple(share(item) for item in value)


def _numbers(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise InvalidInput("", None, "is not a list of layers", "give layers such as [3, 5]")
    layers = tuple(whole(item, "", maximum=MOST_LAYERS) for item in value)
    if list(layers) != sorted(set(layers)):
        raise InvalidInput("", None, "is not in order, each layer once", "sort the layers")
    return layers


Share = Annotated[Fraction, Converted(share)]
Shares = Annotated[tuple[Fraction, ...], Converted(_shares)]
Layers = Annotated[tuple[int, ...], Converted(_numbers)]


def refuse_layers(layers: tuple[int, ...], depth: int, field: str = "layers") -> None:
    """Refuse layers that a decoder of `depth` layers does not have.

    Raises:
        InvalidInput: The first of them.
    """
    for layer in layers:
        if layer >= depth:
            problem = f"is not a layer of this model, which has {depth}"
            raise InvalidInput(field, layer, problem, f"give 0 to {depth - 1}")


class LayerRule(Spec):
    """What a rule allows in each layer."""

    part: ClassVar[str] = LAYER_RULES.part
    #: The field that says how many tokens are left.
    amount: ClassVar[str] = "ratio"

    kind: str

    @property
    def may_end_at_none(self) -> bool:
        """Whether a share that rounds to no token is meant."""
        return False

    def activity(self, tokens: int, depth: int, rounding: Rounding) -> Activity:
        """Return the visual tokens that `depth` layers may use of the M = `tokens`.

        Raises:
            InvalidInput: A share that rounds to no token, where the rule asks for some.
        """
        query, key, ffn, pairs = self.shares(depth)

        def amounts(values: tuple[Fraction, ...]) -> tuple[int, ...]:
            kept = tuple(kept_tokens(value, tokens, rounding) for value in values)
            for value, count in zip(values, kept, strict=True):
                if value and not count and not self.may_end_at_none:
                    problem = f"leaves none of the {tokens:,} visual tokens"
                    raise InvalidInput(self.amount, None, problem, "give more, or withdraw")
            return kept

        return Activity(amounts(query), amounts(key), amounts(ffn), pairs)

    @abstractmethod
    def shares(self, depth: int) -> tuple[tuple[Fraction, ...], ...]:
        """Return the shares of updated, exposed and FFN tokens, and of scored pairs, by layer."""


def _everywhere(value: Fraction, depth: int) -> tuple[Fraction, ...]:
    return (value,) * depth


def _alike(values: tuple[Fraction, ...]) -> tuple[tuple[Fraction, ...], ...]:
    return values, values, values, _everywhere(_ALL, len(values))


class Profile(LayerRule):
    """A share of the visual tokens in each layer, by a curve over the layers.

    With k = `layer`, r = `ratio` and i the layer (0-based) of T:

        step         1 before k, r from k on
        linear       1 before k, then falling to r in layer T − 1
        exponential  1 before k, then r^((i − k + 1)/(T − k))
        sigmoid      1 + (r − 1)·σ(steepness·(i − k))
        cosine       r + (1 − r)·(1 + cos(π·i/(T − 1)))/2, which needs no k

    Curves other than step and linear are rounded to 12 decimals, so that they are exact ratios.

    Attributes:
        curve: One of the above.
        layer: Where it begins, or the middle of a sigmoid.
        ratio: What is left at its end.
        steepness: Of a sigmoid.
        least: A smaller share becomes this one.
        full_above: A larger share becomes 1.
    """

    kind: Literal["profile"] = "profile"
    curve: Literal["step", "linear", "exponential", "sigmoid", "cosine"]
    layer: Count = 0
    ratio: Share
    steepness: Count = 10
    least: Share = _NONE
    full_above: Ratio = _ALL

    def shares(self, depth: int) -> tuple[tuple[Fraction, ...], ...]:
        """Return the curve in each layer."""
        refuse_layers((self.layer,), depth, "layer")
        curve = (max(self.least, self._at(layer, depth)) for layer in range(depth))
        return _alike(tuple(_ALL if value > self.full_above else value for value in curve))

    @property
    def may_end_at_none(self) -> bool:
        """Whether the curve falls to 0."""
        return not self.ratio

    def _at(self, layer: int, depth: int) -> Fraction:
        kept = self.ratio
        if self.curve == "sigmoid":
            power = self.steepness * (self.layer - layer)
            falling = 1 / (1 + math.exp(min(power, 700)))
            return _decimal(1 + (float(kept) - 1) * falling)
        if self.curve == "cosine":
            place = layer / max(depth - 1, 1)
            return _decimal(float(kept) + (1 - float(kept)) * (1 + math.cos(math.pi * place)) / 2)
        if layer < self.layer:
            return _ALL
        if self.curve == "step":
            return kept
        if self.curve == "linear":
            return 1 + (kept - 1) * Fraction(layer - self.layer + 1, depth - self.layer)
        return _decimal(float(kept) ** ((layer - self.layer + 1) / (depth - self.layer)))


def _decimal(value: float) -> Fraction:
    return Fraction(round(value * 10**12), 10**12)


class Withdraw(LayerRule):
    """No visual token from a layer on."""

    kind: Literal["withdraw"] = "withdraw"
    layer: Count

    def shares(self, depth: int) -> tuple[tuple[Fraction, ...], ...]:
        """Return 1 before the layer and 0 from it on."""
        refuse_layers((self.layer,), depth, "layer")
        return _alike(tuple(_ALL if layer < self.layer else _NONE for layer in range(depth)))


class Inject(LayerRule):
    """No visual token before a layer."""

    kind: Literal["inject"] = "inject"
    layer: Count

    def shares(self, depth: int) -> tuple[tuple[Fraction, ...], ...]:
        """Return 0 before the layer and 1 from it on."""
        refuse_layers((self.layer,), depth, "layer")
        return _alike(tuple(_NONE if layer < self.layer else _ALL for layer in range(depth)))


class Expand(LayerRule):
    """A share of the visual tokens before a layer, all of them from it on.

    Attributes:
        ratio: The share.
        layer: The first layer that sees all.
    """

    kind: Literal["expand"] = "expand"
    ratio: Ratio
    layer: Count

    def shares(self, depth: int) -> tuple[tuple[Fraction, ...], ...]:
        """Return the share before the layer and 1 from it on."""
        refuse_layers((self.layer,), depth, "layer")
        return _alike(tuple(self.ratio if layer < self.layer else _ALL for layer in range(depth)))


class Freeze(LayerRule):
    """Visual tokens expose keys and values in these layers, and are not updated.

    Attributes:
        layers: Which; or
        first_layer: All from it on.
    """

    kind: Literal["freeze"] = "freeze"
    layers: Layers | None = None
    first_layer: Count | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.layers is None) == (self.first_layer is None):
            raise InvalidInput("", None, "gives no layers", "give layers or first_layer")
        return self

    def shares(self, depth: int) -> tuple[tuple[Fraction, ...], ...]:
        """Return 0 for updates and FFN in the frozen layers."""
        if self.first_layer is not None:
            refuse_layers((self.first_layer,), depth, "first_layer")
        refuse_layers(self.layers or (), depth)
        frozen = range(self.first_layer, depth) if self.first_layer is not None else self.layers
        assert frozen is not None
        updated = tuple(_NONE if layer in frozen else _ALL for layer in range(depth))
        all_of_them = _everywhere(_ALL, depth)
        return updated, all_of_them, updated, all_of_them


class Sparse(LayerRule):
    """A share of the pairs is scored, and a share of the tokens passes the FFN.

    Attributes:
        pairs: Share of the pairs among visual tokens; those with text are all scored.
        ffn: Share of the visual tokens in the FFN.
        layers: Where; everywhere if absent.
    """

    amount: ClassVar[str] = "ffn"

    kind: Literal["sparse"] = "sparse"
    pairs: Ratio = _ALL
    ffn: Ratio = _ALL
    layers: Layers | None = None

    def shares(self, depth: int) -> tuple[tuple[Fraction, ...], ...]:
        """Return the shares in the chosen layers, 1 elsewhere."""
        chosen = self._chosen(depth)
        full = _everywhere(_ALL, depth)
        ffn = tuple(self.ffn if layer in chosen else _ALL for layer in range(depth))
        pairs = tuple(self.pairs if layer in chosen else _ALL for layer in range(depth))
        return full, full, ffn, pairs

    def _chosen(self, depth: int) -> frozenset[int]:
        refuse_layers(self.layers or (), depth)
        return frozenset(range(depth) if self.layers is None else self.layers)


class Subset(LayerRule):
    """Attention runs among a share of the visual tokens; the FFN on all of them.

    Attributes:
        ratio: The share.
        layers: Where; everywhere if absent.
    """

    kind: Literal["subset"] = "subset"
    ratio: Ratio
    layers: Layers | None = None

    def shares(self, depth: int) -> tuple[tuple[Fraction, ...], ...]:
        """Return the share of updated and exposed tokens."""
        refuse_layers(self.layers or (), depth)
        chosen = frozenset(range(depth) if self.layers is None else self.layers)
        some = tuple(self.ratio if layer in chosen else _ALL for layer in range(depth))
        full = _everywhere(_ALL, depth)
        return some, some, full, full


class Vectors(LayerRule):
    """One share for each layer, written out.

    Attributes:
        tokens: Of all three counts; or
        query, key, ffn: Of each of them, all of the tokens where one is absent.
        pairs: Of the pairs among visual tokens.
    """

    amount: ClassVar[str] = ""

    kind: Literal["vectors"] = "vectors"
    tokens: Shares | None = None
    query: Shares | None = None
    key: Shares | None = None
    ffn: Shares | None = None
    pairs: Shares | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        single = (self.query, self.key, self.ffn)
        if self.tokens is not None and any(value is not None for value in single):
            raise InvalidInput("tokens", None, "goes with none of query, key, ffn", "drop one")
        if all(value is None for value in (self.tokens, self.pairs, *single)):
            raise InvalidInput("", None, "gives no shares", "give tokens, or query, key and ffn")
        return self

    def shares(self, depth: int) -> tuple[tuple[Fraction, ...], ...]:
        """Return the lists, each of which has one entry for each layer."""
        lists = {
            "query": self.query or self.tokens,
            "key": self.key or self.tokens,
            "ffn": self.ffn or self.tokens,
            "pairs": self.pairs,
        }
        for name, values in lists.items():
            if values is not None and len(values) != depth:
                problem = f"has {len(values)} shares for a decoder of {depth} layers"
                given = "tokens" if getattr(self, name) is None else name
                raise InvalidInput(given, None, problem, f"give {depth}")
        return tuple(values or _everywhere(_ALL, depth) for values in lists.values())
