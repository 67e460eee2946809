"""Figures of memory and time: the commands `tokencost plot memory`, `roofline` and `latency`."""

from __future__ import annotations

from ...costmodel import InvalidInput
from ..memory_options import Memory
from ..options import shares
from ..request import Request
from ..timing_options import Timing
from .picture import Picture, Plot

_CAUSAL = "is of counting FLOPs: fused attention leaves out masked pairs here anyway"


@shares(Request, Memory, Picture)
def memory(request: Request, memory: Memory, picture: Picture) -> None:
    """Draw memory phase by phase with the peak marked, and the KV cache of every layer.

    With --device, its memory is drawn where it is near, and the CUDA context is counted.

    Example: tokencost plot memory --model llava-1.5-7b --method fastv --output memory.svg
    """
    reason, way_out = "changes FLOPs alone and no byte", "leave it out"
    request.refuse(reason, way_out, "causal", "encoder_layers")
    place = picture.place(request, memory.target)
    asking, device = memory.asking(request.logits), memory.target(picture.sink)
    if device is not None:
        if memory.overhead == "torch":
            problem = "leaves out what takes the device's memory too"
            raise InvalidInput("--overhead", "torch", problem, "leave it or --device out")
        asking = asking._replace(context=True)
    from ..memory_rows import answer
    from .memory import plot

    def build() -> Plot:
        report = memory.checked(request.report())
        return plot(report, answer(report, asking, None).peaks, asking, device)

    picture.publish(place, build)


@shares(Request, Timing, Picture)
def roofline(request: Request, timing: Timing, picture: Picture) -> None:
    """Draw the operators on a device: FLOP per byte against FLOP per second, sized by time.

    Example: tokencost plot roofline --model llava-1.5-7b --device a100-80gb --output roof.svg
    """
    request.refuse(_CAUSAL, "leave it out", "causal")
    if timing.load_ms is not None:
        raise InvalidInput("--load-ms", timing.load_ms, "is no operator's time", "leave it out")
    if timing.runtime is not None and request.new_tokens in (None, "1"):
        problem = "changes no operator of a prefill"
        raise InvalidInput("--runtime", timing.runtime, problem, "leave it out")
    place = picture.place(request, timing.check)
    from .roofline import plot

    picture.publish(place, lambda: plot(timing.latency(request.report())))


@shares(Request, Timing, Picture)
def latency(request: Request, timing: Timing, picture: Picture) -> None:
    """Draw the time of every stage, dense beside scheduled, with lower and upper bounds.

    Example: tokencost plot latency --model llava-1.5-7b --method fastv --device h100 --output t.svg
    """
    request.refuse(_CAUSAL, "leave it out", "causal")
    place = picture.place(request, timing.check)
    from .latency import plot

    picture.publish(place, lambda: plot(timing.latency(request.report())))
