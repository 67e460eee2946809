"""Where a figure and its numbers go, and how they get there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ...costmodel import InvalidInput
from ...costmodel.version import __version__
from ...presets.files import replace
from ..document import Document
from ..export import as_csv
from ..files import not_an_input, writable
from ..options import OUTPUT, Sink, Text, one_of, option
from ..rows import Row
from ..summary import SCHEMA_VERSION
from .figure import LOOKS, PAGE, SCREEN, Look, figure_file, rendered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..request import Request

#: Looks at options of its own, and refuses to write over the files that they name.
Check = Callable[[Sink], object]
_DATA = (".csv", ".json")


class Plot(NamedTuple):
    """A figure before it is drawn.

    Attributes:
        kind: Its name as a command.
        about: What the JSON form of its numbers says besides them: question, convention, unit.
        columns: What every row of the CSV form begins with.
        rows: The numbers that are drawn, in base units.
        draw: Draws these rows.
        lower: How to ask for a figure that is less high.
    """

    kind: str
    about: Row
    columns: dict[str, str]
    rows: list[Row]
    draw: Callable[[Look], Figure]
    lower: str = ""


class Place(NamedTuple):
    """Files that can be written, and how the figure looks."""

    figure: Path
    data: Path | None
    look: Look


@dataclass(eq=False, repr=False)
class Picture:
    """Where a figure goes, as typed."""

    output: Annotated[
        Text, option(OUTPUT, "--output", "Figure to write; the ending names the form.", "FILE")
    ] = None
    style: Annotated[
        Text,
        option(
            OUTPUT,
            "--style",
            "screen: 6.9 inches wide, the width of a page; paper: 3.4, that of a column, with a "
            "shorter caption (default: screen).",
            "screen|paper",
        ),
    ] = None
    data: Annotated[
        Text,
        option(
            OUTPUT,
            "--data",
            "Also write the numbers that are drawn, as .csv or .json.",
            "FILE",
        ),
    ] = None

    @property
    def sink(self) -> Sink:
        """The figure's file, as commands that print tables know theirs."""
        return Sink(output=self.output)

    def place(self, request: Request, check: Check | None = None) -> Place:
        """Return where to write, checked before any work.

        Raises:
            InvalidInput: A file that cannot be written, is read, or is named twice.
            MissingExtra: matplotlib is not installed.
        """
        look = SCREEN if self.style is None else LOOKS[one_of(self.style, "--style", tuple(LOOKS))]
        path, data = figure_file(self.output), None
        if self.data is not None:
            data = _as_data(lambda: writable(str(self.data)))
            if data.suffix.lower() not in _DATA:
                problem = "is no file of numbers"
                raise InvalidInput("--data", self.data, problem, "end it in .csv or .json")
        _spare(path, self.output, request, check)
        if data is not None:
            _as_data(lambda: _spare(data, self.data, request, check))
        return Place(path, data, look)

    def publish(self, place: Place, build: Callable[[], Plot]) -> None:
        """Do the work, then write the figure and its numbers, each in one step."""
        plot = build()
        drawn = plot.draw(place.look)
        figure = rendered(drawn, place.figure.suffix.lower()[1:], place.look)
        numbers = None if place.data is None else numbers_of(plot, place.data.suffix.lower())
        replace(place.figure, figure)
        typer.echo(f"wrote {place.figure}", err=True)
        high = drawn.get_size_inches()[1]
        if place.look.narrow and high > PAGE:
            said = (
                f"{place.figure} is {high:.1f} inches high, more than the {PAGE} of a page's text"
            )
            typer.echo(f"note: {said}{plot.lower and '; '}{plot.lower}", err=True)
        if place.data is not None and numbers is not None:
            replace(place.data, numbers.encode())
            typer.echo(f"wrote {place.data}", err=True)


def _as_data(check: Callable[[], Any]) -> Any:
    """Run a check whose complaint names --output, about --data."""
    try:
        return check()
    except InvalidInput as error:
        raise InvalidInput("--data", error.value, error.problem, error.way_out) from None


def _spare(path: Path, name: str | None, request: Request, check: Check | None) -> None:
    """Refuse to write over a file that is read."""
    not_an_input(path, name, request.schedule, request.config)
    if check is not None:
        check(Sink(output=name))


def numbers_of(plot: Plot, ending: str) -> str:
    """Return what is drawn as CSV or as JSON: raw numbers in base units."""
    if ending == ".csv":
        records = tuple({**plot.columns, **row} for row in plot.rows)
        return as_csv(Document("", (), (), (), "", None, records))
    payload = {
        "schema_version": SCHEMA_VERSION,
        "tokencost_version": __version__,
        "figure": plot.kind,
        **{key: value for key, value in plot.about.items() if not key.endswith("_version")},
        "rows": plot.rows,
    }
    return json.dumps(payload, indent=2, ensure_ascii=False) + "\n"
