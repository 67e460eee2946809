"""Rows of a convolutional encoder: what a feature map passes, one product or norm each."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import StrictBool, model_validator

from ..kinds import Kinds
from ..numeric import Converted, Positive, Spec
from ..operators import Convolution, Operator, Part
from ..tokens.base import Size
from .blocks import ATTENTIONS, Attention, Place, Tokens, linear_parameters, norm_parameters

ROWS = Kinds(
    "row of a convolutional encoder",
    {
        "convolution": ".architecture.convolutional_rows:ConvolutionRow",
        "norm": ".architecture.convolutional_rows:NormRow",
        "attention": ".architecture.convolutional_rows:AttentionRow",
        "excitation": ".architecture.convolutional_rows:ExcitationRow",
    },
    default="convolution",
)


class FeatureMap(NamedTuple):
    """A map between two rows.

    Attributes:
        features: Features of each position.
        stride: Pixels from one position to the next.
    """

    features: int
    stride: int


class Positions(NamedTuple):
    """How many positions maps have.

    Attributes:
        crops: Crops by their grid of positions at `stride`.
        batch: Equal requests.
        stride: Pixels per position of these grids: the encoder's total stride.
    """

    crops: Mapping[Size, int]
    batch: int
    stride: int

    @property
    def crop_count(self) -> int:
        """Crops over all requests."""
        return self.batch * sum(self.crops.values())

    def _sizes(self, stride: int) -> Iterator[tuple[int, int]]:
        scale = (self.stride // stride) ** 2
        for (rows, columns), crops in self.crops.items():
            yield rows * columns * scale, self.batch * crops

    def at(self, stride: int) -> int:
        """Return the positions of a map, over all crops."""
        return sum(positions * crops for positions, crops in self._sizes(stride))

    def pairs(self, stride: int) -> int:
        """Return the pairs of positions of the same crop."""
        return sum(positions**2 * crops for positions, crops in self._sizes(stride))


class Row(Spec):
    """What all rows have."""

    part: ClassVar[str] = ROWS.part

    kind: str

    def leaving(self, entering: FeatureMap) -> FeatureMap:
        """Return the map that leaves the row.

        Raises:
            ValueError: It does not take that map.
        """
        return entering

    def operators(
        self, place: Place, part: Part, entering: FeatureMap, positions: Positions
    ) -> Iterator[Operator]:
        """Yield what the row computes."""
        return iter(())

    def parameters(self, entering: FeatureMap) -> int:
        """Return its parameters."""
        raise NotImplementedError


class ConvolutionRow(Row):
    """A convolution, padded so that a map loses nothing but its stride.

    MACs: positions · group_features · out_features · kernel_size².

    Attributes:
        name: Its module.
        out_features: Features that leave it.
        kernel_size, stride: Sides of kernel and step.
        group_features: Input features that an output feature sees: 1 in a depthwise convolution,
            None for all of them.
        bias: Whether it has biases.
        gain: Whether its weights are standardised and scaled: a parameter per output feature.
        linear: Whether the implementation runs it as a matrix product (then kernel and stride
            are 1).
    """

    kind: Literal["convolution"] = "convolution"
    name: str
    out_features: Positive
    kernel_size: Positive = 1
    stride: Positive = 1
    group_features: Positive | None = None
    bias: StrictBool
    gain: StrictBool = False
    linear: StrictBool = False

    @model_validator(mode="after")
    def _is_a_product(self) -> Self:
        if self.linear and (self.kernel_size, self.stride, self.group_features) != (1, 1, None):
            raise ValueError(f"linear {self.name} with a kernel, a stride or groups")
        return self

    def leaving(self, entering: FeatureMap) -> FeatureMap:
        """Return out_features at the longer stride."""
        seen = self._seen(entering)
        if entering.features % seen or self.out_features % (entering.features // seen):
            raise ValueError(
                f"{self.name}: group_features {seen} makes no groups of {entering.features} → "
                f"{self.out_features} features"
            )
        return FeatureMap(self.out_features, entering.stride * self.stride)

    def operators(
        self, place: Place, part: Part, entering: FeatureMap, positions: Positions
    ) -> Iterator[Operator]:
        """Yield the convolution or product."""
        count = positions.at(self.leaving(entering).stride)
        if self.linear:
            yield place.linear(part, self.name, count, entering.features, self.out_features)
            return
        yield Convolution(
            component=place.component,
            layers=place.layers,
            part=part,
            name=self.name,
            positions=count,
            in_channels=self._seen(entering),
            out_channels=self.out_features,
            kernel=self.kernel_size**2,
        )

    def parameters(self, entering: FeatureMap) -> int:
        """Return weights, biases and gains."""
        kernel = self.kernel_size**2 * self._seen(entering)
        total = linear_parameters(kernel, self.out_features, self.bias)
        return total + self.gain * self.out_features

    def _seen(self, entering: FeatureMap) -> int:
        return self.group_features or entering.features


class NormRow(Row):
    """A norm with scale and bias, over a batch's positions or each position's features."""

    kind: Literal["norm"] = "norm"

    def parameters(self, entering: FeatureMap) -> int:
        """Return scales and biases."""
        return norm_parameters("layer", entering.features)


class AttentionRow(Row):
    """Self-attention over all positions of a crop."""

    kind: Literal["attention"] = "attention"
    attention: Annotated[Attention, Converted(ATTENTIONS.build)]

    def operators(
        self, place: Place, part: Part, entering: FeatureMap, positions: Positions
    ) -> Iterator[Operator]:
        """Yield the operators of the attention, as parts of their own."""
        count = positions.at(entering.stride)
        tokens = Tokens(count, count, count, count, positions.pairs(entering.stride))
        return self.attention.operators(place, entering.features, tokens)

    def parameters(self, entering: FeatureMap) -> int:
        """Return the four projections."""
        return self.attention.parameters(entering.features, "layer")


class ExcitationRow(Row):
    """Squeeze and excitation: two products on each crop's mean, whose result scales the map.

    MACs per crop: 2 · features · reduced_features. Source: arXiv 1709.01507.

    Attributes:
        reduced_features: Features between the two products, which have biases.
    """

    kind: Literal["excitation"] = "excitation"
    reduced_features: Positive

    def operators(
        self, place: Place, part: Part, entering: FeatureMap, positions: Positions
    ) -> Iterator[Operator]:
        """Yield both products, which implementations run as convolutions."""
        features, reduced = entering.features, self.reduced_features
        for name, c_in, c_out in (("squeeze", features, reduced), ("excite", reduced, features)):
            yield Convolution(
                component=place.component,
                layers=place.layers,
                part=part,
                name=name,
                positions=positions.crop_count,
                in_channels=c_in,
                out_channels=c_out,
                kernel=1,
            )

    def parameters(self, entering: FeatureMap) -> int:
        """Return weights and biases of both."""
        features, reduced = entering.features, self.reduced_features
        total = linear_parameters(features, reduced, bias=True)
        return total + linear_parameters(reduced, features, bias=True)
