"""LLMs whose families transformers lacks, run alone: latent attention, shared experts.

Kimi-VL's and DeepSeek-VL2's decoders are DeepSeek-V3's and -V2's; their encoders and connectors
are in remote code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ...costmodel import Model
from ...costmodel.architecture.experts import Experts
from ...costmodel.architecture.latent import LatentAttention
from ...costmodel.plan import TokenPlan
from .parts import Parts

#: Presets that are built this way.
PRESETS = ("kimi-vl-a3b", "deepseek-vl2-small", "deepseek-vl2")
#: What is not run.
LEFT_OUT = ("vision", "connector")


class DecoderAlone(Parts):
    """A causal language model, which gets as many visual tokens as the plan says."""

    places: ClassVar[Mapping[str, str]] = {"model": "decoder", "lm_head": "head"}
    decoder_path: ClassVar[str] = "model"
    arranges: ClassVar[bool] = False
    beyond_reason: ClassVar[str] = (
        "the cache holds latents, and every decode forward expands all of them again "
        "(`--implementation latent=recomputed` counts it)"
    )

    def beyond(self, plan: TokenPlan, step: int) -> Mapping[str, int]:
        """Return what expanding the cached latents costs: 2·c·h·(d_n + d_v) for each in a layer."""
        if step == 0:
            return {}
        config = self.model.config
        width = config.num_attention_heads * (config.qk_nope_head_dim + config.v_head_dim)
        cached = sum(plan.kv_read) + config.num_hidden_layers * (step - 1)
        return {"decoder": 2 * cached * config.kv_lora_rank * width}

    def see(self, plan: TokenPlan) -> int:
        """Return the plan's visual tokens; there is no encoder to make them."""
        return plan.visual_input.visual_tokens


def figures(model: Model) -> dict[str, Any]:
    """Return what transformers' DeepSeek classes take for a decoder."""
    decoder = model.decoder
    attention, experts = decoder.attention, decoder.feed_forward
    assert isinstance(attention, LatentAttention)
    assert isinstance(experts, Experts)
    (dense,) = decoder.variants
    assert dense.layers == tuple(range(len(dense.layers)))
    assert dense.feed_forward is not None
    return {
        "hidden_size": decoder.hidden_size,
        "num_hidden_layers": decoder.num_hidden_layers,
        "vocab_size": decoder.vocab_size,
        "num_attention_heads": attention.num_attention_heads,
        "num_key_value_heads": attention.num_key_value_heads,
        "qk_nope_head_dim": attention.head_dim - attention.qk_rope_head_dim,
        "qk_rope_head_dim": attention.qk_rope_head_dim,
        "v_head_dim": attention.v_head_dim,
        "kv_lora_rank": attention.kv_lora_rank,
        "q_lora_rank": attention.q_lora_rank,
        "intermediate_size": dense.feed_forward.intermediate_size,
        "first_k_dense_replace": len(dense.layers),
        "moe_intermediate_size": experts.intermediate_size,
        "n_routed_experts": experts.num_experts,
        "num_experts_per_tok": experts.num_experts_per_tok,
        "n_shared_experts": experts.shared_intermediate_size // experts.intermediate_size,
        "n_group": 1,
        "topk_group": 1,
    }
