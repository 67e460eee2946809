"""Multi-head latent attention (DeepSeek-V2): keys and values from a shared low-rank latent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import StrictBool, model_validator

from ..errors import InvalidInput
from ..numeric import Positive
from ..operators import Attention as AttentionOperator
from ..operators import Linear, Operator, Part
from .blocks import Attention, Execution, Norm, Place, Tokens, linear_parameters, norm_parameters


class LatentAttention(Attention):
    """Attention whose keys and values are projected from a latent of kv_lora_rank features.

    With h heads, d_n = head_dim − qk_rope_head_dim, d_r = qk_rope_head_dim, d_v = v_head_dim and
    c = kv_lora_rank, MACs per token besides query and output projections:

        expanded   hidden·(c + d_r) + c·h·(d_n + d_v), then pairs·h·(d_n + d_r + d_v)
        absorbed   hidden·(c + d_r) + h·c·(d_n + d_v) per query, then pairs·h·(2c + d_r)

    Expanded, keys and values are cached: h·(d_n + d_r + d_v) values per token, as in the models'
    own code. Recomputed is expanded from cached latents, c + d_r per token, in every forward, over
    all keys, as in transformers 5.23. Absorbed caches the latents too.

    Source: DeepSeek-V2 (arXiv 2405.04434), section 2.1; transformers 5.23 modeling_deepseek_v3.py.

    Attributes:
        kv_lora_rank: Features c of the latent.
        q_lora_rank: Features of a latent of the queries, if they have one.
        qk_rope_head_dim: Rotary part of a query's and key's head_dim; keys share it.
        v_head_dim: Head size of values.
        latent_bias: Whether the projections into the latents have biases (parameters only).
    """

    kind: Literal["latent"] = "latent"
    kv_lora_rank: Positive
    q_lora_rank: Positive | None = None
    qk_rope_head_dim: Positive
    v_head_dim: Positive
    latent_bias: StrictBool = False

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.qk_rope_head_dim >= self.head_dim:
            raise InvalidInput(
                "qk_rope_head_dim",
                self.qk_rope_head_dim,
                f"is not below head_dim {self.head_dim}",
                "give the rotary part alone there, and both parts as head_dim",
            )
        if self.num_key_value_heads != self.num_attention_heads:
            raise InvalidInput(
                "num_key_value_heads",
                self.num_key_value_heads,
                "is wrong: latent attention has as many key/value heads as query heads",
                f"give {self.num_attention_heads}",
            )
        return self

    @property
    def _nope(self) -> int:
        return self.head_dim - self.qk_rope_head_dim

    @property
    def _value_width(self) -> int:
        return self.num_attention_heads * self.v_head_dim

    @property
    def _expanded_width(self) -> int:
        return self.num_attention_heads * (self._nope + self.v_head_dim)

    def cached_values(self, execution: Execution) -> int:
        """Return h · (d_n + d_r + d_v) values expanded, c + d_r absorbed."""
        if execution.latent != "expanded":
            return self.kv_lora_rank + self.qk_rope_head_dim
        return self.query_width + self._value_width

    def query_projections(
        self, place: Place, hidden: int, tokens: int, part: Part
    ) -> Iterator[Linear]:
        """Yield what turns hidden states into queries: through their latent, if they have one."""
        entering = hidden
        if self.q_lora_rank is not None:
            yield place.linear(part, "query latent", tokens, hidden, self.q_lora_rank)
            entering = self.q_lora_rank
        yield place.linear(part, "query", tokens, entering, self.query_width)

    def key_projections(
        self, place: Place, hidden: int, tokens: int, part: Part
    ) -> Iterator[Operator]:
        """Yield what turns hidden states into keys (and values, which come with them)."""
        latent = self.kv_lora_rank + self.qk_rope_head_dim
        yield place.linear(part, "key-value latent", tokens, hidden, latent)
        yield place.linear(
            part, "key-value expansion", tokens, self.kv_lora_rank, self._expanded_width
        )

    def operators(self, place: Place, hidden: int, tokens: Tokens) -> Iterator[Operator]:
        """Yield projections, scores and values, expanded or absorbed as the execution says."""
        part: Part = "attention projections"
        heads, latent = self.num_attention_heads, self.kv_lora_rank
        absorbed = place.execution.latent == "absorbed"
        yield from self.query_projections(place, hidden, tokens.query, part)
        if absorbed:
            yield place.linear(
                part, "key-value latent", tokens.key, hidden, latent + self.qk_rope_head_dim
            )
            yield place.linear(part, "absorbed key", heads * tokens.query, self._nope, latent)
        else:
            recomputed = place.execution.latent == "recomputed"
            expanded = tokens.keys_read if recomputed else tokens.key
            yield place.linear(
                part, "key-value latent", tokens.key, hidden, latent + self.qk_rope_head_dim
            )
            yield place.linear(part, "key-value expansion", expanded, latent, self._expanded_width)
        yield AttentionOperator(
            component=place.component,
            layers=place.layers,
            part="attention scores",
            name="scores and values",
            queries=tokens.query,
            keys=tokens.keys_read,
            pairs=tokens.pairs,
            heads=heads,
            query_key_size=latent + self.qk_rope_head_dim if absorbed else self.head_dim,
            value_size=latent if absorbed else self.v_head_dim,
        )
        if absorbed:
            yield place.linear(
                part, "absorbed value", heads * tokens.query, latent, self.v_head_dim
            )
        yield place.linear(part, "output", tokens.query, self._value_width, hidden)

    def parameters(self, hidden: int, norm: Norm) -> int:
        """Return the weights, biases and latent norms; absorbed weights are the same ones."""
        latent = self.kv_lora_rank + self.qk_rope_head_dim
        if self.q_lora_rank is None:
            total = linear_parameters(hidden, self.query_width, self.qkv_bias)
        else:
            total = linear_parameters(hidden, self.q_lora_rank, self.latent_bias)
            total += norm_parameters(norm, self.q_lora_rank)
            total += linear_parameters(self.q_lora_rank, self.query_width, self.qkv_bias)
        total += linear_parameters(hidden, latent, self.latent_bias)
        total += norm_parameters(norm, self.kv_lora_rank)
        total += linear_parameters(self.kv_lora_rank, self._expanded_width, self.qkv_bias)
        return total + linear_parameters(self._value_width, hidden, self.output_bias)
