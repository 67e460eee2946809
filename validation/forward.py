"""Drives a transformers model part by part, for instance on torch's `meta` device.

The pruned run is the decoder's own layers called in turn, on shorter hidden states from each stage
on; nothing of transformers is replaced or copied. Whole models refuse `meta`, because they compare
token ids with image features, so image features, decoder and head are called one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, cast

from ..costmodel import InvalidInput, MissingExtra
from ..costmodel.tokens import Size
from .counters import count_by_module

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import Cache, PreTrainedConfig, PreTrainedModel

#: A component of the cost model and a layer of it; None is what lies outside the layers.
Place = tuple[str, int | None]
#: Rotary tables: no cost, although some versions of transformers build them by a matrix product.
_ROTARY: Place = ("rotary", None)


def build_on_meta(
    config: PreTrainedConfig, attention: Literal["eager", "sdpa"] = "eager"
) -> PreTrainedModel:
    """Return the model of a transformers config without weights, ready for shapes alone.

    Eager attention is two plain matrix products, so that its count does not depend on the kernel
    that torch would choose.

    Raises:
        MissingExtra: torch or transformers is not installed.
    """
    try:
        import torch
        from transformers import AutoModelForImageTextToText
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "transformers", "validation") from None
    auto: Any = AutoModelForImageTextToText
    with torch.device("meta"):
        model: PreTrainedModel = auto.from_config(config, attn_implementation=attention)
    model.train(False)
    return model


class Driver:
    """Runs a model's parts on the shapes it is given, and counts them.

    A method that returns a call has prepared what the call needs, rotary tables of the decoder
    included.

    Attributes:
        model: A transformers model with a language-model head.
        layers: The decoder's layers.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Find the model's parts.

        Raises:
            InvalidInput: No adapter knows the model's type.
        """
        name = model.config.model_type
        if name not in FAMILIES:
            raise InvalidInput(
                "model_type", name, "has no adapter", f"choose from {', '.join(FAMILIES)}"
            )
        self.model = model
        self._family = FAMILIES[name]
        # transformers' modules carry no types for their children.
        self._base = cast(Any, model.base_model)
        self._decoder = self._base.language_model
        self.layers: tuple[Any, ...] = tuple(self._decoder.layers)

    def owners(self) -> dict[Module, Place]:
        """Return the place of every module whose products have one."""
        family, base = self._family, self._base
        places: dict[Module, Place] = {
            base.get_submodule(family.tower): ("vision", None),
            base.get_submodule(family.connector): ("connector", None),
            self.model.get_submodule("lm_head"): ("head", None),
        }
        for index, layer in enumerate(base.get_submodule(family.encoder_layers)):
            places[layer] = ("vision", index)
        for index, layer in enumerate(self.layers):
            places[layer] = ("decoder", index)
        for path, module in self.model.named_modules():
            if path.rpartition(".")[2].startswith("rotary"):
                places[module] = _ROTARY
        return places

    def count(self, run: Callable[[], object]) -> dict[Place | None, dict[str, int]]:
        """Return the FLOPs of a call by place, then by operator; None is what has no place."""
        counts = count_by_module(run, self.owners())
        counts.pop(_ROTARY, None)
        return counts

    def image_features(self, images: Sequence[Size], crops: Sequence[Size]) -> Callable[[], Tensor]:
        """Return the call from pixels to the visual tokens [M, hidden_size] of one sequence.

        Args:
            images: Sizes (height, width) in pixels.
            crops: Patch grids (rows, columns) of all sequences that pass the encoder, in order.
        """
        import torch

        inputs = self._family.image_inputs(self, images, crops)
        return lambda: torch.cat(tuple(self._base.get_image_features(**inputs).pooler_output))

    def prefill(
        self, lengths: Sequence[int], cache: Cache | None = None, batch: int = 1
    ) -> Callable[[], Tensor]:
        """Return the call of all decoder layers, layer l on `lengths[l]` tokens, and final norm.

        Hidden states are cut before the first layer that is shorter; which tokens survive does
        not change what a layer costs. A cache keeps what each layer computed.

        Raises:
            InvalidInput: Lengths that grow.
        """
        for before, length in pairwise(lengths):
            if length > before:
                raise InvalidInput(
                    "lengths",
                    length,
                    f"is more than the {before} of the layer before",
                    "give lengths that shrink",
                )
        hidden = self.zeros(batch, lengths[0], self._decoder.config.hidden_size)
        cosine, sine = self._rotary_tables(hidden)

        def run() -> Tensor:
            states = hidden
            for layer, length in zip(self.layers, lengths, strict=True):
                states = layer(
                    states[:, :length],
                    position_embeddings=(cosine[..., :length, :], sine[..., :length, :]),
                    attention_mask=None,
                    past_key_values=cache,
                )
            normed: Tensor = self._decoder.norm(states)
            return normed

        return run

    def decode(self, cache: Cache, batch: int = 1) -> Callable[[], Tensor]:
        """Return the call that adds one token to a cache and predicts the next."""
        step = self.prefill([1] * len(self.layers), cache, batch)
        return lambda: self.logits(step())

    def logits(self, states: Tensor, positions: Literal["last", "all"] = "last") -> Tensor:
        """Return the head's output at the last position, as `generate` asks for, or at all."""
        head: Any = self.model.get_submodule("lm_head")
        logits: Tensor = head(states if positions == "all" else states[:, -1:])
        return logits

    def new_cache(self) -> Cache:
        """Return an empty cache, whose layers may come to keep different numbers of tokens."""
        from transformers import DynamicCache

        return DynamicCache(config=self._decoder.config)

    def zeros(self, *shape: int) -> Tensor:
        """Return zeros of the model's device and number format."""
        import torch

        return torch.zeros(shape, device=self.model.device, dtype=self.model.dtype)

    def _rotary_tables(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        batch, length, _ = hidden.shape
        axes = (*self._family.position_axes, batch, length)
        positions = torch.arange(length, device=hidden.device).expand(axes)
        tables: tuple[Tensor, Tensor] = self._decoder.rotary_emb(hidden, positions)
        return tables


ImageInputs = Callable[[Driver, Sequence[Size], Sequence[Size]], dict[str, Any]]


def _crop_inputs(driver: Driver, _: Sequence[Size], crops: Sequence[Size]) -> dict[str, Any]:
    vision = driver.model.config.vision_config
    side = vision.image_size
    height, width = (side, side) if isinstance(side, int) else side
    return {"pixel_values": driver.zeros(len(crops), vision.num_channels, height, width)}


def _anyres_inputs(driver: Driver, images: Sequence[Size], crops: Sequence[Size]) -> dict[str, Any]:
    import torch

    return {**_crop_inputs(driver, images, crops), "image_sizes": torch.tensor(images)}


def _onevision_inputs(
    driver: Driver, images: Sequence[Size], crops: Sequence[Size]
) -> dict[str, Any]:
    import torch

    several = {"batch_num_images": torch.tensor([len(images)])}
    return {**_anyres_inputs(driver, images, crops), **several}


def _grid_inputs(driver: Driver, _: Sequence[Size], crops: Sequence[Size]) -> dict[str, Any]:
    import torch
    from transformers.vision_utils import get_vision_position_ids

    vision = driver.model.config.vision_config
    patches = sum(rows * columns for rows, columns in crops)
    pixels = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    # The model reads the grid's values, so it stays on the CPU; positions go where the model is.
    grid = torch.tensor([(1, *crop) for crop in crops])
    positions = get_vision_position_ids(grid, vision.spatial_merge_size)
    return {
        "pixel_values": driver.zeros(patches, pixels),
        "image_grid_thw": grid,
        "position_ids": positions.to(driver.model.device),
    }


@dataclass(frozen=True)
class Family:
    """Where a model type keeps its parts, below the model without head, and how it takes images.

    Attributes:
        tower, encoder_layers, connector: Paths of modules.
        image_inputs: Makes the arguments of `get_image_features`.
        position_axes: Leading axes of the decoder's position ids: (3,) for time, row and column.
    """

    tower: str
    encoder_layers: str
    connector: str
    image_inputs: ImageInputs
    position_axes: tuple[int, ...] = ()


def _llava(image_inputs: ImageInputs, layers: str = "vision_tower.encoder.layers") -> Family:
    return Family("vision_tower", layers, "multi_modal_projector", image_inputs)


_QWEN = Family("visual", "visual.blocks", "visual.merger", _grid_inputs, position_axes=(3,))

#: The adapters, by transformers' model type.
FAMILIES: dict[str, Family] = {
    "llava": _llava(_crop_inputs),
    "llava_next": _llava(_anyres_inputs),
    "llava_onevision": _llava(_onevision_inputs),
    "internvl": _llava(_crop_inputs, layers="vision_tower.encoder.layer"),
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
}
