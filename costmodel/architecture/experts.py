"""Mixture of experts: a router, routed experts and shared ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import StrictBool, model_validator

from ..errors import InvalidInput
from ..numeric import Count, Positive
from ..operators import Operator, Part
from .blocks import FeedForward, Place, linear_parameters


class Experts(FeedForward):
    """n · top_k routed pairs of token and expert, shared experts on all tokens, and the router.

    Attributes:
        intermediate_size: Width of one routed expert.
        num_experts, num_experts_per_tok: E and top_k.
        shared_intermediate_size: Width of all shared experts together; 0 without any.
        shared_gate: Whether a linear of one output scales the shared experts.
        router_bias: Whether each expert has a stored bias of the router's scores.
    """

    kind: Literal["experts"] = "experts"
    num_experts: Positive
    num_experts_per_tok: Positive
    shared_intermediate_size: Count = 0
    shared_gate: StrictBool = False
    router_bias: StrictBool = False

    @model_validator(mode="after")
    def _experts_exist(self) -> Self:
        if self.num_experts_per_tok > self.num_experts:
            raise InvalidInput(
                "num_experts_per_tok",
                self.num_experts_per_tok,
                f"exceeds num_experts {self.num_experts}",
                "give at most as many",
            )
        if self.shared_gate and not self.shared_intermediate_size:
            raise InvalidInput(
                "shared_gate",
                True,
                "is given without shared experts, which it scales",
                "add shared_intermediate_size",
            )
        return self

    @property
    def active_intermediate_size(self) -> int:
        """top_k · expert width + shared width."""
        return self.num_experts_per_tok * self.intermediate_size + self.shared_intermediate_size

    @property
    def _shared(self) -> FeedForward:
        return FeedForward(
            intermediate_size=self.shared_intermediate_size, gated=self.gated, bias=self.bias
        )

    def operators(self, place: Place, hidden: int, tokens: int) -> Iterator[Operator]:
        """Yield the router, the routed experts and the shared ones."""
        part: Part = "feed-forward"
        width = self.intermediate_size
        every = place.execution.experts == "all"
        routed = tokens * (self.num_experts if every else self.num_experts_per_tok)
        yield place.linear(part, "router", tokens, hidden, self.num_experts)
        if self.gated:
            yield place.linear(part, "experts' gate", routed, hidden, width)
        yield place.linear(part, "experts' up", routed, hidden, width)
        yield place.linear(part, "experts' down", routed, width, hidden)
        if self.shared_intermediate_size:
            for operator in self._shared.operators(place, hidden, tokens):
                yield operator._replace(name=f"shared experts' {operator.name}")
        if self.shared_gate:
            yield place.linear(part, "shared experts' weight", tokens, hidden, 1)

    def parameters(self, hidden: int) -> int:
        """Return all experts' weights, the router's and the shared experts'."""
        total = self.num_experts * super().parameters(hidden)
        total += linear_parameters(hidden, self.num_experts, self.router_bias)
        if self.shared_intermediate_size:
            total += self._shared.parameters(hidden)
        return total + (hidden if self.shared_gate else 0)
