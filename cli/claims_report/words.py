"""What a report tells its reader before the figures."""

from __future__ import annotations

from ...costmodel.flops import MEANINGS, UNITS

TITLE = "Published claims, audited"
HOW = (
    "Each figure that a source prints about cost, memory or speed is set beside what the model and "
    "the schedule give. What can be computed (FLOPs, tokens, KV cache) is recomputed in closed "
    "form. What was measured (times, speed-ups, peak memory) is set against a bound: what would be "
    "left if everything that the method saves took no time at all.",
    "A verdict is about a figure as it is printed, not about a method or its authors. Inconsistent "
    "and impossible often mean that a unit, a scope or a setting is not the one that the figure "
    "suggests; the reason says which.",
    "Plausible is no confirmation: a figure inside its bound may still be wrong. A bound on time "
    "supposes the same device, precision and kernels on both sides.",
    "Verification tells how far the figure was seen in its source. One that is not read in the "
    "source itself should be looked up before it is quoted.",
    "Accuracy figures are recorded and never judged; they stand at the end of each section, and "
    "are left out of the counts.",
)
READING = (
    "A recomputed cost names its reading: the convention, whether one multiply-add counts as one "
    "(MAC) or two (FLOP), the parts that are counted, and the tokens of the dense model."
)
CONVENTIONS = tuple(f"{name} [{UNITS[name]}]: {meaning}" for name, meaning in MEANINGS.items())
COUNTS = "Verdicts by method"
AGREEMENT = "Printed figures against recomputed ones"
BOUNDS = "Claimed speed-ups against their bounds"
CAPTIONS = {
    COUNTS: "How many claims of each method got which verdict.",
    AGREEMENT: (
        "Each mark is a claim whose figure could be recomputed; on the diagonal both are equal. "
        "Axes are logarithmic, but for shares."
    ),
    BOUNDS: (
        "Each mark is a claimed factor beside the bound that decided its verdict; below the "
        "diagonal the claim is above its bound. Reductions of time are drawn as factors. Axes are "
        "logarithmic."
    ),
}
