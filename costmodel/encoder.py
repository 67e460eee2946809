"""Tokens of the encoder's layers: crops, windows, and merging between attention and FFN."""

from collections import Counter
from itertools import accumulate
from typing import NamedTuple

from . import formulas
from .architecture.model import Model
from .architecture.vision import VisionEncoder
from .errors import InvalidInput
from .schedule import EncoderMerge
from .tokens.base import Size, VisualInput

_FIELD = "encoder.merged_per_layer"


class EncoderTokens(NamedTuple):
    """Tokens of every encoder layer, summed over the crops of one sequence.

    The layers of a second encoder follow those of the first.

    Attributes:
        positions: Positions of the patch convolution over all crops, for each encoder.
        tokens: Tokens that attention processes, class tokens included.
        pairs: Query–key pairs, within crops or their windows.
        ffn: Tokens that the FFN processes, after the block's own merging.
        merged_away: Patches that the contributing layers have merged away.
    """

    positions: tuple[int, ...]
    tokens: tuple[int, ...]
    pairs: tuple[int, ...]
    ffn: tuple[int, ...]
    merged_away: int


def encoder_tokens(model: Model, seen: VisualInput, encoder: EncoderMerge | None) -> EncoderTokens:
    """Count the tokens of every encoder layer.

    A block attends over the n tokens of a crop, merges r of them away, and hands n − r to its FFN
    and to the next block.

    Raises:
        InvalidInput: Merging that the model has no place for, or more than a block can merge.
    """
    if encoder is not None and not model.vision.patchwise:
        raise _misplaced(model, encoder)
    merged = merged_per_layer(model.vision, encoder) if encoder else ()
    if encoder is None or not any(merged):
        towers = [
            tower.counted(_crops_of(index, seen), seen.crops_per_image)
            for index, tower in enumerate(model.towers)
        ]
        tokens = tuple(count for tower in towers for count in tower.tokens)
        return EncoderTokens(
            positions=tuple(tower.positions for tower in towers),
            tokens=tokens,
            pairs=tuple(count for tower in towers for count in tower.pairs),
            ffn=tokens,
            merged_away=0,
        )
    return _merged(model, seen, encoder, merged)


def _crops_of(tower: int, seen: VisualInput) -> tuple[Size, ...]:
    return seen.second_crops if tower and seen.second_crops else seen.crops


def attends_jointly(vision: VisionEncoder, seen: VisualInput) -> bool:
    """Tell whether attention runs over more than one crop at once."""
    joint = vision.joint
    return joint is not None and (joint.over == "image" or len(seen.crops) > 1)


def _merged(
    model: Model, seen: VisualInput, encoder: EncoderMerge, merged: tuple[int, ...]
) -> EncoderTokens:
    vision, crops = model.vision, seen.crops
    patches = sum(rows * columns for rows, columns in crops)
    tokens = patches + vision.extra_tokens * len(crops)
    _check_place(model, encoder, seen)
    if not any(merged[: vision.contributing_layers]):
        raise InvalidInput(
            _FIELD,
            None,
            f"merges only in layers whose output is not used, from {vision.contributing_layers} on",
            "merge in an earlier layer, or nowhere",
        )
    _check_amounts(encoder, merged, min(rows * columns for rows, columns in crops))
    gone = tuple(accumulate(merged, initial=0))
    per_layer = tuple(tokens - len(crops) * removed for removed in gone)
    return EncoderTokens(
        positions=(patches,),
        tokens=per_layer[:-1],
        pairs=tuple(
            sum(crop_count * formulas.square_pairs(n) for n, crop_count in sizes.items())
            for sizes in crop_sizes(vision, crops, merged)
        ),
        ffn=per_layer[1:],
        merged_away=len(crops) * gone[vision.contributing_layers],
    )


def merged_per_layer(vision: VisionEncoder, encoder: EncoderMerge) -> tuple[int, ...]:
    """Return how many tokens each encoder layer merges away in each crop.

    Raises:
        InvalidInput: A list that has an entry neither for every layer nor for every contributing
            one.
    """
    given, layers = encoder.merged_per_layer, vision.num_hidden_layers
    if isinstance(given, int):
        return (given,) * layers
    if len(given) not in (layers, vision.contributing_layers):
        counts, shares = str(layers), ""
        if vision.contributing_layers < layers:
            counts += f" or {vision.contributing_layers}"
            shares = f", {vision.contributing_layers} of which contribute"
        raise InvalidInput(
            _FIELD,
            None,
            f"is a list of {len(given)} for an encoder of {layers} layers{shares}",
            f"give one number or a list of {counts}",
        )
    return given + (0,) * (layers - len(given))


def crop_sizes(
    vision: VisionEncoder, crops: tuple[Size, ...], merged: tuple[int, ...]
) -> list[dict[int, int]]:
    """Return, for every layer, how many crops attend over how many tokens: {tokens: crops}."""
    dense = Counter(rows * columns + vision.extra_tokens for rows, columns in crops)
    gone = accumulate(merged[:-1], initial=0)
    return [{n - removed: count for n, count in dense.items()} for removed in gone]


def _check_place(model: Model, encoder: EncoderMerge, seen: VisualInput) -> None:
    plain = model.vision.windows is None and not attends_jointly(model.vision, seen)
    if not (plain and model.second_vision is None and _one_by_one(model)):
        raise _misplaced(model, encoder)


def _one_by_one(model: Model) -> bool:
    return model.connector.merge_size == 1 and model.connector.per_token


def _misplaced(model: Model, encoder: EncoderMerge) -> InvalidInput:
    vision = model.vision
    if not vision.patchwise:
        obstacle = "is a convolutional network"
    elif vision.windows is not None:
        obstacle = "attends in windows"
    elif vision.joint is not None:
        obstacle = "attends over several crops together"
    elif model.second_vision is not None:
        obstacle = "shares its grid with a second encoder"
    else:
        obstacle = "feeds a connector that merges neighbouring patches"
        if model.connector.merge_size == 1:
            obstacle = "feeds a connector that takes whole crops"
    return InvalidInput(
        _FIELD,
        _shown(encoder),
        f"does not fit {vision.name}, which {obstacle}: merged tokens lie on no grid",
        "reduce behind the encoder instead, with `compress` or `stages`",
    )


def _check_amounts(encoder: EncoderMerge, merged: tuple[int, ...], patches: int) -> None:
    """Check that each block merges at most half of the patches that the smallest crop has left."""
    most_everywhere = patches // (len(merged) + 1)  # block l: 2r ≤ patches − l·r
    for layer, amount in enumerate(merged):
        if 2 * amount > patches:
            constant = isinstance(encoder.merged_per_layer, int)
            raise InvalidInput(
                _FIELD,
                amount,
                f"is more than half of the {patches:,} patches of a crop that reach layer {layer}",
                f"give at most {most_everywhere if constant else patches // 2}",
            )
        patches -= amount


def _shown(encoder: EncoderMerge) -> str:
    given = encoder.merged_per_layer
    return str(given) if isinstance(given, int) else f"[{', '.join(map(str, given))}]"
