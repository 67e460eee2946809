"""How the encoders' tokens and pairs came about, as arithmetic to check by hand."""

from __future__ import annotations

from ..costmodel import Report
from ..costmodel.architecture.vision import VisionEncoder
from ..costmodel.plan import TokenPlan, alike
from ..costmodel.schedule import EncoderMerge
from ..costmodel.tokens.base import Size
from .schedule_words import merges
from .units import ranges

Steps = list[tuple[str, str]]


def encoder_steps(report: Report) -> Steps:
    """Return tokens and pairs of every encoder, as (what, arithmetic)."""
    plan, first, lines = report.scheduled, 0, []
    seen, merging = plan.visual_input, _merging(report)
    for index, tower in enumerate(report.model.towers):
        crops = seen.second_crops if index and seen.second_crops else seen.crops
        layers = range(first, first + tower.num_hidden_layers)
        name = "second encoder's" if index else "encoder"
        if not tower.patchwise or thinned(report):
            tokens, pairs = (
                _by_layer(plan.encoder_tokens, layers),
                _by_layer(plan.encoder_pairs, layers),
            )
        elif tower.joint is not None:
            tokens, pairs = _joint(plan, tower, layers.start)
        else:
            tokens = _tokens(plan, tower, crops, layers.start)
            pairs = _merged_pairs(report) if merging else _pairs(plan, tower, crops, layers)
        lines += [(f"{name} tokens", tokens), (f"{name} pairs", pairs)]
        first += tower.num_hidden_layers
    if merging:
        lines.append(("patches left", _merging_step(report)))
    return lines


def thinned(report: Report) -> bool:
    """Tell whether encoder layers have fewer tokens by anything else than merging in blocks."""
    return merges(report) and not _merging(report)


def _merging(report: Report) -> bool:
    encoder = report.schedule.encoder if report.schedule else None
    return isinstance(encoder, EncoderMerge) and merges(report)


def _by_layer(counts: tuple[int, ...], layers: range) -> str:
    own = [counts[layer] for layer in layers]
    return "; ".join(
        f"{count} in layers {ranges([layers.start + layer for layer in same])}"
        for same, (count,) in alike(zip(own, strict=True))
    )


def _joint(plan: TokenPlan, tower: VisionEncoder, first: int) -> tuple[str, str]:
    """Return the steps of an encoder that attends over all tiles of an image together."""
    assert tower.joint is not None
    seen, extra, multiple = plan.visual_input, tower.extra_tokens, tower.joint.multiple
    own = [rows * columns + extra for rows, columns in seen.crops]
    lengths = tower.joint.sequences(own, seen.crops_per_image)
    rows, columns = seen.crops[0]
    crop = f"{rows} · {columns} + {extra} = {own[0]}" if extra else f"{rows} · {columns} = {own[0]}"
    if multiple > 1:
        crop += f", padded to {tower.joint.padded(own[0])}, per crop"
    joined = "each image's" if tower.joint.over == "image" else "all images'"
    summed = " + ".join(map(str, lengths))
    squares = " + ".join(f"{length}²" for length in lengths)
    return (
        f"{crop}; {joined} {len(own)} crops in one sequence: {summed}"
        + (f" = {plan.encoder_tokens[first]}" if len(lengths) > 1 else ""),
        f"{squares} = {plan.encoder_pairs[first]} per layer",
    )


def _tokens(plan: TokenPlan, tower: VisionEncoder, crops: tuple[Size, ...], first: int) -> str:
    rows, columns = crops[0]
    extra = tower.extra_tokens * len(crops)
    what = "class and register" if tower.register_tokens else "class"
    others = f" + {extra} {what} tokens" if extra else ""
    if len(set(crops)) == 1:
        shape = f"{len(crops)} · {rows} · {columns}"
    else:
        shape = " + ".join(f"{high} · {wide}" for high, wide in crops)
    return f"{shape} patches{others} = {plan.encoder_tokens[first]}"


def _merging_step(report: Report) -> str:
    plan, used = report.scheduled, report.model.vision.contributing_layers
    merged = plan.merged_per_crop[:used]
    crops = len(plan.visual_input.crops)
    left = plan.encoder_positions - crops * sum(merged)
    return f"{plan.encoder_positions} - {crops} · ({' + '.join(map(str, merged))}) = {left}"


def _merged_pairs(report: Report) -> str:
    plan, extra = report.scheduled, report.model.vision.extra_tokens
    merged, gone, steps = plan.merged_per_crop, 0, []
    sizes = [rows * columns + extra for rows, columns in plan.visual_input.crops]
    for layer, pairs in enumerate(plan.encoder_pairs):
        squares = " + ".join(
            f"{sizes.count(size)} · {size - gone}²" for size in dict.fromkeys(sizes)
        )
        steps.append(f"{squares} = {pairs} in layer {layer}")
        gone += merged[layer]
    return "; ".join(steps)


def _pairs(plan: TokenPlan, tower: VisionEncoder, crops: tuple[Size, ...], layers: range) -> str:
    sizes = [rows * columns + tower.extra_tokens for rows, columns in crops]
    same = len(set(sizes)) == 1
    squares = f"{len(sizes)} · {sizes[0]}²" if same else " + ".join(f"{size}²" for size in sizes)
    if tower.windows is None:
        return f"{squares} = {plan.encoder_pairs[layers.start]} per layer"
    side, full = tower.windows.size, tower.windows.full_attention_layers
    windows = " + ".join(
        " · ".join(f"({size // side}·{side}² + {size % side}²)" for size in crop) for crop in crops
    )
    steps = []
    for same_layers, (pairs,) in alike(
        zip([plan.encoder_pairs[layer] for layer in layers], strict=True)
    ):
        form = squares if same_layers[0] in full else windows
        steps.append(f"{form} = {pairs} in layers {ranges(same_layers)}")
    return "; ".join(steps)
