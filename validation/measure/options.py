"""The suite: which model runs which method at which budget, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Literal, NamedTuple, cast

from ...costmodel import InvalidInput, Model, Report, Schedule, Workload, evaluate, plan
from ...costmodel.numeric import whole
from ...costmodel.tokens.base import Size
from ...costmodel.tokens.native import NativeRule
from ...presets import load_method, load_model
from ..attention import Implementation
from ..build import ATTENTIONS
from ..configs import config_of
from .small import SMALL_NATIVE_IMAGE, small

Scale = Literal["full", "reduced"]

MODELS = ("llava-1.5-7b", "llava-next-vicuna-7b", "qwen2.5-vl-7b")
METHODS = ("fastv", "pyramiddrop", "visionzip", "divprune")
#: 192, 128 and 64 of LLaVA-1.5's 576 tokens.
SHARES = (Fraction(1, 3), Fraction(2, 9), Fraction(1, 9))
#: 36 × 36 = 1,296 visual tokens for Qwen-VL.
NATIVE_IMAGE: Size = (1008, 1008)
#: Without a limit by the user: below the ten minutes that shared machines often grant a command.
MAX_MINUTES = 8.5


class Effort(NamedTuple):
    """How often a case is repeated.

    Attributes:
        warm_ups: Runs at most that are not timed.
        least: Timed runs at least.
        seconds: No further run of a kind begins after this time.
        watched: Runs at most with marks between components.
        decode_forwards: Decode forwards behind each timed prefill.
        input_sets: Sets of random images and texts that the runs take in turn.
    """

    warm_ups: int
    least: int
    seconds: float
    watched: int
    decode_forwards: int
    input_sets: int


EFFORTS: dict[Scale, Effort] = {
    "full": Effort(3, least=3, seconds=1.0, watched=3, decode_forwards=8, input_sets=3),
    "reduced": Effort(1, least=2, seconds=0.1, watched=2, decode_forwards=2, input_sets=2),
}
BATCHES: dict[Scale, tuple[int, ...]] = {"full": (1, 8), "reduced": (1, 2)}


@dataclass(frozen=True)
class Options:
    """What is to be measured.

    Attributes:
        models, methods: Ids of presets; the baseline of each model is always measured.
        shares: Budgets, as shares of the tokens that leave the connector; they are rounded down to
            a multiple of the crops, which VisionZip needs.
        batches: Requests at once; empty for 1 and 8 at full and 1 and 2 at reduced scale.
        attentions: Implementations of attention, in order.
        device: "cuda" or "cpu".
        scale: "full", or "reduced" for models of full depth and small width on small images.
        max_minutes: No case begins that would probably end later.
        repeats: Timed runs of a case at most.
        seed: Of weights and inputs.
    """

    models: tuple[str, ...] = MODELS
    methods: tuple[str, ...] = METHODS
    shares: tuple[Fraction, ...] = SHARES
    batches: tuple[int, ...] = ()
    attentions: tuple[Implementation, ...] = ("sdpa", "eager")
    device: str = "cuda"
    scale: Scale = "full"
    max_minutes: float = MAX_MINUTES
    repeats: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what no later step would.

        Raises:
            InvalidInput: A choice that there is not, or a number out of range.
        """
        _choice("--scale", self.scale, tuple(EFFORTS))
        for attention in self.attentions:
            _choice("--attention", attention, ATTENTIONS)
        if self.device == "meta":
            raise InvalidInput(
                "--device", "meta", "has shapes and no time", "give --device cuda or --device cpu"
            )
        whole(self.repeats, "--repeats", minimum=1)
        for batch in self.batches:
            whole(batch, "--batch", minimum=1)
        if not self.max_minutes > 0:
            raise InvalidInput(
                "--max-minutes", self.max_minutes, "leaves no time", "give more than 0"
            )

    @property
    def effort(self) -> Effort:
        """How often a case is repeated."""
        return EFFORTS[self.scale]

    @property
    def dtype(self) -> str:
        """Number format of weights and activations."""
        return "bfloat16" if self.device == "cuda" else "float32"

    def suite(self) -> dict[str, object]:
        """Return what all rows of one file share."""
        effort = self.effort
        return {
            "scale": self.scale,
            "device": self.device,
            "dtype": self.dtype,
            "seed": self.seed,
            "input_sets": effort.input_sets,
            "decode_forwards": effort.decode_forwards,
        }


class Case(NamedTuple):
    """One thing to measure.

    Attributes:
        preset: The model's id.
        method, budget: None for the baseline.
        batch, attention: How it runs.
        report: What the cost model says about it; None where it cannot run.
        refusal: Why it cannot run.
    """

    preset: str
    method: str | None
    budget: int | None
    batch: int
    attention: Implementation
    report: Report | None = None
    refusal: str = ""

    @property
    def key(self) -> dict[str, object]:
        """What tells a case from others of its suite."""
        return {
            "model": self.preset,
            "method": self.method,
            "budget": self.budget,
            "batch": self.batch,
            "attention": self.attention,
        }

    @property
    def label(self) -> str:
        """The case in a few words."""
        what = "baseline" if self.method is None else f"{self.method} {self.budget}"
        return f"{self.preset}, {what}, batch {self.batch}, {self.attention}"


def plan_suite(options: Options) -> list[Case]:
    """Return the cases, model by model; of each, fused attention, small batch and baseline first.

    Raises:
        InvalidInput: A model that cannot be built, an unknown model or method, or options of
            which no case can run.
        MissingExtra: transformers is not installed.
    """
    cases = [case for preset in options.models for case in _cases_of(preset, options)]
    if not any(case.report for case in cases):
        refusal = next((case.refusal for case in cases), "there is no case")
        raise InvalidInput("--method", None, f"cannot be measured: {refusal}", "choose others")
    return cases


def _cases_of(preset: str, options: Options) -> Iterator[Case]:
    model = load_model(preset)
    if options.scale == "reduced":
        model = small(model)
    config_of(model)  # refuses a family that cannot be built
    images = _images(model, options.scale)
    asked = [(method, share) for share in options.shares for method in options.methods]
    for attention, batch in product(options.attentions, options.batches or BATCHES[options.scale]):
        workload = Workload(images=images, batch=batch)
        dense = evaluate(model, workload)
        yield Case(preset, None, None, batch, attention, dense)
        for method, share in asked:
            budget = budget_of(model, workload, share)
            case = Case(preset, method, budget, batch, attention)
            try:
                schedule: Schedule = load_method(method).schedule(model, workload, budget)
                yield case._replace(report=evaluate(model, workload, schedule))
            except InvalidInput as error:
                if error.field == "method":
                    raise
                yield case._replace(refusal=str(error))


def budget_of(model: Model, workload: Workload, share: Fraction) -> int:
    """Return ⌊share · connector tokens⌋, rounded down to a multiple of the crops."""
    dense = plan(model, workload)
    crops = len(dense.visual_input.crops)
    return max(1, int(share * dense.connector_tokens) // crops) * crops


def _images(model: Model, scale: Scale) -> tuple[Size, ...]:
    if isinstance(model.token_rule, NativeRule):
        return (NATIVE_IMAGE if scale == "full" else SMALL_NATIVE_IMAGE,)
    return (cast(Size, tuple(model.token_rule.default_image)),)


def _choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidInput(field, value, "is not a choice", f"choose from {', '.join(choices)}")
