"""Real model classes at small width with random weights, from the published configs."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any, Literal, NamedTuple

from published_configs import CONFIGS
from vlm_tokencost.validation.build import build_from_config
from vlm_tokencost.validation.forward import Driver
from vlm_tokencost.validation.prompt import Request

LAYERS = 6
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

    figures = _figures(model_id)
    config = AutoConfig.for_model(figures.pop("model_type"), **figures)
    model: Any = build_from_config(config, "cpu", "float32", attention, seed=0, gain=2.0)
    return model.double() if dtype == "float64" else model


def _figures(model_id: str) -> dict[str, Any]:
    figures = copy.deepcopy(CONFIGS[model_id])
    vision, text = figures["vision_config"], figures["text_config"]
    text.update(
        hidden_size=48,
        intermediate_size=72,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=12,
        vocab_size=200,
    )
    figures["image_token_id"] = 198
    figures["tie_word_embeddings"] = False
    kind = figures["model_type"]
    if kind.startswith("qwen"):
        text["rope_parameters"] = {**text["rope_parameters"], "mrope_section": [2, 2, 2]}
        figures.update(vision_start_token_id=196, vision_end_token_id=197, video_token_id=199)
        vision.update(depth=4, num_heads=2)
        widths = {"embed_dim": 32, "hidden_size": 48}
        if kind == "qwen2_5_vl":
            widths = {"hidden_size": 32, "intermediate_size": 40, "out_hidden_size": 48}
            vision["fullatt_block_indexes"] = [1, 3]
        vision.update(widths)
        return figures
    vision.update(hidden_size=32, intermediate_size=40, num_hidden_layers=5, num_attention_heads=2)
    vision["image_size"] = [112, 112] if kind == "internvl" else 56
    if "image_grid_pinpoints" in figures:
        figures["image_grid_pinpoints"] = [[56, 112], [112, 56], [112, 112]]
    return figures
