"""`tokencost explain`: what a printed number is of."""

from __future__ import annotations

from typing import Annotated

import typer

from ..document import Document
from ..explain_request import Doubtful
from ..export import deliver
from ..options import Sink, shares

app = typer.Typer(add_completion=False)


@app.command()
@shares(Doubtful, Sink)
def explain(
    request: Doubtful,
    sink: Sink,
    value: Annotated[
        list[str],
        typer.Argument(
            metavar="VALUE",
            help="The figure as printed: 99.3e9, 3.82T, 3,817 TFLOPs, 20.8, 55%, 2.1x.",
        ),
    ],
) -> None:
    """Find the convention, scope and tokens that reproduce a printed number.

    Example: tokencost explain 99.3e9 --model llava-1.5-7b
    """

    def build() -> Document:
        from ...costmodel.explaining import Search, read_printed
        from ..explain_rows import document

        printed = read_printed(" ".join(value))
        request.refuse_kind(printed)
        return document(printed, Search(request.settings()))

    deliver(sink, build, request.schedule, request.config)
