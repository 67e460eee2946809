"""Figures over many requests: `tokencost plot ratio`, `length` and `compare`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, get_args

from ...costmodel import InvalidInput, Model, Report
from ...costmodel.flops import CONVENTIONS, Convention
from ...costmodel.numeric import whole
from ...costmodel.schedule import Rounding, kept_tokens
from ..asked import Asked, Unscheduled
from ..options import COUNTING, Text, one_of, option, shares
from ..request import Request
from .picture import Picture, Plot
from .sequences import growing, sequence_tokens

if TYPE_CHECKING:
    from .ratio import Grid

GRID, METHODS = "Grid", "Methods"
_KEEPS = "0.05:1:0.05"
#: Cells of a heat map: more are no more readable.
_CELLS = 10_000
#: Largest count of each that a length figure reaches, unless told; and the most that may be told.
LARGEST = {"images": 64, "frames": 1024, "visual-tokens": 131_072, "text-tokens": 131_072}
_MOST = {"images": 10_000, "frames": 1_000_000}
_MANY = 10_000_000
ConventionName = Annotated[
    Text,
    option(COUNTING, "--convention", "survey, gated or exact (default: exact).", "NAME"),
]


def chosen_convention(request: Request, text: str | None) -> Convention:
    """Return the one convention that a figure shows.

    Raises:
        InvalidInput: It is none, or an option that changes others alone.
    """
    chosen: Convention = one_of(text or "exact", "--convention", CONVENTIONS)
    request.refuse_unused((chosen,))
    return chosen


def refuse_generation(request: Request) -> None:
    """Refuse new tokens in a figure of the prefill.

    Raises:
        InvalidInput: More than one is asked for.
    """
    if request.new_tokens not in (None, "1"):
        request.refuse("has no effect on a figure of the prefill", "leave it out", "new_tokens")


def refuse_obstacle(report: Report, convention: Convention) -> Report:
    """Return the report, for which the convention has a figure.

    Raises:
        InvalidInput: It has none.
    """
    obstacle = report.obstacle(convention)
    if obstacle:
        problem = f"has no figure for {report.model.id}: {obstacle}"
        raise InvalidInput("--convention", convention, problem, "use exact")
    return report


@shares(Unscheduled, Picture)
def ratio(
    request: Unscheduled,
    picture: Picture,
    prune_layer: Annotated[
        Text,
        option(
            GRID, "--prune-layer", "Layers, both ends included (default: all).", "START:STOP[:STEP]"
        ),
    ] = None,
    keep: Annotated[
        Text,
        option(GRID, "--keep", f"Keep ratios (default: {_KEEPS}).", "START:STOP:STEP"),
    ] = None,
    rounding: Annotated[
        Text,
        option(
            GRID,
            "--rounding",
            "How a share becomes whole tokens: floor, round, ceil or float-floor (default: floor).",
            "RULE",
        ),
    ] = None,
    convention: ConventionName = None,
) -> None:
    """Draw the cost over prune layer and keep ratio, with lines of equal cost.

    Example: tokencost plot ratio --model llava-1.5-7b --convention survey --output ratio.svg
    """
    chosen = chosen_convention(request, convention)
    if chosen != "exact":
        refuse_generation(request)
    rule: Rounding = one_of(rounding or "floor", "--rounding", get_args(Rounding))
    place = picture.place(request)
    from .ratio import plot

    def build() -> Plot:
        asked = request.asked()
        refuse_obstacle(asked.report(), chosen)
        grid = _grid(asked, prune_layer, keep, rule)
        try:
            return plot(asked, grid, chosen)
        except InvalidInput as error:
            from ..origins import Origin

            raise Origin(None).complaint(error) from None

    picture.publish(place, build)


def _grid(asked: Asked, prune_layer: str | None, keep: str | None, rounding: Rounding) -> Grid:
    """Return the schedules to price; by default those that leave a token at all.

    Raises:
        InvalidInput: No range, fewer than two layers or ratios, or more than are drawn.
    """
    from ..sweep_axes import ratios, wholes
    from .ratio import Grid

    layers = tuple(range(asked.model.decoder.num_hidden_layers))
    if prune_layer is not None:
        layers = wholes([prune_layer], "--prune-layer")
    keeps = ratios([keep or _KEEPS], "--keep")
    if keep is None:
        tokens = asked.dense.entering_visual_tokens
        keeps = tuple(one for one in keeps if kept_tokens(one, tokens, rounding))
    for option_name, typed, count, example in (
        ("--prune-layer", prune_layer, len(layers), "1:31"),
        ("--keep", keep, len(keeps), _KEEPS),
    ):
        if count < 2:
            problem = "is a single value, and a heat map needs two"
            raise InvalidInput(option_name, typed, problem, f"give a range, such as {example}")
    if len(layers) * len(keeps) > _CELLS:
        problem = f"makes {len(layers) * len(keeps):,} cells"
        name, typed = ("--keep", keep) if keep is not None else ("--prune-layer", prune_layer)
        raise InvalidInput(name, typed, problem, f"draw {_CELLS:,} at most")
    return Grid(tuple(sorted(layers)), tuple(sorted(keeps)), rounding)


@shares(Request, Picture)
def length(
    request: Request,
    picture: Picture,
    over: Annotated[
        Text,
        option(
            GRID,
            "--over",
            "What grows: images, frames, visual-tokens or text-tokens (default: images).",
            "NAME",
        ),
    ] = None,
    up_to: Annotated[
        Text,
        option(GRID, "--up-to", "The largest count (default: by what grows).", "INT"),
    ] = None,
    convention: ConventionName = None,
) -> None:
    """Draw what the prefill is spent on, against the length of the sequence.

    Example: tokencost plot length --model qwen2.5-vl-7b --over frames --output length.svg
    """
    chosen = chosen_convention(request, convention)
    refuse_generation(request)
    free = one_of(over or "images", "--over", tuple(LARGEST))
    last = LARGEST[free]
    if up_to is not None:
        last = whole(up_to, "--up-to", minimum=2, maximum=_MOST.get(free, _MANY))
    _refuse_fixed(request, free)
    place = picture.place(request)
    from .length import plot

    def build() -> Plot:
        counts, reports = _growing(request, free, last)
        for report in reports:
            refuse_obstacle(report, chosen)
        return plot(free, counts, reports, chosen)

    picture.publish(place, build)


def _refuse_fixed(request: Request, free: str) -> None:
    """Refuse options that fix what grows, or that do not go with it."""
    clashing = {
        "images": ("images", "frames", "visual_tokens"),
        "frames": ("frames", "images", "visual_tokens"),
        "visual-tokens": ("visual_tokens",),
        "text-tokens": ("text_tokens",),
    }
    request.refuse(f"does not go with --over {free}", "leave it out", *clashing[free])
    if free in ("images", "frames") and len(request.image_size) > 1:
        problem = f"is given several times, which does not go with --over {free}"
        raise InvalidInput("--image-size", None, problem, "give one size")


def _growing(request: Request, free: str, last: int) -> tuple[list[int], list[Report]]:
    """Return the counts that can be priced, and their reports.

    Raises:
        InvalidInput: Fewer than two can be; the sentence is that of the last one.
    """
    model = request.priced_model()

    class Fixed(Request):
        """A request whose model is read once, which may be a download."""

        def priced_model(self) -> Model:
            """Return it."""
            return model

    same = Fixed(**{one.name: getattr(request, one.name) for one in fields(request)})
    found: dict[int, Report] = {}
    refused: InvalidInput | None = None
    for count in growing(last):
        given: dict[str, Any] = {free.replace("-", "_"): str(count)}
        try:
            found[count] = replace(same, **given).report()
        except InvalidInput as error:  # a schedule of 64 tokens does not fit 8
            refused = error
    if len(found) < 2:
        assert refused is not None
        raise refused
    if len({sequence_tokens(report) for report in found.values()}) < 2:
        problem = "reaches a single length of the sequence"  # a pair of frames is one
        raise InvalidInput("--up-to", str(last), problem, "give more")
    return list(found), list(found.values())


@shares(Unscheduled, Picture)
def compare(
    request: Unscheduled,
    picture: Picture,
    budget: Annotated[
        Text,
        option(
            METHODS,
            "--budget",
            "Visual tokens that each method may use, as it counts them (default: each method's "
            "published setting).",
            "INT",
        ),
    ] = None,
    methods: Annotated[
        Text,
        option(METHODS, "--methods", "Ids, as in fastv,visionzip, or all (default: all).", "IDS"),
    ] = None,
    kind: Annotated[
        Text,
        option(
            METHODS,
            "--kind",
            "bars: the cost of each; points: cost against average visual tokens (default: bars).",
            "bars|points",
        ),
    ] = None,
    sort: Annotated[
        Text,
        option(
            METHODS,
            "--sort",
            "Order of the bars: average, exact, survey, gated, kv or method (default: as named).",
            "KEY",
        ),
    ] = None,
    convention: ConventionName = None,
) -> None:
    """Draw what reduction methods cost beside the dense model.

    Example: tokencost plot compare --model llava-1.5-7b --budget 192 --output methods.svg
    """
    chosen = chosen_convention(request, convention)
    if chosen != "exact":
        refuse_generation(request)
    drawn = one_of(kind or "bars", "--kind", ("bars", "points"))
    if sort is not None and drawn == "points":
        raise InvalidInput("--sort", sort, "orders no points", "leave it out, or draw bars")
    from ..method_table import SORTS, ordered

    key = None if sort is None else one_of(sort, "--sort", SORTS)
    tokens = None if budget is None else whole(budget, "--budget", minimum=1)
    place = picture.place(request)
    from ..method_rows import applied, chosen_methods, dense
    from .compare import MOST_POINTS, plot

    named = chosen_methods(methods)

    def build() -> Plot:
        asked = request.asked()
        refuse_obstacle(asked.report(), chosen)
        compared = [dense(asked), *(applied(asked, method, tokens) for method in named)]
        others = [one.row for one in compared[1:]]
        priced = [row for row in others if row["reason"] is None]
        if not priced:
            first = others[0]
            problem = f"have figures for none of {len(others)}: {first['method']}: "
            way_out = "name other methods or another budget"
            raise InvalidInput("--methods", None, problem + first["reason"], way_out)
        if drawn == "points" and len(priced) > MOST_POINTS:
            problem = f"cannot tell {len(priced)} methods apart"
            way_out = f"name {MOST_POINTS} --methods at most, or draw bars"
            raise InvalidInput("--kind", "points", problem, way_out)
        shown = ordered([one.row for one in compared], key)
        return plot(asked.report(), shown, chosen, drawn, tokens)

    picture.publish(place, build)
