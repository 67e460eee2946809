"""What every visual-token rule has: from images or frames to tokens of encoder, connector and LLM.

Sizes are (height, width) in pixels, grids are (rows, columns). A rule is the preprocessing of one
family as transformers (or the model's own code) does it, as a pure function of sizes.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from ..errors import InvalidInput
from ..kinds import Kinds, optional
from ..numeric import Converted, Count, Positive, Spec

Size: TypeAlias = tuple[int, int]

#: JPEG's own limit per side; a larger size is a slip.
LARGEST_SIDE = 65_535

#: The rules by name.
RULES = Kinds(
    "token rule",
    {
        "fixed": ".tokens.fixed:FixedRule",
        "anyres": ".tokens.anyres:AnyresRule",
        "native": ".tokens.native:NativeRule",
        "longest-edge": ".tokens.longest_edge:LongestEdgeRule",
        "two-edges": ".tokens.two_edges:TwoEdgesRule",
        "patch-limit": ".tokens.patch_limit:PatchLimitRule",
        "tiles": ".tokens.tiles:TilesRule",
        "slices": ".tokens.slices:SlicesRule",
    },
)
#: What rules do with the frames of a video.
VIDEOS = Kinds(
    "video rule",
    {"frames": ".tokens.frames:FramesVideo", "pairs": ".tokens.pairs:PairsVideo"},
)


class VisualInput(NamedTuple):
    """The visual side of one sequence.

    Attributes:
        crops: Patch grid (rows, columns) of each sequence that passes the encoder.
        crops_per_image: How many of them each image (or the video) has.
        connector_tokens: Tokens that leave the connector.
        visual_tokens: M, positions in the LLM: kept connector tokens and learned separators. In
            cross-attention decoders the keys.
        separator_tokens: How many of M are learned separators, which skip the encoder, and the
            connector too unless it is wide enough to hold them (`connector_tokens` says).
        structural_tokens: S, vocabulary tokens that the processor adds around images.
        note: What the rule did, for the reader.
        second_crops: Patch grids of a second encoder, where they differ from `crops`.
    """

    crops: tuple[Size, ...]
    crops_per_image: tuple[int, ...]
    connector_tokens: int
    visual_tokens: int
    separator_tokens: int
    structural_tokens: int
    note: str
    second_crops: tuple[Size, ...] = ()


class Geometry(NamedTuple):
    """What a rule needs to know of the model.

    Attributes:
        patch_size: Side of a patch in pixels.
        merge_size: Side of the square of patches that the connector makes one token.
        connected: Grid of connector tokens that a crop's patch grid becomes; a fixed number of
            queries is a grid of one row.
    """

    patch_size: int
    merge_size: int
    connected: Callable[[Size], Size]

    def tokens(self, crop: Size) -> int:
        """Return how many tokens leave the connector for a crop."""
        return math.prod(self.connected(crop))

    def grid(self, size: Size) -> Size:
        """Return the patch grid of a size in pixels; a remainder is cut off."""
        return size[0] // self.patch_size, size[1] // self.patch_size


class Processor(Spec):
    """Settings of the image processor that a user changes; None leaves the checkpoint's.

    Attributes:
        limits: "checkpoint": the checkpoint's preprocessor_config.json; "class": the defaults of
            the transformers image-processor class, where they differ.
        min_pixels, max_pixels: Pixel limits of native-resolution rules, of images and of videos.
        max_tiles: Most tiles of tiling rules.
        tiles: "padded": tiles that only fill up a fixed number are computed, as transformers does;
            "used": they are not counted.
    """

    limits: Literal["checkpoint", "class"] = "checkpoint"
    min_pixels: Positive | None = None
    max_pixels: Positive | None = None
    max_tiles: Positive | None = None
    tiles: Literal["padded", "used"] = "padded"


class Limits(dict[str, Any]):
    """Fields with another default: a table, for JSON's sake, that nobody changes."""

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("specs are frozen; build another one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        """Agree with equality; a value may be a list, which has no hash of its own."""
        return hash(frozenset(self))

    def __reduce__(self) -> tuple[type["Limits"], tuple[dict[str, Any]]]:
        """Copy and pickle without changing an empty one."""
        return type(self), (dict(self),)


class Video(Spec):
    """What becomes of the frames of a video; each kind is a module."""

    part: ClassVar[str] = VIDEOS.part

    kind: str
    source: Annotated[tuple[str, ...], Field(min_length=1)]

    def frames(self, rule: "Rule", count: int, size: Size, geometry: Geometry) -> VisualInput:
        """Apply the rule to `count` frames of one size."""
        raise NotImplementedError

    def configured(self, processor: Processor) -> "Video":
        """Return the rule under other processor settings; those of images alone change nothing."""
        return self


class Rule(Spec):
    """What all rules have.

    Attributes:
        default_image: Size (height, width) that is priced when none is given.
        default_frames: Frames that are priced when nothing is given; 0 prices `default_image`.
        structural_per_image: Vocabulary tokens that the processor adds per image.
        second_size, second_patch_size: Side of the one image that a second encoder sees, and of
            its patches, in pixels; None where there is no second encoder or it sees the crops.
        video: What the rule does with the frames of a video; None where the model takes none.
        class_limits: Fields that the transformers class gives another default than the
            checkpoint's processor_config.json, with that default (`Processor.limits` "class").
    """

    part: ClassVar[str] = RULES.part

    kind: str
    default_image: tuple[Positive, Positive]
    default_frames: Count = 0
    structural_per_image: Count = 0
    second_size: Positive | None = None
    second_patch_size: Positive | None = None
    video: Annotated[Video | None, Converted(optional(VIDEOS))] = None
    class_limits: Annotated[dict[str, Any], AfterValidator(Limits)] = Limits()
    source: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _parts_belong_together(self) -> Self:
        if (self.second_size is None) != (self.second_patch_size is None):
            first, second = "second_size", "second_patch_size"
            given, other = (second, first) if self.second_size is None else (first, second)
            size = getattr(self, given)
            raise InvalidInput(given, size, f"goes with {other}", "give both, or none")
        if self.second_crop == ((0, 0),):
            raise InvalidInput(
                "second_size",
                self.second_size,
                f"holds no patch of second_patch_size {self.second_patch_size}",
                f"give at least {self.second_patch_size}",
            )
        if self.default_frames and self.video is None:
            raise InvalidInput(
                "default_frames", self.default_frames, "goes with a video rule", "add video"
            )
        return self

    @property
    def settings(self) -> tuple[str, ...]:
        """Fields of `Processor` that change this rule, besides `limits`."""
        return ()

    @property
    def second_crop(self) -> tuple[Size, ...]:
        """The patch grid of a second encoder's image, where it does not see the crops."""
        if self.second_size is None or self.second_patch_size is None:
            return ()
        side = self.second_size // self.second_patch_size
        return ((side, side),)

    def image(self, size: Size, geometry: Geometry, images: int) -> VisualInput:
        """Apply the rule to one of the `images` of a prompt."""
        raise NotImplementedError

    def together(self, parts: Sequence[VisualInput]) -> VisualInput:
        """Return the visual side of a prompt with these images."""
        return joined(parts)

    def frame(self, size: Size, geometry: Geometry) -> Size:
        """Return the patch grid of a video frame that keeps its own size."""
        raise InvalidInput(
            "token_rule.video.frame_size", None, "is missing for this kind of rule", "add it"
        )

    def configured(self, processor: Processor) -> "Rule":
        """Return the rule under other processor settings.

        Raises:
            InvalidInput: A setting that this rule does not have.
        """
        video = self.video.configured(processor) if self.video else None
        changes: dict[str, Any] = {}
        if processor.limits == "class":
            if not self.class_limits and video == self.video:
                self._refuse("limits", processor.limits)
            changes.update(self.class_limits)
        for name in ("min_pixels", "max_pixels", "max_tiles"):
            value = getattr(processor, name)
            if value is not None:
                if name not in self.settings:
                    self._refuse(name, value)
                changes[name] = value
        if processor.tiles != "padded":
            if "tiles" not in self.settings:
                self._refuse("tiles", processor.tiles)
            changes["padding"] = "none"
        if video != self.video:
            changes["video"] = video
        return type(self)(**{**dict(self), **changes}) if changes else self

    def _refuse(self, name: str, value: object) -> None:
        has = ", ".join(self.settings) or "none"
        raise InvalidInput(
            f"processor.{name}",
            value,
            f"changes nothing for this model, whose token rule is {self.kind}",
            f"leave it out; settings of this rule: {has}",
        )


def visual_input(
    rule: Rule, images: Sequence[Size], geometry: Geometry, frames: int = 0
) -> VisualInput:
    """Apply a family's rule to the images of one sequence, or to the frames of one video.

    With `frames`, `images` holds the one size that all frames have.

    Raises:
        InvalidInput: An image that the family's processor refuses, or frames where the model
            takes no video.
    """
    if frames:
        if rule.video is None:
            raise InvalidInput(
                "frames", frames, "is given, but the model takes no video", "give images instead"
            )
        return rule.video.frames(rule, frames, images[0], geometry)
    seen = rule.together([rule.image(image, geometry, len(images)) for image in images])
    return seen._replace(second_crops=rule.second_crop * len(images))


def joined(parts: Sequence[VisualInput]) -> VisualInput:
    """Return the visual side of a prompt with several images."""
    return VisualInput(
        crops=tuple(crop for part in parts for crop in part.crops),
        crops_per_image=tuple(crops for part in parts for crops in part.crops_per_image),
        connector_tokens=sum(part.connector_tokens for part in parts),
        visual_tokens=sum(part.visual_tokens for part in parts),
        separator_tokens=sum(part.separator_tokens for part in parts),
        structural_tokens=sum(part.structural_tokens for part in parts),
        note="; ".join(dict.fromkeys(part.note for part in parts)),
    )


def check_sides(size: Size, resized: Size) -> None:
    """Refuse an image of which resizing leaves nothing.

    Raises:
        InvalidInput: A side would have no pixel.
    """
    if min(resized) < 1:
        raise InvalidInput(
            "image_size",
            f"{size[0]}x{size[1]}",
            "is so elongated that resizing leaves no pixel of its shorter side",
            "give a less elongated image",
        )
