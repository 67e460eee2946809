"""Measuring without a clock: two small cases, a bench that measures nothing, what a row holds."""

from __future__ import annotations

from fractions import Fraction

from vlm_tokencost.validation.measure import Options

#: Two small cases that run in a second each.
FEW = Options(
    models=("llava-1.5-7b",),
    methods=("fastv",),
    shares=(Fraction(1, 3),),
    batches=(1,),
    attentions=("sdpa",),
    device="cpu",
    scale="reduced",
)


class FakeBench:
    """Measures nothing, in a time that the test decides."""

    def __init__(self, seconds=1.0, failing=None):
        """Take the time of a case, and which cases fail with what."""
        self.now, self.seconds, self.failing = 0.0, seconds, failing or {}
        self.prepared, self.measured, self.released = [], [], 0

    def clock(self):
        """Return the time that cases have taken."""
        return self.now

    def prepare(self, model, headroom=0):
        """Note the model."""
        self.prepared.append(model.id)

    def measure(self, case):
        """Let time pass."""
        self.measured.append(case.label)
        self.now += self.seconds
        if case.label in self.failing:
            raise self.failing[case.label]
        return {"wall_seconds": {}}

    def release(self):
        """Count."""
        self.released += 1


def check_row(row):
    """Check the fields of a row, and that its times are in order."""
    assert row.keys() == {
        *("model", "method", "budget", "batch", "attention", "built_as", "images"),
        *("text_tokens", "structural_tokens", "visual_tokens", "entering_visual_tokens"),
        *("average_visual_tokens", "tokens_per_layer", "flops", "wall_seconds"),
        *("warm_ups", "phase_seconds", "kernels", "memory_bytes", "date", "commit"),
    }
    selection = {"selection"} if row["method"] else set()
    parts = {"vision", "connector", "decoder", "head"} | selection
    assert row["flops"].keys() == {"prefill", "decode_forward"}
    assert row["flops"]["prefill"].keys() == parts
    assert row["flops"]["decode_forward"].keys() == {"decoder", "head"}
    assert row["phase_seconds"]["prefill"].keys() == parts | {"outside"}
    assert row["phase_seconds"]["decode_forward"].keys() == {"decoder", "head", "outside"}
    spreads = [*row["wall_seconds"].values()]
    spreads += [one for phase in row["phase_seconds"].values() for one in phase.values()]
    for one in spreads:
        assert one.keys() == {"repeats", "minimum", "lower_quartile", "median", "upper_quartile"}
        assert 0 < one["minimum"] <= one["lower_quartile"] <= one["median"]
        assert one["median"] <= one["upper_quartile"]
    assert row["kernels"].keys() == {"reason"} or row["kernels"].keys() == {
        "prefill",
        "decode_forward",
    }
    assert row["memory_bytes"].keys() in ({"reason"}, {"weights", "encode", "prefill", "decode"})
