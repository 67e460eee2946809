"""Kernels: what a forward pass launches, with FLOPs and bytes, from operators and plans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .architecture.blocks import Block
from .architecture.model import Model
from .attention_kernels import attention_kernels, score_kernel
from .errors import InvalidInput
from .kernels import PESSIMISTIC, USUAL, Backend, Kernel, Numbers, Stage
from .lower import lower, lower_decode
from .operators import Attention, Convolution, Linear, Operator
from .passes import activation_numbers, add_numbers, norm_numbers, rotation_numbers
from .schedule import Schedule
from .tokenplan import TokenPlan, alike
from .workload import Counting


def prefill_kernels(
    model: Model, plan: TokenPlan, counting: Counting, numbers: Numbers, backend: Backend
) -> Iterator[Kernel]:
    """Yield the kernels of encoder, connector and prefill.

    Query, key and value are one product, gate and up another. With n queries, k keys, H heads of
    which K are stored and s bytes per value:

        product          2·n·c_in·c_out FLOP, s·n·(c_in + c_out) bytes and the weights once
        fused attention  the pairs that a causal mask leaves (sdpa: all, at most); s·(n·H + k·K)·
                         (d_qk + d_v) bytes
        eager attention  all pairs, and 24 to 28 bytes per score

    Encoders have no passes of their own: their efficiency is that of whole encoders.
    """
    operators = lower(model, plan, _with(counting, causal=False))
    causal: Sequence[Operator] = operators
    if backend != "eager":
        try:
            causal = lower(model, plan, _with(counting, causal=True))
        except InvalidInput:  # the pairs that the mask leaves are not known: all are priced
            causal = operators
    seen = zip(operators, causal, strict=True)
    yield from _kernels(model, seen, "prefill", numbers, backend, counting)
    layers = zip(map(id, model.decoder.blocks), plan.query, plan.key, plan.ffn, strict=True)
    for same, (_, query, key, ffn) in alike(layers):
        block, tokens = model.decoder.blocks[same[0]], (query, key, ffn)
        amounts = [plan.batch * count for count in tokens]
        yield from _passes(model, block, "prefill", len(same), *amounts)


def decode_kernels(
    model: Model,
    plan: TokenPlan,
    step: int,
    counting: Counting,
    numbers: Numbers,
    backend: Backend,
    concatenates: bool,
) -> Iterator[Kernel]:
    """Yield the kernels of the `step`-th decode forward: weights, and the cache that it reads.

    Where the cache `concatenates`, as transformers' does, each layer's is copied: two more passes.
    """
    operators = lower_decode(model, plan, step, step, counting)
    seen = zip(operators, operators, strict=True)
    yield from _kernels(model, seen, "decode", numbers, backend, counting, concatenates)
    shapes = map(id, model.decoder.blocks)
    for same, (_, runs) in alike(zip(shapes, (one.generates for one in plan.layout), strict=True)):
        if runs:
            block, n = model.decoder.blocks[same[0]], plan.batch
            yield from _passes(model, block, "decode", len(same), n, n, n)


def selection_kernels(
    model: Model, plan: TokenPlan, schedule: Schedule | None, counting: Counting, backend: Backend
) -> Iterator[Kernel]:
    """Yield what choosing the tokens takes: products, rounds that wait, and maps.

    Released code that needs attention maps runs those layers eagerly: 24 to 28 bytes per score,
    beside a fused kernel; where attention is eager anyway, that is priced there.
    """
    if schedule is None or schedule.selection is None:
        return
    from .selection.work import ENTRY_BYTES, selection_work  # few schedules name a rule

    work = selection_work(model, plan, schedule, counting)
    pairs = zip(work.operators, work.operators, strict=True)
    yield from _kernels(model, pairs, "selection", Numbers(), "flash", counting)
    yield Kernel("selection", "rounds that wait for one another", "launch", work.launches)
    if work.attention_map_bytes and counting.selection == "released" and backend != "eager":
        scores = work.attention_map_bytes // ENTRY_BYTES
        yield score_kernel("selection", "attention maps of released code", 1, scores)


def decode_selection_kernels(
    model: Model, plan: TokenPlan, schedule: Schedule | None, step: int, counting: Counting
) -> Iterator[Kernel]:
    """Yield what a rule computes in a decode forward."""
    if schedule is None or schedule.selection is None or isinstance(schedule.selection, str):
        return
    from .selection import decode_selection

    operators = decode_selection(model, plan, schedule, step, step, counting)
    pairs = zip(operators, operators, strict=True)
    yield from _kernels(model, pairs, "decode", Numbers(), "flash", counting)


def _with(counting: Counting, *, causal: bool) -> Counting:
    return counting.model_copy(update={"causal": causal})


def _kernels(
    model: Model,
    operators: Iterable[tuple[Operator, Operator]],
    phase: Stage,
    numbers: Numbers,
    backend: Backend,
    counting: Counting,
    concatenates: bool = False,
) -> Iterator[Kernel]:
    """Yield the kernels of operators, each given with all its pairs and with the causal ones."""
    pending: list[Linear] = []
    for operator, causal in operators:
        if isinstance(operator, Linear):
            if pending and not _joins(pending[-1], operator):
                yield from _product(model, pending, phase, numbers, counting)
                pending = []
            pending.append(operator)
            continue
        if pending:
            yield from _product(model, pending, phase, numbers, counting)
            pending = []
        stage = _stage(operator, phase)
        if isinstance(operator, Attention):
            assert isinstance(causal, Attention)
            yield from attention_kernels(
                model, operator, causal, stage, numbers, backend, counting, concatenates
            )
        else:
            _, c_in, c_out, kernel = operator.terms
            yield Kernel(
                stage,
                operator.name,
                "product",
                len(operator.layers) or 1,
                2 * operator.macs,
                weight_bytes=2 * kernel * c_in * c_out,
                moved_bytes=2 * operator.positions * (_entering(operator) + c_out),
            )
    if pending:
        yield from _product(model, pending, phase, numbers, counting)


def _entering(operator: Convolution) -> int:
    """Return the values that a convolution reads for each output position, as far as is told.

    Patches do not overlap, so that each reads all its own; a depthwise kernel has an input channel
    for each of output. Others read their channels once at least: neighbours share the rest.
    """
    if operator.name == "patch embedding":
        return operator.in_channels * operator.kernel
    return operator.out_channels if operator.in_channels == 1 else operator.in_channels


def _stage(operator: Operator, phase: Stage) -> Stage:
    component = operator.component
    if component in ("vision", "connector"):
        return component
    return "selection" if component == "selection" and phase != "decode" else phase


#: What follows what in one product, by the last word of the names.
_FUSED = {("query", "key"), ("key", "value"), ("gate", "up")}


def _joins(before: Linear, after: Linear) -> bool:
    """Tell whether two products of the same inputs run as one."""
    names = before.name.split()[-1], after.name.split()[-1]
    same = before._replace(name="", out_features=0) == after._replace(name="", out_features=0)
    return names in _FUSED and same


def _product(
    model: Model, linears: list[Linear], phase: Stage, numbers: Numbers, counting: Counting
) -> Iterator[Kernel]:
    """Yield a product, and what slow software does to its weights first.

    bitsandbytes and AutoAWQ turn weights into 16 bits in memory where a product has many tokens:
    they are written and read once more. Kernels that do it in registers save both.
    """
    first, c_out = linears[0], sum(linear.out_features for linear in linears)
    narrow = first.component == "decoder"
    weight, entering = (numbers.weights, numbers.activations) if narrow else (16, 16)
    n, c_in, times = first.tokens, first.in_features, len(first.layers) or 1
    entries = _copies(model, first, counting) * c_in * c_out
    yield Kernel(
        _stage(first, phase),
        " + ".join(linear.name for linear in linears),
        "product",
        times,
        2 * n * c_in * c_out,
        weight_bytes=entries * weight / 8,
        moved_bytes=n * (c_in * entering / 8 + 2 * c_out),
        narrow=narrow,
    )
    if narrow and numbers.dequantized and n > 1:
        yield Kernel(
            _stage(first, phase),
            "weights at 16 bits",
            "pass",
            times,
            weight_bytes=4 * entries,
            present=PESSIMISTIC,
        )


def _copies(model: Model, linear: Linear, counting: Counting) -> float:
    """Return how many matrices a product reads: one, each head's own, or the experts chosen.

    n tokens that choose top_k of E experts evenly reach E·(1 − (1 − top_k/E)ⁿ) of them.
    """
    if linear.component != "decoder":
        return 1
    block = model.decoder.blocks[linear.layers[0]]
    if linear.name.startswith("experts'"):
        experts: Any = block.feed_forward
        every, each = experts.num_experts, experts.num_experts_per_tok
        if counting.execution.experts == "all":
            return float(every)
        tokens = linear.tokens / each
        return float(every * (1 - (1 - each / every) ** tokens))
    if linear.name.startswith("absorbed") and block.attention is not None:
        return block.attention.num_attention_heads
    return 1


def _passes(
    model: Model, block: Block, stage: Stage, times: int, query: int, key: int, ffn: int
) -> Iterator[Kernel]:
    """Yield a layer's elementwise passes at 16 bits: rotation, norms, activation, residual adds.

    Engines fuse them into the products beside them, so that the lower bound leaves them out. What
    each moves stands in `passes`: rotation 3·(n_q·H + n_k·K)·d_h numbers, norm 4·n·d, activation
    3·n·m with a gate, add 2·n·d (3·n·d beyond the cache).
    """
    hidden, attention, network = model.decoder.hidden_size, block.attention, block.feed_forward
    amounts: list[tuple[str, int]] = []
    if attention is not None:
        rotated = query * attention.query_width + key * attention.key_width
        amounts.append(("rotary embedding", rotation_numbers(rotated)))
        if attention.qk_norm:
            amounts.append(("norm of queries and keys", norm_numbers(rotated)))
    branches = (attention is not None) + (block.cross_attention is not None)
    amounts += [("norm", query * norm_numbers(hidden))] * block.norms
    amounts += [("residual add", query * add_numbers(query, hidden))] * branches
    amounts += [("residual add", ffn * add_numbers(ffn, hidden))]
    wide = activation_numbers(network.active_intermediate_size, gated=network.gated)
    amounts.append(("activation", ffn * wide))
    for name, numbers in amounts:
        yield Kernel(stage, name, "pass", times, moved_bytes=2 * numbers, present=USUAL)
