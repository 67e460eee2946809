"""Peak memory: what is alive in every phase of a generation, and which phase needs most."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from .architecture.model import Model
from .errors import InvalidInput
from .memory import cache_bits, stored_bytes_per_layer
from .report import Report
from .schedule import Schedule
from .sharding import PipelineStage, Sharding, shard, stages
from .tokenplan import TokenPlan, decode_keys
from .transients import (
    ENTRY,
    Running,
    Terms,
    Work,
    attention_terms,
    explicit_mask,
    layer_terms,
    layer_work,
    map_bytes,
    rotary_bytes,
)
from .visual_phases import held_visual, selection_terms, visual_phases
from .weights import Storage, largest_linear, weight_bytes

#: Bytes inside torch besides tensors that are named here: cuBLAS's workspace of 8.125 MiB, rounded
#: up; and outside it, the CUDA context and its kernels, which nvidia-smi shows.
WORKSPACE, CONTEXT = 10 * 2**20, 2**29
#: Bytes of a logit in 16 bits, and of its copy in 32.
LOGIT, LOGIT_COPY = 2, 4


class Asking(NamedTuple):
    """How the model is stored, run and spread.

    Attributes:
        storage: Bits of weights.
        kv_bits: Bits of cached values; None is what the schedule says, or 16.
        running: What transformers keeps.
        sharding: Devices.
        context: Whether memory outside torch counts, as nvidia-smi shows it.
    """

    storage: Storage = Storage()
    kv_bits: int | None = None
    running: Running = Running()
    sharding: Sharding = Sharding()
    context: bool = False


class Phase(NamedTuple):
    """What is alive at once, by term.

    Attributes:
        name: Which phase.
        layer: The layer with the largest sum, where the phase has layers.
        terms: Bytes by term: weights, fixed, KV cache, held tensors, transients.
    """

    name: str
    layer: int | None
    terms: Terms

    @property
    def total(self) -> int:
        """Sum of all terms."""
        return sum(self.terms.values())

    @property
    def transient(self) -> int:
        """What is neither weights nor fixed nor cache."""
        lasting = sum(self.terms.get(name, 0) for name in ("weights", "fixed", "KV cache"))
        return self.total - lasting

    @property
    def largest_term(self) -> str:
        """The largest term besides the weights."""
        return max((name for name in self.terms if name != "weights"), key=self.terms.__getitem__)


class Peak(NamedTuple):
    """The memory of one device: the fullest of all that hold the model.

    Attributes:
        weights: Bytes by component.
        kv_per_layer: Bytes of the cache after the prefill, in each layer that the device holds.
        kv_final: Bytes of the whole cache at the end of the generation.
        phases: Every phase, in order.
        layers: The prefill's decoder layers, one phase each.
        stage: The pipeline stage, counted from 0.
        generates: Whether a decode forward runs; else its phase is what a first one would need.
    """

    weights: dict[str, int]
    kv_per_layer: tuple[int, ...]
    kv_final: int
    phases: tuple[Phase, ...]
    layers: tuple[Phase, ...]
    stage: int = 0
    generates: bool = True

    @property
    def phase(self) -> Phase:
        """The phase that needs most, of those that run."""
        run = [phase for phase in self.phases if self.generates or phase.name != "decode"]
        return max(run, key=lambda phase: phase.total)

    @property
    def total(self) -> int:
        """Bytes at the peak."""
        return self.phase.total


def peak(report: Report, asking: Asking | None = None, *, scheduled: bool = True) -> Peak:
    """Return the peak memory of one side of a report, on the fullest device.

    weights + fixed + the largest over the phases of cache, held tensors and transients:

        load      weights alone
        vision    pixels, kept hidden states, one encoder layer
        connector features, the largest product's input and output
        selection the maps and matrices from which tokens are chosen
        prefill   pixels, features, cache of the layers done, one decoder layer; see `transients`
        logits    the whole cache, embeddings and last hidden states, positions · V · (2 or 2 + 4)
        decode    the last forward: cache of all tokens, a copy of one layer's keys, b · V · 6

    Of a mixture, the largest of its ways. Source: transformers' forward functions; see docs.

    Raises:
        InvalidInput: Maps that fused attention does not give, or devices that do not divide.
    """
    asking = asking or Asking()
    running = asking.running
    if running.output_attentions and running.attention != "eager":
        problem = f"needs eager attention, which keeps what {running.attention} does not compute"
        raise InvalidInput("output_attentions", None, problem, "give attention eager")
    schedule = report.schedule if scheduled else None
    side = report.scheduled if scheduled else report.dense
    if side.branches and schedule is not None:
        from .mixing import ways  # few schedules have several ways

        own = [
            _fullest(report._replace(schedule=each), way, each, asking)
            for (_, way), (_, each) in zip(side.branches, ways(schedule), strict=True)
            if way is not None and each is not None
        ]
        return max(own, key=lambda one: one.total)
    return _fullest(report, side, schedule, asking)


def _fullest(report: Report, plan: TokenPlan, schedule: Schedule | None, asking: Asking) -> Peak:
    model = report.model if schedule is None else report.scheduled_model
    model = shard(model, asking.sharding)
    found = [
        _staged(report, model, plan, schedule, asking, stage)._replace(stage=place)
        for place, stage in enumerate(stages(model, asking.sharding))
    ]
    return max(found, key=lambda one: one.total)


def stored_in(asking: Asking, schedule: Schedule | None) -> Storage:
    """Return how weights are stored: as asked, or in the bits that the schedule says."""
    bits = schedule.bits.weights if schedule is not None and schedule.bits is not None else 16
    return asking.storage if bits == 16 else asking.storage._replace(bits=int(bits))


def _staged(
    report: Report,
    model: Model,
    plan: TokenPlan,
    schedule: Schedule | None,
    asking: Asking,
    stage: PipelineStage,
) -> Peak:
    """Return the peak of one device of a pipeline stage."""
    work = None
    if schedule is not None and schedule.selection is not None:
        from .selection import selection_work  # few schedules name a rule

        work = selection_work(report.model, plan, schedule, report.counting)
    storage = stored_in(asking, schedule)
    weights = weight_bytes(model, storage, stage, 0 if work is None else work.parameters)
    bits = asking.kv_bits if plan.bits is None or plan.bits.kv == 16 else None
    execution = report.counting.execution
    whole = [round(one) for one in stored_bytes_per_layer(model, plan, bits, execution)]
    cache = [whole[layer] for layer in stage.layers]
    always: Terms = {"weights": sum(weights.values()), "fixed": WORKSPACE}
    if asking.context:
        always["fixed"] += CONTEXT
    phases = [Phase("load", None, always)]
    if stage.first:
        phases += [
            Phase(name, layer, {**always, **terms})
            for name, layer, terms in visual_phases(model, plan, asking.running)
        ]
    if work is not None:
        layer = _last_reduction(plan)
        terms = selection_terms(report.model, plan, work, layer)
        if (work.operators or work.attention_map_bytes) and (
            stage.first if layer is None else layer in stage.layers
        ):
            before = sum(cache[: 0 if layer is None else layer - stage.layers[0]])
            held = {"KV cache": before, **(held_visual(model, plan) if stage.first else {})}
            phases.append(Phase("selection", layer, {**always, **held, **terms}))
    layers = list(_prefill(model, plan, stage, asking, storage, always, cache))
    if layers:
        phases.append(max(layers, key=lambda phase: phase.total)._replace(name="prefill"))
    if stage.last:
        phases.append(_logits(report, model, plan, stage, asking.running, always, sum(cache)))
    final, decode = _decode(report, model, plan, stage, asking, always, cache, bits)
    phases.append(decode)
    generates = report.workload.new_tokens > 1
    final = final if generates else sum(cache)
    return Peak(weights, tuple(cache), final, tuple(phases), tuple(layers), generates=generates)


def _last_reduction(plan: TokenPlan) -> int | None:
    """Return the last decoder layer that sees fewer visual tokens than the one before it.

    The cache of the layers before it is what a choice inside the LLM finds, at most.
    """
    layers = range(len(plan.visual) - 1, 0, -1)
    reducing = (one for one in layers if 0 < plan.visual[one] < plan.visual[one - 1])
    return next(reducing, None)


def _prefill(
    model: Model,
    plan: TokenPlan,
    stage: PipelineStage,
    asking: Asking,
    storage: Storage,
    always: Terms,
    cache: list[int],
) -> Iterator[Phase]:
    """Yield every decoder layer of the stage."""
    decoder, running = model.decoder, asking.running
    blocks, hidden = decoder.blocks, decoder.hidden_size
    held = held_visual(model, plan) if stage.first else {}
    if storage.scheme.unpacks:
        held["unpacked matrix"] = ENTRY * largest_linear(model, stage.layers)
    entering, maps = plan.batch * plan.query[stage.layers[0]], 0
    # Sequences of one length share their positions, but for those of images in two dimensions.
    each = plan.batch if model.token_rule.kind == "native" else 1
    tables = rotary_bytes(decoder, each * plan.query[stage.layers[0]])
    if tables:
        held["rotary tables"] = tables
    if decoder.crosses:
        sources = [block.cross_attention for block in blocks if block.cross_attention is not None]
        width = sources[0].source_size or hidden
        held["cross-attention's source"] = ENTRY * plan.batch * max(plan.cross) * width
    for layer, done in zip(stage.layers, accumulate(cache), strict=True):
        work = layer_work(plan, layer)
        masked = explicit_mask(decoder, plan, layer)
        terms = layer_terms(blocks[layer], hidden, entering, work, running, masked)
        kept = {"attention maps": maps} if maps else {}
        yield Phase("prefill", layer, {**always, "KV cache": done, **held, **kept, **terms})
        if running.output_attentions:
            maps += map_bytes(blocks[layer], work)


def _logits(
    report: Report,
    model: Model,
    plan: TokenPlan,
    stage: PipelineStage,
    running: Running,
    always: Terms,
    cached: int,
) -> Phase:
    """Return the phase of the head: embeddings and last hidden states, and the logits."""
    decoder, last = report.model.decoder, plan.query[-1]
    positions = last if running.old or report.counting.logits == "all" else min(last, 1)
    positions *= plan.batch
    terms: Terms = {**always, "KV cache": cached}
    terms["stream"] = ENTRY * plan.batch * decoder.hidden_size * (plan.query[0] + last)
    terms["logits"] = LOGIT * positions * decoder.vocab_size
    copied = positions if running.old else plan.batch * min(last, 1)  # `generate` copies the last
    terms["logits in 32 bits"] = LOGIT_COPY * copied * decoder.vocab_size
    if running.output_attentions:
        blocks = model.decoder.blocks
        maps = (map_bytes(blocks[layer], layer_work(plan, layer)) for layer in stage.layers)
        terms["attention maps"] = sum(maps)
    return Phase("logits", None, terms)


def _decode(
    report: Report,
    model: Model,
    plan: TokenPlan,
    stage: PipelineStage,
    asking: Asking,
    always: Terms,
    cache: list[int],
    bits: int | None,
) -> tuple[int, Phase]:
    """Return the cache at the end of the generation, and the last decode forward."""
    step = max(report.workload.new_tokens - 1, 1)
    grown = _grown(model, plan, stage, step, cache, bits, report)
    decoder, running = report.model.decoder, asking.running
    terms: Terms = {**always, "KV cache": sum(grown), "copy of one layer's keys": max(grown) // 2}
    keys = decode_keys(plan, step)
    found = []
    for layer in stage.layers:
        work = Work(
            plan.batch,
            plan.batch,
            plan.batch * keys[layer],
            plan.batch,
            plan.batch * keys[layer],
            plan.batch * plan.cross[layer],
        )
        block = model.decoder.blocks[layer]
        attention = [
            {name: amount for name, amount in one.items() if name != "mask"}
            for one in attention_terms(block, work, running, masked=False)
        ]
        found += attention
    most = max(found, key=lambda one: sum(one.values()), default={})
    terms.update({name: amount for name, amount in most.items() if amount})
    if stage.last:
        terms["logits"] = (LOGIT + LOGIT_COPY) * plan.batch * decoder.vocab_size
    return sum(grown), Phase("decode", None, terms)


def _grown(
    model: Model,
    plan: TokenPlan,
    stage: PipelineStage,
    step: int,
    cache: list[int],
    bits: int | None,
    report: Report,
) -> list[int]:
    """Return each layer's cache with the tokens that `step` forwards leave in it."""
    from . import formulas

    bits = cache_bits(plan) if bits is None else bits
    generated = step
    if plan.cache is not None:
        from .primitives.cache import generated_read

        generated = generated_read(plan.cache.generated, step, step)
    found = []
    for layer, own in zip(stage.layers, cache, strict=True):
        block, shape = model.decoder.blocks[layer], plan.layout[layer]
        more = 0
        if block.attention is not None and shape.generates:
            values = block.attention.cached_values(report.counting.execution)
            room = generated
            if shape.window is not None:
                room = min(generated, max(shape.window - 1 - plan.kv_stored[layer], 0))
            more = plan.batch * room * formulas.cached_bytes(values, bits)
        found.append(own + more)
    return found
