"""The floor: what any command-line program on the same libraries costs to start and print.

A one-command typer app with one option, one frozen pydantic model and a printed rich table of
8 rows × 5 columns. It computes nothing; `startup.py` times `tokencost` against it.
"""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

app = typer.Typer(add_completion=False)


class Figures(BaseModel):
    """A few fields to validate."""

    model_config = ConfigDict(frozen=True)

    model: str
    hidden_size: int
    num_hidden_layers: int
    ratio: float


@app.command()
def floor(
    model: Annotated[str, typer.Option(help="Name to print.")] = "llava-1.5-7b",
) -> None:
    """Print a table of fixed figures."""
    from rich.console import Console
    from rich.table import Table

    figures = Figures(model=model, hidden_size=4096, num_hidden_layers=32, ratio=0.5)
    table = Table("model", "hidden size", "layers", "ratio", "row", title="floor")
    for row in range(8):
        table.add_row(
            figures.model,
            f"{figures.hidden_size:,}",
            str(figures.num_hidden_layers),
            f"{figures.ratio:.3f}",
            str(row),
        )
    Console().print(table)


if __name__ == "__main__":
    app()
