"""Loads reduction methods from the TOML files in `methods/`, and applies them to models.

A method is data: where it is published, what its default and a token budget mean (each by the name
of a strategy), which rule chooses the tokens, and what had to be assumed.
"""

from __future__ import annotations

import math
import tomllib
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, StrictBool, model_validator

from ..costmodel import InvalidInput, Model, Schedule, TokencostError, UnknownName, Workload, plan
from ..costmodel.numeric import Converted, Count, Positive, Spec, whole
from ..costmodel.schedule import selection_rule
from .budgets import BudgetStrategy
from .case import Case, Primitives
from .defaults import BudgetShare, DefaultStrategy
from .figures import Figure

METHODS = Path(__file__).parent / "methods"
#: When an assumption is made.
Condition = Literal[
    "always", "default", "budget", "other depth", "other token count", "merging connector"
]


class Assumption(Spec):
    """What no source says, for the cases in which all conditions of `when` hold."""

    when: Annotated[tuple[Condition, ...], Field(min_length=1)]
    text: str


class Provenance(Spec):
    """How a field of a method is known.

    Attributes:
        status: Read in a source, derived from what was read, or assumed.
        text: Where it was read, how it was derived, or why it had to be assumed.
    """

    status: Literal["read", "derived", "assumed"]
    text: Annotated[str, Field(min_length=1)]


#: Fields of a method whose provenance is always told.
TOLD = ("default", "budget", "other depth", "selection")


class Reference(Spec):
    """What a method's settings are published for.

    Attributes:
        layers, visual_tokens: Of the published model and its request.
        model, frames, images: A preset and a request that settings are shown on.
    """

    layers: Positive
    visual_tokens: Positive
    model: str = "llava-1.5-7b"
    frames: Count = 0
    images: tuple[str, ...] = ()

    @property
    def workload(self) -> Workload:
        """The request that settings are shown on."""
        return Workload(frames=self.frames, images=self.images)


class AppliedMethod(Spec):
    """Where a schedule comes from.

    Attributes:
        id, title, paper: The method's names and arXiv number.
        budget: The tokens that were asked for; None for the published default.
        assumed: What no source says about this schedule.
    """

    id: str
    title: str
    paper: str
    budget: Positive | None
    assumed: tuple[str, ...]


class MethodSchedule(Schedule):
    """A schedule that knows its method.

    >>> from vlm_tokencost.presets import load_model
    >>> load_method("fastv").schedule(load_model("llava-1.5-7b")).method.title
    'FastV'
    """

    method: AppliedMethod


class Method(Spec):
    """A published way to reduce visual tokens.

    Attributes:
        id, title, paper: Our name, the paper's name of it and the arXiv number.
        aliases: Other names that users know it by.
        summary: Where tokens go and how they are chosen, in one sentence.
        selection: The rule that chooses the tokens, by its name or described.
        selects: Whether the rule runs for the whole of a mixture, or in its ways that reduce.
        input: What the method is published for.
        default, budget: Strategies for the published default and for a number of tokens; a method
            without budgets has none.
        trained: Whether the method needs training.
        schedule_known: Whether any source says which layers and how many tokens.
        provenance: How each field is known: `TOLD`, and others.
        figures: What papers print about it.
        repository: Its released code, if any.
        published_budgets: Budgets with published results, by dense visual tokens.
        reference: What the published settings are for.
        assumed: What no source says.
        disagreements: Where paper, released code and common usage differ.

    >>> load_method("fastv").paper
    '2403.06764'
    """

    id: str
    title: str
    paper: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")]
    aliases: tuple[str, ...] = ()
    summary: str
    selection: Annotated[Any, Converted(selection_rule)]
    selects: Literal["whole", "ways"] = "whole"
    input: Literal["images", "video"] = "images"
    default: DefaultStrategy
    budget: BudgetStrategy | None = None
    trained: StrictBool
    schedule_known: StrictBool = True
    provenance: dict[str, Provenance]
    figures: tuple[Figure, ...] = ()
    repository: str = ""
    published_budgets: dict[int, tuple[Positive, ...]] = Field(default_factory=dict)
    reference: Reference
    assumed: tuple[Assumption, ...] = ()
    disagreements: tuple[str, ...] = ()
    source: Annotated[tuple[str, ...], Field(min_length=1)]

    def __str__(self) -> str:
        """Return name, paper and what the method does."""
        return f"{self.title} ({self.id}), arXiv {self.paper}: {self.summary}"

    @model_validator(mode="after")
    def _told(self) -> Self:
        wanted = [name for name in TOLD if name != "budget" or self.budget is not None]
        for name in wanted:
            if name not in self.provenance:
                raise InvalidInput("provenance", name, "is missing", f"tell {', '.join(wanted)}")
        if self.schedule_known and self.provenance["default"].status == "assumed":
            problem = "is assumed although the schedule is known"
            raise InvalidInput("provenance.default", None, problem, "tell where it was read")
        return self

    def schedule(
        self, model: Model, workload: Workload | None = None, budget: int | None = None
    ) -> MethodSchedule:
        """Return the method's schedule of a model: the published default, or one for a budget.

        Raises:
            InvalidInput: A budget that cannot be met ("budget"). Whether the schedule fits the
                model is checked where it is priced.
        """
        case = _case(model, workload or Workload())
        if budget is not None:
            budget = whole(budget, "budget", minimum=1)
        primitives = self._primitives(case, budget)
        selection = self.selection
        if self.selects == "ways":
            primitives, selection = _chosen_in_ways(primitives, selection), None
        return MethodSchedule(
            name=self.id if budget is None else f"{self.id} at budget {budget}",
            selection=selection,
            method=AppliedMethod(
                id=self.id,
                title=self.title,
                paper=self.paper,
                budget=budget,
                assumed=self.assumptions(case, budget),
            ),
            **primitives,
        )

    def assumptions(self, case: Case, budget: int | None) -> tuple[str, ...]:
        """Return what no source says about the method in this case."""
        holds: dict[Condition, bool] = {
            "always": True,
            "default": budget is None,
            "budget": budget is not None,
            "other depth": case.layers != self.reference.layers and not self._listed(case, budget),
            "other token count": case.visual_tokens != self.reference.visual_tokens,
            "merging connector": case.merge_size > 1,
        }
        return tuple(one.text for one in self.assumed if all(holds[name] for name in one.when))

    def _listed(self, case: Case, budget: int | None) -> bool:
        """Tell whether sources list a schedule for the case's depth."""
        strategy = self.default if budget is None else self.budget
        listed = getattr(strategy, "lists_depth", None)
        return bool(listed and listed(case))

    def _primitives(self, case: Case, budget: int | None) -> Primitives:
        if budget is None:
            if not isinstance(self.default, BudgetShare):
                return self.default.primitives(case)
            budget = max(1, math.floor(self.default.share * case.visual_tokens))
        if self.budget is None:
            way_out = "leave --budget out, or choose another method"
            raise InvalidInput("budget", budget, f"means nothing for {self.title}", way_out)
        most = self.budget.most(case)
        if most is not None and budget > most:
            problem = f"is more than the {most:,} of {case.visual_tokens:,} visual tokens"
            if most >= case.visual_tokens:
                problem = f"is more than the {case.visual_tokens:,} visual tokens that there are"
            else:
                problem += f" that {self.title} can leave"
            raise InvalidInput("budget", budget, problem, f"give at most {most:,}")
        return self.budget.primitives(case, budget)


class _Last(NamedTuple):
    """The request that methods were last applied to: comparisons ask for hundreds of schedules."""

    model: Model
    workload: Workload
    case: Case


_last: _Last | None = None


def _case(model: Model, workload: Workload) -> Case:
    """Return what settings may depend on; the same objects are not planned twice in a row."""
    global _last
    last = _last
    if last is None or last.model is not model or last.workload is not workload:
        last = _last = _Last(model, workload, Case.of(model, plan(model, workload)))
    return last.case


def _chosen_in_ways(primitives: Primitives, selection: Any) -> Primitives:
    """Return primitives whose mixture's reducing ways run the rule themselves."""
    ways = [
        branch
        if branch.schedule is None
        else branch.model_copy(
            update={"schedule": branch.schedule.model_copy(update={"selection": selection})}
        )
        for branch in primitives["mixture"]
    ]
    return {**primitives, "mixture": tuple(ways)}


def list_methods() -> list[str]:
    """Return the ids of all methods, in alphabetical order.

    >>> "fastv" in list_methods()
    True
    """
    return sorted(path.stem for path in METHODS.glob("*.toml"))


def load_method(method_id: str) -> Method:
    """Return the method called `method_id`.

    Raises:
        UnknownName: No method has that id.
        TokencostError: A method's file is wrong; the message names file and field.

    >>> load_method("fastv").selection
    'fastv'
    """
    if not isinstance(method_id, str):
        raise InvalidInput(
            "method", method_id, "is not a method id", "see `tokencost methods list`"
        )
    known = list_methods()
    if method_id not in known:
        named = _named(method_id)
        if named is not None:
            return named
        raise UnknownName("method", method_id, known, "tokencost methods list")
    return _read(METHODS / f"{method_id}.toml")


def _named(name: str) -> Method | None:
    """Return the method with that title or alias, in whatever case."""
    wanted = name.lower()
    for path in sorted(METHODS.glob("*.toml")):
        if wanted in path.read_text(encoding="utf-8").lower():  # only files that may name it
            method = _read(path)
            if wanted in (other.lower() for other in (method.id, method.title, *method.aliases)):
                return method
    return None


@cache
def _read(path: Path) -> Method:
    try:
        with path.open("rb") as file:
            method = Method(**tomllib.load(file, parse_float=Decimal))
    except tomllib.TOMLDecodeError as error:
        raise TokencostError(f"{path.name}: is not TOML: {error}") from None
    except InvalidInput as error:
        raise TokencostError(f"{path.name}: {error}") from None
    if method.id != path.stem:
        raise TokencostError(f"{path.name}: id {method.id} is not the file's name")
    return method
