"""The search behind `tokencost crossover`: options, gains, and what was found."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any, NamedTuple

from ..costmodel import InvalidInput, Model
from ..costmodel.clock import Running
from ..costmodel.crossing import Crossing, crossing
from ..costmodel.device import Device
from ..costmodel.gains import speed_up
from ..costmodel.latency import Latency, Side, latency
from ..costmodel.numeric import whole
from ..costmodel.timing import Interval
from .options import one_of
from .request import Request
from .timing_options import named_options

#: Largest number to try of each, unless told.
LARGEST = {
    "visual-tokens": 131_072,
    "text-tokens": 131_072,
    "frames": 1024,
    "batch": 1024,
    "new-tokens": 8192,
}
#: More than anything runs.
_MOST = 10_000_000
_UNTIL = ("first-token", "last-token")


class Search(NamedTuple):
    """What is searched for.

    Attributes:
        over: Which count is free.
        last: The largest number to try.
        gain: Speed-up that must be exceeded.
        until: Whose time counts.
    """

    over: str
    last: int
    gain: Fraction
    until: str

    @classmethod
    def typed(
        cls, over: str, up_to: str | None, gain: str | None, until: str | None, request: Request
    ) -> Search:
        """Return what the options say.

        Raises:
            InvalidInput: A value that is no number or no choice, or one that means nothing here.
        """
        last = LARGEST[over]
        if up_to is not None:
            last = whole(up_to, "--up-to", minimum=2, maximum=_MOST)
        wanted = Fraction(1)
        if gain is not None:
            if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", gain.strip()) or Fraction(gain) < 1:
                hint = "give 1 or more, such as 1.1"
                raise InvalidInput("--gain", gain, "is not a speed-up", hint)
            wanted = Fraction(gain.strip())
        generates = over == "new-tokens" or request.new_tokens is not None
        chosen = until or ("last-token" if generates else "first-token")
        one_of(chosen, "--until", _UNTIL)
        if over == "new-tokens" and chosen == "first-token":
            problem = "does not depend on the new tokens"
            raise InvalidInput("--until", chosen, problem, "choose last-token")
        if not any((request.prune_layer, request.tokens, request.method, request.schedule)):
            hint = "give --method, --schedule, --tokens, or --prune-layer with --keep"
            raise InvalidInput("--method", None, "is missing: there is no schedule", hint)
        return cls(over, last, wanted, chosen)

    def run(self, request: Request, device: Device, running: Running) -> Found:
        """Search.

        Raises:
            InvalidInput: No number can be had; the sentence is that of the last one.
        """
        field, refused = self.over.replace("-", "_"), list[InvalidInput]()
        same = _of_one_model(request)

        def timed(value: int) -> Latency | None:
            given: dict[str, Any] = {field: str(value)}
            try:
                with named_options():
                    return latency(replace(same, **given).report(), device, running)
            except InvalidInput as error:
                refused.append(error)
                return None

        def gained(value: int) -> float | None:
            found = timed(value)
            return None if found is None else float(self.speed_up(found).central)

        # The smallest number can be missing for the same reason as all others.
        low = 2 if self.over == "new-tokens" else 1
        found = crossing(gained, low, self.last, float(self.gain))
        if found is None:
            raise self._refusal(refused[-1])
        places = [found.below, found.value, *((found.at,) if found.value is None else ())]
        shown = [one for one in places if one is not None]
        answers = {value: timed(value) for value in shown}
        return Found(self, found, {value: one for value, one in answers.items() if one is not None})

    def _refusal(self, error: InvalidInput) -> InvalidInput:
        """Return why no number can be had, without a value that nobody typed."""
        if error.field != f"--{self.over}":
            return error
        why = error.problem.removeprefix("is given, but ")
        if why == error.problem:
            why = f"{error.value} {why}"
        problem = f"finds no number that can be priced: {why}"
        return InvalidInput("--over", self.over, problem, error.way_out)

    def amount(self, value: int) -> str:
        """Return so many of what is searched for: "1 frame", "batch 8"."""
        if self.over == "batch":
            return f"batch {value:,}"
        name = self.over.replace("-", " ")
        return f"{value:,} {name.removesuffix('s') if value == 1 else name}"

    def time(self, side: Side) -> Interval:
        """Return the time of a run that counts."""
        return side.ttft if self.until == "first-token" else side.end_to_end

    def speed_up(self, found: Latency) -> Interval:
        """Return the speed-up of that time."""
        return speed_up(self.time(found.dense), self.time(found.scheduled))


def _of_one_model(request: Request) -> Request:
    """Return the request with its model read once, which may be a download."""
    model = request.priced_model()

    class Fixed(Request):
        """A request whose model is known."""

        def priced_model(self) -> Model:
            """Return it."""
            return model

    return Fixed(**{one.name: getattr(request, one.name) for one in fields(request)})


class Found(NamedTuple):
    """What was searched for, where it is, and the times there."""

    search: Search
    crossing: Crossing
    answers: dict[int, Latency]
