"""The `tokencost` command: finds a subcommand, runs it, and turns errors into one sentence."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from ..costmodel.errors import InvalidInput, MissingExtra, TokencostError, clip, closest
from ..costmodel.version import __version__
from .options import typed_only

#: Commands in order of help: module in `commands/`, and its one-line help. The module is imported
#: when its command is chosen, because typer builds every option of every command that it knows.
COMMANDS: dict[str, tuple[str, str]] = {
    "ratio": ("ratio", "Compare a reduction schedule with the dense model, per convention."),
    "cost": (
        "cost",
        "Print the full bill: components, layers, prefill, decode forward, generation.",
    ),
    "compare": ("compare", "Put reduction methods side by side: tokens, cost, memory, selection."),
    "solve": (
        "solve",
        "Find the one free option of a schedule that meets a target, exactly.",
    ),
    "train": (
        "train",
        "Price a training step with a schedule active: forward, backward, GPU hours.",
    ),
    "memory": ("memory", "Price peak memory phase by phase, and what fits a device or several."),
    "latency": (
        "latency",
        "Price time on a device: first token, decode, end to end, as intervals.",
    ),
    "crossover": (
        "crossover",
        "Find the shortest sequence or smallest batch from which on a schedule is faster.",
    ),
    "claims": (
        "claims",
        "Audit published speed-ups, costs and savings: recompute each, or bound it.",
    ),
    "explain": (
        "explain",
        "Find the convention, scope and tokens that reproduce a printed number.",
    ),
    "sweep": (
        "sweep",
        "Price a grid of schedules, models, workloads and devices: CSV, JSON lines or Parquet.",
    ),
    "frontier": (
        "frontier",
        "Find the schedules of a grid that nothing beats in cost and retention, within a budget.",
    ),
    "results": (
        "results",
        "List published accuracies beside the recomputed cost of their settings.",
    ),
    "plot": ("plot", "Draw tokens, costs, memory and time as PNG, SVG or PDF."),
    "validate": (
        "validate",
        "Run the model in transformers, count its FLOPs, and compare with the closed form.",
    ),
    "models": (
        "models",
        "List the models that are known, show and compare their figures, import others.",
    ),
    "methods": ("methods", "List the reduction methods that are known, and show their settings."),
    "devices": (
        "devices",
        "List devices, show their figures, check and calibrate them on measured times.",
    ),
}


QUIET, QUIET_HELP = "--quiet", "Say nothing on standard error but errors, anywhere in a command."
#: The variable by which a shell's script, as typer writes it, asks for completions.
COMPLETE = "_TOKENCOST_COMPLETE"


class LazyGroup(TyperGroup):
    """The top-level group: lists commands from a table and imports the one that runs."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a stand-in with name, help and panel, enough for listings."""
        from .panels import panel_of  # few starts list the commands

        if cmd_name not in COMMANDS:
            return None
        panel = panel_of(cmd_name)
        return TyperCommand(name=cmd_name, help=COMMANDS[cmd_name][1], rich_help_panel=panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the chosen command."""
        name = args[0]
        if name not in COMMANDS:
            if ctx.resilient_parsing:  # a shell asks what may follow
                return None, None, []
            close = closest(name, COMMANDS)
            hint = f"did you mean {close}?" if close else f"commands: {', '.join(COMMANDS)}"
            raise InvalidInput("command", name, "is not known", hint)
        module = importlib.import_module(f"..commands.{COMMANDS[name][0]}", __name__)
        command = typer.main.get_command(module.app)
        command.name = name
        if ctx.resilient_parsing:
            from .completion import completed

            completed(command, name)
        if ctx.resilient_parsing or set(ctx.help_option_names) & set(args):
            from .panels import with_quiet

            with_quiet(command)
        return name, command, args[1:]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tokencost {__version__}")
        raise typer.Exit


def root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
    quiet: bool = typer.Option(False, QUIET, help=QUIET_HELP),
) -> None:
    """What a vision-language model costs under visual-token reduction, in closed form.

    Example: tokencost ratio --model llava-1.5-7b --prune-layer 2 --keep 0.5
    """


def _root(*, completion: bool = False) -> typer.Typer:
    """Return the group of all commands; with the options of completion where they can be used."""
    group = typer.Typer(
        cls=LazyGroup,
        add_completion=completion,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    group.callback()(root)
    return group


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 fine, 2 the user's mistake, 1 ours."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a narrow locale costs a glyph, not the answer
    words = list(sys.argv[1:] if arguments is None else arguments)
    if QUIET not in words:
        _finish(words)
    from .quiet import hushed  # wherever it stands: every command takes it

    with hushed():
        _finish([word for word in words if word != QUIET])


def _finish(words: list[str]) -> NoReturn:
    """Run a command and exit."""
    try:
        status = _run(words)
    except (InvalidInput, MissingExtra) as error:
        _fail(str(error), 2)
    except TokencostError as error:
        _fail(f"tokencost itself is wrong here, please report it: {error}", 1)
    except typer.TyperException as error:
        _fail(_usage_sentence(error, words), getattr(error, "exit_code", 2))
    except OSError as error:
        if error.filename:  # a full disk or a closed stream has no name
            _fail(f"{clip(error.filename)} cannot be used ({error.strerror})", 1)
        _fail(f"the output cannot be written ({error.strerror}); free space or use --output", 1)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    if status == 130:  # typer turns an interrupt into this status, without a word
        _fail("interrupted", 130)
    sys.exit(status if isinstance(status, int) else 0)


def _run(words: list[str]) -> Any:
    """Run a command; one whose words are all known needs neither its group nor other options."""
    if COMPLETE in os.environ:
        words = []  # a shell asks, in its own words
    if words and words[0] in COMMANDS:
        module = importlib.import_module(f"..commands.{COMMANDS[words[0]][0]}", __name__)
        fewer = typed_only(module.app, words[1:])
        if fewer is not None:
            command = typer.main.get_command(fewer)
            return command.main(words[1:], prog_name=f"tokencost {words[0]}", standalone_mode=False)
    # Only a command's own words, which are many a start, do without the options of completion.
    group = _root(completion=not words or words[0] not in COMMANDS)
    return typer.main.get_command(group).main(
        words or ["--help"], prog_name="tokencost", standalone_mode=False
    )


def _fail(sentence: str, status: int) -> NoReturn:
    typer.echo(f"error: {sentence}", err=True)
    sys.exit(status)


def _usage_sentence(error: Any, words: list[str]) -> str:
    """Rewrite a complaint of the argument parser as one sentence with a way out."""
    context = getattr(error, "ctx", None)
    command = " ".join(["tokencost", *(word for word in words[:1] if word in COMMANDS)])
    path = context.command_path if context else command
    way_out = f"see `{path} --help`"
    possibilities = getattr(error, "possibilities", None)
    if error.__class__.__name__ == "NoSuchOption":
        close = closest(error.option_name, [one for one in possibilities or () if one != "--help"])
        hint = f"did you mean {close}?" if close else way_out
        return f"{clip(error.option_name)} is not an option of `{path}`; {hint}"
    taken = _option_taken_as_value(context.command, words) if context else None
    if taken:
        return f"{taken[0]} is followed by {taken[1]} instead of its value; {way_out}"
    message = clip(getattr(error, "message", "") or error.format_message(), 300)
    message, _, guess = message.partition(" Did you mean ")
    message = message.rstrip(".").replace("'", "")
    return f"{message[0].lower() + message[1:]}; {f'did you mean {guess}' if guess else way_out}"


def _option_taken_as_value(command: Any, words: list[str]) -> tuple[str, str] | None:
    """Return an option that swallowed the next one, whose value then looks like an extra word."""
    flags = {
        name: bool(getattr(one, "is_flag", False)) for one in command.params for name in one.opts
    }
    for word, following in pairwise(words):
        if following in flags and not flags.get(word, True):
            return word, following
    return None
