"""Kernels of attention: fused or eager, with what it reads, writes and repeats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .architecture.model import Model
from .kernels import PESSIMISTIC, USUAL, Backend, Kernel, Numbers, Stage
from .operators import Attention
from .workload import Counting

#: Bytes that eager attention moves per score at 16 bits, lower to upper: matmul write, scale and
#: mask read and written, softmax read and written in fp32, cast, A·V read (hardware.md 2.2).
SCORE_BYTES = (24, 26, 28)


def attention_kernels(
    model: Model,
    every: Attention,
    causal: Attention,
    stage: Stage,
    numbers: Numbers,
    backend: Backend,
    counting: Counting,
    concatenates: bool,
) -> Iterator[Kernel]:
    """Yield the kernels of one attention, given with all its pairs and with the causal ones.

    Fused, one kernel. Eager, the products, the passes over scores, and keys and values repeated for
    every query head; also copies of the cache where it `concatenates`.
    """
    times, width = len(every.layers) or 1, every.query_key_size + every.value_size
    stored = _stored_heads(model, every)
    keys: float = 2 * every.keys * stored * width
    moved, cached, read = 2 * every.queries * every.heads * width, 0.0, 0.0
    if stage == "decode" and every.component == "decoder":
        latents = _latent_values(model, every, counting)
        cached = every.keys * (latents or stored * width) * numbers.kv / 8
        # Recomputed keys and values are read as they were written; their product read the cache.
        if latents is None or counting.execution.latent == "absorbed":
            read, keys = cached, 0.0
    eager = backend == "eager"
    pairs = every if eager else causal
    kernel = Kernel(
        stage,
        every.name,
        "product" if eager else "attention",
        times,
        2 * pairs.macs,
        kv_bytes=read,
        moved_bytes=moved + keys,
    )
    if backend == "sdpa" and every.pairs != causal.pairs:
        kernel = kernel._replace(upper_flops=2 * every.macs)
    yield kernel
    if concatenates and cached:
        copied = 2 * cached
        yield Kernel(stage, "copy of the cache", "pass", times, moved_bytes=copied, present=USUAL)
    if eager:
        yield score_kernel(stage, "scores, mask and softmax", times, every.heads * every.pairs)
    if stored < every.heads:
        repeated = 2 * every.keys * width * (stored + every.heads)
        yield Kernel(
            stage,
            "repeated keys and values",
            "pass",
            times,
            moved_bytes=repeated,
            present=USUAL if eager else PESSIMISTIC,
        )


def score_kernel(stage: Stage, name: str, times: int, scores: int) -> Kernel:
    """Return the passes over so many scores: `SCORE_BYTES` each."""
    least, usual, most = SCORE_BYTES
    present = (least / usual, 1.0, most / usual)
    return Kernel(stage, name, "pass", times, moved_bytes=usual * scores, present=present)


def _stored_heads(model: Model, attention: Attention) -> int:
    """Return the key/value heads of a decoder layer's attention; elsewhere all heads."""
    if attention.component == "decoder" and attention.layers:
        block = model.decoder.blocks[attention.layers[0]]
        crossing = not attention.name.startswith("scores")
        owner: Any = block.cross_attention if crossing else block.attention
        if owner is not None and owner.num_attention_heads == attention.heads:
            heads: int = owner.num_key_value_heads
            return heads
    return attention.heads


def _latent_values(model: Model, attention: Attention, counting: Counting) -> int | None:
    """Return what a token leaves in the cache of attention that keeps latents."""
    block = model.decoder.blocks[attention.layers[0]]
    own = block.attention
    if own is None or own.kind != "latent" or counting.execution.latent == "expanded":
        return None
    return own.cached_values(counting.execution)
