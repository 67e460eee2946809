"""What a claim was made for: model, schedule and request, priced once per prompt length."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any, NamedTuple

from ...costmodel import InvalidInput, Model, Report, Schedule, Workload, evaluate
from ..claim import Claim
from ..language import read_text
from ..loader import load_model
from ..method import load_method


class Variant(NamedTuple):
    """A change of the claim's own setting, to see whether it explains the figure.

    Attributes:
        schedule: Another schedule, as JSON; empty for the claim's own.
        visual_tokens: Another dense count.
        selects: Whether the selection rule is priced.
    """

    schedule: str = ""
    visual_tokens: int | None = None
    selects: bool = True


class Question(NamedTuple):
    """All that a report depends on, hashable."""

    model: str
    applies: str
    budget: int | None
    schedule: str
    selects: bool
    images: tuple[str, ...]
    frames: int
    visual_tokens: int | None
    text_tokens: int
    new_tokens: int
    batch: int


OWN = Variant()


def missing(claim: Claim) -> tuple[str, ...]:
    """Return what a recomputation needs and the claim does not say."""
    found = []
    if not claim.model:
        named = f" ({claim.model_name})" if claim.model_name else ""
        found.append(f"a model preset{named}")
    if claim.unsettled:
        found.append(claim.unsettled)
    elif not (claim.dense or claim.applies or claim.schedule is not None):
        found.append("the setting of the method")
    return tuple(found)


def assumed_schedule(claim: Claim) -> str:
    """Return why the schedule itself is a guess of ours; empty where a source says it."""
    if not claim.applies or claim.dense or claim.schedule is not None:
        return ""
    method = load_method(claim.applies)
    told = method.provenance["default" if claim.budget is None else "budget"]
    if told.status == "assumed":
        return f"the schedule is assumed: {told.text}"
    other = method.reference.layers != model_of(claim).decoder.num_hidden_layers
    deep = method.provenance.get("other depth")
    if other and deep is not None and deep.status == "assumed":
        return f"the schedule at this depth is assumed: {deep.text}"
    return ""


def stand_in(claim: Claim) -> Claim | None:
    """Return the claim on the model that its method is published for; None without a method."""
    if not claim.applies:
        return None
    published = load_method(claim.applies).reference
    fields = {"model": published.model, "visual_tokens": published.visual_tokens}
    return claim.model_copy(update=fields)


def keeps_all(claim: Claim) -> bool:
    """Tell whether the schedule stores all keys and values, and decode forwards read fewer."""
    report = report_of(claim)
    plan, dense = report.scheduled, report.dense
    return sum(plan.visual_read) < sum(plan.visual_stored) >= sum(dense.visual_stored)


def model_of(claim: Claim) -> Model:
    """Return the claim's model.

    Raises:
        UnknownName: No preset has that id.
    """
    return _model(claim.model)


@cache
def _model(model_id: str) -> Model:
    return load_model(model_id)


def tokens_known(claim: Claim) -> bool:
    """Tell whether the dense visual tokens follow from what the claim says.

    A model that takes images of any size needs one, frames, or a count; others make the same tokens
    of any image.
    """
    given = claim.visual_tokens or claim.images or claim.frames or claim.visual_lengths
    return bool(given) or model_of(claim).token_rule.kind == "fixed"


def report_of(
    claim: Claim, text: int | None = None, variant: Variant = OWN, new_tokens: int | None = None
) -> Report:
    """Return the report of a claim's model, request and schedule; see `question_of`."""
    return evaluated(question_of(claim, text, variant, new_tokens))


def question_of(
    claim: Claim, text: int | None = None, variant: Variant = OWN, new_tokens: int | None = None
) -> Question:
    """Return what a claim asks.

    Args:
        claim: One without anything `missing`.
        text: Text tokens; by default those that the claim states, or none.
        variant: What differs from the claim.
        new_tokens: Tokens generated; by default those that the claim states, or one.
    """
    own = _written(claim)
    return Question(
        claim.model,
        "" if variant.schedule or own else claim.applies * (not claim.dense),
        None if variant.schedule else claim.budget,
        variant.schedule or own,
        variant.selects,
        claim.images,
        claim.frames,
        variant.visual_tokens or claim.visual_tokens,
        claim.text_tokens or 0 if text is None else text,
        new_tokens or claim.new_tokens or 1,
        claim.batch or 1,
    )


def as_json(schedule: Schedule | dict[str, Any]) -> str:
    """Return a schedule as the text that a variant holds."""
    fields = schedule
    if isinstance(schedule, Schedule):
        kept = schedule.model_fields_set - {"method"}  # a variant is no longer the method's
        fields = {name: getattr(schedule, name) for name in kept}
    return json.dumps(fields, default=_plain, sort_keys=True)


def _plain(value: object) -> Any:
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, Decimal):
        return str(value)
    fields = getattr(value, "model_fields_set", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    raise TypeError(f"{type(value).__name__} has no plain form")


def _written(claim: Claim) -> str:
    if claim.schedule is None:
        return ""
    return claim.schedule if isinstance(claim.schedule, str) else as_json(claim.schedule)


@lru_cache(maxsize=8192)
def evaluated(question: Question) -> Report:
    """Return the report of a question.

    Raises:
        InvalidInput: A budget or schedule that does not fit the model.
    """
    model = _model(question.model)
    workload = Workload(
        images=question.images,
        frames=question.frames,
        visual_tokens=question.visual_tokens,
        text_tokens=question.text_tokens,
        new_tokens=question.new_tokens,
        batch=question.batch,
    )
    schedule = _schedule(model, workload, question)
    try:
        return evaluate(model, workload, schedule)
    except InvalidInput:
        # Rules that read the prompt's attention refuse requests without text: visual tokens alone.
        if question.text_tokens or schedule is None or schedule.selection is None:
            raise
        return evaluate(model, workload, schedule.model_copy(update={"selection": None}))


def _schedule(model: Model, workload: Workload, question: Question) -> Schedule | None:
    text = question.schedule
    if text:
        if text.startswith("{"):
            schedule = Schedule(**json.loads(text, parse_float=Decimal))
        else:
            schedule = read_text(text).fitted(model, workload)
    elif question.applies:
        schedule = load_method(question.applies).schedule(model, workload, question.budget)
    else:
        return None
    return schedule if question.selects else schedule.model_copy(update={"selection": None})
