"""FastVLM without its encoder, which needs timm: connector and LLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ....costmodel.plan import TokenPlan
from ..parts import Parts, tokens_of


class FastVlm(Parts):
    """`build` puts projector and LLM together under the names that the whole model has."""

    places: ClassVar[Mapping[str, str]] = {
        "model.multi_modal_projector": "connector",
        "model.language_model": "decoder",
        "lm_head": "head",
    }

    arranges: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """The classes that were put together."""
        inner = self.model.model
        names = (type(inner.multi_modal_projector).__name__, type(inner.language_model).__name__)
        return " and ".join(names)

    def see(self, plan: TokenPlan) -> int:
        """Run the connector on as many tokens as the encoder leaves."""
        projector = self.model.model.multi_modal_projector
        tokens = sum(rows * columns for rows, columns in plan.visual_input.crops)
        return tokens_of(projector(self.empty(1, tokens, projector.linear_1.in_features)))
