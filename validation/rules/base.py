"""What a selection rule may do in a run; without one, tokens are evenly spaced, at no cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..activity import nested
from ..adapters import Adapter, Pixels
from ..attention import Seen
from ..prompt import Visual
from ..reducers.common import check_count
from ..sequence import Merged, Tokens

if TYPE_CHECKING:
    from torch import Tensor


class Stage(NamedTuple):
    """What a rule may look at before a decoder layer that processes fewer visual tokens.

    Attributes:
        layer: The layer's index and module, the first to process `left` visual tokens.
        tokens: The sequence so far.
        tables: Rotary tables (cosine, sine) of that sequence, in that layer.
        mask: The mask that the layer would be handed; None for causal attention without one.
        seen: Queries and keys of the layer before, if the rule watches it.
        left: Visual tokens to go on with.
        entered: Length of the sequence that entered layer 0, where layers leave out tokens that
            come back: what stays is then part of what stays for larger amounts.
    """

    layer: tuple[int, Any]
    tokens: Tokens
    tables: tuple[Tensor, Tensor]
    mask: Tensor | None
    seen: Seen | None
    left: int
    entered: int | None = None


class Rule:
    """Evenly spaced tokens: what a schedule without a selection rule runs with.

    Attributes:
        watches_layer_before: Whether `stage` wants the queries and keys of the layer before.
        renumbers: Whether survivors get position ids 0 to n − 1; families whose ids carry the
            place in the image keep theirs.
        ranks_in_encoder: Whether `after_connector` takes the place of `compress`.
        ranks_in_sequence: Whether it ranks visual tokens by attention of the LLM's own sequence.
        chooses_in_decoding: Whether it has products of its own in decode forwards, which do not
            run.
        rates_by_text: Whether it needs text tokens.
        connects_what_is_left: Whether it stands before the connector where that takes tokens one by
            one.
        interposes_at: The layer before which `before_layer` changes the sequence; None for none.
        text: The requests' text ids [batch, N], which the driver sets.
    """

    watches_layer_before: ClassVar[bool] = False
    renumbers: ClassVar[bool] = False
    ranks_in_encoder: ClassVar[bool] = False
    ranks_in_sequence: ClassVar[bool] = False
    chooses_in_decoding: ClassVar[bool] = False
    rates_by_text: ClassVar[bool] = False
    connects_what_is_left: ClassVar[bool] = False
    interposes_at: ClassVar[int | None] = None
    text: Tensor | None = None

    def __init__(self, adapter: Adapter, extra: int = 0, learned: int = 0) -> None:
        """Take the family that the rule runs on.

        Args:
            adapter: The family.
            extra: Tokens before the LLM that are merged from those that are not kept.
            learned: Tokens before the LLM that are made of nothing that was there.
        """
        self.adapter, self.extra, self.learned = adapter, extra, learned

    def begin(self, tokens: Tokens) -> None:
        """Look at what enters layer 0 before stages reduce it."""

    def stage(self, at: Stage) -> Tokens:
        """Return the sequence that goes on."""
        if at.entered is not None:
            return at.tokens.keep(nested(at.tokens, at.left, at.entered))
        return at.tokens.keep(spaced(at.tokens, at.left))

    def before_layer(self, tokens: Tokens) -> Tokens:
        """Return the sequence that enters layer `interposes_at`, or the last of fewer layers."""
        return tokens

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Return the sequence that enters layer 0 with `count` visual tokens.

        `learned` of them are new ones, zeros without a reducer, behind the last one that is kept.
        """
        kept = tokens.keep(spaced(tokens, count - self.learned))
        if not self.learned:
            return kept
        places = kept.positions[..., -1:].expand(*kept.positions.shape[:-1], self.learned)
        states = kept.states.new_zeros(len(kept.states), self.learned, kept.states.shape[-1])
        return kept.with_behind(Merged(states, places))

    def with_learned(self, visual: Visual) -> Visual:
        """Return visual tokens with the `learned` ones behind the last image's."""
        import torch

        if not self.learned:
            return visual
        last = visual.tokens[-1]
        new = last.new_zeros(len(last), self.learned, last.shape[-1])
        dense = [*visual.dense[:-1], visual.dense[-1] + self.learned]
        return Visual([*visual.tokens[:-1], torch.cat([last, new], dim=1)], dense, visual.source)

    def before_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Return visual tokens of which `count` passed the connector.

        Args:
            pixels: The images.
            run: Runs the tower and returns its states, class token first.
            count: Tokens of one request, over all its crops.
        """
        import torch

        states = without_class_token(self.adapter, run())
        flat = states.reshape(pixels.batch, -1, states.shape[-1])
        total = flat.shape[1]
        check_count("reduction.compressed", count, total, least=1)
        places = [index * total // count for index in range(count)]
        kept = self.adapter.connect(flat[:, places])
        per_crop, ends = total // pixels.crop_count, 0
        sizes, dense, sources = [], [], []
        for crops in pixels.crops:
            start, ends = ends, ends + len(crops) * per_crop
            here = [place - start for place in places if start <= place < ends]
            sizes.append(len(here))
            dense.append(ends - start)
            sources.append(
                torch.tensor(here, device=kept.device, dtype=torch.int64).expand(pixels.batch, -1)
            )
        if not self.adapter.crosses:
            # The others never existed: what is left has the place ids of as many tokens.
            return Visual(split(kept, sizes), sizes)
        return Visual(split(kept, sizes), dense, sources)

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Return `count` visual tokens after the connector, chosen by what the encoder attends to.

        Args:
            pixels: The images.
            run: Runs encoder and connector and returns the visual tokens of each image.
            count: Tokens of one request, over all its crops.
        """
        raise NotImplementedError

    def instead_of_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Return `count` visual tokens made by a connector of the rule's own.

        Without a reducer they are zeros: what makes them is then told not to have run.

        Args:
            pixels: The images.
            run: Runs the tower and returns its states, class token first.
            count: Tokens of one request, over all its crops.
        """
        states = run()
        width = self.adapter.decoder.config.hidden_size
        tokens = states.new_zeros(pixels.batch, count, width)
        per_image, left = divmod(count, len(pixels.crops))
        sizes = [per_image + (index < left) for index in range(len(pixels.crops))]
        return Visual(split(tokens, sizes), sizes)

    def in_encoder(
        self, seen: Seen, states: Tensor, sizes: Tensor, merged: int
    ) -> tuple[Tensor, Tensor]:
        """Return states [X, n − merged, c] and sizes [X, n − merged] after a block's attention.

        Neighbours are averaged, evenly spaced over the crop.
        """
        import torch

        from ..reducers.tome import Matching, merge

        protected = int(self.adapter.has_class_token)
        length = states.shape[1]
        evens, odds = (length + 1) // 2, length // 2
        chosen = [protected + index * (evens - protected) // merged for index in range(merged)]
        partner = [min(index, odds - 1) for index in chosen]  # the last even may have none behind
        left = [index for index in range(evens) if index not in set(chosen)]

        def rows(values: Sequence[int]) -> Tensor:
            index = torch.tensor(values, device=states.device, dtype=torch.int64)
            return index.expand(len(states), -1)

        return merge(states, sizes, Matching(rows(chosen), rows(partner), rows(left)))


def split(tokens: Tensor, sizes: list[int]) -> list[Tensor]:
    """Cut [batch, Σ sizes, width] into one tensor per image."""
    import torch

    return list(torch.split(tokens, sizes, dim=1))


def without_class_token(adapter: Adapter, states: Tensor) -> Tensor:
    """Return a tower's states without the class token."""
    return states[:, 1:] if adapter.has_class_token else states


def spaced(tokens: Tokens, count: int) -> Tensor:
    """Return `count` evenly spaced ones of a sequence's visual tokens, [batch, count]."""
    import torch

    places = [index * tokens.visual // count for index in range(count)]
    index = torch.tensor(places, device=tokens.states.device)
    return index.expand(tokens.states.shape[0], -1)
