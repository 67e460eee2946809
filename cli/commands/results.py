"""`tokencost results`: published accuracies beside the recomputed cost of their settings."""

from __future__ import annotations

from typing import Annotated

import typer

from ...costmodel.flops import CONVENTIONS
from ...costmodel.numeric import whole
from ...costmodel.workload import DEFAULT_TEXT_TOKENS
from ..document import Document
from ..export import deliver
from ..options import COUNTING, Sink, Text, one_of, option, shares

app = typer.Typer(
    help="List published accuracies beside the recomputed cost of their settings.",
    add_completion=False,
)

CHOICE = "Which results"
TextTokens = Annotated[
    Text,
    option(
        COUNTING,
        "--text-tokens",
        f"Text tokens of the request (default: {DEFAULT_TEXT_TOKENS}).",
        "INT",
    ),
]


@app.command("list")
@shares(Sink)
def list_command(
    sink: Sink,
    table: Annotated[
        Text, option(CHOICE, "--table", "Of this table: reduction or training.", "ID")
    ] = None,
    method: Annotated[
        Text, option(CHOICE, "--method", "Of this method: our id, or the source's name.", "ID")
    ] = None,
    model: Annotated[
        Text, option(CHOICE, "--model", "Of this model: our id, or the source's name.", "ID")
    ] = None,
    benchmark: Annotated[
        Text,
        option(CHOICE, "--benchmark", "Score shown: a benchmark (default: average).", "NAME"),
    ] = None,
    convention: Annotated[
        Text,
        option(COUNTING, "--convention", "survey, gated or exact (default: exact).", "NAME"),
    ] = None,
    text_tokens: TextTokens = None,
) -> None:
    """List published results: score, nominal and effective tokens, recomputed cost.

    Example: tokencost results list --table reduction --benchmark GQA
    """

    def build() -> Document:
        from ..results_rows import Question, chosen_benchmark, chosen_results, chosen_tables
        from ..results_tables import listing

        counted = one_of(convention or "exact", "--convention", CONVENTIONS)
        tables = chosen_tables(table)
        score, count = chosen_benchmark(tables, benchmark), text_count(text_tokens)
        return listing(chosen_results(tables, method, model), Question(score, counted, count))

    deliver(sink, build)


@app.command("show")
@shares(Sink)
def show_command(
    sink: Sink,
    result: Annotated[str, typer.Argument(metavar="ID", help="Result; see `results list`.")],
    text_tokens: TextTokens = None,
) -> None:
    """Show one result: every score as printed and put right, its setting, its cost.

    Example: tokencost results show vscan-64
    """

    def build() -> Document:
        from ..results_tables import card

        return card(result, text_count(text_tokens))

    deliver(sink, build)


def text_count(text: str | None) -> int:
    """Return the text tokens of the request.

    Raises:
        InvalidInput: The option is no whole number.
    """
    return DEFAULT_TEXT_TOKENS if text is None else whole(text, "--text-tokens", minimum=0)
