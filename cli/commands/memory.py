"""`tokencost memory`: weights, cache and the peak of every phase, and what fits a device."""

from __future__ import annotations

import typer

from ..export import deliver
from ..memory_options import Memory
from ..options import Sink, shares
from ..request import Request

app = typer.Typer(add_completion=False)


@app.command()
@shares(Request, Memory, Sink)
def memory(request: Request, memory: Memory, sink: Sink) -> None:
    """Price peak memory phase by phase, and what fits a device or several.

    Example: tokencost memory --model llava-1.5-7b --method fastv --device a100-80gb
    """
    reason, way_out = "changes FLOPs alone and no byte", "leave it out"
    request.refuse(reason, way_out, "causal", "encoder_layers")
    asking, device = memory.asking(request.logits), memory.target(sink)
    from ..memory_tables import document

    deliver(
        sink,
        lambda: document(memory.checked(request.report()), asking, device, memory),
        request.schedule,
        request.config,
    )
