"""Times on a device of round figures: 100 TFLOP/s, 1 TB/s, 80 GB."""

from vlm_tokencost.costmodel import Schedule, Stage, Workload, evaluate
from vlm_tokencost.costmodel.clock import Running
from vlm_tokencost.costmodel.device import Device, Peaks
from vlm_tokencost.costmodel.latency import latency
from vlm_tokencost.presets import load_model

GRAPH = Running(runtime="graph", attention="flash")
HALF = Schedule(stages=(Stage(first_layer=2, ratio="0.5"),))


def device(**changes):
    """Return the device, with other figures if given."""
    fields = {
        "id": "toy",
        "name": "Toy",
        "vendor": "none",
        "architecture": "none",
        "peaks": Peaks(bf16=100, fp16=100),
        "memory_gb": 80,
        "bandwidth_gb_s": 1000,
        "verification": "own",
        "source": ("this test",),
    }
    return Device(**(fields | changes))


def timed(model="llava-1.5-7b", schedule=None, running=GRAPH, on=None, **workload):
    """Return the times of a request."""
    report = evaluate(load_model(model), Workload(**workload), schedule)
    return latency(report, on or device(), running)
