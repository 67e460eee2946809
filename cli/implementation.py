"""Parts of a model that can run in more than one way, and the option that chooses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..costmodel import InvalidInput, Model
from ..costmodel.architecture.blocks import Transformer
from ..costmodel.errors import suggestion

#: key of --implementation: (what a model needs to have, choices; the first is the default).
CHOICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "latent": ("latent attention", ("expanded", "recomputed", "absorbed")),
    "experts": ("experts", ("routed", "all")),
    "adapters": ("low-rank adapters that can be merged", ("active", "merged")),
    "selection": ("selection rule", ("ideal", "released")),
}
#: What depends on the schedule and not on the model.
_OF_SCHEDULES = ("selection",)


def implementation_parts(model: Model) -> set[str]:
    """Return the keys of --implementation that change something for the model."""
    stacks = (model.decoder, *(one for one in model.towers if isinstance(one, Transformer)))
    blocks = {id(block): block for stack in stacks for block in stack.blocks}.values()
    found = _parts((block.attention, block.feed_forward) for block in blocks)
    if any(stack.adapter is not None for stack in stacks):
        found.add("adapters")
    return found


def _connector_parts(model: Model) -> set[str]:
    """Return the keys of parts that the connector has, which always run in the default way."""
    stages, mergers = model.connector.stages, model.connector.deepstack
    return _parts(
        (getattr(stage, "attention", None), getattr(stage, "feed_forward", None))
        for stage in (*stages, *(mergers.stages if mergers is not None else ()))
    )


def _parts(pairs: Iterable[tuple[Any, Any]]) -> set[str]:
    found = set()
    for attention, network in pairs:
        if getattr(attention, "kind", "") == "latent":
            found.add("latent")
        if getattr(network, "kind", "") == "experts":
            found.add("experts")
    return found


def pairs(texts: Sequence[str], option: str, keys: tuple[str, ...]) -> dict[str, str]:
    """Return KEY=VALUE texts as a table.

    Raises:
        InvalidInput: A text of another form, an unknown key, or one that is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise InvalidInput(option, text, "is not KEY=VALUE", f"keys: {', '.join(keys)}")
        if key not in keys:
            hint = suggestion(key, keys).replace("known keys", "keys")
            raise InvalidInput(option, text, f"has no known key ({key or 'nothing'})", hint)
        if key in found:
            raise InvalidInput(option, text, "gives a key a second time", "give it once")
        found[key] = value
    return found


def chosen_implementation(texts: Sequence[str], model: Model) -> dict[str, str]:
    """Return the fields of `Counting` that --implementation gives.

    Raises:
        InvalidInput: A wrong text, or a choice that changes nothing for the model.
    """
    option = "--implementation"
    found = pairs(texts, option, tuple(CHOICES))
    parts = implementation_parts(model)
    for key, value in found.items():
        what, choices = CHOICES[key]
        if value not in choices:
            problem = f"is not a choice for {key}"
            raise InvalidInput(option, value, problem, f"choose from {', '.join(choices)}")
        if key in _connector_parts(model) and value != choices[0]:
            problem = f"cannot be had: {model.id}'s connector always runs its {what} {choices[0]}"
            raise InvalidInput(option, f"{key}={value}", problem, "leave it out")
        if key not in parts and key not in _OF_SCHEDULES:
            problem = f"changes nothing: {model.id} has no {what}"
            raise InvalidInput(option, f"{key}={value}", problem, "leave it out")
    return found
