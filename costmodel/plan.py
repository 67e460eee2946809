"""Model × Workload × Schedule → TokenPlan: how many tokens exist where.

This is the only place that reads a schedule; whoever prices sees a plan and no method's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from .architecture import Model
from .encoder import encoder_tokens
from .errors import InvalidInput
from .schedule import Rounding, Schedule, Stage, kept_tokens, ratio_text
from .tokens import Size, VisualInput, visual_input
from .workload import Counting, Workload


class TokenPlan(NamedTuple):
    """Tokens per sequence in every layer; multiply by `batch` for the whole run.

    Attributes:
        images: Sizes (height, width) of the images.
        visual_input: What the model's rule made of them.
        dense_visual_tokens: M before any reduction, as given or as derived.
        entering_visual_tokens: Visual tokens that enter decoder layer 0, after any merging in the
            encoder and any compression, before the first stage; ratios of stages refer to it.
        connector_tokens: Tokens that leave the connector.
        encoder_positions: Patches over all crops.
        encoder_tokens: Tokens that attention processes in each encoder layer, over all crops,
            class tokens included.
        encoder_pairs: Query–key pairs of each encoder layer, summed over crops or windows.
        encoder_ffn: Tokens that the FFN processes in each encoder layer, over all crops.
        visual: Visual tokens that each decoder layer processes.
        text_tokens, structural_tokens, batch: N, S and the number of equal sequences.
        query, key, ffn: Tokens that each decoder layer updates, exposes as keys, feeds to its FFN.
        kv_stored, kv_read: Prefill tokens whose keys and values each layer keeps, and those that
            a decode forward reads.
    """

    images: tuple[Size, ...]
    visual_input: VisualInput
    dense_visual_tokens: int
    entering_visual_tokens: int
    connector_tokens: int
    encoder_positions: int
    encoder_tokens: tuple[int, ...]
    encoder_pairs: tuple[int, ...]
    encoder_ffn: tuple[int, ...]
    visual: tuple[int, ...]
    text_tokens: int
    structural_tokens: int
    batch: int
    query: tuple[int, ...]
    key: tuple[int, ...]
    ffn: tuple[int, ...]
    kv_stored: tuple[int, ...]
    kv_read: tuple[int, ...]

    @property
    def average_visual_tokens(self) -> Fraction:
        """Σ n_l / T over the visual tokens n_l of the T decoder layers."""
        return Fraction(sum(self.visual), len(self.visual))

    @property
    def merged_per_crop(self) -> tuple[int, ...]:
        """Tokens that each encoder layer merges away in each crop."""
        crops = len(self.visual_input.crops)
        layers = zip(self.encoder_tokens, self.encoder_ffn, strict=True)
        return tuple((before - after) // crops for before, after in layers)

    def with_visual(self, visual: tuple[int, ...]) -> TokenPlan:
        """Return the plan whose decoder layers process these visual tokens."""
        length = tuple(tokens + self.structural_tokens + self.text_tokens for tokens in visual)
        return self._replace(
            visual=visual,
            query=length,
            key=length,
            ffn=length,
            kv_stored=length,
            kv_read=length,
        )

    def without_visual(self) -> TokenPlan:
        """Return the plan of the same request whose LLM sees no visual token: pruning's floor."""
        return self.with_visual((0,) * len(self.visual))


def plan(model: Model, workload: Workload, schedule: Schedule | None = None) -> TokenPlan:
    """Count the tokens of every encoder and decoder layer.

    Tokens after a stage: ⌊r·M⌋ + S + N, with r relative to the M that enters layer 0. Merging in
    the encoder leaves M = patches − merged: learned separators and un-padding need a grid.

    Raises:
        InvalidInput: A schedule that does not fit the model, or an image that its rule refuses.
    """
    images = workload.images or (model.token_rule.default_image,)
    seen = visual_input(
        model.token_rule,
        images,
        model.vision.patch_embedding.patch_size,
        model.connector.merge_size,
    )
    dense = workload.visual_tokens or seen.visual_tokens
    schedule = schedule or Schedule()
    encoder = encoder_tokens(model, seen.crops, schedule.encoder)
    available, connector_tokens = dense, seen.connector_tokens
    if encoder.merged_away:
        if workload.visual_tokens is not None:
            raise InvalidInput(
                "visual_tokens",
                workload.visual_tokens,
                "cannot be given when the encoder merges tokens, which decides the count",
                "leave it out, or merge nothing in the encoder",
            )
        available = connector_tokens = seen.connector_tokens - encoder.merged_away
    entering, connector_tokens = _compressed(schedule, available, connector_tokens)
    layers = model.decoder.num_hidden_layers
    visual = _staged(schedule.stages, entering, layers, schedule.rounding)
    empty: tuple[int, ...] = ()
    planned = TokenPlan(
        images=images,
        visual_input=seen,
        dense_visual_tokens=dense,
        entering_visual_tokens=entering,
        connector_tokens=connector_tokens,
        encoder_positions=sum(rows * columns for rows, columns in seen.crops),
        encoder_tokens=encoder.tokens,
        encoder_pairs=encoder.pairs,
        encoder_ffn=encoder.ffn,
        visual=empty,
        text_tokens=workload.text_tokens,
        structural_tokens=seen.structural_tokens,
        batch=workload.batch,
        query=empty,
        key=empty,
        ffn=empty,
        kv_stored=empty,
        kv_read=empty,
    ).with_visual(visual)
    if schedule.selection is not None:
        from .selection import selection_operators  # few schedules name a rule

        selection_operators(model, planned, schedule, Counting())  # refuses what does not fit
    return planned


def alike(
    per_layer: Iterable[tuple[int, ...]],
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Group layers by their token counts: [(layers, counts), …] in order of first appearance."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for layer, counts in enumerate(per_layer):
        groups.setdefault(counts, []).append(layer)
    return [(tuple(layers), counts) for counts, layers in groups.items()]


def _compressed(schedule: Schedule, available: int, connector_tokens: int) -> tuple[int, int]:
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
