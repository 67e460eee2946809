"""What must be known about figures of memory, in words."""

from __future__ import annotations

from ..costmodel import Report
from ..costmodel.device import Device
from ..costmodel.peak import CONTEXT, WORKSPACE, Asking, stored_in
from .memory_rows import Answer
from .method_notes import method_notes
from .model_notes import model_notes
from .schedule_words import schedule_text
from .selection_words import selection_text


def gib(amount: int | None) -> str:
    """Return bytes in GiB (2³⁰), three decimals; None is a dash.

    >>> gib(14_126_854_144)
    '13.157'
    """
    if amount is None:
        return "—"
    return "<0.001" if 0 < amount < 2**30 // 2000 else f"{amount / 2**30:,.3f}"


def options_text(
    report: Report, asking: Asking, device: Device | None
) -> tuple[tuple[str, str], ...]:
    """Return what was assumed, as (label, text)."""
    running = asking.running
    positions = (
        "all positions" if running.old or report.counting.logits == "all" else "the last position"
    )
    copies = " and a copy of 32 bits" if running.old else ""
    maps = ", maps of all decoder layers kept" if running.output_attentions else ""
    stored = [stored_in(asking, None).scheme.text, stored_in(asking, report.schedule).scheme.text]
    texts = dict.fromkeys(stored)
    where = (
        "linears of LLM, encoder and connector" if asking.storage.everywhere else "LLM's linears"
    )
    quantised = any(text != "16-bit weights" for text in texts)
    lines = [
        (
            "runs",
            f"transformers, {running.attention} attention{maps}; logits of {positions}{copies}",
        ),
        ("weights", " / ".join(texts) + (f" for the {where}; others 16 bits" if quantised else "")),
    ]
    if asking.sharding.devices > 1:
        shared = "shared" if asking.sharding.encoder else "whole on every device of the first stage"
        lines.append(
            (
                "devices",
                f"{asking.sharding.pp} stages of {asking.sharding.tp} (--pp, --tp); encoder "
                f"{shared}",
            )
        )
    if device is not None:
        lines.append(("device", f"{device.name}, {float(device.memory_gb):g} GB of 10⁹ bytes"))
    return tuple(lines)


def notes(report: Report, asking: Asking, found: Answer, device: Device | None) -> tuple[str, ...]:
    """Return what a reader must know about the figures."""
    fixed = f"fixed: {WORKSPACE / 2**20:g} MiB of cuBLAS workspace"
    if asking.context:
        fixed += f", {CONTEXT / 2**20:g} MiB of CUDA context (0.3 to 0.6 GB seen)"
    lines = [
        "peak = weights + fixed + the largest phase's cache and tensors alive at once; 1 GiB = 2³⁰ "
        "bytes; reserved memory is more by fragmentation (0 to 15 %)",
        fixed,
    ]
    lines += _fit_notes(asking, found, device)
    model = report.model
    if any(not tower.patchwise for tower in model.towers):
        lines.append(
            "vision: maps of convolutional encoders are three times the largest, an estimate"
        )
    if any(block.feed_forward.kind == "experts" for block in model.decoder.blocks):
        lines.append(
            "feed-forward of experts: grouped products of transformers 5; a loop holds less"
        )
    if report.schedule is not None:
        lines.append(f"selection: {selection_text(report, ('exact',))}")
    if report.scheduled.branches:
        lines.append("of several ways, the one with the largest peak")
    if asking.kv_bits not in (None, 16):
        lines.append("scales of quantised keys and values are not counted")
    bits = report.schedule.bits if report.schedule is not None else None
    if bits is not None and bits.activations < 16:
        lines.append("activations: 16 bits, because transformers keeps them so between products")
    lines += model_notes(report)
    lines += method_notes(report.schedule)
    lines += model.uncertainty
    return tuple(lines)


def _fit_notes(asking: Asking, found: Answer, device: Device | None) -> list[str]:
    if device is None or found.fits is None:
        return []
    lines = []
    own, name = found.fits[1], device.id
    if own.fits:
        lines.append(
            "largest context: visual, structural and text tokens by memory alone, where the text "
            "grows and the visual tokens stay; the model's own limit may be lower"
        )
    else:
        changes = [f"{one.change} ({gib(one.total)} GiB)" for one in found.remedies]
        would = f"would: {', '.join(changes)}" if changes else "no change that is tried would"
        lines.append(
            f"does not fit {name}: {gib(own.excess)} GiB too much; what {would}"
            if changes
            else f"does not fit {name}: {gib(own.excess)} GiB too much, and {would}"
        )
    if "memory_gb" in device.unverified:
        lines.append(f"unverified: the memory of {name}")
    return lines


def sentence(report: Report, found: Answer) -> str:
    """Return one sentence ready for a paper's methods section."""
    before, after = found.peaks
    plan = report.dense
    asked = (
        f"For {report.model.id} with {plan.dense_visual_tokens} visual, {plan.structural_tokens} "
        f"structural and {plan.text_tokens} text tokens at batch {plan.batch} and "
        f"{report.workload.new_tokens} new tokens, "
    )
    if report.schedule is None:
        return f"{asked}the estimated peak memory is {gib(before.total)} GiB ({before.phase.name})."
    return (
        f"{asked}the schedule ({schedule_text(report)}) changes the estimated peak memory from "
        f"{gib(before.total)} to {gib(after.total)} GiB ({after.phase.name})."
    )
