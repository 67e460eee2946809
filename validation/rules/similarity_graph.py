"""G-Prune's rule: graphs of the overview and of the tiles, separators aside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ...costmodel import InvalidInput
from ..adapters import Adapter, Pixels
from ..prompt import Visual
from ..reducers.common import check_count
from .base import Rule

if TYPE_CHECKING:
    from torch import Tensor

#: Model types whose overview comes before the tiles, and those where it comes behind them.
_OVERVIEW_FIRST, _OVERVIEW_LAST = ("llava_next", "llava_onevision"), ("internvl",)


class Layout(NamedTuple):
    """Where the tokens of each graph stand among an image's tokens, and where separators do."""

    overview: list[int]
    tiles: list[int]
    separators: list[int]


class GPrune(Rule):
    """Overview and tiles lose tokens alike, and separators stay; survivors are renumbered."""

    renumbers = True
    ranks_in_encoder = True

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Keep what information gathers at, in each of the two graphs.

        Raises:
            InvalidInput: Several images or a video, tiles whose overview is not known, or fewer
                tokens than separators.
        """
        import torch

        from ..reducers.common import top_indices
        from ..reducers.gprune import gathered

        if pixels.clip is not None:
            problem = "are no tiles of one image, which G-Prune makes its graphs of"
            raise InvalidInput("frames", pixels.clip.frames, problem, "give one image")
        if len(pixels.images) > 1:
            problem = "are more than the one that G-Prune makes its graphs of"
            raise InvalidInput("images", len(pixels.images), problem, "give one image")
        (feature,) = run()
        layout = layout_of(self.adapter, pixels, feature.shape[1])
        own = len(layout.separators)
        check_count("count", count, feature.shape[1], least=own + 1)
        patches = len(layout.overview) + len(layout.tiles)
        of_overview = (count - own) * len(layout.overview) // patches
        width = self.adapter.decoder.config.hidden_size
        batch = feature.shape[0]
        kept = [torch.tensor(layout.separators, device=feature.device, dtype=torch.int64)]
        kept = [kept[0].expand(batch, -1)]
        amounts = (of_overview, count - own - of_overview)
        for places, amount in zip((layout.overview, layout.tiles), amounts, strict=True):
            if not places:
                continue
            here = torch.tensor(places, device=feature.device)
            picks = top_indices(gathered(feature[:, here, :width]), amount)
            kept.append(here[picks])
        index = torch.cat(kept, dim=1).sort(dim=1).values
        taken = feature.gather(1, index[..., None].expand(-1, -1, feature.shape[-1]))
        return Visual([taken], [feature.shape[1]], [index])


def layout_of(adapter: Adapter, pixels: Pixels, tokens: int) -> Layout:
    """Return the layout of one image's tokens.

    Raises:
        InvalidInput: Tiles of a family whose overview is not known.
    """
    crops = pixels.crop_count
    kind = adapter.model.config.model_type
    separators = _separators(adapter, pixels) if kind in _OVERVIEW_FIRST else []
    apart = set(separators)
    patches = [place for place in range(tokens) if place not in apart]
    if crops == 1:
        return Layout(patches, [], separators)
    if kind in _OVERVIEW_FIRST:
        base = _crop_tokens(pixels)
        return Layout(patches[:base], patches[base:], separators)
    if kind in _OVERVIEW_LAST:
        base = tokens // crops
        return Layout(patches[-base:], patches[:-base], separators)
    raise InvalidInput(
        "schedule",
        None,
        f"cannot be run on {kind}: G-Prune needs overview and tiles one behind the other",
        "choose another method, or an image of one crop",
    )


def _crop_tokens(pixels: Pixels) -> int:
    rows, columns = pixels.crops[0][0]
    return rows * columns


def _separators(adapter: Adapter, pixels: Pixels) -> list[int]:
    """Return the places of the learned rows, as the model itself puts them between others."""
    import torch

    marker = torch.full((1,), -1.0)
    crops = torch.zeros(pixels.crop_count, _crop_tokens(pixels), 1)
    pack = adapter.base.pack_image_features
    besides = {}
    if adapter.model.config.model_type == "llava_next":
        besides["vision_feature_select_strategy"] = "full"
    (packed,), _ = pack([crops], [list(pixels.images[0])], image_newline=marker, **besides)
    places: list[int] = torch.where(packed[:, 0] < 0)[0].tolist()
    return places
