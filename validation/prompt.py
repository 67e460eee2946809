"""Prompts: equal requests of images and text, and the sequence that enters the LLM."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from .adapters import Adapter, Pixels
from .sequence import STRUCTURAL, TEXT, VISUAL, Keys, Tokens

if TYPE_CHECKING:
    from torch import Tensor

#: Text before the images, if there is enough: LLaVA's system prompt.
SYSTEM_TOKENS = 35


class Request(NamedTuple):
    """Equal requests: random images and text ids [batch, text tokens], which stay on the host."""

    pixels: Pixels
    text: Tensor


class Visual(NamedTuple):
    """Visual tokens of each image, [batch, k_i, width].

    Attributes:
        tokens: Per image, as `Adapter.features` makes them.
        dense: How many tokens each image has in the sequence that position ids are made for.
        source: Per image, which of those tokens each one stands for, [batch, k_i]; None: itself.
        in_place: Whether tokens of several runs stand where those do that they stand for; else
            they are shared equally among an image's runs, its crops.
        keeps_ids: Whether tokens keep the position ids of those that they stand for, also where
            ids carry no place in the image.
    """

    tokens: list[Tensor]
    dense: list[int]
    source: list[Tensor] | None = None
    in_place: bool = False
    keeps_ids: bool = False


class Prompt(NamedTuple):
    """A prompt whose images stand one behind the other in the text.

    Attributes:
        ids: [batch, n], on the host.
        kinds: TEXT, STRUCTURAL or VISUAL, of each token.
        runs: Per image, (start, length) of each run of visual tokens.
    """

    ids: Tensor
    kinds: list[int]
    runs: list[list[tuple[int, int]]]


def prompt_of(adapter: Adapter, request: Request, counts: Sequence[int]) -> Prompt:
    """Return the prompt in which each image has so many visual tokens as `counts` says."""
    import torch

    batch, total = request.text.shape
    system = min(SYSTEM_TOKENS, total // 2) if adapter.text_before_images else 0
    ids, kinds, runs = [request.text[:, :system]], [TEXT] * system, []
    for image, count in enumerate(counts):
        own = adapter.image_ids(request.pixels, image, count)
        visual = [one in adapter.placeholders and not adapter.crosses for one in own]
        runs.append([(len(kinds) + start, length) for start, length in _runs(visual)])
        ids.append(torch.tensor(own, dtype=torch.int64).expand(batch, -1))
        kinds += [VISUAL if one else STRUCTURAL for one in visual]
    ids.append(request.text[:, system:])
    return Prompt(torch.cat(ids, dim=1), kinds + [TEXT] * (total - system), runs)


def assemble(adapter: Adapter, request: Request, visual: Visual) -> Tokens:
    """Put visual tokens between the embeddings of a prompt's other tokens.

    Position ids are those of a prompt with `visual.dense` tokens, taken where `visual.source`
    points, or 0 to n − 1 where the family's ids carry no place in the image.
    """
    prompt = prompt_of(adapter, request, visual.dense)
    embedded = adapter.embed(prompt.ids)
    positions = adapter.positions(request.pixels, prompt.ids).to(embedded.device)
    if adapter.crosses:
        return _crossing(adapter, request, visual, prompt, embedded, positions)
    return _inserted(adapter, visual, prompt, embedded, positions)


def _inserted(
    adapter: Adapter, visual: Visual, prompt: Prompt, embedded: Tensor, positions: Tensor
) -> Tokens:
    import torch

    device, width = embedded.device, embedded.shape[-1]
    place = torch.arange(embedded.shape[1], device=device).expand(embedded.shape[:2])
    rows, places = [], []
    kinds: list[int] = []
    blocks: list[int] = []
    done = run = 0

    def text_until(end: int) -> None:
        rows.append(_beside(embedded[:, done:end], visual.tokens[0].shape[-1]))
        places.append(place[:, done:end])
        kinds.extend(prompt.kinds[done:end])
        blocks.extend([-1] * (end - done))

    for image, (tokens, runs) in enumerate(zip(visual.tokens, prompt.runs, strict=True)):
        spans = [place[:, start : start + length] for start, length in runs]
        dense = torch.cat([place[:, :0], *spans], dim=1)
        source = visual.source[image] if visual.source is not None else None
        here = dense if source is None else dense.gather(1, source)
        taken = 0
        for start, length in runs:
            left = length * tokens.shape[1] // visual.dense[image]
            if visual.in_place:  # all of them in the first run, until they are put in order
                left = tokens.shape[1] - taken
            text_until(start)
            rows.append(tokens[:, taken : taken + left].to(embedded.dtype))
            places.append(here[:, taken : taken + left])
            kinds += [VISUAL] * left
            blocks += [run] * left
            done, taken, run = start + length, taken + left, run + 1
    text_until(embedded.shape[1])
    chosen, joined = torch.cat(places, dim=1), torch.cat(rows, dim=1)
    shape = chosen.shape
    sequence = Tokens(
        states=joined[..., :width],
        positions=positions.gather(-1, chosen.expand(*positions.shape[:-1], -1)),
        kinds=torch.tensor(kinds, device=device).expand(shape),
        origin=torch.arange(shape[1], device=device).expand(shape),
        visual=kinds.count(VISUAL),
        text=kinds.count(TEXT),
        blocks=torch.tensor(blocks, device=device).expand(shape),
        added=_layers_of(joined[..., width:], width),
    )
    if visual.in_place:
        sequence = _in_order(sequence, chosen, prompt)
    if adapter.keeps_positions or visual.keeps_ids:
        return sequence
    return sequence.renumbered(adapter.first_position)


def _in_order(sequence: Tokens, places: Tensor, prompt: Prompt) -> Tokens:
    """Return a sequence in the order of the places [B, n] in the dense prompt."""
    import torch

    runs = [run for of_one in prompt.runs for run in of_one]
    dense = torch.full_like(places[0, :1], -1).repeat(prompt.ids.shape[1])
    for index, (start, length) in enumerate(runs):
        dense[start : start + length] = index
    sequence = sequence._replace(blocks=dense[places])
    ordered = sequence.at(places.argsort(dim=1, stable=True), sequence.visual)
    return ordered._replace(origin=sequence.origin)


def _crossing(
    adapter: Adapter,
    request: Request,
    visual: Visual,
    prompt: Prompt,
    embedded: Tensor,
    positions: Tensor,
) -> Tokens:
    import torch

    device, batch, length = embedded.device, len(embedded), embedded.shape[1]
    visible = adapter.visible_keys(request.pixels, prompt.ids).to(device)
    origin = torch.arange(sum(visual.dense), device=device).expand(batch, -1)
    if visual.source is not None:
        first = [sum(visual.dense[:image]) for image in range(len(visual.dense))]
        pairs = zip(visual.source, first, strict=True)
        origin = torch.cat([source + start for source, start in pairs], dim=1)
        visible = visible.gather(2, origin[:, None].expand(-1, length, -1))
    states = torch.cat(visual.tokens, dim=1).to(embedded.dtype)
    return Tokens(
        states=embedded,
        positions=positions,
        kinds=torch.tensor(prompt.kinds, device=device).expand(batch, -1),
        origin=torch.arange(length, device=device).expand(batch, -1),
        visual=states.shape[1],
        text=prompt.kinds.count(TEXT),
        keys=Keys(states, origin, visible),
    )


def _runs(marked: Sequence[bool]) -> list[tuple[int, int]]:
    """Return (start, length) of every run of true values."""
    runs, place = [], 0
    for value, group in groupby(marked):
        length = len(list(group))
        if value:
            runs.append((place, length))
        place += length
    return runs


def _beside(rows: Tensor, width: int) -> Tensor:
    """Return rows [B, n, d] with zeros behind, so that they are `width` wide."""
    import torch

    missing = width - rows.shape[-1]
    return torch.nn.functional.pad(rows, (0, missing)) if missing else rows


def _layers_of(rows: Tensor, width: int) -> Tensor | None:
    """Return what rows [B, n, layers · width] add in each layer, [layers, B, n, width]."""
    if not rows.shape[-1]:
        return None
    return rows.reshape(*rows.shape[:2], -1, width).permute(2, 0, 1, 3)
