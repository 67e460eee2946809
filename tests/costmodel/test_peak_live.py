"""Peaks of the closed form against the tensors that transformers keeps alive, byte by byte."""

from __future__ import annotations

from typing import Any

import pytest
from live_bytes import most_alive, without_scores
from vlm_tokencost.costmodel import Counting, Workload, evaluate
from vlm_tokencost.costmodel.peak import Asking, Peak, peak
from vlm_tokencost.costmodel.transients import Running
from vlm_tokencost.presets import load_model

#: What the LLM alone does not hold.
OUTSIDE = ("weights", "fixed", "pixels", "visual features")
#: Position ids: one int64 a token.
POSITION = 8


@pytest.fixture
def kinds() -> dict[str, str]:
    """Return transformers' names of both kinds of attention."""
    from transformers import AttentionInterface

    AttentionInterface.register("without-scores", without_scores)
    return {"eager": "eager", "sdpa": "without-scores"}


def llm(model_id: str, attention: str) -> Any:
    """Return the LLM of a checkpoint, without weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    build: Any
    # Figures of the checkpoints' config.json
    if model_id == "llava-1.5-7b":
        build, config = LlamaForCausalLM, LlamaConfig(vocab_size=32064)
    else:
        build = Qwen2ForCausalLM
        config = Qwen2Config(
            vocab_size=152064,
            hidden_size=3584,
            intermediate_size=18944,
            num_hidden_layers=28,
            num_attention_heads=28,
            num_key_value_heads=4,
        )
    config._attn_implementation = attention
    with torch.device("meta"):
        return build(config).to(torch.bfloat16).eval()


def stored(model: Any) -> list[Any]:
    return [*model.parameters(), *model.buffers()]


def inside(one: Peak, phase: str) -> int:
    """Return the bytes of a phase that are the LLM's own."""
    (found,) = (each for each in one.phases if each.name == phase)
    return sum(amount for term, amount in found.terms.items() if term not in OUTSIDE)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(
    ("model_id", "heads", "batch"),
    # 28 query heads and 4 of keys: eager attention repeats keys and values
    [("llava-1.5-7b", 32, 1), ("llava-1.5-7b", 32, 3), ("qwen2-vl-7b", 28, 1)],
)
def test_a_prefill(kinds, model_id, heads, batch, attention):
    import torch

    report = evaluate(load_model(model_id), Workload(text_tokens=20, batch=batch))
    n = report.dense.query[0]
    model = llm(model_id, kinds[attention])
    hidden = model.config.hidden_size
    embeddings = torch.empty(batch, n, hidden, dtype=torch.bfloat16, device="meta")
    alive = most_alive(
        lambda: model(inputs_embeds=embeddings, use_cache=True, logits_to_keep=1),
        [*stored(model), embeddings],
    )
    # Off a GPU, scores are copied to 32 bits before the softmax: 4 bytes beside it, not the 2
    # bytes of its result in 16 bits.
    copied = 2 * batch * heads * n**2 if attention == "eager" else 0
    found = peak(report, Asking(running=Running(attention)))
    assert alive + 2 * batch * n * hidden == inside(found, "prefill") + copied + POSITION * n


def test_experts(kinds):
    import torch
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    # Figures of Qwen3-VL-30B-A3B's config.json
    config = Qwen3MoeConfig(
        vocab_size=151936,
        hidden_size=2048,
        moe_intermediate_size=768,
        num_hidden_layers=48,
        num_attention_heads=32,
        num_key_value_heads=4,
        head_dim=128,
        num_experts=128,
        num_experts_per_tok=8,
    )
    config._attn_implementation = kinds["sdpa"]
    with torch.device("meta"):
        model = Qwen3MoeForCausalLM(config).to(torch.bfloat16).eval()
    report = evaluate(load_model("qwen3-vl-30b-a3b"), Workload(text_tokens=20))
    n = report.dense.query[0]
    embeddings = torch.empty(1, n, 2048, dtype=torch.bfloat16, device="meta")
    alive = most_alive(
        lambda: model(inputs_embeds=embeddings, use_cache=True, logits_to_keep=1),
        [*stored(model), embeddings],
    )
    estimated = inside(peak(report), "prefill")
    assert alive + 2 * n * 2048 == pytest.approx(estimated, rel=0.005)


def test_logits_of_all_positions(kinds):
    import torch

    report = evaluate(
        load_model("qwen2-vl-7b"), Workload(text_tokens=20), None, Counting(logits="all")
    )
    n = report.dense.query[0]
    model = llm("qwen2-vl-7b", kinds["sdpa"])
    embeddings = torch.empty(1, n, 3584, dtype=torch.bfloat16, device="meta")
    alive = most_alive(
        lambda: model(inputs_embeds=embeddings, use_cache=True), [*stored(model), embeddings]
    )
    found = peak(report)
    assert found.phase.name == "logits"
    # `generate` copies the last position's logits to 32 bits, which a forward does not.
    assert alive + 2 * n * 3584 == inside(found, "logits") - 4 * 152064


def test_a_decode_forward(kinds):
    import torch

    report = evaluate(load_model("llava-1.5-7b"), Workload(text_tokens=20, new_tokens=2))
    n = report.dense.query[0]
    model = llm("llava-1.5-7b", kinds["sdpa"])
    with torch.no_grad():
        sequence = torch.empty(1, n, 4096, dtype=torch.bfloat16, device="meta")
        cache = model(inputs_embeds=sequence, use_cache=True, logits_to_keep=1).past_key_values
    token = torch.empty(1, 1, 4096, dtype=torch.bfloat16, device="meta")
    owned = [one for layer in cache.layers for one in (layer.keys, layer.values)]
    alive = most_alive(
        lambda: model(inputs_embeds=token, past_key_values=cache, use_cache=True),
        [*stored(model), token],
        owned,
    )
    (decode,) = (one for one in peak(report).phases if one.name == "decode")
    keys_and_cache = decode.terms["KV cache"] + decode.terms["copy of one layer's keys"]
    # Beside them: hidden states of one token, and the old keys' last position.
    assert abs(alive - keys_and_cache) < 100 * 4096 * 2


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_an_encoder_that_keeps_its_hidden_states(kinds, attention):
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
    )
    config._attn_implementation = kinds[attention]
    with torch.device("meta"):
        model = CLIPVisionModel(config).to(torch.bfloat16).eval()
    pixels = torch.empty(5, 3, 336, 336, dtype=torch.bfloat16, device="meta")
    alive = most_alive(
        lambda: model(pixel_values=pixels, output_hidden_states=True), [*stored(model), pixels]
    )
    report = evaluate(load_model("llava-1.5-7b"), Workload(batch=5))
    (vision,) = (
        one
        for one in peak(report, Asking(running=Running(attention))).phases
        if one.name == "vision"
    )
    held = vision.total - vision.terms["weights"] - vision.terms["fixed"] - vision.terms["pixels"]
    copied = 2 * 5 * 16 * 577**2 if attention == "eager" else 0
    assert alive == held + copied
    assert vision.terms["pixels"] == pixels.nbytes


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(
    ("model_id", "model_type", "patch"),
    [
        ("qwen2-vl-7b", "qwen2_vl", 14),
        ("qwen2.5-vl-7b", "qwen2_5_vl", 14),
        ("qwen3-vl-8b", "qwen3_vl", 16),
    ],
)
def test_encoders_of_native_resolution(kinds, model_id, model_type, patch, attention):
    import torch
    from transformers import AutoConfig, AutoModel
    from transformers.models.qwen2_vl import modeling_qwen2_vl

    vision: Any = AutoConfig.for_model(model_type).vision_config
    tower = load_model(model_id).vision
    vision.num_heads = tower.attention.num_attention_heads
    vision.intermediate_size = tower.feed_forward.intermediate_size
    if model_type == "qwen2_vl":
        vision.embed_dim = tower.hidden_size
    else:
        vision.hidden_size = tower.hidden_size
    # No layer keeps anything for the next: two show what all hold, and run on a CPU.
    vision.depth, vision.fullatt_block_indexes, vision.deepstack_visual_indexes = 2, [1], []
    vision._attn_implementation = kinds[attention]
    if model_type == "qwen2_vl":  # which AutoModel does not know
        model: Any = modeling_qwen2_vl.Qwen2VisionTransformerPretrainedModel(vision)
    else:
        model = AutoModel.from_config(vision)
    model = model.to(torch.bfloat16).eval()
    patches = torch.zeros(32 * 32, 3 * 2 * patch**2, dtype=torch.bfloat16)
    grid = torch.tensor([[1, 32, 32]])
    alive = most_alive(lambda: model(patches, grid_thw=grid), [*stored(model), patches, grid])
    report = evaluate(load_model(model_id), Workload(images=[(32 * patch, 32 * patch)]))
    found = peak(report, Asking(running=Running(attention)))
    (terms,) = (one.terms for one in found.phases if one.name == "vision")
    held = sum(amount for term, amount in terms.items() if term not in OUTSIDE)
    copied = 2 * tower.attention.num_attention_heads * 1024**2 if attention == "eager" else 0
    # Beside them: indices of positions and windows
    assert alive == pytest.approx(held + copied, rel=0.005)
    assert terms["pixels"] == patches.nbytes
