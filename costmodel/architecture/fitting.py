"""How the parts of a model must fit each other; what has no meaning is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..connectors.base import Stage
from ..errors import InvalidInput

if TYPE_CHECKING:
    from .deepstack import DeepStack
    from .model import Model
    from .vision import VisionEncoder

#: Stages whose queries replace the grid: what follows does not see the encoder's tokens.
_QUERIES = ("resampler", "q-former")


def check(model: Model) -> None:
    """Check that features, grids and encoders of a model fit.

    Raises:
        InvalidInput: The first thing that does not.
    """
    _second_encoder(model)
    _class_token(model)
    ends = _behind(model.connector.stages, _handed_on(model), "connector.stages")
    target, taken = _taken(model)
    if ends != taken:
        raise InvalidInput(
            "connector.stages",
            None,
            f"end in {ends} features but {target} is {taken}",
            "correct the last stage, or the decoder",
        )
    if model.connector.deepstack is not None:
        _deepstack(model, model.connector.deepstack)


def _behind(stages: tuple[Stage, ...], width: int, field: str) -> int:
    """Return the features that leave the last of the stages."""
    for index, stage in enumerate(stages):
        try:
            width = stage.leaving(width)
        except ValueError as error:
            way_out = "give each stage the features that leave the one before"
            raise InvalidInput(f"{field}.{index}", None, str(error), way_out) from None
    return width


def _mines(model: Model) -> bool:
    return any(stage.kind == "patch-mining" for stage in model.connector.stages)


def _handed_on(model: Model) -> int:
    """Features that reach the connector: of both encoders, where they are joined."""
    second = model.second_vision
    joined = second is not None and not _mines(model)
    return model.vision.features + (second.features if joined and second else 0)


def _taken(model: Model) -> tuple[str, int]:
    """Features that the decoder takes, and the field that says so."""
    decoder = model.decoder
    if decoder.crosses:
        cross = [block.cross_attention for block in decoder.blocks if block.cross_attention]
        if cross[0].source_size:
            return "cross_attention.source_size", cross[0].source_size
    return "decoder.hidden_size", decoder.hidden_size


def _second_encoder(model: Model) -> None:
    """Check what compares two encoders' tokens, or joins them one by one."""
    second, rule = model.second_vision, model.token_rule
    for index, stage in enumerate(model.connector.stages):
        if stage.kind == "patch-mining":
            _mined(f"connector.stages.{index}", stage, second)
    if second is None:
        if rule.second_size is not None:
            raise InvalidInput(
                "token_rule.second_size",
                rule.second_size,
                "is of no encoder: there is no second_vision",
                "add second_vision, or leave it out",
            )
        return
    if rule.second_size is not None:
        patch, given = second.patch_embedding.patch_size, rule.second_patch_size
        if patch != given:
            raise InvalidInput(
                "token_rule.second_patch_size",
                given,
                f"is not the patch_size {patch} of second_vision",
                f"give {patch}",
            )
    elif not _mines(model):
        _joined(model, second)


def _joined(model: Model, second: VisionEncoder) -> None:
    """Check that two encoders that see the same crops hand on as many tokens."""
    first, own = model.vision.patch_embedding.patch_size, second.patch_embedding.patch_size
    if own != first:
        raise InvalidInput(
            "second_vision.patch_embedding.patch_size",
            own,
            f"is not the first encoder's {first}, whose tokens it joins one by one",
            f"give {first}, or token_rule.second_size",
        )
    for field, tower in (("vision", model.vision), ("second_vision", second)):
        if tower.class_token_kept:
            raise InvalidInput(
                f"{field}.class_token_kept",
                True,
                "hands on a token that has no partner in the other encoder",
                "leave it out",
            )


def _mined(field: str, stage: Stage, second: VisionEncoder | None) -> None:
    """Check that a patch-mining stage reads the second encoder."""
    if second is None:
        raise InvalidInput(
            field, stage.kind, "reads a second encoder, but there is none", "add second_vision"
        )
    source: int = dict(stage)["source_features"]
    if source != second.features:
        raise InvalidInput(
            f"{field}.source_features",
            source,
            f"is not the features of second_vision, {second.features}",
            f"give {second.features}",
        )


def _class_token(model: Model) -> None:
    """Check that no stage makes squares of a grid that a class token has made a row."""
    if not model.vision.class_token_kept:
        return
    for index, stage in enumerate(model.connector.stages):
        if stage.factor > 1:
            raise InvalidInput(
                f"connector.stages.{index}",
                stage.kind,
                "makes squares of tokens, but vision.class_token_kept adds one to the grid",
                "set class_token_kept to false",
            )
        if stage.kind in _QUERIES:
            return


def _deepstack(model: Model, deepstack: DeepStack) -> None:
    """Check taps and mergers: one tap for each of the first LLM layers, features of its width."""
    field, vision, decoder = "connector.deepstack", model.vision, model.decoder
    if not vision.patchwise:
        raise InvalidInput(
            field,
            None,
            "taps the layers of a transformer, not of a convolutional encoder",
            "drop it",
        )
    if decoder.crosses:
        raise InvalidInput(
            field,
            None,
            "adds to visual tokens of the LLM, but this decoder reads them by cross-attention",
            "drop it",
        )
    taps, last = deepstack.encoder_layers, vision.contributing_layers - 1
    if max(taps) > last:
        raise InvalidInput(
            f"{field}.encoder_layers",
            max(taps),
            f"is beyond the last layer whose output is used, {last}",
            f"name layers from 0 to {last}",
        )
    if len(taps) > decoder.num_hidden_layers:
        raise InvalidInput(
            f"{field}.encoder_layers",
            None,
            f"names {len(taps)} layers for the {decoder.num_hidden_layers} of the LLM",
            "name at most as many",
        )
    ends = _behind(deepstack.stages, vision.hidden_size, f"{field}.stages")
    if ends != decoder.hidden_size:
        raise InvalidInput(
            f"{field}.stages",
            None,
            f"end in {ends} features but decoder.hidden_size is {decoder.hidden_size}",
            "correct the last stage",
        )
    merged = math.prod(stage.factor for stage in deepstack.stages)
    if merged != model.connector.merge_size:
        raise InvalidInput(
            f"{field}.stages",
            None,
            f"merge squares of side {merged}, but connector.stages of side "
            f"{model.connector.merge_size}",
            "give both the same merge",
        )
