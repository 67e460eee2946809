"""Encoders, mergers and names of the transformers families' presets, as in the checkpoints.

Figures are written out here, so that no figure of a preset is compared with itself.
"""

import pytest
from vlm_tokencost.presets import load_model

# fmt: off
#: (contributing layers, layers, hidden size, heads, head size, FFN, gated, patch, class token)
CLIP = (23, 24, 1024, 16, 64, 4096, False, 14, True)
SIGLIP_26 = (26, 26, 1152, 16, 72, 4304, False, 14, False)
SIGLIP = (27, 27, 1152, 16, 72, 4304, False, 14, False)
SIGLIP_BASE = (12, 12, 768, 12, 64, 3072, False, 16, False)
EVA = (39, 39, 1408, 16, 88, 6144, False, 14, True)
QWEN2 = (32, 32, 1280, 16, 80, 5120, False, 14, False)
QWEN25 = (32, 32, 1280, 16, 80, 3420, True, 14, False)
QWEN25_LARGE = (32, 32, 1280, 16, 80, 3456, True, 14, False)
QWEN3_24 = (24, 24, 1024, 16, 64, 4096, False, 16, False)
QWEN3_27 = (27, 27, 1152, 16, 72, 4304, False, 16, False)
INTERNVIT_300M = (24, 24, 1024, 16, 64, 4096, False, 14, True)
INTERNVIT_6B = (45, 45, 3200, 25, 128, 12800, False, 14, True)
MLLAMA = (40, 40, 1280, 16, 80, 5120, False, 14, True)
PIXTRAL = (24, 24, 1024, 16, 64, 4096, True, 16, False)
PIXTRAL_14 = (24, 24, 1024, 16, 64, 4096, True, 14, False)
GLM = (24, 24, 1536, 12, 128, 4096, True, 14, False)
AIMV2_LARGE = (24, 24, 1024, 8, 128, 2816, True, 14, False)
AIMV2_HUGE = (24, 24, 1536, 12, 128, 4096, True, 14, False)
AIMV2_1B = (24, 24, 2048, 16, 128, 5632, True, 14, False)
#: shape: models
ENCODERS = [
    (CLIP, """
        llava-1.5-7b llava-1.5-13b llava-next-vicuna-7b llava-next-vicuna-13b
        llava-next-mistral-7b llava-next-34b llava-next-llama3-8b llava-next-72b
        video-llava-7b llava-next-video-7b
    """),
    (SIGLIP_26, """
        llava-onevision-0.5b llava-onevision-7b llava-onevision-72b llava-video-7b
    """),
    (EVA, """
        blip2-opt-2.7b blip2-opt-6.7b blip2-flan-t5-xl blip2-flan-t5-xxl
        instructblip-vicuna-7b instructblip-vicuna-13b instructblip-flan-t5-xl
    """),
    (QWEN2, """
        qwen2-vl-2b qwen2-vl-7b qwen2-vl-72b
    """),
    (QWEN25, """
        qwen2.5-vl-3b qwen2.5-vl-7b qwen2.5-omni-7b
    """),
    (QWEN25_LARGE, """
        qwen2.5-vl-32b qwen2.5-vl-72b
    """),
    (QWEN3_24, """
        qwen3-vl-2b qwen3-vl-4b
    """),
    (QWEN3_27, """
        qwen3-vl-8b qwen3-vl-32b qwen3-vl-30b-a3b qwen3-vl-235b-a22b
    """),
    (INTERNVIT_300M, """
        internvl2-1b internvl2-2b internvl2-4b internvl2-8b internvl2.5-1b
        internvl2.5-2b internvl2.5-4b internvl2.5-8b internvl3-1b internvl3-2b
        internvl3-8b internvl3-14b internvl3.5-1b internvl3.5-2b internvl3.5-4b
        internvl3.5-8b internvl3.5-14b
    """),
    (INTERNVIT_6B, """
        internvl2-26b internvl2-40b internvl2-76b internvl2.5-26b internvl2.5-38b
        internvl2.5-78b internvl3-38b internvl3-78b internvl3.5-38b
    """),
    (SIGLIP, """
        idefics2-8b idefics3-8b smolvlm-2.2b smolvlm2-2.2b paligemma-3b-224
        paligemma-3b-448 paligemma-3b-896 paligemma2-3b-224 paligemma2-10b-224
        paligemma2-28b-224 gemma3-4b gemma3-12b gemma3-27b aya-vision-8b
    """),
    (SIGLIP_BASE, """
        smolvlm-500m smolvlm-256m smolvlm2-500m smolvlm2-256m
    """),
    (MLLAMA, """
        llama3.2-vision-11b llama3.2-vision-90b
    """),
    (PIXTRAL, """
        pixtral-12b
    """),
    (PIXTRAL_14, """
        mistral-small-3.1-24b
    """),
    (GLM, """
        glm-4.1v-9b
    """),
    (AIMV2_LARGE, """
        ovis2-1b ovis2-2b
    """),
    (AIMV2_HUGE, """
        ovis2-4b ovis2-8b ovis2-16b
    """),
    (AIMV2_1B, """
        ovis2-34b
    """),
]
# fmt: on

#: model_type: "id hf_id" of its models
NAMES = {
    "llava": """
        llava-1.5-7b llava-hf/llava-1.5-7b-hf
        llava-1.5-13b llava-hf/llava-1.5-13b-hf
        pixtral-12b mistral-community/pixtral-12b
    """,
    "llava_next": """
        llava-next-vicuna-7b llava-hf/llava-v1.6-vicuna-7b-hf
        llava-next-vicuna-13b llava-hf/llava-v1.6-vicuna-13b-hf
        llava-next-mistral-7b llava-hf/llava-v1.6-mistral-7b-hf
        llava-next-34b llava-hf/llava-v1.6-34b-hf
        llava-next-llama3-8b llava-hf/llama3-llava-next-8b-hf
        llava-next-72b llava-hf/llava-next-72b-hf
    """,
    "llava_onevision": """
        llava-onevision-0.5b llava-hf/llava-onevision-qwen2-0.5b-ov-hf
        llava-onevision-7b llava-hf/llava-onevision-qwen2-7b-ov-hf
        llava-onevision-72b llava-hf/llava-onevision-qwen2-72b-ov-hf
        llava-video-7b lmms-lab/LLaVA-Video-7B-Qwen2
    """,
    "video_llava": """
        video-llava-7b LanguageBind/Video-LLaVA-7B-hf
    """,
    "llava_next_video": """
        llava-next-video-7b llava-hf/LLaVA-NeXT-Video-7B-hf
    """,
    "blip-2": """
        blip2-opt-2.7b Salesforce/blip2-opt-2.7b
        blip2-opt-6.7b Salesforce/blip2-opt-6.7b
        blip2-flan-t5-xl Salesforce/blip2-flan-t5-xl
        blip2-flan-t5-xxl Salesforce/blip2-flan-t5-xxl
    """,
    "instructblip": """
        instructblip-vicuna-7b Salesforce/instructblip-vicuna-7b
        instructblip-vicuna-13b Salesforce/instructblip-vicuna-13b
        instructblip-flan-t5-xl Salesforce/instructblip-flan-t5-xl
    """,
    "qwen2_vl": """
        qwen2-vl-2b Qwen/Qwen2-VL-2B-Instruct
        qwen2-vl-7b Qwen/Qwen2-VL-7B-Instruct
        qwen2-vl-72b Qwen/Qwen2-VL-72B-Instruct
    """,
    "qwen2_5_vl": """
        qwen2.5-vl-3b Qwen/Qwen2.5-VL-3B-Instruct
        qwen2.5-vl-7b Qwen/Qwen2.5-VL-7B-Instruct
        qwen2.5-vl-32b Qwen/Qwen2.5-VL-32B-Instruct
        qwen2.5-vl-72b Qwen/Qwen2.5-VL-72B-Instruct
    """,
    "qwen2_5_omni": """
        qwen2.5-omni-7b Qwen/Qwen2.5-Omni-7B
    """,
    "qwen3_vl": """
        qwen3-vl-2b Qwen/Qwen3-VL-2B-Instruct
        qwen3-vl-4b Qwen/Qwen3-VL-4B-Instruct
        qwen3-vl-8b Qwen/Qwen3-VL-8B-Instruct
        qwen3-vl-32b Qwen/Qwen3-VL-32B-Instruct
    """,
    "qwen3_vl_moe": """
        qwen3-vl-30b-a3b Qwen/Qwen3-VL-30B-A3B-Instruct
        qwen3-vl-235b-a22b Qwen/Qwen3-VL-235B-A22B-Instruct
    """,
    "internvl": """
        internvl2-1b OpenGVLab/InternVL2-1B
        internvl2-2b OpenGVLab/InternVL2-2B
        internvl2-4b OpenGVLab/InternVL2-4B
        internvl2-8b OpenGVLab/InternVL2-8B
        internvl2-26b OpenGVLab/InternVL2-26B
        internvl2-40b OpenGVLab/InternVL2-40B
        internvl2-76b OpenGVLab/InternVL2-Llama3-76B
        internvl2.5-1b OpenGVLab/InternVL2_5-1B
        internvl2.5-2b OpenGVLab/InternVL2_5-2B
        internvl2.5-4b OpenGVLab/InternVL2_5-4B
        internvl2.5-8b OpenGVLab/InternVL2_5-8B
        internvl2.5-26b OpenGVLab/InternVL2_5-26B
        internvl2.5-38b OpenGVLab/InternVL2_5-38B
        internvl2.5-78b OpenGVLab/InternVL2_5-78B
        internvl3-1b OpenGVLab/InternVL3-1B
        internvl3-2b OpenGVLab/InternVL3-2B
        internvl3-8b OpenGVLab/InternVL3-8B
        internvl3-14b OpenGVLab/InternVL3-14B
        internvl3-38b OpenGVLab/InternVL3-38B
        internvl3-78b OpenGVLab/InternVL3-78B
        internvl3.5-1b OpenGVLab/InternVL3_5-1B
        internvl3.5-2b OpenGVLab/InternVL3_5-2B
        internvl3.5-4b OpenGVLab/InternVL3_5-4B
        internvl3.5-8b OpenGVLab/InternVL3_5-8B
        internvl3.5-14b OpenGVLab/InternVL3_5-14B
        internvl3.5-38b OpenGVLab/InternVL3_5-38B
    """,
    "idefics2": """
        idefics2-8b HuggingFaceM4/idefics2-8b
    """,
    "idefics3": """
        idefics3-8b HuggingFaceM4/Idefics3-8B-Llama3
        smolvlm-2.2b HuggingFaceTB/SmolVLM-Instruct
        smolvlm-500m HuggingFaceTB/SmolVLM-500M-Instruct
        smolvlm-256m HuggingFaceTB/SmolVLM-256M-Instruct
    """,
    "smolvlm": """
        smolvlm2-2.2b HuggingFaceTB/SmolVLM2-2.2B-Instruct
        smolvlm2-500m HuggingFaceTB/SmolVLM2-500M-Video-Instruct
        smolvlm2-256m HuggingFaceTB/SmolVLM2-256M-Video-Instruct
    """,
    "paligemma": """
        paligemma-3b-224 google/paligemma-3b-pt-224
        paligemma-3b-448 google/paligemma-3b-pt-448
        paligemma-3b-896 google/paligemma-3b-pt-896
        paligemma2-3b-224 google/paligemma2-3b-pt-224
        paligemma2-10b-224 google/paligemma2-10b-pt-224
        paligemma2-28b-224 google/paligemma2-28b-pt-224
    """,
    "gemma3": """
        gemma3-4b google/gemma-3-4b-it
        gemma3-12b google/gemma-3-12b-it
        gemma3-27b google/gemma-3-27b-it
    """,
    "mllama": """
        llama3.2-vision-11b meta-llama/Llama-3.2-11B-Vision-Instruct
        llama3.2-vision-90b meta-llama/Llama-3.2-90B-Vision-Instruct
    """,
    "mistral3": """
        mistral-small-3.1-24b mistralai/Mistral-Small-3.1-24B-Instruct-2503
    """,
    "glm4v": """
        glm-4.1v-9b zai-org/GLM-4.1V-9B-Thinking
    """,
    "ovis2": """
        ovis2-1b AIDC-AI/Ovis2-1B
        ovis2-2b AIDC-AI/Ovis2-2B
        ovis2-4b AIDC-AI/Ovis2-4B
        ovis2-8b AIDC-AI/Ovis2-8B
        ovis2-16b AIDC-AI/Ovis2-16B
        ovis2-34b AIDC-AI/Ovis2-34B
    """,
    "aya_vision": """
        aya-vision-8b CohereLabs/aya-vision-8b
    """,
}
HF_IDS = {
    model_id: (hf_id, model_type)
    for model_type, rows in NAMES.items()
    for model_id, hf_id in (row.split() for row in rows.strip().splitlines())
}
SHAPES = {model_id: shape for shape, models in ENCODERS for model_id in models.split()}


def test_the_tables_agree():
    assert set(SHAPES) == set(HF_IDS)
    assert sum(len(models.split()) for _, models in ENCODERS) == len(SHAPES)


@pytest.mark.parametrize("model_id", SHAPES)
def test_encoder(model_id):
    vision = load_model(model_id).vision
    attention = vision.attention
    assert SHAPES[model_id] == (
        vision.contributing_layers,
        vision.num_hidden_layers,
        vision.hidden_size,
        attention.num_attention_heads,
        attention.head_dim,
        vision.feed_forward.intermediate_size,
        vision.feed_forward.gated,
        vision.patch_embedding.patch_size,
        vision.class_token,
    )
    assert attention.num_key_value_heads == attention.num_attention_heads


@pytest.mark.parametrize("model_id", HF_IDS)
def test_names(model_id):
    model = load_model(model_id)
    assert model.id == model_id
    assert (model.hf_id, model.model_type) == HF_IDS[model_id]


def test_qwen_frames_and_windows():
    for model_id in ("qwen2-vl-7b", "qwen2.5-vl-3b", "qwen2.5-omni-7b", "qwen3-vl-8b"):
        assert load_model(model_id).vision.patch_embedding.temporal_patch_size == 2
        assert load_model(model_id).connector.merge_size == 2
    assert load_model("qwen2-vl-7b").vision.windows is None
    windows = load_model("qwen2.5-vl-7b").vision.windows
    assert (windows.size, windows.full_attention_layers) == (8, (7, 15, 23, 31))


@pytest.mark.parametrize(
    ("model_id", "taps"),
    [("qwen3-vl-2b", (5, 11, 17)), ("qwen3-vl-8b", (8, 16, 24)), ("qwen3-vl-30b-a3b", (8, 16, 24))],
)
def test_deepstack(model_id, taps):
    model = load_model(model_id)
    assert model.connector.deepstack.encoder_layers == taps
    # the main merger normalises before it merges, the others behind
    assert [stage.kind for stage in model.connector.stages][:2] == ["norm", "merge"]
    assert [stage.kind for stage in model.connector.deepstack.stages][:2] == ["merge", "norm"]


def test_only_instructblip_reads_the_instruction():
    for model_id, words in (("blip2-opt-2.7b", 0), ("instructblip-vicuna-7b", 30_523)):
        q_former = load_model(model_id).connector.stages[0]
        assert (q_former.kind, q_former.num_queries, q_former.vocab_size) == ("q-former", 32, words)


def test_projectors_do_not_pool_what_only_frames_pool():
    # OneVision and LLaVA-Video pool frames behind the MLP, LLaVA-NeXT-Video before it: the rule's
    for model_id in ("llava-onevision-7b", "llava-video-7b", "llava-next-video-7b"):
        assert load_model(model_id).connector.merge_size == 1
