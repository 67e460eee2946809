"""The one option of `tokencost solve` whose value is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple, get_args

from ..costmodel import InvalidInput, Report, Schedule
from ..costmodel.flops import Convention, published_obstacle
from ..costmodel.schedule import Rounding, ratio_text
from ..costmodel.solving import EXHAUSTIVE, Solution, Target, shortest_ratio, solve
from .asked import Asked, Question
from .options import flag, one_of
from .origins import SCHEDULE_FIELDS, MethodOrigin, origin_of
from .targets import target_text

#: What stands for the value that is asked for; a shell may try to expand a bare question mark.
WORDS = ("?", "free")
#: Options that may be free. A larger value leaves more tokens, or leaves them for longer.
OPTIONS = ("keep", "prune_layer", "tokens", "budget")


class Free(NamedTuple):
    """The free option, and which of several it is.

    Attributes:
        name: Its field of the request.
        place: Its place among repeated options; None of one that is not repeated.
        word: What was typed for its value.
    """

    name: str
    place: int | None
    word: str

    @property
    def option(self) -> str:
        """The option as it is typed."""
        return flag(self.name)


class Solved(NamedTuple):
    """The answer, with what becomes of both neighbours.

    Attributes:
        free: What was asked for.
        target: What was to be met.
        solution: The neighbours.
        reports: Each neighbour's number, text for its option, and report, in their order.
    """

    free: Free
    target: Target
    solution: Solution
    reports: tuple[tuple[int, str, Report], ...]


def free_option(request: Question) -> Free:
    """Return the option that was left free.

    Raises:
        InvalidInput: None of them is, or several are.
    """
    found = []
    for name in OPTIONS:
        value = getattr(request, name)
        if isinstance(value, tuple):
            found += [Free(name, n, word) for n, word in enumerate(value) if word in WORDS]
        elif value in WORDS:
            found.append(Free(name, None, value))
    if not found:
        options = ", ".join(map(flag, OPTIONS[:-1])) + f" and {flag(OPTIONS[-1])}"
        way_out = 'give one of them the value "?" or free, such as --prune-layer 2 --keep free'
        raise InvalidInput(options, None, "have no free value among them", way_out)
    if len(found) > 1:
        problem = f"and {found[0].option} are both free"
        raise InvalidInput(found[1].option, found[1].word, problem, "leave one of them free")
    if found[0].name == "budget" and request.method is None:
        raise InvalidInput("--budget", found[0].word, "needs --method", "add --method ID")
    return found[0]


def solved(request: Question, typed: str, target: Target) -> Solved:
    """Return the largest value of the free option that does not exceed the target.

    Raises:
        InvalidInput: A target that no value meets, or a request that is wrong.
    """
    free = free_option(request)
    _refuse_unused(request, target)
    asked = request.asked()
    refuse_meaningless(asked, target.convention)
    trial = _Trial(request, free, asked, target)
    limit = EXHAUSTIVE if free.name in ("budget", "prune_layer") else 0
    found = solved_over(trial.values, trial.price, target, limit)
    if found is None:
        raise trial.complaint()
    if found.within is None or target.amount > found.most:
        unit = " tokens" if free.name == "keep" else ""
        what = f"{free.option} of {found.first:,} to {found.last:,}{unit}"
        raise out_of_reach(typed, target, found, what)
    neighbours = [found.within] if found.above is None else [found.within, found.above]
    reports = tuple((n, trial.text(n), trial.typed(n).report()) for n in neighbours)
    return Solved(free, target, found, reports)


def refuse_meaningless(asked: Asked, convention: Convention) -> None:
    """Refuse a convention that has no figure for the model.

    Raises:
        InvalidInput: It is such a convention.
    """
    obstacle = None if convention == "exact" else published_obstacle(asked.model)
    if obstacle:
        problem = f"has no figure for {asked.model.id}: {obstacle}"
        raise InvalidInput("--convention", convention, problem, "use exact")


def out_of_reach(typed: str, target: Target, found: Solution, what: str) -> InvalidInput:
    """Return the error that a target lies outside of what `what` can give."""
    bounds = [plain_amount(target, cost) for cost in (found.least, found.most)]
    problem = f"is out of reach: {what} gives {bounds[0]} to {bounds[1]}"
    way_out = "give a target in that range"
    return InvalidInput(typed, plain_amount(target, target.amount), problem, way_out)


def plain_amount(target: Target, amount: Fraction) -> str:
    """Return an amount as it may be typed: a ratio is no percentage."""
    return f"{float(amount):.4g}" if target.quantity == "ratio" else target_text(target, amount)


def _refuse_unused(request: Question, target: Target) -> None:
    if target.quantity in ("ratio", "flops"):
        request.refuse_unused((target.convention,))
        return
    unused = ["causal", "logits", "encoder_layers"]
    if target.quantity == "average-tokens":
        unused.append("implementation")
    request.refuse("does not change what the target counts", "leave it out", *unused)


class _Trial:
    """The request with numbers in place of its free value."""

    def __init__(self, request: Question, free: Free, asked: Asked, target: Target) -> None:
        self.request, self.free, self.asked = request, free, asked
        self.dense = asked.report().total(target.convention)
        self.target = target
        self.refusal: InvalidInput | None = None
        self.method: Any = None
        self.entering = 0
        if free.name == "budget":
            from ..presets import load_method  # only this option needs a method's data

            self.method = load_method(str(request.method))
        if free.name == "keep":
            rounding = request.rounding or "floor"
            self.rounding: Rounding = one_of(rounding, "--rounding", get_args(Rounding))
            without = {"prune_layer": (), "keep": (), "rounding": None}
            self.entering = self._report(
                _changed(request, without)
            ).scheduled.entering_visual_tokens
        self.values = self._values()

    def _values(self) -> Sequence[int]:
        if self.free.name == "prune_layer":
            return range(self.asked.model.decoder.num_hidden_layers)
        if self.free.name == "keep":
            return range(1, self.entering + 1)
        if self.free.name == "tokens":
            return range(1, self.asked.dense.dense_visual_tokens + 1)
        return budgets(self.method, self.asked, self.free.word)

    def text(self, value: int) -> str:
        """Return what to type for a number."""
        if self.free.name != "keep":
            return str(value)
        return ratio_text(shortest_ratio(value, self.entering, self.rounding))

    def typed(self, value: int) -> Question:
        """Return the request with a number in place of its free value."""
        text, name, place = self.text(value), self.free.name, self.free.place
        if place is None:
            return _changed(self.request, {name: text})
        texts = list(getattr(self.request, name))
        texts[place] = text
        return _changed(self.request, {name: tuple(texts)})

    def price(self, value: int) -> Fraction | None:
        """Return what a number makes of the target's quantity; None if it does not fit."""
        try:
            if self.method is None:
                report = self._report(self.typed(value))
            else:
                report = self.asked.report(self._method_schedule(value))
            return self.target.measured(report, self.dense)
        except InvalidInput as error:
            self.refusal = self.refusal or error
            return None

    def complaint(self) -> InvalidInput:
        """Return why no number fits."""
        error = self.refusal
        assert error is not None
        if self.method is not None and error.field.startswith(SCHEDULE_FIELDS):
            word = str(self.free.word)
            error = MethodOrigin(self.method.id, word, None, False).complaint(error)
        error = self.request.renamed(error)
        if error.field != self.free.option or error.value is None:
            return error
        low, high = self.values[0], self.values[-1]
        problem = f"fits no value from {low:,} to {high:,}: {error.value} {error.problem}"
        return InvalidInput(self.free.option, self.free.word, problem, error.way_out)

    def _method_schedule(self, budget: int) -> Schedule:
        others = ("prune_layer", "keep", "tokens", "tokens_at", "schedule", "rounding")
        self.request.refuse("cannot go with --method", "leave one of them out", *others)
        schedule: Schedule = self.method.schedule(self.asked.model, self.asked.workload, budget)
        return schedule

    def _report(self, request: Question) -> Report:
        origin = origin_of(request, self.asked.model, self.asked.workload)
        try:
            return self.asked.report(origin.schedule)
        except InvalidInput as error:
            raise request.renamed(origin.complaint(error)) from None


def _changed(request: Question, values: dict[str, Any]) -> Question:
    return replace(request, **values)


def solved_over(
    values: Sequence[int], price: Callable[[int], Fraction | None], target: Target, limit: int
) -> Solution | None:
    """Return the answer among growing values, which need not follow each other."""
    found = solve(lambda place: price(values[place]), 0, len(values) - 1, target.amount, limit)
    if found is None:
        return None
    return found._replace(
        within=None if found.within is None else values[found.within],
        above=None if found.above is None else values[found.above],
        first=values[found.first],
        last=values[found.last],
    )


def budgets(method: Any, asked: Asked, word: str | None) -> Sequence[int]:
    """Return the budgets of a method that are worth trying, in growing order.

    Raises:
        InvalidInput: The method knows no budgets.
    """
    from ..presets.case import Case

    if method.budget is None:
        problem = f"means nothing for {method.title}"
        raise InvalidInput("--budget", word, problem, "choose another method")
    case = Case.of(asked.model, asked.dense)
    known: Sequence[int] | None = method.budget.candidates(case)
    if known is not None:
        return known
    most: int | None = method.budget.most(case)
    # None below 1: the method's own sentence tells why it is refused
    return range(1, max(1, asked.dense.dense_visual_tokens if most is None else most) + 1)
