"""What commands share in taking options: the output options, checks, and a way to reuse groups.

Options arrive as text and are converted by us, so that every mistake ends in the same kind of
sentence: option, value, problem, way out.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from ..costmodel import InvalidInput
from ..costmodel.errors import suggestion
from ..costmodel.flops import CONVENTIONS, Convention
from .files import writable

Format = Literal["table", "json", "csv", "markdown", "latex"]
#: Formats that a file's ending stands for when --format is not given.
ENDINGS: dict[str, Format] = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}


def option(panel: str, flag: str, text: str, metavar: str | None = None) -> Any:
    """Return a typer option in a help panel."""
    return typer.Option(flag, help=text, metavar=metavar, rich_help_panel=panel)


COUNTING, OUTPUT = "Counting", "Output"
Text = str | None
Texts = list[str]


@dataclass(eq=False, repr=False)
class Sink:
    """Where output goes, and in which form."""

    format: Annotated[
        Text,
        option(
            OUTPUT,
            "--format",
            "table, json, csv, markdown or latex (default: table, or what --output ends in).",
            "FORM",
        ),
    ] = None
    output: Annotated[
        Text,
        option(
            OUTPUT,
            "--output",
            "Write to this file, replacing it, instead of standard output.",
            "FILE",
        ),
    ] = None

    def chosen(self) -> tuple[Format, Path | None]:
        """Return the format and the file, which can be written (checked before any work)."""
        path = None if self.output in (None, "-") else writable(str(self.output))
        if self.format is None:
            return ENDINGS.get(path.suffix.lower() if path else "", "table"), path
        return one_of(self.format, "--format", get_args(Format)), path


def conventions(text: str | None) -> tuple[Convention, ...]:
    """Return the conventions that --convention names; all of them by default."""
    if text is None or text == "all":
        return CONVENTIONS
    return (one_of(text, "--convention", (*CONVENTIONS, "all")),)


ConventionOption = Annotated[
    Text,
    option(
        COUNTING,
        "--convention",
        "survey, gated, exact or all (default: all).",
        "NAME",
    ),
]


def one_of(text: str, name: str, choices: Sequence[str]) -> Any:
    """Return `text` if it is one of the choices.

    Raises:
        InvalidInput: It is none of them.
    """
    if text not in choices:
        hint = suggestion(text, choices).replace("known keys:", "choose from")
        raise InvalidInput(name, text, "is not a choice", hint)
    return text


def flag(name: str) -> str:
    """Return the option of a field.

    >>> flag("text_tokens")
    '--text-tokens'
    """
    return "--" + name.replace("_", "-")


def shares(*groups: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of the groups; it receives one object per group, in order."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = list(inspect.signature(command, eval_str=True).parameters.values())
        own = parameters[len(groups) :]
        shared = [
            parameter
            for group in groups
            for parameter in inspect.signature(group, eval_str=True).parameters.values()
        ]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            asked = [
                group(
                    **{
                        field.name: _given(values.pop(field.name))
                        for field in fields(group)
                        if field.init and field.name in values  # all may not be built
                    }
                )
                for group in groups
            ]
            command(*asked, **values)

        keyword_only = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in [*shared, *own]
        ]
        run.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword_only}
        del run.__wrapped__  # typer would look through it to the undecorated signature
        return run

    return decorate


def _given(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def typed_only(app: typer.Typer, words: Sequence[str]) -> typer.Typer | None:
    """Return an app whose only command has the options that are typed; None if it must have all.

    Building an option takes a quarter of a millisecond, and a command has thirty. Help and
    complaints name options that were not typed: with anything that is no known option, all stay.
    """
    if len(app.registered_commands) != 1 or app.registered_groups or app.registered_callback:
        return None
    command: Any = app.registered_commands[0].callback
    parameters = inspect.signature(command).parameters.values()
    flags = {one.name: _flags(one) for one in parameters}
    known = {name for names in flags.values() for name in names or ()}
    typed = {word.partition("=")[0] for word in words if word.startswith("-")}
    if not typed <= known:
        return None

    def run(**values: Any) -> None:
        command(**values)

    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one for one in parameters if flags[one.name] is None or typed & set(flags[one.name] or ())]
    )
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    fewer = typer.Typer(add_completion=False)
    fewer.command()(run)
    return fewer


def _flags(parameter: inspect.Parameter) -> tuple[str, ...] | None:
    """Return how an option is typed; None for an argument."""
    for note in getattr(parameter.annotation, "__metadata__", ()):
        if isinstance(note, typer.models.OptionInfo):
            declared = (note.default, *(note.param_decls or ()))  # as typer reads an annotation
            return tuple(name for one in declared for name in str(one).split("/"))
    return None
