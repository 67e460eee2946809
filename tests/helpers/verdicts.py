"""Claims and verdicts made by hand, for tests of how they are shown."""

from __future__ import annotations

from typing import Any

from vlm_tokencost.presets.auditing import Verdict
from vlm_tokencost.presets.auditing import audit as _rules  # noqa: F401 - fills RULES
from vlm_tokencost.presets.claim import Claim


def a_claim(claim_id: str = "one", **fields: Any) -> Claim:
    """Return a claim with these fields: by default a cost of FastV on LLaVA-1.5-7B."""
    usual: dict[str, Any] = {
        "method": "FastV",
        "applies": "fastv",
        "model": "llava-1.5-7b",
        "model_name": "LLaVA-1.5-7B",
        "source": "table 1",
        "source_kind": "paper",
        "primary": True,
        "quantity": "flops",
        "value": "1.50",
        "unit": "TFLOP",
    }
    return Claim(**{**usual, "id": claim_id, **fields})


def a_verdict(claim: Claim | None = None, **fields: Any) -> Verdict:
    """Return a verdict with these fields: by default a reproduced one."""
    usual: dict[str, Any] = {
        "verdict": "reproduced",
        "rule": "recompute",
        "reason": "It is 1.504 T.",
    }
    return Verdict(claim or a_claim(), **{**usual, **fields})


def every_kind() -> list[Verdict]:
    """Return a claim with each verdict, of three methods, and a figure that is not judged."""
    speed = {"quantity": "speed-up", "unit": "×", "scope": "prefill"}
    return [
        a_verdict(
            a_claim("good"), value=1.504, relative_difference=0.004 / 1.5, convention="survey"
        ),
        a_verdict(
            a_claim("fitted", value="2.0"),
            verdict="reproduced with an assumption",
            value=2.01,
            relative_difference=0.005,
            assumption="118 text tokens, plausible",
        ),
        a_verdict(
            a_claim("inside", value="2.0", **speed), verdict="plausible", rule="bound", bound=3.0
        ),
        a_verdict(
            a_claim("narrow", value="4", method="VisionZip", applies="visionzip", **speed),
            verdict="needs scope",
            rule="bound",
            bound=3.0,
            bounds=(("llm-prefill", 5.0), ("prefill", 3.0)),
        ),
        a_verdict(
            a_claim("above", value="9", method="Quick <& bold>", applies="", **speed),
            verdict="impossible",
            rule="bound",
            bound=3.0,
        ),
        a_verdict(
            a_claim(
                "other", value="55", unit="%", quantity="flops ratio", note="As in the figure."
            ),
            verdict="inconsistent",
            value=15.2,
            relative_difference=15.2 / 55 - 1,
        ),
        a_verdict(
            a_claim("silent", model="", model_name="a model"),
            verdict="not checkable",
            rule="incomplete",
            missing=("a model preset for a model",),
        ),
        a_verdict(
            a_claim("score", quantity="accuracy", value="61.9", unit="points"),
            verdict="not checkable",
            rule="quality",
        ),
    ]
