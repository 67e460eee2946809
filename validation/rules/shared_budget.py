"""Rules that share an image's tokens unequally among its parts: HiRED, HoloV."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ..adapters import Pixels
from ..adapters.llava import LlavaNextAdapter
from ..attention import Seen, watching
from ..prompt import Visual
from ..reducers.common import take
from .base import without_class_token
from .ranked_crops import Candidates, CropRule, attention_of

if TYPE_CHECKING:
    from torch import Tensor


class HiRED(CropRule):
    """An early layer shares the budget among crops, the last one that is used spends it."""

    connects_what_is_left = True

    def before_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Choose patches, and connect them."""
        return self.after_connector(pixels, lambda: [run()], count)

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Choose among tokens that the connector made."""
        from ..reducers.hired import hired

        self.one_image(pixels)
        self.unequal_shares(pixels, count)
        with watching(attention_of(self.adapter.encoder_layers[0])) as first:
            (image,) = self.candidates(pixels, run)
        late = image.scores[0].reshape(pixels.batch, image.crops, -1)
        # LLaVA-NeXT's whole image comes first, InternVL's last.
        whole = image.crops - 1 if self.adapter.connector_joins_neighbours else 0
        early = late[:, whole]
        if image.crops > 1:
            early = self._early(pixels, image, first[0], whole)
        chosen = hired(early, late, whole, count)
        tokens = take(image.of_request(image.features), chosen)
        return self.visual([image], self.connected([tokens]), [chosen])

    def _early(self, pixels: Pixels, image: Candidates, call: Seen, whole: int) -> Tensor:
        """Return the early scores of the whole image's tokens alone, [B, n]."""
        rows = slice(whole, None, image.crops)
        call = call._replace(query=call.query[rows], key=call.key[rows])
        scores = self.score(call)
        if self.one_by_one:
            return without_class_token(self.adapter, scores[..., None])[..., 0]
        alone = pixels._replace(crops=((pixels.crops[0][whole],),))
        (ranking,) = self.adapter.rankings(alone, [image.features[rows]], [call], lambda _: scores)
        early: Tensor = ranking.scores
        return early


class HoloV(CropRule):
    """Runs of the raster of all crops get shares by attention and variety.

    Crops of LLaVA-NeXT's kind are put together to the image that they were cut from, behind the
    whole image; it is not un-padded. Other crops follow one another.
    """

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Choose among the tokens that the connector made of all crops."""
        import torch

        from ..reducers.holov import holov

        self.one_image(pixels)
        self.unequal_shares(pixels, count)
        (image,) = self.candidates(pixels, run)
        tokens = image.of_request(self.connected([image.features])[0])
        order = torch.tensor(self._raster(pixels, image), device=tokens.device)
        attention = image.of_request(image.scores[0]) / _heads(
            self.adapter.model.config.vision_config
        )
        chosen = holov(self.compared(tokens)[:, order], attention[:, order], count)
        index = order[chosen.kept]
        kept = take(tokens, index) * chosen.filled[..., None]
        return self.visual([image], [kept], [index])

    def _raster(self, pixels: Pixels, image: Candidates) -> list[int]:
        """Return the tokens of all crops in the order in which runs are cut."""
        tokens = int(image.features.shape[1])
        parts = image.crops - 1
        if not isinstance(self.adapter, LlavaNextAdapter) or not parts:
            return list(range(image.crops * tokens))
        down, across = self._parts(pixels)
        rows, columns = image.grids[0]
        mosaic = [
            (1 + top * across + left) * tokens + row * columns + column
            for top in range(down)
            for row in range(rows)
            for left in range(across)
            for column in range(columns)
        ]
        return [*range(tokens), *mosaic]

    def _parts(self, pixels: Pixels) -> tuple[int, int]:
        """Return how many crops lie below and beside one another."""
        from transformers.models.llava_next import modeling_llava_next

        config, family = self.adapter.model.config, cast(Any, modeling_llava_next)
        down, across = family.get_anyres_image_grid_shape(
            pixels.images[0], config.image_grid_pinpoints, config.vision_config.image_size
        )
        return int(down), int(across)


def _heads(vision: Any) -> int:
    """Return the attention heads of an encoder's config."""
    return int(getattr(vision, "num_attention_heads", None) or vision.num_heads)
