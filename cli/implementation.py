"""Parts of a model that can run in more than one way, and the option that chooses."""

from __future__ import annotations

from collections.abc import Sequence

from ..costmodel import InvalidInput, Model
from ..costmodel.errors import suggestion

#: key of --implementation: (what a model needs to have, choices; the first is the default).
CHOICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "latent": ("latent attention", ("expanded", "recomputed", "absorbed")),
    "experts": ("experts", ("routed", "all")),
    "adapters": ("low-rank adapters", ("active", "merged")),
}


def implementation_parts(model: Model) -> set[str]:
    """Return the keys of --implementation that change something for the model."""
    kinds = {id(block): block for block in model.decoder.blocks}.values()
    found = set()
    if any(block.attention and block.attention.kind == "latent" for block in kinds):
        found.add("latent")
    if any(block.feed_forward.kind == "experts" for block in kinds):
        found.add("experts")
    if model.decoder.adapter is not None:
        found.add("adapters")
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
        if key not in parts:
            problem = f"changes nothing: {model.id} has no {what}"
            raise InvalidInput(option, f"{key}={value}", problem, "leave it out")
    return found
