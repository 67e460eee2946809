"""LLaVA-1.5, and what its relatives share: CLIP or SigLIP, then an MLP on each token."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..attention import watching
from ..reducers.tome import proportional_bias
from .base import Merge, Pixels, Ranking
from .crops import CropAdapter

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Module

    from ..attention import Seen


class LlavaAdapter(CropAdapter):
    """Crops of one size, each a sequence of the encoder; the connector takes tokens one by one."""

    model_types: ClassVar[tuple[str, ...]] = ("llava",)

    @property
    def ranking_attention(self) -> Module:
        """Attention of the block whose output is the feature layer."""
        attention: Module = self.encoder_layers[self._contributing - 1].self_attn
        return attention

    def tower_states(self, pixels: Pixels) -> Tensor:
        """Return the feature layer's hidden states."""
        output = self.tower(pixels.inputs["pixel_values"], output_hidden_states=True)
        states: Tensor = output.hidden_states[self.model.config.vision_feature_layer]
        return states

    def connect(self, states: Tensor) -> Tensor:
        """Return the MLP's output."""
        connected: Tensor = self.connector(states)
        return connected

    def merged_tower_states(self, pixels: Pixels, merge: Merge) -> Tensor:
        """Run the tower's own modules block by block; all blocks run, also unused ones."""
        import torch

        vit = self._vit
        states = vit.embeddings(pixels.inputs["pixel_values"])
        if hasattr(vit, "pre_layrnorm"):
            states = vit.pre_layrnorm(states)
        feature = states
        # Never narrower than float32: a size of 257 does not exist in bfloat16.
        wide = torch.promote_types(states.dtype, torch.float32)
        sizes = torch.ones(states.shape[:2], device=states.device, dtype=wide)
        bias = None
        for index, block in enumerate(self.encoder_layers):
            with watching(block.self_attn) as seen:
                attended, _ = block.self_attn(block.layer_norm1(states), attention_mask=bias)
            states, sizes = merge(index, seen[0], states + attended, sizes)
            if states.shape[1] != attended.shape[1]:
                bias = proportional_bias(sizes).to(states.dtype)
            states = states + block.mlp(block.layer_norm2(states))
            if index + 1 == self._contributing:
                feature = states
        left: Tensor = feature
        return left

    def rankings(
        self, pixels: Pixels, states: Sequence[Tensor], seen: Sequence[Seen], score: Any
    ) -> Iterator[Ranking]:
        """Yield one ranking: all crops pass the encoder as one batch."""
        (call,), (tokens,) = seen, states
        yield Ranking(tokens, score(call), call.key.mean(dim=1))

    @property
    def _contributing(self) -> int:
        """How many blocks the feature layer has behind it: hidden state 0 is the embedding."""
        layer, blocks = int(self.model.config.vision_feature_layer), len(self.encoder_layers)
        return layer if layer >= 0 else blocks + 1 + layer


class LlavaNextAdapter(LlavaAdapter):
    """LLaVA-NeXT: crops of one image are un-padded and get newlines."""

    model_types = ("llava_next",)

    def image_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return the crops with the images' sizes."""
        import torch

        sizes = torch.tensor([list(image) for image in pixels.images] * pixels.batch)
        return {**super().image_inputs(pixels, generator), "image_sizes": sizes}


class LlavaNextVideoAdapter(LlavaNextAdapter):
    """LLaVA-NeXT-Video: images as LLaVA-NeXT; frames of a video are averaged before the MLP."""

    model_types = ("llava_next_video",)
    takes_videos: ClassVar[bool] = True
    pools_frames: ClassVar[bool] = True

    def video_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return the frames of each request."""
        frames = CropAdapter.image_inputs(self, pixels, generator)["pixel_values"]
        return {"pixel_values_videos": frames.unflatten(0, (pixels.batch, pixels.crop_count))}

    def features(self, pixels: Pixels) -> list[Tensor]:
        """Return the visual tokens of each image, or of the video."""
        if pixels.clip is None:
            return super().features(pixels)
        output = self.base.get_video_features(**pixels.inputs, return_dict=True)
        return [output.pooler_output]

    @property
    def placeholders(self) -> frozenset[int]:
        """<image> and <video>."""
        config = self.model.config
        return frozenset((int(config.image_token_id), int(config.video_token_id)))

    def image_ids(self, pixels: Pixels, image: int, tokens: int) -> list[int]:
        """Return the placeholders of an image, or of the video."""
        if pixels.clip is None:
            return super().image_ids(pixels, image, tokens)
        return [int(self.model.config.video_token_id)] * tokens

    def tower_states(self, pixels: Pixels) -> Tensor:
        """Return the feature layer's hidden states of all crops, or of all frames."""
        if pixels.clip is None:
            return super().tower_states(pixels)
        frames = {"pixel_values": pixels.inputs["pixel_values_videos"].flatten(0, 1)}
        return super().tower_states(pixels._replace(inputs=frames))

    def rankings(
        self, pixels: Pixels, states: Sequence[Tensor], seen: Sequence[Seen], score: Any
    ) -> Iterator[Ranking]:
        """Yield one ranking of crops; tokens of frames have no patches of their own."""
        if pixels.clip is not None:
            what = "rank tokens by the encoder's attention"
            raise self.unable(what, "its frames are pooled")
        yield from super().rankings(pixels, states, seen, score)


class LlavaOnevisionAdapter(LlavaNextVideoAdapter):
    """LLaVA-OneVision: as LLaVA-NeXT, with SigLIP; several images give base crops alone.

    Frames of a video are pooled behind the connector: with one newline behind all of them as
    transformers does, or with one behind every row as LLaVA-Video's own code does.
    """

    model_types = ("llava_onevision",)

    def image_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return the crops with the number of images per request."""
        import torch

        several = torch.tensor([len(pixels.images)] * pixels.batch)
        return {**super().image_inputs(pixels, generator), "batch_num_images": several}

    def features(self, pixels: Pixels) -> list[Tensor]:
        """Return the visual tokens of each image, or of the video, newlines included."""
        if pixels.clip is not None and pixels.clip.newlines == "row":
            return [self._with_newlines(pixels)]
        return super().features(pixels)

    def _with_newlines(self, pixels: Pixels) -> Tensor:
        """Return frames that are pooled as LLaVA-Video does, [batch, M, hidden_size].

        Means of 2×2 tokens, what is left over at the edge being cut off, and a newline behind
        every row of every frame. Source: LLaVA-VL/LLaVA-NeXT llava_arch.py, get_2dPool with
        "average" and the newline position "grid".
        """
        import torch

        tokens = self.connect(self.tower_states(pixels))
        frames, count, width = tokens.shape
        side = math.isqrt(count)
        squares = tokens.reshape(frames, side, side, width).permute(0, 3, 1, 2)
        rows = torch.nn.functional.avg_pool2d(squares, 2).permute(0, 2, 3, 1)
        newlines = self.base.image_newline.to(rows).expand(*rows.shape[:2], 1, width)
        return torch.cat([rows, newlines], dim=2).reshape(pixels.batch, -1, width)
