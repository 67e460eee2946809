"""transformers models from presets: configs, parameters, weights, refusals."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from driven_presets import ONE_EACH
from published_configs import CONFIGS
from vlm_tokencost.costmodel import InvalidInput, MissingExtra, model_parameters
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation import build as building
from vlm_tokencost.validation.build import build, check_memory, free_bytes
from vlm_tokencost.validation.configs import FAMILIES, config_of
from vlm_tokencost.validation.reduced import reduced

if TYPE_CHECKING:
    import torch


def components(model: torch.nn.Module) -> dict[str, int]:
    """Return the stored parameters by component, from the names that transformers gives them."""
    found = {"vision": 0, "connector": 0, "decoder": 0, "head": 0}
    for name, parameter in model.named_parameters():
        if any(word in name for word in ("merger", "projector", "newline", "connector")):
            component = "connector"
        elif any(word in name for word in ("vision_tower", "visual", "vision_model")):
            component = "vision"
        else:
            component = "head" if name.startswith("lm_head") else "decoder"
        found[component] += parameter.numel()
    return found


# --- configs -------------------------------------------------------------------------------------


def test_every_family_is_built_here() -> None:
    assert {load_model(model_id).model_type for model_id in ONE_EACH} == set(FAMILIES)


@pytest.mark.parametrize("model_id", ONE_EACH)
def test_parameters_of_every_family(model_id: str) -> None:
    model = load_model(model_id)
    built = build(model)
    assert components(built) == model_parameters(model)
    assert {parameter.device.type for parameter in built.parameters()} == {"meta"}


def differences(given: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Name the written-out figures that a config does not have."""
    for key, value in wanted.items():
        where, found = f"{path}{key}", getattr(given, key, None)
        found = given[key] if isinstance(given, dict) else found
        if isinstance(value, dict) and key != "rope_parameters":
            yield from differences(found, value, f"{where}.")
        elif isinstance(value, list | tuple) and not isinstance(found, dict):
            if [*found] != [*value]:
                yield f"{where}: {found} for {value}"
        elif found != value:
            yield f"{where}: {found} for {value}"


@pytest.mark.parametrize("model_id", CONFIGS)
def test_configs_equal_those_written_out(model_id: str) -> None:
    given, wanted = config_of(load_model(model_id)), CONFIGS[model_id]
    # CLIP's projection belongs to its contrastive head, which no LLaVA has.
    vision = {k: v for k, v in wanted["vision_config"].items() if k != "projection_dim"}
    assert list(differences(given, {**wanted, "vision_config": vision})) == []


#: Further special tokens, by the beginning of the model type.
MARKS = {
    "qwen2": ("video_token_id", "vision_start_token_id", "vision_end_token_id"),
    "qwen3": ("video_token_id", "vision_start_token_id", "vision_end_token_id"),
    "gemma": ("boi_token_id", "eoi_token_id"),
}


@pytest.mark.parametrize("model_id", ONE_EACH)
def test_special_tokens_are_in_the_vocabulary(model_id: str) -> None:
    for model in (load_model(model_id), reduced(load_model(model_id))):
        config: Any = config_of(model)
        tokens = [
            getattr(config, name)
            for name in ("image_token_id", *MARKS.get(config.model_type[:5], ()))
        ]
        assert len(set(tokens)) == len(tokens)
        assert all(0 <= token < model.decoder.vocab_size for token in tokens)


@pytest.mark.parametrize("model_id", ONE_EACH)
def test_reduced_models_build(model_id: str) -> None:
    model = reduced(load_model(model_id))
    assert components(build(model)) == model_parameters(model)


# --- weights -------------------------------------------------------------------------------------


#: Models whose whole forward pass takes a fraction of a second.
QUICK = ["llava-1.5-7b", "internvl3-8b", "qwen2-vl-7b", "qwen2.5-vl-3b", "qwen2.5-vl-7b"]


def prompt(model_id: str, built: Any, seed: int = 0) -> dict[str, Any]:
    """Return a question about random pixels: tokens, mask, pixels."""
    import torch

    if "qwen" in model_id:  # 8×10 patches, merged by 2×2
        size, visual = (80, 3 * 2 * 14 * 14), 20
    elif "internvl" in model_id:
        size, visual = (1, 3, 448, 448), 256
    else:
        size, visual = (1, 3, 336, 336), 576
    pixels = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    image = torch.full((visual,), built.config.image_token_id)
    tokens = torch.cat([torch.arange(10, 20), image, torch.arange(40, 60)])[None]
    given = {
        "pixel_values": pixels.to(built.dtype),
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
    }
    if "qwen" in model_id:
        given["image_grid_thw"] = torch.tensor([[1, 8, 10]])
        given["mm_token_type_ids"] = (tokens == built.config.image_token_id).int()
    return given


@pytest.mark.parametrize("model_id", QUICK)
def test_generation_varies_and_depends_on_the_image(model_id: str) -> None:
    built: Any = build(reduced(load_model(model_id)), "cpu", attention="sdpa")
    given = prompt(model_id, built)
    answer = built.generate(
        **given,
        max_new_tokens=20,
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
    )
    tokens = answer.sequences[0, given["input_ids"].shape[1] :].tolist()
    assert len(tokens) == 20  # nothing ends it early
    assert len(set(tokens)) >= 8
    other = built(**prompt(model_id, built, seed=1)).logits[:, -1]
    assert (other - answer.logits[0]).norm() / other.norm() > 1e-3


@pytest.mark.parametrize(
    ("model_id", "dtype"),
    [
        *((model_id, "bfloat16") for model_id in QUICK),
        ("qwen2.5-vl-7b", "float16"),
        ("qwen2.5-vl-7b", "float64"),
    ],
)
def test_weights_suit_every_number_format(model_id: str, dtype: str) -> None:
    import torch

    built: Any = build(reduced(load_model(model_id)), "cpu", dtype, attention="sdpa")
    assert {parameter.dtype for parameter in built.parameters()} == {getattr(torch, dtype)}
    logits = built(**prompt(model_id, built), logits_to_keep=1).logits.double()
    assert logits.isfinite().all()
    assert 0.1 < logits.std() < 10


def test_weights_follow_the_seed_and_leave_the_global_one_alone() -> None:
    import torch

    model = reduced(load_model("qwen2.5-vl-3b"))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = build(model, "cpu").state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(4)
    again, other = build(model, "cpu").state_dict(), build(model, "cpu", seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_models_are_in_evaluation_mode_without_gradients() -> None:
    built = build(reduced(load_model("llava-1.5-7b")), "cpu")
    assert not any(module.training for module in built.modules())
    assert not any(parameter.requires_grad for parameter in built.parameters())


def test_tied_heads_stay_tied() -> None:
    built: Any = build(reduced(load_model("qwen2.5-vl-3b")), "cpu")
    assert built.lm_head.weight is built.get_input_embeddings().weight


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rotary_tables_are_those_of_the_definition(dtype: str) -> None:
    """θ^(−2i/d_h) of Qwen2.5-VL: θ = 10⁶ over d_h = 8, and 10⁴ over half of the ViT's 12."""
    import torch

    built: Any = build(reduced(load_model("qwen2.5-vl-7b")), "cpu", dtype)
    text = built.base_model.language_model.rotary_emb.inv_freq
    torch.testing.assert_close(text, torch.tensor([1, 10**-1.5, 10**-3, 10**-4.5]))
    vision = built.base_model.visual.rotary_pos_emb.inv_freq
    torch.testing.assert_close(vision, torch.tensor([1, 10 ** (-4 / 3), 10 ** (-8 / 3)]))


@pytest.mark.parametrize("model_id", ONE_EACH)
def test_attention_is_the_one_asked_for(model_id: str) -> None:
    for attention in ("eager", "sdpa"):
        if attention == "sdpa" and model_id == "paligemma2-3b-224":
            continue  # refused, see below
        config: Any = build(reduced(load_model(model_id)), attention=attention).config
        parts = (config, config.vision_config, config.text_config)
        assert {part._attn_implementation for part in parts} == {attention}


# --- refusals ------------------------------------------------------------------------------------


def refused(*arguments: Any, **options: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        build(*arguments, **options)
    return caught.value


def test_unknown_family_lists_the_known() -> None:
    model = load_model("llava-1.5-7b").model_copy(update={"model_type": "llava_extra"})
    error = refused(model)
    assert str(error).startswith("model_type llava_extra cannot be built in transformers; choose")
    assert all(name in error.way_out for name in FAMILIES)


@pytest.mark.parametrize(
    ("part", "value", "listed"),
    [("decoder", "phi", "llama"), ("vision", "eva", "clip_vision_model")],
)
def test_unknown_parts_list_the_known(part: str, value: str, listed: str) -> None:
    model = load_model("llava-1.5-7b")
    changed = getattr(model, part).model_copy(update={"model_type": value})
    error = refused(model.model_copy(update={part: changed}))
    assert (error.field, error.value) == (f"{part}.model_type", value)
    assert listed in error.way_out


def test_a_token_rule_of_another_family() -> None:
    rule = load_model("llava-next-34b").token_rule
    error = refused(load_model("llava-1.5-7b").model_copy(update={"token_rule": rule}))
    assert (error.field, error.value) == ("token_rule.kind", "anyres")


def test_figures_that_transformers_cannot_express() -> None:
    model = load_model("qwen2-vl-7b")
    attention = model.decoder.attention.model_copy(update={"qkv_bias": False})
    decoder = model.decoder.model_copy(update={"attention": attention})
    error = refused(model.model_copy(update={"decoder": decoder}))
    # 28 layers · (3584 + 2 · 512) biases are Qwen2's in any case
    assert "has 8,291,246,592 parameters, but 8,291,375,616 as Qwen2VL" in str(error)


@pytest.mark.parametrize(
    ("options", "field", "listed"),
    [
        ({"device": "tpu"}, "--device", "meta, cpu, cuda"),
        ({"dtype": "int8"}, "--dtype", "float64, float32, bfloat16, float16"),
        ({"attention": "flash"}, "--attention", "eager, sdpa"),
    ],
)
def test_unknown_choices(options: dict[str, Any], field: str, listed: str) -> None:
    error = refused(reduced(load_model("llava-1.5-7b")), **options)
    assert (error.field, error.value) == (field, *options.values())
    assert listed in error.way_out


def test_attention_that_a_part_does_not_have() -> None:
    error = refused(reduced(load_model("paligemma2-3b-224")), attention="sdpa")
    assert str(error) == (
        "--attention sdpa is not there for the parts of paligemma; give --attention eager"
    )


@pytest.mark.parametrize(
    ("model_id", "part", "changes", "field"),
    [
        ("qwen3-vl-2b", "connector", {"deepstack": None}, "connector.deepstack"),
        ("gemma3-4b", "decoder", {"sliding_window": None}, "decoder.sliding_window"),
        ("llama3.2-vision-11b", "vision", {"output_features": 6400}, "vision.output_features"),
    ],
)
def test_parts_that_a_family_needs(
    model_id: str, part: str, changes: dict[str, Any], field: str
) -> None:
    model = load_model(model_id)
    changed = getattr(model, part).model_copy(update=changes)
    assert refused(model.model_copy(update={part: changed})).field == field


def test_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    error = refused(load_model("llava-1.5-7b"), "cuda")
    assert str(error) == "--device cuda is not available; give --device cpu or --device meta"


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package} is not installed; .*\[validation\]"):
        build(load_model("llava-1.5-7b"))


def test_memory_is_checked_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "free_bytes", lambda device: 3_200_000_000)
    monkeypatch.setattr(building, "build_from_config", lambda *_: pytest.fail("built"))
    # 7,063,427,072 parameters · 2 bytes = 14.13 GB
    error = refused(load_model("llava-1.5-7b"), "cpu", "bfloat16")
    assert str(error) == (
        "--device cpu needs 14.1 GB for llava-1.5-7b, 3.2 GB are free; "
        "give --scale reduced or --device meta"
    )
    # 14.13 + 1.5 GB
    error = refused(load_model("llava-1.5-7b"), "cpu", "bfloat16", headroom=1_500_000_000)
    assert "needs 15.6 GB" in str(error)


def test_memory_that_nothing_tells_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "free_bytes", lambda device: None)
    check_memory("cpu", 10**18, "anything")


def test_free_memory_is_a_plausible_number() -> None:
    assert free_bytes("meta") is None
    assert 10**7 < (free_bytes("cpu") or 0) < 10**14


def test_a_container_s_limit_counts(tmp_path: Any) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 400\ninactive_file 250\n")
    assert building._container_free(tmp_path) == 550  # 1000 − 700 + 250
    (tmp_path / "memory.max").write_text("max\n")
    assert building._container_free(tmp_path) is None
    assert building._container_free(tmp_path / "absent") is None
