"""A user's file of claims: read, and each claim fitted to its model before any is audited."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..costmodel import InvalidInput, Model, Schedule, UnknownName, plan
from ..costmodel.errors import clip
from ..presets import load_method, load_model
from ..presets.claim import QUANTITIES, Claim, ClaimFile, claims_text, load_claims, read_claims
from ..presets.schedule_file import in_file
from .claim_words import RELATIVE

FILE = "--file"


def claims_of(path: str) -> ClaimFile:
    """Return a file's claims, each of which fits its model.

    Raises:
        InvalidInput: The file is malformed, names what there is not, or holds a claim without a
            model or with a schedule that does not fit it; the sentence names line and key.
    """
    found = read_claims(path, FILE)
    known = with_published(found.claims)
    for index, claim in enumerate(found.claims):
        try:
            _check(claim, known)
        except InvalidInput as error:
            text = claims_text(path, FILE)
            inner = InvalidInput(
                f"claims.{index}.{error.field}", error.value, error.problem, error.way_out
            )
            raise in_file(inner, path, text, FILE) from None
    return found


def with_published(claims: tuple[Claim, ...]) -> dict[str, Claim]:
    """Return the claims that relations may name: the file's own, then published ones."""
    return {**load_claims(), **{claim.id: claim for claim in claims}}


def refuse_overwriting(output: str | None, file: str) -> None:
    """Refuse to write over the file of claims.

    Raises:
        InvalidInput: Both are one file.
    """
    exist = output and Path(output).exists() and Path(file).exists()
    if output and exist and Path(output).samefile(file):
        raise InvalidInput("--output", output, "is the claims file", "name another file")


def _check(claim: Claim, known: Mapping[str, Claim]) -> None:
    """Refuse a claim that names what there is not, or whose schedule does not fit its model."""
    for key in type(claim).model_fields:
        text = getattr(claim, key)
        if isinstance(text, str) and not text.isprintable():
            problem = "holds a line break or a sign that cannot be printed"
            raise InvalidInput(key, None, problem, "write it on one line")
    if claim.dense and claim.judged and QUANTITIES[claim.quantity] in RELATIVE:
        problem = f"does not go with {claim.quantity}, which compares with the dense model"
        raise InvalidInput("dense", None, problem, "leave it out, and say what was scheduled")
    named = [("baseline", claim.baseline), ("cost", claim.cost), ("repeats", claim.repeats)]
    named += [("follows", one) for rule in claim.follows for one in rule.of]
    for key, one in named:
        if isinstance(one, str) and one and one not in known:
            raise UnknownName(key, one, tuple(known), "tokencost claims list")
    if claim.device:
        from ..presets.device import load_device

        load_device(claim.device)
    if claim.applies:
        try:
            load_method(claim.applies)
        except UnknownName as error:
            raise InvalidInput("applies", error.value, error.problem, error.way_out) from None
    if not claim.model:
        if claim.judged and not claim.follows:
            hint = "add model (tokencost models list), or what the figure follows from"
            raise InvalidInput("model", None, "is missing", hint)
        return
    model = load_model(claim.model)
    workload = claim.workload()
    plan(model, workload)
    if claim.unsettled:
        return
    key = "applies" if claim.budget is None else "budget"
    key = key if claim.schedule is None else "schedule"
    try:
        plan(model, workload, _schedule(claim, model))
    except InvalidInput as error:
        where = "" if error.field in ("", key) else f"{error.field} "
        value = "" if error.value is None else f"{clip(error.value)} "
        problem = f"does not fit {claim.model}: {where}{value}{error.problem}"
        raise InvalidInput(key, None, problem, error.way_out) from None


def _schedule(claim: Claim, model: Model) -> Schedule | None:
    """Return a claim's schedule of its model; None is the dense model."""
    if isinstance(claim.schedule, str):
        from ..presets.language import read_text

        return read_text(claim.schedule).fitted(model, claim.workload())
    if claim.schedule is not None:
        return Schedule(**claim.schedule)
    if claim.applies and not claim.dense:
        return load_method(claim.applies).schedule(model, claim.workload(), claim.budget)
    return None
