"""`tokencost latency`: time to the first token and to the last, on a device, as intervals."""

from __future__ import annotations

import typer

from ..export import deliver
from ..options import Sink, shares
from ..request import Request
from ..timing_options import Timing

app = typer.Typer(add_completion=False)


@app.command()
@shares(Request, Timing, Sink)
def latency(request: Request, timing: Timing, sink: Sink) -> None:
    """Price time on a device: first token, decode, end to end, as intervals.

    Example: tokencost latency --model llava-1.5-7b --method fastv --device a100-80gb
    """
    from ...costmodel.latency import latency as timed
    from ..latency_tables import document

    timing.check(sink)
    reason = "is of counting FLOPs: fused attention leaves out masked pairs here anyway"
    request.refuse(reason, "leave it out", "causal")
    deliver(
        sink,
        lambda: document(timed(request.report(), timing.target(), timing.running())),
        request.schedule,
        request.config,
    )
