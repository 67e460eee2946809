"""What the readers of whole configs share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ....costmodel.architecture.connector import Connector
from ....costmodel.architecture.decoder import Decoder
from ....costmodel.architecture.variants import ExtraParameters
from ....costmodel.architecture.vision import VisionEncoder
from ....costmodel.numeric import Spec
from ..defaults import VERSION
from ..fields import Fields
from ..parts import TEXTS, VISIONS, read_text, read_vision

Part = TypeVar("Part", bound=Spec)


class Reading(NamedTuple):
    """The parts of a model.

    Attributes:
        family: The family's usual name.
        vision, connector, decoder, token_rule: As in `Model`.
        other_parameters: Parts that no visual prompt runs.
    """

    family: str
    vision: VisionEncoder
    connector: Connector
    decoder: Decoder
    token_rule: Mapping[str, Any]
    other_parameters: tuple[ExtraParameters, ...] = ()


def changed(part: Part, **changes: Any) -> Part:
    """Return a part with other values in some fields."""
    return type(part)(**{**dict(part), **changes})


def vision_of(config: Fields) -> tuple[Fields, VisionEncoder]:
    """Return the nested config of the encoder, and the encoder."""
    fields = config.part("vision_config", VISIONS)
    return fields, read_vision(fields)


def text_of(config: Fields, *, tied: bool | None = None) -> tuple[Fields, Decoder]:
    """Return the nested config of the LLM, and the LLM.

    Args:
        config: The whole config.
        tied: Whether the head reuses the embedding; None as the whole config says.
    """
    fields = config.part("text_config", TEXTS)
    if tied is None:
        tied = tie(config)
    return fields, read_text(fields, tied)


def tie(config: Fields) -> bool:
    """Return the tie_word_embeddings of a table; what it lacks is not tied."""
    return bool(config.flag_or_none("tie_word_embeddings"))


def tied_by_either(config: Fields) -> bool:
    """Return whether the whole config or its LLM's ties the head, as some classes do."""
    text = config.part("text_config", TEXTS)
    return tie(config) or tie(text)


def selected(config: Fields, encoder: VisionEncoder, *, several: bool = True) -> VisionEncoder:
    """Return the encoder with the layers and tokens that the connector reads.

    vision_feature_layer counts hidden states: 0 enters the first layer, −1 leaves the last.

    Args:
        config: The whole config, with vision_feature_layer and vision_feature_select_strategy.
        encoder: The encoder.
        several: Whether states of several layers may be concatenated.
    """
    name, layers = "vision_feature_layer", encoder.num_hidden_layers
    value = config.value(name)
    indices: Sequence[object] = value if isinstance(value, list | tuple) else (value,)
    if not indices or (len(indices) > 1 and not several):
        raise config.refusal(name, value, "is not one layer", "give one number")
    contributing = []
    for index in indices:
        if isinstance(index, bool) or not isinstance(index, int):
            raise config.refusal(name, index, "is not a whole number", f"give −1 to −{layers}")
        layer = index if index >= 0 else layers + 1 + index
        if not 1 <= layer <= layers:
            problem = f"names no layer of the encoder, which has {layers}"
            raise config.refusal(name, index, problem, f"give 1 to {layers}, or −1 to −{layers}")
        contributing.append(layer)
    features = encoder.hidden_size * len(contributing) if len(contributing) > 1 else None
    return changed(encoder, contributing_layers=max(contributing), output_features=features)


def class_token(config: Fields, encoder: VisionEncoder) -> VisionEncoder:
    """Return the encoder with its class token kept or not, as vision_feature_select_strategy says.

    Raises:
        InvalidInput: The strategy cuts off the first token of an encoder without a class token.
    """
    name = "vision_feature_select_strategy"
    strategy = config.choice(name, ("default", "full"))
    if strategy == "default" and not encoder.class_token:
        problem = "cuts off the first token, and this encoder has no class token"
        raise config.refusal(name, strategy, problem, "give full")
    return changed(encoder, class_token_kept=encoder.class_token and strategy == "full")


def linear(inputs: int, outputs: int, bias: bool = True) -> dict[str, Any]:
    """Return the table of a linear stage."""
    return {"kind": "linear", "in_features": inputs, "out_features": outputs, "bias": bias}


def norm(kind: str, width: int) -> dict[str, Any]:
    """Return the table of a norm."""
    return {"kind": "norm", "norm": kind, "width": width}


def merge(size: int) -> list[dict[str, Any]]:
    """Return the table of a merge of size×size tokens; none for 1."""
    return [{"kind": "merge", "size": size}] if size > 1 else []


def divisible(fields: Fields, name: str, grid: int, by: str, size: int) -> None:
    """Refuse a patch grid that does not divide into squares."""
    if grid % size:
        problem = f"makes {grid}×{grid} patches, which {by} {size} does not divide"
        raise fields.refusal(name, fields.value(name), problem, "correct one of them")


def class_source(name: str) -> str:
    """Return the name of a transformers class as a source."""
    return f"transformers {VERSION} {name}"
