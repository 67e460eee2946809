"""Stages as layer:ratio or layer:method:ratio, joined by `;` or `,`.

UniPruneBench (arXiv 2511.02650) sets `INTRA_LLM_LAYER_SPECS="2:fastv_intra_llm:0.5;6:…"`. As its
code runs it (TianfanPeng/VLMUniPruneBench commit f93768f, layer_prune.py, and methods/ at 2f823cf):
before the layer's forward pass it keeps ⌊r·m⌋, in floats, of the m visual tokens that reach the
layer, so that ratios multiply: 2:0.5;6:0.3 leaves 0.15 of all. That differs from every other form,
whose ratios are of the tokens that enter the LLM. DART keeps its 10 image pivots and what each of
its 15 pivots picks, 10 + 15·⌊r·m/15⌋.

Pairs without a method are read in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ...costmodel import InvalidInput, Model, Schedule, Stage, Workload, plan
from ...costmodel.errors import clip, suggestion
from ...costmodel.numeric import ratio, whole
from ...costmodel.schedule import kept_tokens

#: Its methods inside the LLM, and our rule for what each of them computes. `pdrop` ranks by the
#: last token's attention in the layer before, which is FastV's rule and not PyramidDrop's.
RULES: Mapping[str, str | None] = {
    "fastv": "fastv",
    "pdrop": "fastv",
    "fitprune": None,
    "dart": None,
    "random": "",
}
_SUFFIX = "_intra_llm"
_IMAGE_PIVOTS, _TEXT_PIVOTS = 10, 5
_WAY_OUT = "write layer:ratio or layer:method:ratio, such as 2:0.5;6:0.3"


class Pair(NamedTuple):
    """One stage: what reaches `layer` becomes `share` of it.

    Attributes:
        share: As it was written, in (0, 1].
        column: Where it stands.
    """

    layer: int
    method: str | None
    share: str
    column: int

    def left(self, tokens: int) -> int:
        """Return how many of the tokens that reach the layer are left."""
        if self.method == "dart":
            pivots = _IMAGE_PIVOTS + _TEXT_PIVOTS
            return _IMAGE_PIVOTS + pivots * int(tokens * float(ratio(self.share, "")) / pivots)
        return kept_tokens(ratio(self.share, ""), tokens, "float-floor")


def are_pairs(text: str) -> bool:
    """Tell whether a text begins as pairs do."""
    return re.match(r"\s*[0-9]+\s*:", text) is not None


class Pairs:
    """Stages, in order of their layers, of a model that is not yet known."""

    def __init__(self, text: str, stages: tuple[Pair, ...]) -> None:
        """Keep the text, so that later complaints can name a column."""
        self.text, self.stages = text, stages

    def fitted(self, model: Model, workload: Workload, field: str = "schedule") -> Schedule:
        """Return the schedule: each ratio of what the stage before leaves."""
        tokens = plan(model, workload).dense_visual_tokens
        stages = []
        for index, pair in enumerate(self.stages):
            left = pair.left(tokens)
            if not 1 <= left <= tokens:
                problem = f"leaves {left:,} of the {tokens:,} visual tokens that reach the layer"
                error = InvalidInput(f"stages.{index}", pair.share, problem, "correct the ratio")
                raise self.complaint(error, field)
            stages.append(Stage(first_layer=pair.layer, tokens=left))
            tokens = left
        return Schedule(name=self._name, stages=stages, selection=self._rule or None)

    @property
    def _methods(self) -> list[str]:
        return sorted({pair.method for pair in self.stages if pair.method is not None})

    @property
    def _rule(self) -> str | None:
        """The rule that fits all stages; "" if choosing costs nothing, None if none fits."""
        rules = {RULES[method] for method in self._methods}
        whole_line = all(pair.method is not None for pair in self.stages)
        return rules.pop() if len(rules) == 1 and whole_line else None

    @property
    def _name(self) -> str:
        methods = " and ".join(self._methods)
        if not methods:
            return ""
        unpriced = ", choice not priced" if self._rule is None else ""
        return f"UniPruneBench {methods}{unpriced}"

    def complaint(self, error: InvalidInput, field: str = "schedule") -> InvalidInput:
        """Return an error about a field of the schedule as one about its column."""
        parts = error.field.split(".")
        place = int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else 0
        value = "" if error.value is None else f"{clip(error.value, 40)} "
        column = self.stages[place].column
        problem = f"at column {column}: {value}{error.problem}"
        return InvalidInput(field, self.text, problem, error.way_out)


def read_pairs(text: str, field: str = "schedule") -> Pairs:
    """Return the stages that a text of pairs describes.

    Raises:
        InvalidInput: The text is wrong; the sentence names the column.
    """
    stages: dict[int, Pair] = {}
    for chunk in re.finditer(r"[^;,]+", text):
        if not chunk[0].strip():
            continue
        column = chunk.start() + len(chunk[0]) - len(chunk[0].lstrip()) + 1
        try:
            pair = _pair([part.strip() for part in chunk[0].split(":")], column)
        except InvalidInput as error:
            value = "" if error.value is None else f"{clip(error.value, 40)} "
            problem = f"at column {column}: {value}{error.problem}"
            raise InvalidInput(field, text, problem, error.way_out) from None
        if pair.layer in stages:
            problem = f"at column {column}: layer {pair.layer} comes twice"
            raise InvalidInput(field, text, problem, "say it once")
        stages[pair.layer] = pair
    if not stages:
        raise InvalidInput(field, text, "has no pair", _WAY_OUT)
    return Pairs(text, tuple(stages[layer] for layer in sorted(stages)))


def _pair(parts: list[str], column: int) -> Pair:
    if len(parts) not in (2, 3):
        raise InvalidInput("", ":".join(parts), "is no pair", _WAY_OUT)
    layer = whole(parts[0], "")
    method = None
    if len(parts) == 3:
        method = _method(parts[1])
    elif parts[1].removesuffix(_SUFFIX) in RULES:
        problem = "names a method and no ratio, which the benchmark takes from KEEP_RATIO"
        raise InvalidInput("", parts[1], problem, "add :ratio")
    ratio(parts[-1], "")  # refuses what is none
    return Pair(layer, method, parts[-1], column)


def _method(name: str) -> str:
    known = name.removesuffix(_SUFFIX)
    if known not in RULES:
        hint = suggestion(known, RULES).replace("known keys:", "choose from")
        raise InvalidInput("", name, "is no method of UniPruneBench inside the LLM", hint)
    return known
