"""What a training step costs, dense or with a schedule active, and what of its hours it saves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from .errors import InvalidInput
from .flops import UNITS, Bill, exact_bill
from .lower import lower, lower_vision
from .operators import COMPONENTS, Attention, Component, Operator
from .primitives.training import Training
from .report import Report
from .schedule import Schedule
from .tokenplan import TokenPlan

#: Stages without products whose parameters, scales or learned separators, are in their output.
_TRAINED_AT_ONCE = ("norm", "arrange")
#: Products of a connector stage that read what enters it as it is, by the stage's kind.
_READERS = {
    "linear": ("linear",),
    "convolution": ("convolution",),
    "gated": ("gate", "up"),
    "q-former": ("cross key", "cross value"),
}

#: What a product of a training step is computed for.
PASSES = ("forward", "activation_gradients", "weight_gradients", "recomputation")


class TrainingStep(NamedTuple):
    """The FLOPs of one step over the batch, by what a product is for.

    A product Y = X·W of n tokens, c_in inputs and c_out outputs is computed up to four times, with
    2·n·c_in·c_out FLOP each, which is the usual 6 FLOP per weight and token without recomputation
    (6ND: Kaplan et al., arXiv 2001.08361, section 2.1; PaLM, arXiv 2204.02311, appendix B):

        forward               Y = X·W
        weight_gradients      dW = Xᵀ·dY, where W is trained
        activation_gradients  dX = dY·Wᵀ, where something before it is trained
        recomputation         Y once more, in the LLM's layers, where activations are not stored

    Attention has two products and no weights, so its backward pass has four: dQ, dK, dA and dV.

    What has no backward pass: a frozen encoder; encoder layers whose output is not used; a
    selection rule without parameters, which only chooses. What has no dX: patch embeddings, whose
    input is the image, and the first products of a connector behind a frozen encoder. Embeddings
    are looked up: none at all. The head runs over all positions, because the loss needs them.
    Updating the weights is not a matrix product and counts 0. Fused attention kernels compute the
    scores again in their backward pass (five products for four); not counted.

    Recomputation is a whole forward pass of every LLM layer, as torch's reentrant checkpoints do;
    its non-reentrant ones stop early, before the last product of a layer.

    Attributes:
        forward, activation_gradients, weight_gradients, recomputation: As above.
        bounds: Why the figure is an upper bound; empty where it is exact.

    >>> from vlm_tokencost.costmodel import evaluate
    >>> from vlm_tokencost.presets import load_model
    >>> step = training_step(evaluate(load_model("llava-1.5-7b")))
    >>> step.total == sum(step.by_component().values())
    True
    """

    forward: Bill
    activation_gradients: Bill
    weight_gradients: Bill
    recomputation: Bill
    bounds: tuple[str, ...] = ()

    @property
    def passes(self) -> dict[str, Bill]:
        """The bills by what they are for."""
        return {name: getattr(self, name) for name in PASSES}

    @property
    def total(self) -> int:
        """Sum of all passes."""
        return sum(bill.total for bill in self.passes.values())

    def by_component(self) -> dict[Component, int]:
        """Return sums by component, all of which are named."""
        sums = dict.fromkeys(COMPONENTS, 0)
        for bill in self.passes.values():
            for component, amount in bill.by_component().items():
                sums[component] += amount
        return sums


def training_step(
    report: Report, training: Training | None = None, *, scheduled: bool = True
) -> TrainingStep:
    """Return what a step costs on one side of a report.

    `training` says what is trained and recomputed; by default as the schedule says, or as LLaVA
    trains: a frozen encoder, all activations stored. Of a mixture, the expectation.

    Raises:
        InvalidInput: An encoder–decoder LLM, or a schedule for a stream.

    >>> from vlm_tokencost.costmodel import evaluate
    >>> from vlm_tokencost.presets import load_model
    >>> step = training_step(evaluate(load_model("llava-1.5-7b")))
    >>> "vision" in step.weight_gradients.by_component()  # LLaVA freezes its encoder
    False
    """
    schedule = report.schedule if scheduled else None
    training = training or training_of(report.schedule)
    if report.model.decoder.encoder_layers:
        problem = f"has an LLM with an encoder of its own ({report.model.id})"
        hint = "choose a model with a decoder alone, whose training steps are known"
        raise InvalidInput("model", None, problem, hint)
    if schedule is not None and _streams(schedule):
        problem = "is a step of serving a video, not of training"
        raise InvalidInput("stream", None, problem, "leave it out")
    side = report.scheduled if scheduled else report.dense
    if side.branches and schedule is not None:
        return _mixed(report, side, schedule, training)
    return _step(report, side, schedule, training)


def _streams(schedule: Schedule) -> bool:
    """Return whether the schedule, or one way of its mixture, is for a stream."""
    own = [branch.schedule for branch in schedule.mixture if branch.schedule is not None]
    return any(one.stream is not None for one in (schedule, *own))


def training_of(schedule: Schedule | None) -> Training:
    """Return how a schedule says that it is trained, or the defaults."""
    return Training() if schedule is None else schedule.training or Training()


def gpu_hour_ratio(ratio: Fraction, fixed_share: Fraction) -> Fraction:
    """Return GPU hours with a schedule over those without: s + (1 − s)·r.

    `fixed_share` s is what of the dense time no visual token changes (data loading, optimizer,
    communication, text); the rest shrinks as the FLOPs do, to the share `ratio` r.

    >>> gpu_hour_ratio(Fraction(1, 2), fixed_share=Fraction(1, 5))
    Fraction(3, 5)
    """
    return fixed_share + (1 - fixed_share) * ratio


def explaining_share(ratio: Fraction, hour_ratio: Fraction) -> Fraction | None:
    """Return the fixed share that explains published hours: (h − r) / (1 − r).

    None where the FLOPs do not change, so that any share would, and where none in [0, 1] does,
    because the hours fall further than the FLOPs, or grow.

    >>> explaining_share(Fraction(1, 2), hour_ratio=Fraction(3, 5))
    Fraction(1, 5)
    """
    share = None if ratio == 1 else (hour_ratio - ratio) / (1 - ratio)
    return share if share is not None and 0 <= share <= 1 else None


def _step(
    report: Report, side: TokenPlan, schedule: Schedule | None, training: Training
) -> TrainingStep:
    model = report.model if schedule is None else report.scheduled_model
    counting = report.counting.model_copy(update={"logits": "all"})
    forward = lower(model, side, counting)
    untrained = {"vision", "selection"}
    bounds = []
    if schedule is not None and schedule.selection is not None:
        from .selection.work import selection_work

        work = selection_work(report.model, side, schedule, counting)
        forward = (*forward, *work.operators)
        if work.parameters:
            untrained.remove("selection")
            bounds.append(
                "all products of the selection count as trained, because it has parameters; those "
                "of a frozen part have no backward pass"
            )
    trained = [operator for operator in forward if operator.component not in untrained]
    if not training.frozen_encoder:
        used = counting.model_copy(update={"encoder_layers": "contributing"})
        trained += lower_vision(model, side, used)
    readers, certain = frozenset[str](), True
    if training.frozen_encoder:
        readers, certain = _readers(report)
    if not certain:
        bounds.append(
            "the connector's first products count as passing gradients on, which a frozen encoder "
            "does not need"
        )
    ends = {"vision": _image_readers(report), "connector": readers}
    passing = [
        operator
        for operator in trained
        if operator.name not in ends.get(operator.component, frozenset())
    ]
    return TrainingStep(
        forward=exact_bill(forward),
        activation_gradients=exact_bill(_activation_gradients(passing)),
        weight_gradients=exact_bill(
            _renamed(operator, "gradient of its weights")
            for operator in trained
            if not isinstance(operator, Attention)
        ),
        recomputation=exact_bill(
            _renamed(operator, "recomputed")
            for operator in forward
            if training.recompute and operator.component == "decoder"
        ),
        bounds=tuple(bounds),
    )


def _activation_gradients(operators: Iterable[Operator]) -> Iterator[Operator]:
    """Yield dX of each product; attention's two products have two inputs each."""
    for operator in operators:
        if isinstance(operator, Attention):
            yield _renamed(operator, "gradients of queries and keys")
            yield _renamed(operator, "gradients of weights and values")
        else:
            yield _renamed(operator, "gradient of its input")


def _renamed(operator: Operator, what: str) -> Operator:
    return operator._replace(name=f"{operator.name}, {what}")


def _image_readers(report: Report) -> frozenset[str]:
    """Return the encoders' operators whose input is the image."""
    convolutional: list[Any] = [one for one in report.model.towers if one.kind == "convolutional"]
    named = ([row.name for row in one.stem if hasattr(row, "name")] for one in convolutional)
    return frozenset({"patch embedding", *(f"stem {names[0]}" for names in named)})


def _readers(report: Report) -> tuple[frozenset[str], bool]:
    """Return the connector's operators that read the encoder's output as it is.

    Behind a stage that has parameters and no products, such as a norm, all pass gradients on to it.
    Also return whether the readers of all stages are known.
    """
    connector = report.model.connector
    stage: Any
    chains = [("stage", connector.stages)]
    if connector.deepstack is not None:
        taps = connector.deepstack.encoder_layers
        chains += [(f"layer {tap} stage", connector.deepstack.stages) for tap in taps]
    names: set[str] = set()
    certain = True
    for where, stages in chains:
        for index, stage in enumerate(stages):
            if not stage.parameters():
                continue
            prefix = f"{where} {index}"
            if stage.kind == "q-former":
                layers = [f"{prefix} layer {layer}" for layer in range(stage.num_hidden_layers)]
            else:
                layers = [prefix]
            names.update(f"{own} {end}" for own in layers for end in _READERS.get(stage.kind, ()))
            certain = certain and (stage.kind in _TRAINED_AT_ONCE or stage.kind in _READERS)
            break
    return frozenset(names), certain


def _mixed(report: Report, side: TokenPlan, schedule: Schedule, training: Training) -> TrainingStep:
    """Return the expectation over the ways of a mixture, and the router's own forward pass."""
    from .mixing import expected_bill, ways

    steps = [
        (share, _step(report._replace(schedule=own, scheduled=way), way, own, training))
        for (share, way), (_, own) in zip(side.branches, ways(schedule), strict=True)
        if way is not None
    ]
    bills = {
        name: expected_bill(((share, step.passes[name]) for share, step in steps), UNITS["exact"])
        for name in PASSES
    }
    if schedule.selection is not None:
        from .selection import selection_operators

        routed = selection_operators(report.model, report.dense, schedule, report.counting)
        bills["forward"] = bills["forward"].joined(exact_bill(routed))
    bounds = dict.fromkeys(bound for _, step in steps for bound in step.bounds)
    return TrainingStep(**bills, bounds=tuple(bounds))
