"""What a method is applied to, and the pieces that its strategies share."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple, Self

from ..costmodel import Compress, Model, TokenPlan
from ..costmodel.numeric import Converted, ratio, whole
from ..costmodel.tokens.base import Size

#: Fields of a `Schedule`.
Primitives = dict[str, Any]


class Case(NamedTuple):
    """What a method is applied to.

    Attributes:
        layers: Decoder layers T.
        visual_tokens: Dense visual tokens M of a sequence.
        crops: Patch grids that pass the encoder.
        crop_tokens: Connector tokens that each crop becomes.
        one_by_one: Whether the connector takes tokens one by one.
        merge_size: Side of the square of patches that the connector makes one token.
        encoder_layers: Encoder layers that contribute.
        class_token: Whether a class token joins the patches of a crop.
        text_tokens, structural_tokens: N and S.
        frames: Frames of a video; the images of a prompt without one.
        image: Height and width in pixels, the largest of all images.
        encoder_widths: d_e and m_e, hidden and intermediate size of an encoder of transformer
            layers.
    """

    layers: int
    visual_tokens: int
    crops: tuple[Size, ...]
    crop_tokens: tuple[int, ...]
    one_by_one: bool
    merge_size: int
    encoder_layers: int
    class_token: bool
    text_tokens: int = 0
    structural_tokens: int = 0
    frames: int = 1
    image: Size = (0, 0)
    encoder_widths: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, model: Model, dense: TokenPlan) -> Self:
        """Return the case of a model and the plan of its dense run."""
        return cls(
            layers=model.decoder.num_hidden_layers,
            visual_tokens=dense.dense_visual_tokens,
            crops=dense.visual_input.crops,
            crop_tokens=tuple(model.geometry.tokens(crop) for crop in dense.visual_input.crops),
            one_by_one=model.connector.per_token and model.connector.merge_size == 1,
            merge_size=model.connector.merge_size,
            encoder_layers=model.vision.contributing_layers,
            class_token=model.vision.class_token,
            text_tokens=dense.text_tokens,
            structural_tokens=dense.structural_tokens,
            frames=dense.frames or len(dense.images),
            image=(max(h for h, _ in dense.images), max(w for _, w in dense.images)),
            encoder_widths=_encoder_widths(model),
        )

    @property
    def symbols(self) -> dict[str, int]:
        """Values of the symbols that a template may use; see `template`."""
        return {
            "T": self.layers,
            "V": self.visual_tokens,
            "N": self.text_tokens,
            "S": self.structural_tokens,
            "crops": len(self.crops),
            "frames": self.frames,
            "L": self.encoder_layers,
            "P": self.patches,
            "X": min(self.crop_tokens),
            "G": self.merge_size,
            "H": self.image[0],
            "W": self.image[1],
            **dict(self.encoder_widths),
        }

    @property
    def patches(self) -> int:
        """Patches of the smallest crop."""
        return min(rows * columns for rows, columns in self.crops)


def _encoder_widths(model: Model) -> tuple[tuple[str, int], ...]:
    vision = model.vision
    if vision.kind != "transformer":
        return ()
    inner = vision.feed_forward.active_intermediate_size
    return ("d_e", vision.hidden_size), ("m_e", inner)


def _position(value: object) -> int | Fraction:
    return ratio(value, "") if isinstance(value, str) else whole(value, "")


#: A decoder layer by its number, or by its share of the layers written as a text ("1/4").
Position = Annotated[int | Fraction, Converted(_position)]
#: Between encoder and LLM; "one-by-one" is before a connector that takes tokens one by one, else
#: after it.
Place = Literal["after-connector", "one-by-one"]


def first_layers(positions: Sequence[int | Fraction], layers: int, *, up: bool) -> list[int]:
    """Return strictly growing layers: shares of `layers` rounded `up` or down, numbers as given.

    >>> first_layers([Fraction(1, 16), Fraction(1, 4), Fraction(1, 2)], 28, up=False)
    [1, 7, 14]
    """
    found: list[int] = []
    for position in positions:
        layer = position
        if isinstance(position, Fraction):
            layer = math.ceil(position * layers) if up else math.floor(position * layers)
        found.append(max(int(layer), found[-1] + 1 if found else 0))
    return found


def compressed(case: Case, at: Place, **amount: object) -> Primitives:
    """Return the compression to an amount, tokens or ratio, at a place."""
    before = at == "one-by-one" and case.one_by_one
    place = "before-connector" if before else "after-connector"
    return {"compress": Compress(at=place, **amount)}
