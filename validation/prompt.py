"""Prompts: equal requests of images and text, and the sequence that enters the LLM."""

from __future__ import annotations

from collections.abc import Sequence
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


class Prompt(NamedTuple):
    """A prompt whose images stand one behind the other in the text.

    Attributes:
        ids: [batch, n], on the host.
        kinds: TEXT, STRUCTURAL or VISUAL, of each token.
        starts: Where the visual tokens of each image begin.
    """

    ids: Tensor
    kinds: list[int]
    starts: list[int]


def prompt_of(adapter: Adapter, request: Request, counts: Sequence[int]) -> Prompt:
    """Return the prompt in which each image has so many visual tokens as `counts` says."""
    import torch

    before, placeholder, after = adapter.special_ids()
    batch, total = request.text.shape
    system = min(SYSTEM_TOKENS, total // 2)
    ids, kinds, starts = [request.text[:, :system]], [TEXT] * system, []
    for count in counts:
        starts.append(len(kinds) + len(before))
        image = torch.tensor([*before, *[placeholder] * count, *after], dtype=torch.int64)
        ids.append(image.expand(batch, -1))
        kinds += [STRUCTURAL] * len(before) + [VISUAL] * count + [STRUCTURAL] * len(after)
    ids.append(request.text[:, system:])
    return Prompt(torch.cat(ids, dim=1), kinds + [TEXT] * (total - system), starts)


def assemble(adapter: Adapter, request: Request, visual: Visual) -> Tokens:
    """Put visual tokens between the embeddings of a prompt's other tokens.

    Position ids are those of a prompt with `visual.dense` tokens, taken where `visual.source`
    points, or 0 to n − 1 where the family's ids carry no place in the image.
    """
    import torch

    device = adapter.model.device
    ids, kinds, starts = prompt_of(adapter, request, visual.dense)
    positions = adapter.positions(request.pixels, ids).to(device)
    embedded = adapter.embed(ids)
    place = torch.arange(ids.shape[1], device=device).expand(ids.shape)
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
