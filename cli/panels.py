"""Help of the whole command: commands in groups, and the options that every command takes."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .options import OUTPUT, option

#: Commands by what they are asked for.
PANELS: dict[str, tuple[str, ...]] = {
    "Cost": ("ratio", "cost", "train", "sweep"),
    "Reduction": ("compare", "solve", "frontier"),
    "Memory and time": ("memory", "latency", "crossover"),
    "Claims and validation": ("claims", "explain", "results", "validate"),
    "Figures": ("plot",),
    "Data": ("models", "methods", "devices"),
}


def panel_of(command: str) -> str | None:
    """Return the panel of help that lists a command.

    >>> panel_of("latency")
    'Memory and time'
    """
    return next((panel for panel, names in PANELS.items() if command in names), None)


def with_quiet(command: Any) -> None:
    """Add --quiet, which is taken out of the words beforehand, to the help of a command."""
    if isinstance(command, TyperGroup):
        for one in command.commands.values():
            with_quiet(one)
    elif not any("--quiet" in one.opts for one in command.params):
        declared = typer.Typer(add_completion=False)
        declared.command()(_quiet)
        command.params.append(typer.main.get_command(declared).params[0])


def _quiet(
    quiet: Annotated[
        bool, option(OUTPUT, "--quiet", "Say nothing on standard error but errors.")
    ] = False,
) -> None:
    """Hold the option's declaration."""
