"""Fewer tokens in and before the encoder: stages, kept patches, a stream's new frames."""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Literal, NamedTuple, Self

from pydantic import model_validator

from ..architecture.model import Model
from ..encoder import EncoderTokens, attends_jointly, encoder_tokens
from ..errors import InvalidInput
from ..formulas import square_pairs
from ..numeric import Count, Positive, Ratio, Spec
from ..schedule import Rounding, kept_tokens
from ..tokens.base import Size, VisualInput


class EncoderStage(Spec):
    """From `first_layer` (0-based) of the encoder on, each crop has this many patches.

    Attributes:
        ratio, tokens: Of the patches of a crop, or their number; give one.
    """

    first_layer: Count
    ratio: Ratio | None = None
    tokens: Positive | None = None

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.ratio is None) == (self.tokens is None):
            raise InvalidInput("", None, "gives no single amount", "give ratio or tokens")
        return self


class EncoderStages(Spec):
    """Reductions between the layers of the encoder.

    Attributes:
        stages: In order of layers, never growing.
        op: What makes the tokens fewer. "unshuffle" and "pool" make squares of k × k patches one,
            so that what is left is a grid; "keep" and "merge" leave a row.
    """

    stages: tuple[EncoderStage, ...]
    op: Literal["keep", "merge", "unshuffle", "pool"] = "keep"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        layers = [stage.first_layer for stage in self.stages]
        if not layers or layers != sorted(set(layers)):
            problem = "is not a list of stages in order, each layer once"
            raise InvalidInput("stages", None, problem, "give stages with growing first_layer")
        return self


class Reduced(NamedTuple):
    """What is left of the encoder's work.

    Attributes:
        encoder: Tokens of its layers.
        crops: Grids that leave it, or None where what is left lies on no grid.
        patches_left: Patches that leave it.
    """

    encoder: EncoderTokens
    crops: tuple[Size, ...] | None
    patches_left: int


def staged(model: Model, seen: VisualInput, spec: EncoderStages, rounding: Rounding) -> Reduced:
    """Count the tokens of an encoder with stages.

    Layer l attends over the p_l patches that its stage leaves of a crop and its class tokens.

    Raises:
        InvalidInput: An encoder without a plain sequence of layers, or stages that do not fit it.
    """
    vision = model.vision
    plain = vision.patchwise and vision.windows is None
    if not plain or attends_jointly(vision, seen) or model.second_vision is not None:
        raise InvalidInput(
            "encoder.stages",
            None,
            f"does not fit {vision.name}, whose layers are no plain sequence over one crop",
            "reduce behind the encoder, with `compress` or `stages`",
        )
    if any(stage.kind == "arrange" for stage in model.connector.stages):
        problem = f"does not fit {model.id}, whose connector joins crops on the full grid"
        raise InvalidInput("encoder.stages", None, problem, "reduce behind the encoder")
    _check_taps(model, spec)
    depth = vision.num_hidden_layers
    per_crop = [_patches(crop, spec, rounding, depth) for crop in seen.crops]
    extra = vision.extra_tokens
    dense = encoder_tokens(model, seen, None)
    tokens = tuple(sum(p[layer] + extra for p in per_crop) for layer in range(depth))
    used = vision.contributing_layers - 1
    left = sum(p[used] for p in per_crop)
    encoder = EncoderTokens(
        positions=dense.positions,
        tokens=tokens,
        pairs=tuple(
            sum(square_pairs(p[layer] + extra) for p in per_crop) for layer in range(depth)
        ),
        ffn=tokens,
        merged_away=sum(rows * columns for rows, columns in seen.crops) - left,
    )
    grids = None
    if spec.op in ("unshuffle", "pool"):
        grids = tuple(_coarser(crop, p[used]) for crop, p in zip(seen.crops, per_crop, strict=True))
    return Reduced(encoder, grids, left)


def _check_taps(model: Model, spec: EncoderStages) -> None:
    """Check that all tapped layers have the tokens that leave the encoder."""
    deepstack = model.connector.deepstack
    if deepstack is None:
        return
    tap = min(deepstack.encoder_layers)
    for index, stage in enumerate(spec.stages):
        if stage.first_layer > tap:
            problem = f"comes behind layer {tap}, whose output the connector reads too"
            field = f"encoder.stages.{index}.first_layer"
            raise InvalidInput(field, stage.first_layer, problem, f"give at most {tap}")


def _patches(crop: Size, spec: EncoderStages, rounding: Rounding, depth: int) -> list[int]:
    """Return the patches of one crop in every layer."""
    whole = crop[0] * crop[1]
    counts: list[int] = []
    current = whole
    for index, stage in enumerate(spec.stages):
        where = f"encoder.stages.{index}."
        if stage.first_layer >= depth:
            problem = f"is not a layer of this encoder, which has {depth}"
            raise InvalidInput(
                where + "first_layer", stage.first_layer, problem, f"give 0 to {depth - 1}"
            )
        counts += [current] * (stage.first_layer - len(counts))
        kept = stage.tokens
        if kept is None:
            assert stage.ratio is not None
            kept = kept_tokens(stage.ratio, whole, rounding)
        if not 1 <= kept <= current:
            problem = f"leaves {kept:,} patches of the {current:,} that reach it in a crop"
            raise InvalidInput(where + "ratio", None, problem, f"leave 1 to {current}")
        current = kept
    return counts + [current] * (depth - len(counts))


def _coarser(crop: Size, left: int) -> Size:
    """Return the grid that squares of patches leave.

    Raises:
        InvalidInput: No side divides the crop so.
    """
    side = math.isqrt(crop[0] * crop[1] // left) if left else 0
    if not side or crop[0] % side or crop[1] % side or crop[0] * crop[1] != left * side**2:
        problem = f"leaves {left:,} of {crop[0]}×{crop[1]} patches, which no squares make"
        raise InvalidInput("encoder.op", None, problem, "give 1/4, 1/9, …, or op keep or merge")
    return crop[0] // side, crop[1] // side


def thinned(
    model: Model, seen: VisualInput, dense: EncoderTokens, share: Fraction, rounding: Rounding
) -> Reduced:
    """Count the tokens of an encoder that a share of each crop's patches enters.

    Survivors lie evenly: a layer that attends in windows scores ⌊ρ²·pairs⌋. A connector that makes
    squares of patches one gets whole squares.

    Raises:
        InvalidInput: A convolutional encoder, or a connector that takes whole crops or pools them.
    """
    vision, connector = model.vision, model.connector
    problem = None
    if not vision.patchwise or model.second_vision is not None:
        problem = f"does not fit {vision.name}, which needs whole images"
    elif not connector.per_token:
        problem = f"does not fit {model.id}, whose connector ({connector.name}) takes whole crops"
    square = connector.merge_size**2
    patches = sum(rows * columns for rows, columns in seen.crops)
    if problem is None and patches // square != seen.connector_tokens:
        problem = f"does not fit {model.id}, whose connector takes other tokens than patches"
    if problem:
        raise InvalidInput("input.patches", None, problem, "leave it out")
    kept = [
        kept_tokens(share, rows * columns // square, rounding) * square
        for rows, columns in seen.crops
    ]
    if not all(kept):
        raise InvalidInput(
            "input.patches", None, "leaves no patch of a crop", "give a larger share"
        )
    extra, depth = vision.extra_tokens, vision.num_hidden_layers
    tokens = (sum(kept) + extra * len(kept),) * depth
    if vision.windows is None and not attends_jointly(vision, seen):
        pairs = (sum(square_pairs(count + extra) for count in kept),) * depth
    else:
        pairs = tuple(int(share * share * count) for count in dense.pairs)
    encoder = EncoderTokens((sum(kept),), tokens, pairs, tokens, patches - sum(kept))
    return Reduced(encoder, None, sum(kept))


def limited_crops(
    model: Model, seen: VisualInput, available: int, most: int
) -> tuple[VisualInput, int]:
    """Return the visual input with at most so many crops of each image, and what M becomes.

    M shrinks as the connector's tokens do.

    Raises:
        InvalidInput: Crops whose tokens are not simply added: they overlap, separators or further
            vocabulary tokens stand between them, or a second encoder sees others.
    """
    if max(seen.crops_per_image) <= most:
        return seen, available
    if seen.second_crops or sum(seen.crops_per_image) != len(seen.crops):
        raise _no_plain_row(model, most)
    kept: list[Size] = []
    start = 0
    for count in seen.crops_per_image:
        kept += seen.crops[start : start + min(count, most)]
        start += count

    def tokens(crops: Iterable[Size]) -> int:
        return sum(model.geometry.tokens(crop) for crop in crops)

    before, after = tokens(seen.crops), tokens(kept)
    images = len(seen.crops_per_image)
    plain = before == seen.visual_tokens == seen.connector_tokens
    per_image = getattr(model.token_rule, "structural_per_image", 0)
    if not plain or seen.separator_tokens or seen.structural_tokens != images * per_image:
        raise _no_plain_row(model, most)
    fewer = seen._replace(
        crops=tuple(kept),
        crops_per_image=tuple(min(count, most) for count in seen.crops_per_image),
        connector_tokens=seen.connector_tokens * after // before,
        visual_tokens=seen.visual_tokens * after // before,
    )
    return fewer, available * after // before


def _no_plain_row(model: Model, most: int) -> InvalidInput:
    problem = f"does not fit {model.id}, whose images are no plain row of crops"
    return InvalidInput("input.crops", most, problem, "leave it out")


def new_frames(encoder: EncoderTokens, crops: int, share: Fraction) -> EncoderTokens:
    """Return the encoder's work on ⌈share · crops⌉ of equal crops."""
    fresh = math.ceil(share * crops)

    def scaled(counts: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(count * fresh // crops for count in counts)

    changes: dict[str, Any] = {
        name: scaled(getattr(encoder, name)) for name in ("positions", "tokens", "pairs", "ffn")
    }
    return encoder._replace(**changes)
