"""Closed-form cost of vision-language models under visual-token reduction schedules.

    plan(model, workload, schedule)   tokens in every encoder and decoder layer
    lower(model, plan, counting, …)   operators: matrix products, attention, convolutions
    exact_bill, published_bill        prices under the conventions survey, gated, exact
    evaluate(model, workload, schedule, counting) -> Report   all of it
    latency.latency, peak.peak        time and memory of a report on a device

Pure functions over frozen specs: no I/O, no printing, no torch.
"""

from typing import TYPE_CHECKING, Any

from .architecture.model import Model as Model
from .errors import InvalidInput as InvalidInput
from .errors import MissingExtra as MissingExtra
from .errors import TokencostError as TokencostError
from .errors import UnknownName as UnknownName
from .flops import CONVENTIONS as CONVENTIONS
from .flops import Bill as Bill
from .flops import Convention as Convention
from .flops import Entry as Entry
from .flops import exact_bill as exact_bill
from .flops import published_bill as published_bill
from .lower import lower as lower
from .lower import lower_decode as lower_decode
from .operators import Attention as Attention
from .operators import Convolution as Convolution
from .operators import Linear as Linear
from .operators import Operator as Operator
from .plan import TokenPlan as TokenPlan
from .plan import plan as plan
from .report import Report as Report
from .report import evaluate as evaluate
from .schedule import Compress as Compress
from .schedule import EncoderMerge as EncoderMerge
from .schedule import Schedule as Schedule
from .schedule import Stage as Stage
from .version import __version__ as __version__
from .workload import Counting as Counting
from .workload import Workload as Workload

if TYPE_CHECKING:
    from .device import Device as Device
    from .memory import kv_bytes_per_token as kv_bytes_per_token
    from .memory import kv_cache_bytes as kv_cache_bytes
    from .parameters import model_parameters as model_parameters
    from .solving import Solution as Solution
    from .solving import Target as Target
    from .solving import solve as solve
    from .training import TrainingStep as TrainingStep
    from .training import training_step as training_step

#: Names that few questions need, and their modules.
_LATER = {
    "Device": "device",
    "Solution": "solving",
    "Target": "solving",
    "TrainingStep": "training",
    "kv_bytes_per_token": "memory",
    "kv_cache_bytes": "memory",
    "model_parameters": "parameters",
    "solve": "solving",
    "training_step": "training",
}

__all__ = [
    "CONVENTIONS",
    "Attention",
    "Bill",
    "Compress",
    "Convention",
    "Convolution",
    "Counting",
    "Device",
    "EncoderMerge",
    "Entry",
    "InvalidInput",
    "Linear",
    "MissingExtra",
    "Model",
    "Operator",
    "Report",
    "Schedule",
    "Solution",
    "Stage",
    "Target",
    "TokenPlan",
    "TokencostError",
    "TrainingStep",
    "UnknownName",
    "Workload",
    "__version__",
    "evaluate",
    "exact_bill",
    "kv_bytes_per_token",
    "kv_cache_bytes",
    "lower",
    "lower_decode",
    "model_parameters",
    "plan",
    "published_bill",
    "solve",
    "training_step",
]


def __getattr__(name: str) -> Any:
    """Import what few questions need when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    """Name what there is, imported or not."""
    return __all__
