"""What figures are of, and the units that they are printed in."""

from fractions import Fraction
from typing import Literal, NamedTuple

Dimension = Literal["compute", "count", "bytes", "time", "rate", "share", "factor", "score", "text"]


class Unit(NamedTuple):
    """A unit: what it measures, and how many base units it has (MAC or FLOP, byte, second)."""

    dimension: Dimension
    size: Fraction


#: "TFLOP" is what is printed as FLOPs and may be MACs; "TMAC" is known to be MACs.
UNITS: dict[str, Unit] = {
    "PFLOP": Unit("compute", Fraction(10**15)),
    "TFLOP": Unit("compute", Fraction(10**12)),
    "GFLOP": Unit("compute", Fraction(10**9)),
    "TMAC": Unit("compute", Fraction(10**12)),
    "GMAC": Unit("compute", Fraction(10**9)),
    "tokens": Unit("count", Fraction(1)),
    "layers": Unit("count", Fraction(1)),
    "MB": Unit("bytes", Fraction(10**6)),
    "GB": Unit("bytes", Fraction(10**9)),
    "MiB": Unit("bytes", Fraction(2**20)),
    "GiB": Unit("bytes", Fraction(2**30)),
    "ms": Unit("time", Fraction(1, 1000)),
    "s": Unit("time", Fraction(1)),
    "min": Unit("time", Fraction(60)),
    "h": Unit("time", Fraction(3600)),
    "tokens/s": Unit("rate", Fraction(1)),
    "images/s": Unit("rate", Fraction(1)),
    "%": Unit("share", Fraction(1, 100)),
    "fraction": Unit("share", Fraction(1)),
    "×": Unit("factor", Fraction(1)),
    "points": Unit("score", Fraction(1)),
    "text": Unit("text", Fraction(1)),
}

#: What a figure is of, with the dimension of its unit. A "ratio" is scheduled/dense, a "reduction"
#: 1 − ratio, a "factor" dense/scheduled; "speed-up" is of times, "throughput factor" of rates.
QUANTITIES: dict[str, Dimension] = {
    # compute: of the whole prefill in the LLM, of one of its layers on average, of the encoder,
    # and of a helper beside both
    "flops": "compute",
    "flops per layer": "compute",
    "encoder flops": "compute",
    "auxiliary flops": "compute",
    "flops ratio": "share",
    "flops reduction": "share",
    "flops factor": "factor",
    # tokens: entering the LLM, and averaged over its layers
    "visual tokens": "count",
    "average visual tokens": "count",
    "token ratio": "share",
    "token reduction": "share",
    "token factor": "factor",
    # memory
    "kv bytes": "bytes",
    "kv ratio": "share",
    "kv reduction": "share",
    "kv read ratio": "share",
    "memory": "bytes",
    "memory reduction": "share",
    "memory factor": "factor",
    "dynamic memory reduction": "share",  # of everything but the weights
    # time of a request; its scope says of what. "total time" is of a run over a data set, whose
    # requests are not known: only its ratios are judged
    "time": "time",
    "total time": "time",
    "time ratio": "share",
    "time reduction": "share",
    "speed-up": "factor",
    "throughput": "rate",
    "throughput factor": "factor",
    "throughput increase": "share",
    # training
    "training time": "time",
    "training ratio": "share",
    "training reduction": "share",
    "training speed-up": "factor",
    # quality: recorded and plotted, never judged
    "accuracy": "score",
    "relative accuracy": "share",
    "accuracy change": "score",
    # others
    "parameter reduction": "share",
    "setting": "text",
}
QUALITY = frozenset({"accuracy", "relative accuracy", "accuracy change"})
