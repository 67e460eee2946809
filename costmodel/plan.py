"""Model × Workload × Schedule → TokenPlan: how many tokens exist where.

This is the only place that reads a schedule; whoever prices sees a plan and no method's name.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple

from .architecture.model import Model
from .connectors.base import Flow
from .encoder import encoder_tokens
from .errors import InvalidInput
from .schedule import Rounding, Schedule, Stage, kept_tokens, ratio_text
from .tokens.base import Size, VisualInput, visual_input
from .workload import Counting, Workload


class Layout(NamedTuple):
    """Where the decoder layers of a model have visual tokens, and what they cache.

    Attributes:
        in_sequence: Whether visual tokens are part of the layer's sequence.
        generates: Whether the layer runs for every generated token; an LLM encoder's do not.
        one_token: Whether a prefill hands the layer the start token alone.
        self_attention: Whether the layer has a cache of its own sequence.
        crosses: Whether the layer attends to visual tokens (or the LLM encoder's output) by
            cross-attention.
        crosses_text: Whether those keys include text and structural tokens.
        cross_cached: Whether their keys and values are cached.
        window: Tokens that attention reaches back, itself included; None is all of them.
    """

    in_sequence: bool
    generates: bool
    one_token: bool
    self_attention: bool
    crosses: bool
    crosses_text: bool
    cross_cached: bool
    window: int | None


def layouts(model: Model) -> tuple[Layout, ...]:
    """Return every decoder layer's layout."""
    decoder = model.decoder
    found: list[Layout] = []
    for layer, block in enumerate(decoder.blocks):
        generates = layer >= decoder.encoder_layers
        one_token = bool(decoder.encoder_layers) and generates
        cross = block.cross_attention
        found.append(
            Layout(
                in_sequence=not (decoder.crosses or one_token),
                generates=generates,
                one_token=one_token,
                self_attention=block.attention is not None,
                crosses=cross is not None,
                crosses_text=cross is not None and one_token,
                cross_cached=cross is not None and cross.cached,
                window=decoder.window(layer),
            )
        )
    return tuple(found)


class TokenPlan(NamedTuple):
    """Tokens per sequence in every layer; multiply by `batch` for the whole run.

    Attributes:
        images: Sizes (height, width) of the images, or of the video's frames.
        frames: Frames of the video; 0 for images.
        visual_input: What the model's rule made of them.
        dense_visual_tokens: M before any reduction, as given or as derived.
        entering_visual_tokens: Visual tokens that enter decoder layer 0, after any merging in the
            encoder and any compression, before the first stage; ratios of stages refer to it.
        connector_grids: Token grids that reach the connector, and how many crops have each.
        connector_tokens: Tokens that leave the connector.
        tower_positions: Patches over all crops, for each encoder.
        encoder_tokens: Tokens that attention processes in each encoder layer, over all crops,
            class tokens included.
        encoder_pairs: Query–key pairs of each encoder layer, summed over crops or windows.
        encoder_ffn: Tokens that the FFN processes in each encoder layer, over all crops.
        layout: Where decoder layers have visual tokens.
        visual: Visual tokens that each decoder layer processes, in its sequence or as keys.
        text_tokens, structural_tokens, batch: N, S and the number of equal sequences.
        query, key, ffn: Tokens that each decoder layer updates, exposes as keys, feeds to its FFN.
        cross: Keys of each layer's cross-attention; 0 without any.
        kv_stored, kv_read: Prefill tokens whose keys and values each layer keeps, and those that
            a decode forward reads.
        cross_stored: Keys of cross-attention that each layer caches.
    """

    images: tuple[Size, ...]
    frames: int
    visual_input: VisualInput
    dense_visual_tokens: int
    entering_visual_tokens: int
    connector_grids: tuple[tuple[Size, int], ...]
    connector_tokens: int
    tower_positions: tuple[int, ...]
    encoder_tokens: tuple[int, ...]
    encoder_pairs: tuple[int, ...]
    encoder_ffn: tuple[int, ...]
    layout: tuple[Layout, ...]
    visual: tuple[int, ...]
    text_tokens: int
    structural_tokens: int
    batch: int
    query: tuple[int, ...] = ()
    key: tuple[int, ...] = ()
    ffn: tuple[int, ...] = ()
    cross: tuple[int, ...] = ()
    kv_stored: tuple[int, ...] = ()
    kv_read: tuple[int, ...] = ()
    cross_stored: tuple[int, ...] = ()

    @property
    def encoder_positions(self) -> int:
        """Patches over all crops of the (first) encoder."""
        return self.tower_positions[0]

    @property
    def average_visual_tokens(self) -> Fraction:
        """Mean of the visual tokens over the layers that have any place for them."""
        seen = [
            tokens
            for tokens, layer in zip(self.visual, self.layout, strict=True)
            if layer.in_sequence or layer.crosses
        ]
        return Fraction(sum(seen), len(seen))

    @property
    def merged_per_crop(self) -> tuple[int, ...]:
        """Tokens that each encoder layer merges away in each crop."""
        crops = len(self.visual_input.crops)
        layers = zip(self.encoder_tokens, self.encoder_ffn, strict=True)
        return tuple((before - after) // crops for before, after in layers)

    def with_visual(self, visual: tuple[int, ...]) -> "TokenPlan":
        """Return the plan whose decoder layers process these visual tokens."""
        prompt = self.structural_tokens + self.text_tokens
        layers = list(zip(visual, self.layout, strict=True))
        length = tuple(
            1 if layer.one_token else prompt + tokens * layer.in_sequence
            for tokens, layer in layers
        )
        cross = tuple(
            (tokens + prompt * layer.crosses_text) * layer.crosses for tokens, layer in layers
        )
        stored = tuple(
            0
            if not (layer.generates and layer.self_attention)
            else tokens
            if layer.window is None
            else min(tokens, layer.window - 1)
            for tokens, (_, layer) in zip(length, layers, strict=True)
        )
        return self._replace(
            visual=visual,
            query=length,
            key=length,
            ffn=length,
            cross=cross,
            kv_stored=stored,
            kv_read=stored,
            cross_stored=tuple(
                keys * layer.cross_cached for keys, (_, layer) in zip(cross, layers, strict=True)
            ),
        )

    def without_visual(self) -> "TokenPlan":
        """Return the plan of the same request whose LLM sees no visual token: pruning's floor."""
        return self.with_visual((0,) * len(self.visual))


def plan(model: Model, workload: Workload, schedule: Schedule | None = None) -> TokenPlan:
    """Count the tokens of every encoder and decoder layer.

    Tokens after a stage: ⌊r·M⌋ + S + N, with r relative to the M that enters layer 0. Merging in
    the encoder leaves M = patches − merged: learned separators and un-padding need a grid.

    Raises:
        InvalidInput: A schedule that does not fit the model, or an image that its rule refuses.
    """
    rule, geometry = model.token_rule.configured(workload.processor), model.geometry
    images = workload.images or (rule.default_image,)
    frames = workload.frames or (0 if workload.images else rule.default_frames)
    seen = visual_input(rule, images, geometry, frames)
    dense = workload.visual_tokens or seen.visual_tokens
    schedule = schedule or Schedule()
    encoder = encoder_tokens(model, seen, schedule.encoder)
    grids, connector_tokens = _connected(model, seen)
    available = dense
    if encoder.merged_away:
        if workload.visual_tokens is not None:
            raise InvalidInput(
                "visual_tokens",
                workload.visual_tokens,
                "cannot be given when the encoder merges tokens, which decides the count",
                "leave it out, or merge nothing in the encoder",
            )
        kept = seen.visual_tokens - seen.separator_tokens
        if frames and kept < sum(geometry.tokens(crop) for crop in seen.crops):
            raise InvalidInput(
                "encoder.merged_per_layer",
                None,
                "does not fit a video whose frames are pooled: merged tokens lie on no grid",
                "reduce behind the encoder instead, with `compress` or `stages`",
            )
        available = connector_tokens = connector_tokens - encoder.merged_away
        grids = _row(model, connector_tokens)
    entering, passing = _compressed(model, schedule, available, connector_tokens)
    if passing != connector_tokens:
        grids, connector_tokens = _row(model, passing), passing
    layers = model.decoder.num_hidden_layers
    planned = TokenPlan(
        images=images,
        frames=frames,
        visual_input=seen,
        dense_visual_tokens=dense,
        entering_visual_tokens=entering,
        connector_grids=grids,
        connector_tokens=connector_tokens,
        tower_positions=encoder.positions,
        encoder_tokens=encoder.tokens,
        encoder_pairs=encoder.pairs,
        encoder_ffn=encoder.ffn,
        layout=layouts(model),
        visual=(),
        text_tokens=workload.text_tokens,
        structural_tokens=seen.structural_tokens,
        batch=workload.batch,
    ).with_visual(_staged(schedule.stages, entering, layers, schedule.rounding))
    if schedule.selection is not None:
        from .selection import selection_operators  # few schedules name a rule

        selection_operators(model, planned, schedule, Counting())  # refuses what does not fit
    return planned


def entering_encoder(model: Model, plan: TokenPlan) -> int:
    """Return the tokens that enter the (first) encoder's layers.

    Of a convolutional encoder, whose positions shrink from stage to stage, those that leave it.
    """
    whole = model.vision.kind == "transformer"
    return plan.encoder_tokens[0] if whole else plan.encoder_positions


def decode_keys(plan: TokenPlan, step: int) -> list[int]:
    """Return the keys that self-attention of each layer reads in a decode forward.

    kept + step, no more than the layer's window; 0 in layers that do not run or have none.
    """
    keys = []
    for layer, kept in zip(plan.layout, plan.kv_read, strict=True):
        read = kept + step if layer.window is None else min(kept + step, layer.window)
        keys.append(read if layer.generates and layer.self_attention else 0)
    return keys


def alike(
    per_layer: Iterable[tuple[Hashable, ...]],
) -> list[tuple[tuple[int, ...], tuple[Any, ...]]]:
    """Group layers by their token counts: [(layers, counts), …] in order of first appearance."""
    groups: dict[tuple[Hashable, ...], list[int]] = {}
    for layer, counts in enumerate(per_layer):
        groups.setdefault(counts, []).append(layer)
    return [(tuple(layers), counts) for counts, layers in groups.items()]


def _connected(model: Model, seen: VisualInput) -> tuple[tuple[tuple[Size, int], ...], int]:
    """Return the grids that reach the connector, and the tokens that leave it."""
    grids = Counter(model.vision.output_grid(crop) for crop in seen.crops)
    flow = Flow(grids, batch=1, arranged=seen.visual_tokens, text_tokens=0)
    leaving = model.connector.flows(flow)[-1].tokens
    if leaving != seen.connector_tokens and model.connector.per_token:
        # The rule pools before the connector, as LLaVA-NeXT-Video does.
        return _row(model, seen.connector_tokens), seen.connector_tokens
    return tuple(grids.items()), leaving


def _row(model: Model, tokens: int) -> tuple[tuple[Size, int], ...]:
    """Return a grid from which a connector that works on any tokens makes so many."""
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
    if compress.at == "after-connector" or kept == available:
        return kept, connector_tokens
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
    return kept, kept


def _staged(
    stages: tuple[Stage, ...], entering: int, layers: int, rounding: Rounding
) -> tuple[int, ...]:
    """Return the visual tokens of each decoder layer."""
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
