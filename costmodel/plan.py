"""Model × Workload × Schedule → TokenPlan: how many tokens exist where.

This is the only place that reads a schedule; whoever prices sees a plan and no method's name.
"""

from collections import Counter
from typing import NamedTuple

from .architecture.model import Model
from .connectors.base import Flow
from .encoder import EncoderTokens, encoder_tokens
from .errors import InvalidInput
from .schedule import EncoderMerge, Rounding, Schedule, Stage, kept_tokens, ratio_text
from .tokenplan import Layout as Layout
from .tokenplan import TokenPlan as TokenPlan
from .tokenplan import alike as alike
from .tokenplan import decode_keys as decode_keys
from .tokenplan import layouts as layouts
from .tokens.base import Size, VisualInput, visual_input
from .workload import Counting, Workload


def plan(model: Model, workload: Workload, schedule: Schedule | None = None) -> TokenPlan:
    """Count the tokens of every encoder and decoder layer.

    Tokens after a stage: ⌊r·M⌋ + S + N, with r relative to the M that enters layer 0. Merging in
    the encoder leaves M = patches − merged: learned separators and un-padding need a grid.

    Raises:
        InvalidInput: A schedule that does not fit the model, or an image that its rule refuses.

    >>> from vlm_tokencost.presets import load_model
    >>> tokens = plan(load_model("llava-1.5-7b"), Workload(), Schedule.keep(0.5, layer=2))
    >>> tokens.visual[:3], tokens.query[:3]
    ((576, 576, 288), (640, 640, 352))
    """
    schedule = schedule or Schedule()
    if schedule.mixture:
        from .mixing import mixed_plan  # few schedules have several ways

        return mixed_plan(model, workload, schedule)
    rule, geometry = model.token_rule.configured(workload.processor), model.geometry
    images = workload.images or (rule.default_image,)
    frames = workload.frames or (0 if workload.images else rule.default_frames)
    seen = visual_input(rule, images, geometry, frames)
    dense = available = workload.visual_tokens or seen.visual_tokens
    if not dense:
        raise _without_tokens(model, images, frames)
    if schedule.input is not None and schedule.input.frames is not None:
        images, frames = _fewer(schedule, images, frames)
        fewer = visual_input(rule, images, geometry, frames)
        available = dense * fewer.visual_tokens // seen.visual_tokens
        seen = fewer
    if schedule.input is not None and schedule.input.crops is not None and not frames:
        from .primitives.encoding import limited_crops

        seen, available = limited_crops(model, seen, available, schedule.input.crops)
    encoded = _encoded(model, workload, schedule, seen, available)
    entering, passing = _compressed(model, schedule, encoded.available, encoded.connector_tokens)
    grids = encoded.grids if passing == encoded.connector_tokens else _row(model, passing)
    encoder, stream = encoded.encoder, schedule.stream
    if stream is not None:
        from .primitives.encoding import new_frames

        encoder = new_frames(encoder, len(seen.crops), stream.computed)
        passing = kept_tokens(stream.computed, passing, "ceil")
        grids = _row(model, passing)
    planned = TokenPlan(
        images=images,
        frames=frames,
        visual_input=seen,
        dense_visual_tokens=dense,
        available_visual_tokens=encoded.available,
        entering_visual_tokens=entering,
        connector_grids=grids,
        connector_tokens=passing,
        arranged_tokens=seen.visual_tokens if passing else 0,
        tower_positions=encoder.positions,
        encoder_tokens=encoder.tokens,
        encoder_pairs=encoder.pairs,
        encoder_ffn=encoder.ffn,
        layout=layouts(model),
        visual=(),
        text_tokens=workload.text_tokens,
        structural_tokens=seen.structural_tokens,
        batch=workload.batch,
        cache=schedule.cache,
        channels=schedule.channels,
        bits=schedule.bits,
    )
    visual = _staged(schedule, entering, model.decoder.num_hidden_layers)
    if schedule.layers or schedule.cache or stream or schedule.channels:
        from .acting import acting  # few schedules say more than how many tokens there are

        planned = acting(model, planned, schedule, visual)
    else:
        planned = planned.with_visual(visual)
    if schedule.selection is not None:
        from .selection import selection_operators  # few schedules name a rule

        selection_operators(model, planned, schedule, Counting())  # refuses what does not fit
    return planned


class _Encoded(NamedTuple):
    """What leaves encoder and connector."""

    encoder: EncoderTokens
    grids: tuple[tuple[Size, int], ...]
    connector_tokens: int
    available: int


def _encoded(
    model: Model, workload: Workload, schedule: Schedule, seen: VisualInput, available: int
) -> _Encoded:
    """Count the tokens of encoder and connector, and the visual tokens behind them."""
    spec = schedule.encoder
    grids, connector_tokens = _connected(model, seen)
    merging = spec if isinstance(spec, EncoderMerge) else None
    encoder = encoder_tokens(model, seen, merging)
    share = None if schedule.input is None else schedule.input.patches
    if merging is None and spec is not None:
        from .primitives.encoding import staged

        reduced = staged(model, seen, spec, schedule.rounding)
        encoder = reduced.encoder
        if reduced.crops is not None:
            if grids != tuple(_flow(model, seen).grids.items()):
                problem = f"does not fit {model.id}, whose patches are pooled before the connector"
                raise InvalidInput("encoder.op", spec.op, problem, "reduce behind the encoder")
            coarse = seen._replace(crops=reduced.crops)
            left = model.connector.flows(_flow(model, coarse))[-1].tokens
            return _Encoded(
                encoder,
                tuple(_flow(model, coarse).grids.items()),
                left,
                available * left // connector_tokens,
            )
        if model.connector.merge_size > 1 or not model.connector.per_token:
            problem = f"leaves no grid for {model.connector.name}"
            raise InvalidInput("encoder.op", spec.op, problem, 'give op = "pool" or "unshuffle"')
    if share is not None:
        from .primitives.encoding import thinned

        if spec is not None:
            problem = "does not go with `encoder`"
            raise InvalidInput("input.patches", None, problem, "leave one of them out")
        thin = thinned(model, seen, encoder, share, schedule.rounding)
        tokens = thin.patches_left // model.connector.merge_size**2
        kept = kept_tokens(share, available, schedule.rounding)
        return _Encoded(thin.encoder, _row(model, tokens), tokens, kept)
    if not encoder.merged_away:
        return _Encoded(encoder, grids, connector_tokens, available)
    field = "encoder.stages" if merging is None else "encoder.merged_per_layer"
    _check_merging(model, workload, seen, field)
    left = connector_tokens - encoder.merged_away
    return _Encoded(encoder, _row(model, left), left, left)


def _check_merging(model: Model, workload: Workload, seen: VisualInput, field: str) -> None:
    if workload.visual_tokens is not None:
        raise InvalidInput(
            "visual_tokens",
            workload.visual_tokens,
            "cannot be given when the encoder merges tokens, which decides the count",
            "leave it out, or merge nothing in the encoder",
        )
    kept = seen.visual_tokens - seen.separator_tokens
    video = workload.frames or (not workload.images and model.token_rule.default_frames)
    if video and kept < sum(model.geometry.tokens(crop) for crop in seen.crops):
        raise InvalidInput(
            field,
            None,
            "does not fit a video whose frames are pooled: what is left lies on no grid",
            "reduce behind the encoder instead, with `compress` or `stages`",
        )


def _fewer(
    schedule: Schedule, images: tuple[Size, ...], frames: int
) -> tuple[tuple[Size, ...], int]:
    """Return the images or frames that the schedule's input leaves.

    Raises:
        InvalidInput: A single image, or a share that leaves nothing.
    """
    share, many = schedule.input.frames, frames or len(images)
    if many < 2:
        raise InvalidInput(
            "input.frames", ratio_text(share), "needs several frames or images", "give --frames"
        )
    kept = kept_tokens(share, many, schedule.rounding)
    if not kept:
        problem = f"leaves none of the {many:,} frames"
        raise InvalidInput("input.frames", ratio_text(share), problem, "give a larger share")
    return (images, kept) if frames else (images[:kept], 0)


def _without_tokens(model: Model, images: tuple[Size, ...], frames: int) -> InvalidInput:
    """Return the error that images were asked for, of which nothing reaches the LLM."""
    sizes = ", ".join(f"{height}x{width}" for height, width in dict.fromkeys(images))
    problem = f"becomes no visual token of {model.id}"
    if frames:
        problem += f", in {frames} frames of a video"
    return InvalidInput("image_size", sizes, problem, "give a larger image, or another model")


def entering_encoder(model: Model, plan: TokenPlan) -> int:
    """Return the tokens that enter the (first) encoder's layers.

    Of a convolutional encoder, whose positions shrink from stage to stage, those that leave it.
    """
    whole = model.vision.patchwise
    return plan.encoder_tokens[0] if whole else plan.encoder_positions


def _connected(model: Model, seen: VisualInput) -> tuple[tuple[tuple[Size, int], ...], int]:
    """Return the grids that reach the connector, and the tokens that leave it."""
    flow = _flow(model, seen)
    leaving = model.connector.flows(flow)[-1].tokens
    if leaving != seen.connector_tokens and model.connector.per_token:
        # The rule pools before the connector, as LLaVA-NeXT-Video does.
        return _row(model, seen.connector_tokens), seen.connector_tokens
    return tuple(flow.grids.items()), leaving


def _flow(model: Model, seen: VisualInput) -> Flow:
    grids = Counter(model.vision.output_grid(crop) for crop in seen.crops)
    return Flow(grids, batch=1, arranged=seen.visual_tokens, text_tokens=0)


def _row(model: Model, tokens: int) -> tuple[tuple[Size, int], ...]:
    """Return a grid from which a connector that works on any tokens makes so many."""
    if not tokens:
        return ()
    side = model.connector.merge_size
    return (((side, side * tokens), 1),)


def _compressed(
    model: Model, schedule: Schedule, available: int, connector_tokens: int
) -> tuple[int, int]:
    """Return the visual tokens that enter layer 0 and the tokens that leave the connector."""
    compress = schedule.compress
    if compress is None:
        return available, connector_tokens
    if compress.tokens is not None:
        kept, field, value = compress.tokens, "compress.tokens", str(compress.tokens)
    else:
        assert compress.ratio is not None
        kept = kept_tokens(compress.ratio, available, schedule.rounding)
        field, value = "compress.ratio", ratio_text(compress.ratio)
    _check_amount(field, value, kept, available, "that there are")
    passing = kept + compress.extra
    entering = passing + compress.learned
    if compress.at == "instead-of-connector":
        return entering, 0
    if compress.at == "after-connector" or (kept == available and not compress.extra):
        return entering, connector_tokens
    if not model.connector.per_token:
        raise InvalidInput(
            "compress.at",
            compress.at,
            f"does not fit {model.id}, whose connector ({model.connector.name}) takes whole crops",
            "reduce after the connector",
        )
    if kept > connector_tokens:
        raise InvalidInput(
            field,
            value,
            f"is more than the {connector_tokens:,} tokens that pass the connector",
            "give fewer, or reduce after the connector",
        )
    return entering, passing


def _staged(schedule: Schedule, entering: int, layers: int) -> tuple[int, ...]:
    """Return the visual tokens that the stages leave each decoder layer."""
    stages, rounding = schedule.stages, schedule.rounding
    visual: list[int] = []
    before, current = -1, entering
    for index, stage in enumerate(stages):
        where = f"stages.{index}."
        if stage.first_layer >= layers:
            raise InvalidInput(
                where + "first_layer",
                stage.first_layer,
                f"is not a layer of this model, which has {layers}",
                f"give 0 to {layers - 1}",
            )
        if stage.first_layer <= before:
            raise InvalidInput(
                where + "first_layer",
                stage.first_layer,
                f"does not come after the stage at layer {before}",
                "give the stages in order of their layers, each layer once",
            )
        kept = _stage_tokens(stage, where, entering, current, rounding)
        visual += [current] * (stage.first_layer - len(visual))
        before, current = stage.first_layer, kept
    return (*visual, *[current] * (layers - len(visual)))


def _stage_tokens(stage: Stage, where: str, entering: int, current: int, rounding: Rounding) -> int:
    if stage.withdraw:
        return 0
    if stage.tokens is not None:
        kept, field, value = stage.tokens, where + "tokens", str(stage.tokens)
    else:
        assert stage.ratio is not None
        kept = kept_tokens(stage.ratio, entering, rounding)
        field, value = where + "ratio", ratio_text(stage.ratio)
    _check_amount(field, value, kept, entering, "that enter the LLM")
    if kept > current:
        raise InvalidInput(
            field,
            value,
            f"leaves {kept:,} visual tokens, more than the {current:,} of the stage before",
            "every stage is relative to the tokens that enter the LLM; give amounts that shrink",
        )
    return kept


def _check_amount(field: str, value: str, kept: int, most: int, which: str) -> None:
    if kept < 1:
        raise InvalidInput(
            field,
            value,
            f"leaves none of the {most:,} visual tokens",
            "give more, or say `withdraw = true` in a schedule file",
        )
    if kept > most:
        raise InvalidInput(
            field, value, f"is more than the {most:,} visual tokens {which}", f"give 1 to {most}"
        )
