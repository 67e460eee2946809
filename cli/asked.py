"""A request that is answered for many schedules: its parts, planned once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ..costmodel import Counting, Model, Report, Schedule, TokenPlan, Workload, plan
from ..costmodel.errors import InvalidInput
from .options import Text, Texts
from .request import Request


class Asked(NamedTuple):
    """What a request is about, whatever its schedule."""

    model: Model
    workload: Workload
    counting: Counting
    dense: TokenPlan

    def report(self, schedule: Schedule | None = None) -> Report:
        """Answer it for a schedule.

        Raises:
            InvalidInput: A schedule that does not fit.
        """
        scheduled = plan(self.model, self.workload, schedule) if schedule else self.dense
        return Report(self.model, self.workload, schedule, self.counting, self.dense, scheduled)


@dataclass(eq=False, repr=False)
class Question(Request):
    """The shared options, whose schedule may have a gap."""

    def asked(self) -> Asked:
        """Return the request without its schedule.

        Raises:
            InvalidInput: An option that is wrong, named as it was typed.
        """
        try:
            model = self.priced_model()
            workload, counting = self._workload(model), self._counting(model)
            return Asked(model, workload, counting, plan(model, workload))
        except InvalidInput as error:
            raise self.renamed(error) from None


@dataclass(eq=False, repr=False)
class Unscheduled(Question):
    """The shared options but those that make a schedule."""

    prune_layer: Texts = field(init=False, default=())  # type: ignore[arg-type]
    keep: Texts = field(init=False, default=())  # type: ignore[arg-type]
    tokens: Text = field(init=False, default=None)
    tokens_at: Text = field(init=False, default=None)
    method: Text = field(init=False, default=None)
    budget: Text = field(init=False, default=None)
    schedule: Text = field(init=False, default=None)
    rounding: Text = field(init=False, default=None)
