"""`tokencost plot pareto`: its options."""

from __future__ import annotations

from typing import Annotated

from ...costmodel import InvalidInput
from ...costmodel.flops import CONVENTIONS
from ..commands.results import CHOICE, TextTokens, text_count
from ..options import COUNTING, Text, one_of, option, shares
from ..request import Request
from .picture import Picture, Plot


@shares(Picture)
def pareto(
    picture: Picture,
    table: Annotated[
        Text,
        option(CHOICE, "--table", "reduction or training (default: reduction).", "ID"),
    ] = None,
    benchmark: Annotated[
        Text,
        option(CHOICE, "--benchmark", "Score drawn: a benchmark (default: average).", "NAME"),
    ] = None,
    convention: Annotated[
        Text,
        option(COUNTING, "--convention", "survey, gated or exact (default: exact).", "NAME"),
    ] = None,
    text_tokens: TextTokens = None,
) -> None:
    """Draw published scores against the recomputed cost of their settings.

    Example: tokencost plot pareto --benchmark GQA --output pareto.svg
    """
    counted = one_of(convention or "exact", "--convention", CONVENTIONS)
    count = text_count(text_tokens)
    from ..results_rows import Question, chosen_benchmark, chosen_tables

    tables = chosen_tables(table or "reduction")
    question = Question(chosen_benchmark(tables, benchmark), counted, count)
    place = picture.place(Request())
    from .pareto import drawn, plot

    def build() -> Plot:
        found = plot(tables[0], question)
        if not drawn(found.rows):
            problem = f"has no result with a cost and a score of {question.benchmark}"
            raise InvalidInput("--table", tables[0].id, problem, "name another --benchmark")
        return found

    picture.publish(place, build)
