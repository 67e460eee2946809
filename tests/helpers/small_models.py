"""Real model classes at small width with random weights, from the published configs."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, NamedTuple

from small_figures import figures_of
from vlm_tokencost.validation.build import build_from_config, make_experts_countable
from vlm_tokencost.validation.forward import Driver
from vlm_tokencost.validation.prompt import Request

Attention = Literal["eager", "sdpa"]
Dtype = Literal["float32", "float64"]


class Small(NamedTuple):
    """Images of one prompt and the patch grids that the small model makes of each."""

    model: str
    images: tuple[tuple[int, int], ...]
    crops: tuple[tuple[tuple[int, int], ...], ...]

    def __str__(self) -> str:
        return f"{self.model}-{len(self.images)}"


#: A crop of the LLaVA family has 4×4 patches of 14 pixels, a tile of InternVL 8×8.
CROP, TILE = (4, 4), (8, 8)
ONE_IMAGE = [
    Small("llava-1.5-7b", ((56, 56),), ((CROP,),)),
    Small("llava-next-mistral-7b", ((112, 112),), ((CROP,) * 5,)),
    Small("llava-onevision-7b", ((112, 112),), ((CROP,) * 5,)),
    Small("internvl3-8b", ((112, 112),), ((TILE,),)),
    Small("qwen2-vl-7b", ((84, 168),), (((6, 12),),)),
    Small("qwen2.5-vl-7b", ((84, 168),), (((6, 12),),)),  # 3×6 tokens in windows of 4×4
]
SEVERAL_IMAGES = [
    Small("llava-1.5-7b", ((56, 56), (40, 80)), ((CROP,), (CROP,))),
    Small("llava-next-mistral-7b", ((112, 112), (50, 110)), ((CROP,) * 5, (CROP,) * 3)),
    Small("llava-onevision-7b", ((112, 112), (56, 56)), ((CROP,), (CROP,))),  # base crops alone
    Small("internvl3-8b", ((112, 112), (224, 112)), ((TILE,), (TILE,) * 3)),
    Small("qwen2-vl-7b", ((84, 112), (56, 140)), (((6, 8),), ((4, 10),))),
    Small("qwen2.5-vl-7b", ((84, 168), (140, 84)), (((6, 12),), ((10, 6),))),
]

#: A crop of PaliGemma has 4×4 patches of 14 pixels, a tile of Idefics3 and a crop of Gemma 3 8×8;
#: Qwen3-VL's patches have 16 pixels; a tile of Llama-3.2-Vision has 4×4 and a class token.
FURTHER = [
    Small("qwen3-vl-8b", ((96, 192),), (((6, 12),),)),
    Small("qwen3-vl-30b-a3b", ((96, 192),), (((6, 12),),)),
    Small("idefics3-8b", ((120, 336),), ((TILE,) * 7,)),  # 2×3 tiles and the whole
    Small("smolvlm2-256m", ((336, 120),), ((TILE,) * 7,)),  # 3×2
    Small("paligemma-3b-224", ((56, 56),), ((CROP,),)),
    Small("paligemma2-3b-224", ((56, 56),), ((CROP,),)),
    Small("gemma3-4b", ((112, 112),), ((TILE,),)),
]
FURTHER_SEVERAL = [
    Small("qwen3-vl-8b", ((96, 192), (160, 96)), (((6, 12),), ((10, 6),))),
    Small("idefics3-8b", ((224, 224), (112, 224)), ((TILE,) * 5, (TILE,) * 3)),
    Small("paligemma2-3b-224", ((56, 56), (40, 80)), ((CROP,), (CROP,))),
    # pan and scan: an image with two crops, and one without
    Small("gemma3-4b", ((112, 112), (100, 90)), ((TILE,) * 3, (TILE,))),
]
CROSSED = [
    Small("llama3.2-vision-11b", ((100, 56),), ((CROP,) * 4,)),  # 2×1 tiles and two of padding
    Small("llama3.2-vision-11b", ((56, 56), (200, 200)), ((CROP,) * 4,) * 2),
]
#: Gemma 2 bounds its scores by tanh, which fused attention cannot.
EAGER_ALONE = ("paligemma2-3b-224",)


def attentions(case: Small) -> tuple[Attention, ...]:
    """Return the implementations that a model's parts all have."""
    return ("eager",) if case.model in EAGER_ALONE else ("sdpa", "eager")


@cache
def own(model_id: str, attention: Attention = "sdpa", dtype: Dtype = "float32") -> Any:
    """Return the model by itself."""
    return _build(model_id, attention, dtype)


@cache
def driven(model_id: str, attention: Attention = "sdpa", dtype: Dtype = "float32") -> Driver:
    """Return the driver of a model with the weights of `own`."""
    return Driver(_build(model_id, attention, dtype))


def request_of(
    driver: Driver, case: Small, batch: int = 1, text: int = 20, seed: int = 1
) -> Request:
    return driver.request(case.images, case.crops, text, batch, seed)


def _build(model_id: str, attention: Attention, dtype: Dtype) -> Any:
    """Build with the same float32 weights in every number format."""
    from transformers import AutoConfig

    figures = figures_of(model_id)
    config = AutoConfig.for_model(figures.pop("model_type"), **figures)
    model: Any = build_from_config(config, "cpu", "float32", attention, seed=0, gain=2.0)
    if dtype == "float32":
        return model
    make_experts_countable(model, tokens=0)  # the default kernel knows no float64
    return model.double()
