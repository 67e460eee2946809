"""Published accuracies beside the settings that they were reached with, so that they can be priced.

A file in `results/` is a table of one source: `[table]`, `[defaults]` that its `[[results]]` start
from, and those. Scores are recorded, never judged.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StrictBool, model_validator

from ..costmodel import InvalidInput, Model, Schedule, TokencostError, UnknownName, Workload
from ..costmodel.numeric import Positive, Spec
from .claim import Printed

RESULTS = Path(__file__).parent / "results"
#: What a benchmark's place in a table may hold instead: the printed mean of them.
AVERAGE = "average"


class Result(Spec):
    """A row: what was run, and how well it did.

    Attributes:
        id: Ours.
        method, model_name, llm, data: As the source words them; `data` are the training pairs.
        applies, model: Our ids; empty where none fits, and `uncosted` says why there is no cost.
        tokens, about: The visual tokens that the source gives, and whether it says "about".
        dense: Whether the model runs without a method of reduction.
        budget, schedule: The method's setting: tokens, or a schedule in a line; without both the
            method's default.
        images: Sizes of the request's images; empty for the model's own.
        scores: Figures by benchmark, where they belong.
        average: The source's mean.
        printed, correction: The row's cells as printed where they stand wrong, and how.
        assumed: What had to be assumed of the setting.
        note: What a reader should know.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    method: str
    applies: str = ""
    model_name: str
    model: str = ""
    llm: str = ""
    data: str = ""
    uncosted: str = ""
    tokens: Positive
    about: StrictBool = False
    dense: StrictBool = False
    budget: Positive | None = None
    schedule: str = ""
    images: tuple[str, ...] = ()
    scores: dict[str, Printed]
    average: Printed | None = None
    printed: tuple[str, ...] = ()
    correction: str = ""
    assumed: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if bool(self.model) == bool(self.uncosted):
            problem = "or uncosted, one of them, is needed"
            raise InvalidInput("model", None, problem, "name the model, or why there is none")
        if self.dense == bool(self.applies):
            raise InvalidInput("dense", None, "or applies is needed", "name the method, or none")
        if bool(self.printed) != bool(self.correction):
            problem = "and correction go together"
            raise InvalidInput("printed", None, problem, "say what stands wrong")
        return self

    def score(self, benchmark: str) -> Decimal | None:
        """Return the figure of a benchmark, or the printed mean ("average")."""
        return self.average if benchmark == AVERAGE else self.scores.get(benchmark)

    @property
    def averaged(self) -> frozenset[str]:
        """The benchmarks that the printed mean is of; none where no mean is printed."""
        return frozenset() if self.average is None else frozenset(self.scores)

    def workload(self, text_tokens: int) -> Workload:
        """Return the request: one image, as large as is known."""
        return Workload(images=self.images, text_tokens=text_tokens)

    def applied(self, model: Model, workload: Workload) -> Schedule | None:
        """Return the schedule on a model; None where nothing is reduced.

        Raises:
            InvalidInput: The setting does not fit.
        """
        if self.dense:
            return None
        if self.schedule:
            from .language import parse_schedule

            return parse_schedule(self.schedule, model.decoder.num_hidden_layers)
        from .method import load_method

        return load_method(self.applies).schedule(model, workload, self.budget)


class ResultTable(Spec):
    """The results of one source, which can be compared with each other.

    Attributes:
        id, title: Ours.
        benchmarks: In the source's order.
        average: What the mean is of.
        relative: Id of the result that shares are of; empty where there is none.
        source: Where the table stands.
        corrections: What is wrong with it.
        results: In the source's order.
    """

    id: str
    title: str
    benchmarks: tuple[str, ...]
    average: str
    relative: str = ""
    source: str
    corrections: tuple[str, ...]
    results: Annotated[tuple[Result, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self) -> Self:
        for place, result in enumerate(self.results):
            for benchmark in result.scores:
                if benchmark not in self.benchmarks:
                    where = f"results.{place}.scores"
                    raise UnknownName(where, benchmark, self.benchmarks, "tokencost results list")
        return self

    @property
    def reference(self) -> Result | None:
        """The result that shares are of."""
        return next((one for one in self.results if one.id == self.relative), None)

    @property
    def shared(self) -> tuple[str, ...]:
        """The benchmarks that every result with a mean has a score of, and the reference too."""
        needed = [one.averaged for one in self.results if one.averaged]
        if self.reference is not None:
            needed.append(frozenset(self.reference.scores))
        return tuple(name for name in self.benchmarks if all(name in one for one in needed))

    @property
    def uneven(self) -> bool:
        """Whether printed means stand beside scores of different benchmarks."""
        sets = {one.averaged for one in self.results if one.averaged}
        return len(sets) > 1 and bool(self.shared)

    def counted(self, result: Result, benchmark: str) -> tuple[str, ...]:
        """Return the benchmarks that the comparable score is of; none where there is none."""
        if result.score(benchmark) is None:
            return ()
        if benchmark != AVERAGE:
            return (benchmark,)
        if self.uneven:
            return self.shared
        return tuple(name for name in self.benchmarks if name in result.averaged)

    def comparable(self, result: Result, benchmark: str) -> Decimal | Fraction | None:
        """Return the score by which results are compared.

        It is the printed one, but for means over different benchmarks: in their place the mean
        over the n benchmarks that all have, of the shares in percent, 100·Σ s_b/s⁰_b / n, or where
        there is no reference of the scores, Σ s_b / n.
        """
        printed, dense = result.score(benchmark), self.reference
        if benchmark != AVERAGE or printed is None or not self.uneven:
            return printed
        amounts = [Fraction(result.scores[one]) for one in self.shared]
        if dense is not None:
            whole = [Fraction(dense.scores[one]) for one in self.shared]
            amounts = [100 * one / of for one, of in zip(amounts, whole, strict=True)]
        return sum(amounts, Fraction(0)) / len(amounts)


@cache
def load_results() -> dict[str, ResultTable]:
    """Return the tables by id, in alphabetical order.

    Raises:
        TokencostError: A file is wrong; the message names file and field.
    """
    tables = {}
    for path in sorted(RESULTS.glob("*.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        defaults = content.get("defaults", {})
        try:
            results = tuple(Result(**{**defaults, **row}) for row in content["results"])
            table = ResultTable(**content["table"], results=results)
        except InvalidInput as error:
            raise TokencostError(f"{path.name}: {error}") from None
        if table.id != path.stem:
            raise TokencostError(f"{path.name}: id {table.id} is not the file's name")
        tables[table.id] = table
    ids = [result.id for table in tables.values() for result in table.results]
    if len(set(ids)) < len(ids):
        raise TokencostError(f"results: {next(one for one in ids if ids.count(one) > 1)} is twice")
    return tables


def load_result(result_id: str) -> tuple[ResultTable, Result]:
    """Return a result and its table.

    Raises:
        UnknownName: No result has that id.
    """
    found = {one.id: (table, one) for table in load_results().values() for one in table.results}
    if result_id not in found:
        raise UnknownName("result", result_id, tuple(found), "tokencost results list")
    return found[result_id]
