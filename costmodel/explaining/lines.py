"""Token counts of a question, each with the curves of its costs in the text length."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..architecture.model import Model
from ..errors import InvalidInput
from ..report import Report, evaluate
from ..schedule import Schedule
from ..workload import Counting, Workload
from . import counts
from .counts import Count
from .curve import Priced, Quadratic, curves
from .readings import COMPONENTS_OF, Reading, price, readings

#: Counts at which curves are checked, after those of 1, 2 and 3 text or visual tokens.
_TEXT_CHECKS, _TOKEN_CHECKS = (131, 512), (200_003,)
Curves = dict[Reading, Quadratic]
#: The curves' coefficients as floats.
Floats = dict[Reading, tuple[float, float, float]]


class Setting(NamedTuple):
    """What is asked of one model.

    Attributes:
        model: The model; `rank` is how unnatural it is to think of it.
        ask: Answers a token count with a text length: Report of the dense and the scheduled run.
        scheduled: Whether there is a schedule.
        tokens: Visual tokens that the user wants tried instead of the known counts.
        given: Whether the user said which images or how many visual tokens there are.
        text: The text length, if the user gave it.
        batch: The batch, if the user gave it.
        alone: Whether no other model is asked about: another's counts are then thought of.
    """

    model: Model
    ask: Callable[[Count, int], Report]
    scheduled: bool = False
    tokens: tuple[int, ...] = ()
    given: bool = False
    text: int | None = None
    batch: int | None = None
    rank: int = 0
    alone: bool = True


def setting_of(model: Model, schedule: Schedule | None = None) -> Setting:
    """Return the setting of a model under a schedule that is the same for all requests."""

    def ask(visual: Count, text: int) -> Report:
        workload = Workload(images=visual.images, visual_tokens=visual.given, text_tokens=text)
        return answer(model, workload, schedule)

    return Setting(model, ask, scheduled=schedule is not None)


def answer(
    model: Model,
    workload: Workload,
    schedule: Schedule | None = None,
    counting: Counting | None = None,
) -> Report:
    """Evaluate a request; a rule that rates tokens by the text is left out where there is none."""
    try:
        return evaluate(model, workload, schedule, counting)
    except InvalidInput as error:
        if workload.text_tokens or schedule is None or not error.field.startswith("selection"):
            raise
        bare = schedule.model_copy(update={"selection": None})
        return evaluate(model, workload, bare, counting)


class Line(NamedTuple):
    """A token count, whose costs are quadratics in a count n, on both sides.

    Attributes:
        visual: The visual tokens.
        structural: Structural tokens beside them.
        offset: n less the text tokens.
        scheduled, dense: Coefficients; without a schedule the sides are the same.
    """

    visual: Count
    structural: int
    offset: int
    scheduled: Floats
    dense: Floats


def lines(setting: Setting) -> list[Line]:
    """Return the token counts of a setting with their costs.

    Raises:
        InvalidInput: The setting's own count does not go with its schedule.
    """
    own = setting.ask(Count(0, "", 0), 1)
    wanted = readings(own, _first_reduced(own))
    across = {} if setting.scheduled else _floats(token_curves(setting, wanted))
    if not any(_of_decoder(one) for one in across):
        across = {}  # keys of cross-attention: text tokens cost something else
    found = []
    for count in _counts(setting, own):
        fitting = _fitting(wanted, count, own, setting)
        if across and count.given is not None:
            here = {one: across[one] for one in fitting if one in across}
            found.append(Line(count, own.dense.structural_tokens, count.given, here, here))
            continue
        try:
            found.append(_line(setting, count, fitting))
        except InvalidInput:
            if count.given is None and not count.images:
                raise  # the model's own count; others may not go with the schedule
    return found


def token_curves(setting: Setting, wanted: tuple[Reading, ...]) -> Curves:
    """Return the dense costs as curves in the visual tokens, if text tokens cost the same.

    They do where visual tokens are part of the sequence, so that one curve serves all counts.
    """

    def priced(tokens: int, text: int = 0) -> Priced:
        return dict(price(setting.ask(Count(tokens, "", 0, (), tokens), text), wanted))

    found, mixed = curves(priced, 1, _TOKEN_CHECKS), priced(100, 50)
    return {one: curve for one, curve in found.items() if curve(150) == mixed[one]}


def _of_decoder(one: Reading) -> bool:
    return "decoder" in COMPONENTS_OF[one.scope]


def _floats(found: Curves) -> Floats:
    return {reading: curve.coefficients for reading, curve in found.items()}


def _first_reduced(report: Report) -> int:
    pairs = zip(report.scheduled.query, report.dense.query, strict=True)
    return next((layer for layer, (kept, full) in enumerate(pairs) if kept != full), 0)


def _counts(setting: Setting, own: Report) -> list[Count]:
    if setting.tokens:
        return [Count(tokens, "as given", 0, (), tokens) for tokens in setting.tokens]
    plan, family = own.dense, setting.model.family
    dense, frames = plan.dense_visual_tokens, plan.frames
    height, width = plan.images[0] if plan.images else (0, 0)
    first = Count(dense, f"{f'{frames} frames' if frames else 'image'} of {height}×{width}", 0)
    if setting.given:
        first = first._replace(source="as given")
        known = [] if setting.scheduled else counts.kept_shares("", dense)
    else:
        known = counts.published(family, dense)
        if setting.scheduled:  # a budget is what the schedule leaves, not what it starts from
            known = [one for one in known if one.rank == 0]
        if not frames:
            known += _other_sizes(setting)
        if not setting.scheduled:
            known += counts.kept_shares(family, dense)
            known += counts.elsewhere() if setting.alone else []
    unique: dict[int, Count] = {}
    for one in sorted([first, *known], key=lambda count: count.rank):
        unique.setdefault(one.tokens, one)
    return list(unique.values())


def _other_sizes(setting: Setting) -> list[Count]:
    found = []
    for height, width in counts.COMMON_SIZES:
        size = Count(0, f"image of {height}×{width}", 1, ((height, width),))
        try:
            plan = setting.ask(size, 1).dense
        except InvalidInput:
            continue
        found.append(size._replace(tokens=plan.dense_visual_tokens))
    return found


def _fitting(
    wanted: tuple[Reading, ...], count: Count, own: Report, setting: Setting
) -> tuple[Reading, ...]:
    """Return the readings that go with a count: encoder and connector see whole images.

    A count that no image gives may be what is left of the image's, but cannot be more.
    """
    if count.given is None:
        return wanted
    more = count.given > own.dense.dense_visual_tokens and not setting.tokens
    return tuple(
        one
        for one in wanted
        if _of_decoder(one) and not (more and "connector" in COMPONENTS_OF[one.scope])
    )


def _line(setting: Setting, count: Count, wanted: tuple[Reading, ...]) -> Line:
    reports = {text: setting.ask(count, text) for text in (1, 2, 3, *_TEXT_CHECKS)}

    def side(scheduled: bool) -> Floats:
        def priced(text: int) -> Priced:
            return dict(price(reports[text], wanted, scheduled))

        return _floats(curves(priced, 1, _TEXT_CHECKS))

    scheduled = side(True)
    dense = side(False) if setting.scheduled else scheduled
    return Line(count, reports[1].dense.structural_tokens, 0, scheduled, dense)
