"""Latent attention and mixtures of experts: single layers, counted in every way they can run."""

from __future__ import annotations

from typing import Any

import pytest
from counted_modules import counted, empty, on_meta, priced
from vlm_tokencost.costmodel.architecture.blocks import Execution, Place, Tokens
from vlm_tokencost.costmodel.architecture.experts import Experts
from vlm_tokencost.costmodel.architecture.latent import LatentAttention

HIDDEN, HEADS, LATENT, NOPE, ROPE, VALUE = 160, 4, 48, 24, 8, 20
TOKENS = 37
LATENT_ATTENTION = LatentAttention(
    num_attention_heads=HEADS,
    num_key_value_heads=HEADS,
    head_dim=NOPE + ROPE,
    qk_rope_head_dim=ROPE,
    v_head_dim=VALUE,
    kv_lora_rank=LATENT,
    qkv_bias=False,
    output_bias=False,
)
PREFILL = Tokens(query=TOKENS, key=TOKENS, ffn=TOKENS, keys_read=TOKENS, pairs=TOKENS**2)


def place(**execution: Any) -> Place:
    return Place("decoder", (0,), Execution(**execution))


def macs(operators: Any) -> int:
    return int(priced(operators).total())


@pytest.mark.parametrize("q_lora_rank", [None, 56])
@pytest.mark.parametrize("model_type", ["deepseek_v2", "deepseek_v3"])
def test_expanded_is_what_transformers_runs(model_type: str, q_lora_rank: int | None) -> None:
    import transformers

    def build() -> Any:
        config = transformers.AutoConfig.for_model(
            model_type,
            hidden_size=HIDDEN,
            num_hidden_layers=1,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            kv_lora_rank=LATENT,
            q_lora_rank=q_lora_rank,
            qk_nope_head_dim=NOPE,
            qk_rope_head_dim=ROPE,
            v_head_dim=VALUE,
            first_k_dense_replace=1,
            intermediate_size=64,
            vocab_size=10,
        )
        auto: Any = transformers.AutoModel
        return auto.from_config(config, attn_implementation="eager")

    model = on_meta(build)
    spec = LatentAttention(**{**dict(LATENT_ATTENTION), "q_lora_rank": q_lora_rank})
    ffn = 3 * TOKENS * HIDDEN * 64
    run = counted(lambda: model(inputs_embeds=empty(1, TOKENS, HIDDEN)))
    assert run.total() == macs(spec.operators(place(), HIDDEN, PREFILL)) + ffn


def test_absorbed_is_the_same_attention_with_the_weights_moved() -> None:
    import torch

    kept = 90  # keys, of which the last TOKENS are the queries' own
    states, weight = (
        empty(TOKENS, HIDDEN),
        {
            "query": empty(HIDDEN, HEADS * (NOPE + ROPE)),
            "latent": empty(HIDDEN, LATENT + ROPE),
            "keys": empty(HEADS, NOPE, LATENT),
            "values": empty(HEADS, LATENT, VALUE),
            "output": empty(HEADS * VALUE, HIDDEN),
        },
    )
    cached = empty(kept, LATENT + ROPE)

    def run() -> None:
        query = (states @ weight["query"]).view(TOKENS, HEADS, NOPE + ROPE).transpose(0, 1)
        states @ weight["latent"]  # what this call adds to the cache
        absorbed = torch.bmm(query[..., :NOPE], weight["keys"])
        whole = torch.cat([absorbed, query[..., NOPE:]], dim=-1)
        scores = torch.einsum("hqc,kc->hqk", whole, cached)
        mixed = torch.einsum("hqk,kc->hqc", scores, cached[:, :LATENT])
        values = torch.bmm(mixed, weight["values"])
        values.transpose(0, 1).reshape(TOKENS, -1) @ weight["output"]

    tokens = PREFILL._replace(keys_read=kept, pairs=TOKENS * kept)
    absorbed = place(latent="absorbed")
    assert counted(run).total() == macs(LATENT_ATTENTION.operators(absorbed, HIDDEN, tokens))


EXPERTS, TOP_K, WIDTH, SHARED = 12, 3, 40, 72


def test_routed_experts_a_shared_one_and_its_gate() -> None:
    import transformers

    def build() -> Any:
        config = transformers.AutoConfig.for_model(
            "qwen2_moe",
            hidden_size=HIDDEN,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_experts=EXPERTS,
            num_experts_per_tok=TOP_K,
            moe_intermediate_size=WIDTH,
            shared_expert_intermediate_size=SHARED,
            decoder_sparse_step=1,
            vocab_size=10,
        )
        auto: Any = transformers.AutoModel
        model = auto.from_config(config)
        model.set_experts_implementation("batched_mm")
        return model

    block = on_meta(build).layers[0].mlp
    spec = Experts(
        intermediate_size=WIDTH,
        gated=True,
        bias=False,
        num_experts=EXPERTS,
        num_experts_per_tok=TOP_K,
        shared_intermediate_size=SHARED,
        shared_gate=True,
    )
    run = counted(lambda: block(empty(1, TOKENS, HIDDEN)))
    assert run.total() == macs(spec.operators(place(), HIDDEN, TOKENS))
    # 3 of 12 experts of 40, one of 72, router and gate: n·160·(3·3·40 + 3·72 + 12 + 1)
    assert run.total() == TOKENS * HIDDEN * (3 * 3 * 40 + 3 * 72 + 12 + 1)


def test_all_experts_on_all_tokens() -> None:
    """Some implementations run every expert on every token and weigh the others with 0."""
    import torch

    spec = Experts(
        intermediate_size=WIDTH,
        gated=True,
        bias=False,
        num_experts=EXPERTS,
        num_experts_per_tok=TOP_K,
    )

    def run() -> None:
        states = empty(TOKENS, HIDDEN)
        states @ empty(HIDDEN, EXPERTS)
        inner = torch.einsum("nd,edm->enm", states, empty(EXPERTS, HIDDEN, 2 * WIDTH))
        torch.einsum("enm,emd->end", inner[..., :WIDTH], empty(EXPERTS, WIDTH, HIDDEN))

    every = macs(spec.operators(place(experts="all"), HIDDEN, TOKENS))
    assert counted(run).total() == every
    routed = macs(spec.operators(place(), HIDDEN, TOKENS))
    assert every - routed == (EXPERTS - TOP_K) * 3 * TOKENS * HIDDEN * WIDTH
