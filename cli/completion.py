"""Shell completion: commands and options from their declarations, values from the presets.

Nothing of this is imported unless a shell asks, or completion is installed or shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, get_args

from typer.core import TyperGroup

from ..costmodel.flops import CONVENTIONS
from ..costmodel.schedule import Rounding
from .options import Format


def _models() -> Iterable[str]:
    from ..presets import list_models

    return list_models()


def _methods() -> Iterable[str]:
    from ..presets import list_methods

    return list_methods()


def _devices() -> Iterable[str]:
    from ..presets.device import list_devices

    return list_devices()


def _claims() -> Iterable[str]:
    from ..presets.claim import load_claims

    return load_claims()


def _results() -> Iterable[str]:
    from ..presets.result import load_results

    return [result.id for table in load_results().values() for result in table.results]


#: What an option's value, or the id that a command is about, can be.
_OPTIONS: dict[str, Callable[[], Iterable[str]]] = {
    "--model": _models,
    "--method": _methods,
    "--methods": _methods,
    "--device": _devices,
    "--convention": lambda: (*CONVENTIONS, "all"),
    "--rounding": lambda: get_args(Rounding),
    "--format": lambda: get_args(Format),
    "--tokens-at": lambda: ("after-connector", "before-connector"),
}
_IDS = {
    "models": _models,
    "methods": _methods,
    "devices": _devices,
    "claims": _claims,
    "results": _results,
}
_CHOICES = re.compile(r"[a-z]+(\|[a-z]+)+")


def completed(command: Any, parent: str) -> None:
    """Teach the options and arguments of a command what their values can be."""
    if isinstance(command, TyperGroup):
        for one in command.commands.values():
            completed(one, parent)
        return
    from typer.core import _typer_param_setup_autocompletion_compat as teach

    for parameter in command.params:
        known = _known(parameter, parent)
        if known is not None:  # declared with every option, it would slow the start of commands
            teach(parameter, autocompletion=_offering(known))


def _known(parameter: Any, parent: str) -> Callable[[], Iterable[str]] | None:
    metavar = str(parameter.metavar or "")
    if _CHOICES.fullmatch(metavar):
        return lambda: metavar.split("|")
    if parameter.param_type_name == "argument":
        return _IDS.get(parent) if "ID" in metavar else None
    if parent == "validate" and "--device" in parameter.opts:
        return lambda: ("meta", "cpu", "cuda")
    return next((_OPTIONS[name] for name in parameter.opts if name in _OPTIONS), None)


def _offering(known: Callable[[], Iterable[str]]) -> Callable[..., list[tuple[str, str] | str]]:
    """Return what offers the known values; of a list with commas, for its last item."""

    def offer(context: Any, words: list[str], incomplete: str) -> list[tuple[str, str] | str]:
        done, comma, _ = incomplete.rpartition(",")
        return [f"{done}{comma}{one}" for one in known()]  # typer leaves out what does not fit

    return offer
