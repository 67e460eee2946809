"""What rules need that rank the tokens of a crop by the encoder's attention.

Where the connector takes tokens one by one, the candidates are an encoder's patches; where it joins
neighbours, they are the tokens that it made, with the mean score and key of their patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ...costmodel import InvalidInput
from ...costmodel.tokens.base import Size
from ..adapters import Pixels
from ..adapters.llava import LlavaAdapter
from ..attention import Seen, watching
from ..prompt import Visual
from ..reducers.common import take
from .base import Rule, without_class_token

if TYPE_CHECKING:
    from torch import Tensor


#: Families with vocabulary tokens between an image's crops.
_APART = ("idefics3", "smolvlm", "gemma3")


class Candidates(NamedTuple):
    """One image's tokens to choose from; X is requests × its crops, request by request.

    Attributes:
        features: [X, n, width], in front of the connector if that takes tokens one by one.
        scores: Per layer that is watched, the attention that each receives, [X, n].
        keys: Keys of the first of these layers, all heads side by side, [X, n, d_e].
        grids: Rows and columns of the tokens of each crop.
    """

    features: Tensor
    scores: list[Tensor]
    keys: Tensor
    grids: tuple[Size, ...]

    @property
    def crops(self) -> int:
        """Crops of one request's image."""
        return len(self.grids)

    def of_request(self, values: Tensor) -> Tensor:
        """Return values [X, k, …] of all crops of a request one behind the other, [B, crops·k, …].

        Indices stay those within a crop.
        """
        return values.reshape(-1, self.crops * values.shape[1], *values.shape[2:])

    def places(self, index: Tensor) -> Tensor:
        """Return where tokens at index [X, k] of their crop stand in the image, [B, crops·k]."""
        import torch

        rows = index.reshape(-1, self.crops, index.shape[1])
        first = self.features.shape[1] * torch.arange(self.crops, device=index.device)
        return (rows + first[:, None]).flatten(1)


class CropRule(Rule):
    """Ranks the tokens of each crop by what encoder layers attend to.

    Attributes:
        takes_equal_crops: Whether the closed form of the rule holds for crops of one size alone.
    """

    ranks_in_encoder = True
    takes_equal_crops: ClassVar[bool] = True

    def watched(self) -> Sequence[Any]:
        """Return the attention modules that are looked at."""
        return (self.adapter.ranking_attention,)

    def score(self, call: Seen) -> Tensor:
        """Return what each token of a crop receives from the class token, or from all, [X, n]."""
        from ..reducers.visionzip import class_token_scores, received_scores

        if self.adapter.has_class_token:
            return class_token_scores(call.query[:, :, :1], call.key, call.scaling)
        return received_scores(call.query, call.key, call.scaling)

    @property
    def one_by_one(self) -> bool:
        """Whether tokens are chosen in front of the connector.

        Raises:
            InvalidInput: The family's encoder has no sequence per crop that could be ranked.
        """
        if self.adapter.connector_joins_neighbours:
            return False
        if not isinstance(self.adapter, LlavaAdapter):
            raise self.adapter.unable("rank tokens by the encoder's attention")
        return True

    def candidates(self, pixels: Pixels, run: Callable[[], list[Tensor]]) -> list[Candidates]:
        """Run the encoder, and return what each image offers.

        Args:
            pixels: The images.
            run: Runs encoder and connector; where that takes tokens one by one, it is not called,
                because what it returns may be un-padded and have separators in it.

        Raises:
            InvalidInput: Crops of different sizes, for a rule that does not take them.
        """
        one_by_one = self.one_by_one
        if self.takes_equal_crops and len({grid for crops in pixels.crops for grid in crops}) > 1:
            problem = "differ in size, while the closed form of this rule takes equal crops"
            raise InvalidInput("images", None, problem, "give images of one size")
        with ExitStack() as stack:
            seen = [stack.enter_context(watching(module)) for module in self.watched()]
            made = [self.adapter.tower_states(pixels)] if one_by_one else run()
        scored = [self._scored(pixels, made, calls, one_by_one) for calls in seen]
        images = []
        for image, crops in enumerate(pixels.crops):
            layers = [layer[image] for layer in scored]
            features, _, keys = layers[0]
            grids = tuple(_grid(crop, features.shape[1]) for crop in crops)
            images.append(Candidates(features, [scores for _, scores, _ in layers], keys, grids))
        return images

    def equal_share(self, pixels: Pixels, count: int) -> int:
        """Return the tokens of each crop.

        Raises:
            InvalidInput: The crops cannot share them equally.
        """
        share, left = divmod(count, pixels.crop_count)
        if left or not share:
            problem = f"cannot be shared equally among {pixels.crop_count} crops"
            way_out = f"give a multiple of {pixels.crop_count}"
            raise InvalidInput("reduction.compressed", count, problem, way_out)
        return share

    def one_image(self, pixels: Pixels) -> None:
        """Refuse to share one budget among several images, of which each has a number of tokens.

        Raises:
            InvalidInput: Several images.
        """
        if len(pixels.images) > 1:
            problem = "are too many for a rule that shares a budget by what it sees within one"
            raise InvalidInput("images", len(pixels.images), problem, "give 1 image")

    def unequal_shares(self, pixels: Pixels, count: int) -> None:
        """Refuse unequal shares where each crop has a place of its own in the prompt.

        Raises:
            InvalidInput: Such a family, and an image of several crops.
        """
        kind = self.adapter.model.config.model_type
        if pixels.crop_count > len(pixels.images) and kind in _APART:
            problem = f"cannot be shared unequally among the crops of {kind}, which stand apart"
            way_out = "choose another method, or an image of one crop"
            raise InvalidInput("reduction.compressed", count, problem, way_out)

    def connected(self, images: list[Tensor]) -> list[Tensor]:
        """Return what the connector makes of features [X, k, c], or the tokens that it made."""
        import torch

        if not self.one_by_one:
            return images
        # All rows at once, as in the model's own forward pass.
        rows = torch.cat([image.flatten(0, 1) for image in images])
        made = self.adapter.connect(rows[None])[0]
        parts = torch.split(made, [image.shape[0] * image.shape[1] for image in images])
        return [
            part.reshape(*image.shape[:2], -1) for part, image in zip(parts, images, strict=True)
        ]

    def compared(self, tokens: Tensor) -> Tensor:
        """Return of tokens behind the connector what is compared, [X, n, hidden_size].

        Features that the first layers add stand beside it.
        """
        return tokens[..., : self.adapter.decoder.config.hidden_size]

    def visual(
        self, images: Sequence[Candidates], tokens: list[Tensor], places: list[Tensor]
    ) -> Visual:
        """Return tokens [B, k, d] of each image, from places [B, k] of its candidates."""
        sizes = [int(one.shape[1]) for one in tokens]
        if self.one_by_one:
            return Visual(tokens, sizes)  # the others never existed
        return Visual(tokens, [one.crops * int(one.features.shape[1]) for one in images], places)

    def _scored(
        self, pixels: Pixels, made: list[Tensor], calls: Sequence[Seen], one_by_one: bool
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return features, scores and keys of each image by one layer's calls."""
        if one_by_one:
            (call,), (states,) = calls, made
            kept = [
                without_class_token(self.adapter, one)
                for one in (states, self.score(call)[..., None], _side_by_side(call.key))
            ]
            features, scores, keys = (_by_image(one, pixels) for one in kept)
            return [(f, s[..., 0], k) for f, s, k in zip(features, scores, keys, strict=True)]
        # Adapters average keys over heads: with one head of all keys, all of them remain.
        flat = {id(call): call._replace(key=_side_by_side(call.key)[:, None]) for call in calls}
        scores_of = {id(flat[id(call)]): self.score(call) for call in calls}
        rankings = self.adapter.rankings(
            pixels, made, [flat[id(call)] for call in calls], lambda call: scores_of[id(call)]
        )
        return [(one.states, one.scores, one.keys) for one in rankings]


class EqualShare(CropRule):
    """Keeps equally many tokens of each crop; all of them pass the connector."""

    def choose(self, image: Candidates, count: int) -> Tensor:
        """Return which tokens of each crop stay, [X, count]."""
        raise NotImplementedError

    def made(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Return what goes on from a crop's tokens [X, n, d] behind the connector, [X, k, d]."""
        return take(tokens, kept)

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Choose in each crop, and take what the connector made of the chosen."""
        share = self.equal_share(pixels, count)
        images = self.candidates(pixels, run)
        chosen = [self.choose(image, share) for image in images]
        parts = self.connected([image.features for image in images])
        tokens = [
            image.of_request(self.made(part, index))
            for image, part, index in zip(images, parts, chosen, strict=True)
        ]
        places = [image.places(index) for image, index in zip(images, chosen, strict=True)]
        return self.visual(images, tokens, places)


def attention_of(layer: Any) -> Any:
    """Return the attention module of an encoder's block, which families call differently."""
    names = ("self_attn", "attn", "attention")
    return next(getattr(layer, name) for name in names if hasattr(layer, name))


def _side_by_side(key: Tensor) -> Tensor:
    """Return keys [X, h, n, d_h] as [X, n, h·d_h]."""
    return key.transpose(1, 2).flatten(2)


def _by_image(values: Tensor, pixels: Pixels) -> list[Tensor]:
    """Return values [batch · crops, n, w] of all crops by image, [batch · its crops, n, w]."""
    import torch

    by_request = values.reshape(pixels.batch, pixels.crop_count, *values.shape[1:])
    parts = torch.split(by_request, [len(crops) for crops in pixels.crops], dim=1)
    return [part.flatten(0, 1) for part in parts]


def _grid(patches: Size, tokens: int) -> Size:
    """Return the rows and columns of a crop's tokens, squares of whose patches are joined."""
    side = round((patches[0] * patches[1] / tokens) ** 0.5)
    return patches[0] // side, patches[1] // side
