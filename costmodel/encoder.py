"""Tokens of the encoder's layers: crops, windows, and merging between attention and FFN."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import NamedTuple

from . import formulas
from .architecture import Model, VisionEncoder
from .errors import InvalidInput
from .schedule import EncoderMerge
from .tokens import Size

_FIELD = "encoder.merged_per_layer"


class EncoderTokens(NamedTuple):
    """Tokens of every encoder layer, summed over the crops of one sequence.

    Attributes:
        tokens: Tokens that attention processes, class tokens included.
        pairs: Query–key pairs, within crops or their windows.
        ffn: Tokens that the FFN processes, after the block's own merging.
        merged_away: Patches that the contributing layers have merged away.
    """

    tokens: tuple[int, ...]
    pairs: tuple[int, ...]
    ffn: tuple[int, ...]
    merged_away: int


def encoder_tokens(
    model: Model, crops: tuple[Size, ...], encoder: EncoderMerge | None
) -> EncoderTokens:
    """Count the tokens of every encoder layer.

    A block attends over the n tokens of a crop, merges r of them away, and hands n − r to its FFN
    and to the next block.

    Raises:
        InvalidInput: Merging that the model has no place for, or more than a block can merge.
    """
    vision = model.vision
    merged = merged_per_layer(vision, encoder) if encoder else (0,) * vision.num_hidden_layers
    patches = sum(rows * columns for rows, columns in crops)
    tokens = patches + vision.class_token * len(crops)
    if not any(merged):
        same = (tokens,) * vision.num_hidden_layers
        return EncoderTokens(same, _encoder_pairs(vision, crops), same, 0)
    assert encoder is not None
    _check_place(model, encoder)
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
    dense = Counter(rows * columns + vision.class_token for rows, columns in crops)
    gone = accumulate(merged[:-1], initial=0)
    return [{n - removed: count for n, count in dense.items()} for removed in gone]


def _check_place(model: Model, encoder: EncoderMerge) -> None:
    obstacle = ""
    if model.vision.windows is not None:
        obstacle = "attends in windows"
    elif model.connector.merge_size > 1:
        obstacle = "feeds a connector that merges neighbouring patches"
    if obstacle:
        raise InvalidInput(
            _FIELD,
            _shown(encoder),
            f"does not fit {model.vision.name}, which {obstacle}: merged tokens lie on no grid",
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


def _encoder_pairs(vision: VisionEncoder, crops: tuple[Size, ...]) -> tuple[int, ...]:
    """Return each encoder layer's query–key pairs: Σ n_i² over the crops or their windows."""
    class_token = int(vision.class_token)
    full = sum(formulas.square_pairs(rows * columns + class_token) for rows, columns in crops)
    if vision.windows is None:
        return (full,) * vision.num_hidden_layers
    windowed = sum(_window_pairs(crop, vision.windows.size) for crop in crops)
    return tuple(
        full if layer in vision.windows.full_attention_layers else windowed
        for layer in range(vision.num_hidden_layers)
    )


def _window_pairs(crop: Size, size: int) -> int:
    """Return Σ n_i² over windows of size × size patches; edge windows hold the remainder."""
    along = [
        (side // size) * size**2 + (side % size) ** 2  # Σ of squared window sides on one axis
        for side in crop
    ]
    return along[0] * along[1]
