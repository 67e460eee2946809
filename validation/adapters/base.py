"""What the driver asks of a model family: its parts, its images and prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias, cast

from ...costmodel import InvalidInput
from ...costmodel.tokens.base import Size
from ..masks import FULL, Visible, causal

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

    from ..attention import Seen
    from ..sequence import Tokens


class Clip(NamedTuple):
    """A video of each request, whose frames have one size.

    Attributes:
        frames: Frames of one video.
        newlines: Where the model puts learned newlines: after each "row" of each frame's tokens,
            at the end of the "video", or "none".
    """

    frames: int
    newlines: Literal["none", "row", "video"] = "none"


class Pixels(NamedTuple):
    """Images of a batch as a model takes them, or one video of each request.

    Attributes:
        inputs: Keyword arguments of the model and of its `get_image_features`, or of its
            `get_video_features`.
        images: Sizes (height, width) of one request's images.
        crops: Per image, the patch grids (rows, columns) that pass the encoder, in order.
        batch: Requests.
        clip: The video, whose size is the only one of `images` and whose frames, or pairs of
            frames, are its crops; None for images.
    """

    inputs: dict[str, Any]
    images: tuple[Size, ...]
    crops: tuple[tuple[Size, ...], ...]
    batch: int
    clip: Clip | None = None

    @property
    def crop_count(self) -> int:
        """Sequences that pass the encoder for one request."""
        return sum(map(len, self.crops))


class Ranking(NamedTuple):
    """What the encoder's ranking layer says about one image's candidates, per crop.

    Attributes:
        states: Tokens to choose from, [X, n, width]; X is requests × crops.
        scores: Attention that each receives, [X, n].
        keys: Keys averaged over heads, [X, n, d_h].
    """

    states: Tensor
    scores: Tensor
    keys: Tensor


#: Merges tokens in a block: (the block's index, what its attention saw, states after attention
#: [X, n, c], sizes [X, n]) → the states and sizes that are left.
Merge: TypeAlias = Callable[[int, "Seen", "Tensor", "Tensor"], "tuple[Tensor, Tensor]"]


class Adapter(ABC):
    """One family's parts, and how to call them.

    Subclasses say where modules are, and override what their family does differently.

    Attributes:
        model_types: transformers' model types.
        connector_joins_neighbours: Whether the connector needs the grid of patches, so that no
            token can be left out or merged before it.
        obstacle: Why nothing can be reduced before the LLM, where that is so.
        has_class_token: Whether a class token joins the patches inside the encoder, and the
            connector does not take it.
        keeps_positions: Whether position ids carry the place in the image, so that survivors
            always keep theirs.
        first_position: The first token's position id.
        text_before_images: Whether a prompt's images stand behind some of its text.
        slides: Whether layers may attend in sliding windows.
        crosses: Whether visual tokens are keys of cross-attention, outside the sequence.
        takes_videos: Whether the driver can run the frames of a video.
        pools_frames: Whether a frame's tokens are pooled before or behind the connector, so that
            none can be left out before that.
    """

    model_types: ClassVar[tuple[str, ...]]
    connector_joins_neighbours: ClassVar[bool] = False
    obstacle: ClassVar[str] = "its connector joins neighbouring patches"
    has_class_token: ClassVar[bool] = False
    keeps_positions: ClassVar[bool] = False
    first_position: ClassVar[int] = 0
    text_before_images: ClassVar[bool] = True
    slides: ClassVar[bool] = False
    crosses: ClassVar[bool] = False
    takes_videos: ClassVar[bool] = False
    pools_frames: ClassVar[bool] = False

    def __init__(self, model: PreTrainedModel) -> None:
        """Take a transformers model with a language-model head."""
        self.model = model
        # transformers' modules carry no types for their children.
        self.base = cast(Any, model.base_model)
        self.layers: tuple[Any, ...] = tuple(self.decoder.layers)
        self.head = cast(Any, model.get_submodule("lm_head"))

    @property
    def decoder(self) -> Any:
        """The language model without its head."""
        return self.base.language_model

    @property
    def layer_kinds(self) -> tuple[str, ...]:
        """What each decoder layer attends to, as its config calls it."""
        kinds = getattr(self.decoder.config, "layer_types", None)
        return tuple(kinds) if kinds else (FULL,) * len(self.layers)

    @property
    def window(self) -> int | None:
        """Tokens that sliding layers reach back, the token itself included."""
        window: int | None = getattr(self.decoder.config, "sliding_window", None)
        return window

    @property
    @abstractmethod
    def tower(self) -> Any:
        """The vision tower."""

    @property
    @abstractmethod
    def encoder_layers(self) -> tuple[Any, ...]:
        """The tower's blocks."""

    @property
    @abstractmethod
    def connector(self) -> Any:
        """The module from tower to LLM."""

    @property
    def connector_parts(self) -> tuple[Any, ...]:
        """All modules that belong to the connector."""
        return (self.connector,)

    @property
    @abstractmethod
    def ranking_attention(self) -> Module:
        """Attention of the last block whose output the connector uses."""

    def pixels(
        self,
        images: Sequence[Size],
        crops: Sequence[Sequence[Size]],
        batch: int,
        generator: Generator,
        clip: Clip | None = None,
    ) -> Pixels:
        """Return random images, or frames; on `meta`, their shapes.

        Raises:
            InvalidInput: Frames of a family whose videos the driver does not run.
        """
        pixels = Pixels({}, tuple(images), tuple(map(tuple, crops)), batch, clip)
        if clip is None:
            return pixels._replace(inputs=self.image_inputs(pixels, generator))
        if not self.takes_videos:
            raise no_video(self.model.config.model_type, clip.frames)
        return pixels._replace(inputs=self.video_inputs(pixels, generator))

    @abstractmethod
    def image_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return random images as `get_image_features` takes them; `pixels` has none yet."""

    def video_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return random frames as `get_video_features` takes them; `pixels` has none yet."""
        raise NotImplementedError

    def features(self, pixels: Pixels) -> list[Tensor]:
        """Return the visual tokens of each image, or of the video, [batch, M_i, hidden_size].

        Where the first layers add further features to them, those stand beside, in their order:
        [batch, M_i, (1 + layers) · hidden_size].
        """
        import torch

        output = self.base.get_image_features(**pixels.inputs, return_dict=True).pooler_output
        parts, images = list(output), len(pixels.images)
        return [torch.stack(parts[image::images]) for image in range(images)]

    def embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings of text ids, [batch, n, hidden_size]."""
        embedded: Tensor = self.decoder.embed_tokens(ids.to(self.model.device))
        return embedded

    def tower_states(self, pixels: Pixels) -> Tensor:
        """Return what the connector chooses from, [batch · crops, n, width], class token first."""
        raise self.unable("reduce tokens before the connector")

    def connect(self, states: Tensor) -> Tensor:
        """Return what the connector makes of any tokens, [X, n, width] → [X, n, hidden_size]."""
        raise self.unable("reduce tokens before the connector")

    def merged_tower_states(self, pixels: Pixels, merge: Merge) -> Tensor:
        """Return `tower_states` when `merge` acts in every block between attention and FFN.

        Attention weighs each token by its size.
        """
        raise self.unable("merge tokens inside the encoder")

    def rankings(
        self, pixels: Pixels, states: Sequence[Tensor], seen: Sequence[Seen], score: Any
    ) -> Iterator[Ranking]:
        """Yield a ranking per tensor of `states`, from what the ranking attention saw.

        Args:
            pixels: The images.
            states: Tokens to choose from.
            seen: Calls of the ranking attention.
            score: Turns a call into scores [X, n], by the class token's row or all rows.
        """
        raise self.unable("rank tokens by the encoder's attention")

    @property
    def placeholder(self) -> int:
        """The id that stands for a visual token, or for the image where those are keys."""
        return int(self.model.config.image_token_id)

    @property
    def placeholders(self) -> frozenset[int]:
        """The ids that stand for a visual token of an image or of a video."""
        return frozenset((self.placeholder,))

    def special_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids before an image and those after it."""
        return (), ()

    def image_ids(self, pixels: Pixels, image: int, tokens: int) -> list[int]:
        """Return the ids of an image in a prompt, its placeholders among them.

        Args:
            pixels: The images.
            image: Which of one request's images.
            tokens: Its visual tokens.
        """
        before, after = self.special_ids()
        return [*before, *[self.placeholder] * tokens, *after]

    def specials(self) -> frozenset[int]:
        """Return the ids that no text may hold."""
        before, after = self.special_ids()
        return frozenset((*before, *self.placeholders, *after))

    def model_inputs(self, pixels: Pixels, ids: Tensor) -> dict[str, Any]:
        """Return the keyword arguments of the whole model for these ids."""
        return {"input_ids": ids, **pixels.inputs}

    def positions(self, pixels: Pixels, ids: Tensor) -> Tensor:
        """Return the position ids of the dense sequence, [batch, n] or [3, batch, n]."""
        import torch

        first = self.first_position
        return torch.arange(first, first + ids.shape[1]).expand(ids.shape)

    def tables(self, states: Tensor, positions: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        """Return the rotary tables (cosine, sine) of layers of a kind."""
        tables: tuple[Tensor, Tensor] = self.decoder.rotary_emb(states, positions)
        return tables

    def visible(self, tokens: Tokens, kind: str) -> Visible:
        """Return what the tokens may look at in layers of a kind."""
        return causal(tokens.length)

    def visible_keys(self, pixels: Pixels, ids: Tensor) -> Tensor:
        """Return which dense keys of cross-attention each token may look at, [batch, n, M]."""
        raise NotImplementedError

    def layer_inputs(self, layer: int, tokens: Tokens) -> dict[str, Any]:
        """Return what a decoder layer takes in a prefill besides states, mask and tables."""
        return {}

    def decode_inputs(self, layer: int, tokens: Tokens) -> dict[str, Any]:
        """Return what it takes besides in a decode forward, after it has processed `tokens`."""
        return {}

    def logits(self, states: Tensor) -> Tensor:
        """Return the head's output for states behind the final norm."""
        logits: Tensor = self.head(states)
        return logits

    def per_image(self, crops: Tensor, pixels: Pixels) -> list[Tensor]:
        """Return tokens of all crops [batch · crops, n, width] by image, [batch, M_i, width]."""
        import torch

        tokens, width = crops.shape[1:]
        joined = crops.reshape(pixels.batch, -1, width)
        sizes = [len(of_one) * tokens for of_one in pixels.crops]
        return list(torch.split(joined, sizes, dim=1))

    def unable(self, what: str, why: str = "") -> InvalidInput:
        """Return the error for a schedule that the family cannot run; `why` or its obstacle."""
        return InvalidInput(
            "schedule",
            None,
            f"cannot be run on {self.model.config.model_type}: {why or self.obstacle}, so "
            f"nothing can {what}",
            "choose a method that reduces after the connector or inside the LLM",
        )

    def random(self, *shape: int, generator: Generator) -> Tensor:
        """Return normal random numbers, the same on every device; on `meta`, their shape."""
        import torch

        device = self.model.device
        if device.type == "meta":
            return torch.empty(shape, device=device, dtype=self.model.dtype)
        numbers = torch.randn(shape, generator=generator)
        return numbers.to(device=device, dtype=self.model.dtype)


def no_video(model_type: str, frames: int) -> InvalidInput:
    """Return the error for frames of a family whose videos the driver does not run."""
    return InvalidInput(
        "--frames",
        frames,
        f"cannot be run: the driver takes no video of {model_type}",
        "give images",
    )
