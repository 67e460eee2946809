"""Prompts: equal requests of images and text, and the sequence that enters the LLM."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from .adapters import Adapter, Pixels
from .sequence import STRUCTURAL, TEXT, VISUAL, Tokens

if TYPE_CHECKING:
    from torch import Tensor

#: Text before the images, if there is enough: LLaVA's system prompt.
SYSTEM_TOKENS = 35


class Request(NamedTuple):
    """Equal requests: random images and text ids [batch, text tokens], which stay on the host."""

    pixels: Pixels
    text: Tensor


class Visual(NamedTuple):
    """Visual tokens of each image, [batch, k_i, hidden_size].

    Attributes:
        tokens: Per image.
        dense: How many tokens each image has in the sequence that position ids are made for.
        source: Per image, which of those tokens each one stands for, [batch, k_i]; None: itself.
    """

    tokens: list[Tensor]
    dense: list[int]
    source: list[Tensor] | None = None


def ids_and_kinds(
    adapter: Adapter, request: Request, counts: Sequence[int]
) -> tuple[Tensor, list[int]]:
    """Return the ids [batch, n] of a prompt and the kind of each token.

    The images, with `counts` visual tokens, stand one behind the other in the text.
    """
    import torch

    before, placeholder, after = adapter.special_ids()
    batch, total = request.text.shape
    system = min(SYSTEM_TOKENS, (total + 1) // 2)
    ids, kinds = [request.text[:, :system]], [TEXT] * system
    for count in counts:
        image = torch.tensor([*before, *[placeholder] * count, *after])
        ids.append(image.expand(batch, -1))
        kinds += [STRUCTURAL] * len(before) + [VISUAL] * count + [STRUCTURAL] * len(after)
    ids.append(request.text[:, system:])
    return torch.cat(ids, dim=1), kinds + [TEXT] * (total - system)


def assemble(adapter: Adapter, request: Request, visual: Visual) -> Tokens:
    """Put visual tokens between the embeddings of a prompt's other tokens.

    Position ids are those of a prompt with `visual.dense` tokens, taken where `visual.source`
    points, or 0 to n − 1 where the family's ids carry no place in the image.
    """
    import torch

    device = adapter.model.device
    ids, kinds = ids_and_kinds(adapter, request, visual.dense)
    positions = adapter.positions(request.pixels, ids).to(device)
    embedded = adapter.embed(ids)
    place = torch.arange(ids.shape[1], device=device).expand(ids.shape)
    # Pieces that are no visual tokens end where an image's tokens begin.
    begins = [index for index, kind in enumerate(kinds) if kind == VISUAL]
    starts = [begins[offset] for offset in accumulate((0, *visual.dense[:-1]))]
    states, places, left = [], [], []
    done = 0
    for image, (tokens, start) in enumerate(zip(visual.tokens, starts, strict=True)):
        end = start + visual.dense[image]
        here = place[:, start:end]
        if visual.source is not None:
            here = here.gather(1, visual.source[image])
        states += [embedded[:, done:start], tokens.to(embedded.dtype)]
        places += [place[:, done:start], here]
        left += [*kinds[done:start], *[VISUAL] * tokens.shape[1]]
        done = end
    states.append(embedded[:, done:])
    places.append(place[:, done:])
    left += kinds[done:]
    chosen = torch.cat(places, dim=1)
    sequence = Tokens(
        states=torch.cat(states, dim=1),
        positions=positions.gather(-1, chosen.expand(*positions.shape[:-1], -1)),
        kinds=torch.tensor(left, device=device).expand(chosen.shape),
        origin=torch.arange(chosen.shape[1], device=device).expand(chosen.shape),
        visual=left.count(VISUAL),
        text=left.count(TEXT),
    )
    return sequence if adapter.keeps_positions else sequence.renumbered()
