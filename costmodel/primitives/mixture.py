"""`mixture`: a router sends each request one of several ways."""

from typing import Annotated, Any, Self

from pydantic import StrictBool, model_validator

from ..errors import InvalidInput
from ..kinds import lazily
from ..numeric import Converted, Ratio, Spec


class Branch(Spec):
    """One way, and how often it is taken.

    Attributes:
        probability: Share of the requests.
        schedule: What they do; the dense model if absent.
        skipped: The model does not run at all.
    """

    probability: Ratio
    schedule: Annotated[Any, Converted(lazily(".schedule:Schedule"))] = None
    skipped: StrictBool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.skipped and self.schedule is not None:
            raise InvalidInput("skipped", None, "goes with no schedule", "leave one of them out")
        if self.schedule is not None and self.schedule.mixture:
            raise InvalidInput("schedule", None, "is a mixture itself", "list all branches at once")
        if self.schedule is not None and self.schedule.training is not None:
            problem = "stands in one way of a mixture, but training is of the whole"
            raise InvalidInput("schedule.training", None, problem, "give it beside `mixture`")
        return self
