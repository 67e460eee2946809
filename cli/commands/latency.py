"""`tokencost latency`: time to the first token and to the last, on a device, as intervals."""

from __future__ import annotations

from typing import Annotated

import typer

from ..export import deliver
from ..options import OUTPUT, Sink, option, shares
from ..request import Request
from ..timing_options import Timing

app = typer.Typer(add_completion=False)


@app.command()
@shares(Request, Timing, Sink)
def latency(
    request: Request,
    timing: Timing,
    sink: Sink,
    per_kernel: Annotated[
        bool,
        option(
            OUTPUT,
            "--per-kernel",
            "Add every kernel of the prefill and of the first decode forward.",
        ),
    ] = False,
) -> None:
    """Price time on a device: first token, decode, end to end, as intervals.

    Example: tokencost latency --model llava-1.5-7b --method fastv --device a100-80gb
    """
    from ..latency_tables import document

    timing.check(sink)
    reason = "is of counting FLOPs: fused attention leaves out masked pairs here anyway"
    request.refuse(reason, "leave it out", "causal")
    deliver(
        sink,
        lambda: document(timing.latency(request.report()), per_kernel),
        request.schedule,
        request.config,
    )
