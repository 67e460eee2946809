"""What a model is asked: images, text, output length, batch, and how its cost is counted."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import StrictBool, model_validator

from .architecture.blocks import Execution
from .errors import InvalidInput
from .numeric import Converted, Count, Positive, Spec, whole
from .tokens import LARGEST_SIDE, Processor, Size

#: LLaVA's system prompt of 35 tokens and a short question.
DEFAULT_TEXT_TOKENS = 64
#: More images in one prompt than any model's context holds.
MOST_IMAGES = 10_000
#: Hours of video at a frame per second.
MOST_FRAMES = 1_000_000


def image_size(value: object, field: str = "image_size") -> Size:
    """Return (height, width) from a pair, from "HEIGHTxWIDTH" or from "SIDE" of a square.

    Raises:
        InvalidInput: A side that is no whole number in [1, 65,535].

    >>> image_size("336x672")
    (336, 672)
    """
    way_out = "give HEIGHTxWIDTH in pixels, such as 336x672"
    sides: Sequence[object]
    if isinstance(value, str):
        sides = value.lower().replace("×", "x").split("x")
    elif isinstance(value, Sequence):
        sides = value
    else:
        sides = ()  # a bare number could be half of a pair that lost its brackets
    if isinstance(value, str) and len(sides) == 1:
        sides = [*sides, *sides]
    if len(sides) != 2:
        raise InvalidInput(field, value, "is not a height and a width", way_out)
    try:
        height, width = (whole(side, field, minimum=1, maximum=LARGEST_SIDE) for side in sides)
    except InvalidInput as error:
        problem = "is not a height and a width" if "whole" in error.problem else error.problem
        raise InvalidInput(field, value, problem, way_out) from None
    return height, width


def _images(value: object) -> tuple[Size, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidInput("", value, "is not a list of image sizes", "give (height, width) pairs")
    if len(value) > MOST_IMAGES:
        many = f"has {len(value):,} images, above {MOST_IMAGES:,}"
        raise InvalidInput("", None, many, "price fewer images in a prompt")
    return tuple(image_size(image, "") for image in value)


class Workload(Spec):
    """One request, and how many equal ones run together.

    Attributes:
        images: Sizes (height, width) of the images in the prompt; empty means one image of the
            model's default size.
        frames: Frames of one video, instead of images; `images` may hold the size of a frame.
        processor: Settings of the image processor that differ from the checkpoint's.
        visual_tokens: The dense count M, instead of the one derived from the images; encoder and
            connector stay those of the images.
        text_tokens: N, system prompt and question.
        new_tokens: Tokens generated; the first one comes from the prefill.
        batch: Equal requests without padding; every total is multiplied by it.

    >>> Workload(images=["336x672"], text_tokens=32).images
    ((336, 672),)
    """

    images: Annotated[tuple[Size, ...], Converted(_images)] = ()
    frames: Count = 0
    processor: Processor = Processor()
    visual_tokens: Positive | None = None
    text_tokens: Count = DEFAULT_TEXT_TOKENS
    new_tokens: Positive = 1
    batch: Positive = 1

    @model_validator(mode="after")
    def _one_frame_size(self) -> Self:
        if self.frames and len(set(self.images)) > 1:
            raise InvalidInput(
                "images", None, "has several sizes for the frames of one video", "give one size"
            )
        if self.frames > MOST_FRAMES:
            raise InvalidInput(
                "frames", self.frames, f"is above {MOST_FRAMES:,}", "price fewer frames"
            )
        return self


class Counting(Spec):
    """Choices that change an `exact` figure; each is printed beside it.

    Attributes:
        causal: Count only pairs whose key is not later than the query, in the decoder's
            self-attention; by default all pairs that the operator is handed.
        logits: Positions that the head prices: the last one, as `generate` does, or all.
        encoder_layers: Encoder layers that transformers computes, or only those that contribute.
        latent: Latent attention with keys and values that are expanded once and cached, as the
            models' own code does; or recomputed, from cached latents in every forward, as
            transformers 5.23 does; or absorbed into queries and outputs.
        experts: Expert pairs that the router chooses, or all experts on all tokens.
        adapters: Low-rank adapters beside the weights, or merged into them; those of single crops,
            which cannot be merged, run beside them either way.
        selection: What choosing the tokens computes: the least that its definition needs, or what
            the method's released code does.

    >>> Counting(causal=True).logits
    'last'
    """

    causal: StrictBool = False
    logits: Literal["last", "all"] = "last"
    encoder_layers: Literal["computed", "contributing"] = "computed"
    latent: Literal["expanded", "recomputed", "absorbed"] = "expanded"
    experts: Literal["routed", "all"] = "routed"
    adapters: Literal["active", "merged"] = "active"
    selection: Literal["ideal", "released"] = "ideal"

    @property
    def execution(self) -> Execution:
        """How blocks are run."""
        return Execution(self.latent, self.experts, self.adapters)
