"""Runs decoder layers one after another: a prefill that is shortened between them, and decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .adapters import Adapter
from .attention import Implementation, Seen, watching
from .masks import SLIDING, decoding_mask, mask_of
from .rules import Rule, Stage
from .sequence import Tokens

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import Cache


@dataclass
class Prefilled:
    """A finished prefill, which decode forwards go on from.

    Attributes:
        tokens: The sequence behind the last layer and the final norm.
        logits: [batch, 1 or n, vocab_size].
        cache: Keys and values of every layer.
        lengths: Tokens that each layer processed.
        entered: The sequence that entered layer 0.
        stages: Per layer that shortened the sequence, the sequence that it got.
        next_position: Position id behind the last token, [(3,) batch, 1].
        renumbered_from: First layer whose position ids are its own 0 to n − 1, or None.
        inputs: What each layer takes besides in a decode forward.
        steps: Decode forwards so far.
    """

    tokens: Tokens
    logits: Tensor
    cache: Cache
    lengths: list[int]
    entered: Tokens
    stages: dict[int, Tokens]
    next_position: Tensor
    renumbered_from: int | None
    inputs: list[dict[str, Any]]
    steps: int = field(default=0)


class Around(NamedTuple):
    """What layers of each kind get beside a sequence: rotary tables and mask."""

    tables: dict[str, tuple[Tensor, Tensor]]
    masks: dict[str, Tensor | None]

    @classmethod
    def of(cls, adapter: Adapter, tokens: Tokens, attention: Implementation) -> Around:
        """Return what goes with a sequence."""
        kinds = dict.fromkeys(adapter.layer_kinds)
        return cls(
            {kind: adapter.tables(tokens.states, tokens.positions, kind) for kind in kinds},
            {
                kind: mask_of(adapter.visible(tokens, kind), attention, tokens.states)
                for kind in kinds
            },
        )


def prefill_layers(
    adapter: Adapter,
    attention: Implementation,
    selector: Any,
    entered: Tokens,
    visual: Sequence[int],
    rule: Rule,
    positions: Literal["last", "all"],
) -> Prefilled:
    """Run all layers, the visual tokens of layer l being visual[l], and the head.

    Args:
        adapter: The family.
        attention: What does the model's attention.
        selector: The module that every selection rule runs inside.
        entered: What enters layer 0.
        visual: Visual tokens of each layer.
        rule: Chooses them.
        positions: Where the head runs.
    """
    from transformers import DynamicCache

    reducing = {
        layer: count
        for layer, (before, count) in enumerate(
            zip((entered.visual, *visual), visual, strict=False)
        )
        if count != before
    }
    choosing = {layer for layer, count in reducing.items() if count}
    if choosing:
        selector(rule.begin, entered)
    cache = DynamicCache(config=adapter.decoder.config)
    tokens, around = entered, Around.of(adapter, entered, attention)
    lengths, stages, inputs, renumbered_from = [], {}, [], None
    seen: Seen | None = None
    for index, layer in enumerate(adapter.layers):
        kind = adapter.layer_kinds[index]
        if index in reducing:
            if reducing[index]:
                place = (index, layer)
                stage = Stage(
                    place, tokens, around.tables[kind], around.masks[kind], seen, reducing[index]
                )
                tokens = selector(rule.stage, stage)
            else:
                tokens = tokens.keep(None)
            if rule.renumbers and not adapter.keeps_positions:
                tokens = tokens.renumbered(adapter.first_position)
                renumbered_from = index if renumbered_from is None else renumbered_from
            around = Around.of(adapter, tokens, attention)
            stages[index] = tokens

        def forward(
            layer: Any = layer,
            states: Tensor = tokens.states,
            mask: Tensor | None = around.masks[kind],
            tables: tuple[Tensor, Tensor] = around.tables[kind],
            besides: dict[str, Any] = adapter.layer_inputs(index, tokens),  # noqa: B008
        ) -> Tensor:
            after: Tensor = layer(
                states,
                attention_mask=mask,
                position_embeddings=tables,
                past_key_values=cache,
                **besides,
            )
            return after

        watch = rule.watches_layer_before and index + 1 in choosing
        states, seen = _watched(layer.self_attn, forward) if watch else (forward(), None)
        lengths.append(tokens.length)
        inputs.append(adapter.decode_inputs(index, tokens))
        tokens = tokens._replace(states=states).with_added(index)
    tokens = tokens._replace(states=adapter.decoder.norm(tokens.states))
    at = tokens.states if positions == "all" else tokens.states[:, -1:]
    return Prefilled(
        tokens=tokens,
        logits=adapter.logits(at),
        cache=cache,
        lengths=lengths,
        entered=entered,
        stages=stages,
        next_position=_behind(entered.positions),
        renumbered_from=renumbered_from,
        inputs=inputs,
    )


def decode_layers(
    adapter: Adapter, attention: Implementation, prefilled: Prefilled, ids: Tensor
) -> Tensor:
    """Run one decode forward on ids [batch, 1], and return its logits [batch, 1, vocabulary].

    A layer with position ids of its own continues them; the others continue the prompt's.
    """
    states = adapter.embed(ids)
    tables: dict[tuple[int | None, str], Any] = {}
    for index, layer in enumerate(adapter.layers):
        own = prefilled.renumbered_from is not None and index >= prefilled.renumbered_from
        start = adapter.first_position + prefilled.lengths[index] if own else None
        kind = adapter.layer_kinds[index]
        if (start, kind) not in tables:
            position = prefilled.next_position
            if start is not None:
                position = position.new_full(position.shape, start)
            tables[start, kind] = adapter.tables(states, position + prefilled.steps, kind)
        window = adapter.window if kind == SLIDING else None
        cached: Any = prefilled.cache.layers[index]
        keys = 1 + int(cached.keys.shape[-2])
        states = layer(
            states,
            attention_mask=decoding_mask(window, keys, attention, states),
            position_embeddings=tables[start, kind],
            past_key_values=prefilled.cache,
            **prefilled.inputs[index],
        )
    prefilled.steps += 1
    return adapter.logits(adapter.decoder.norm(states))


def _watched(attention: Module, forward: Callable[[], Tensor]) -> tuple[Tensor, Seen]:
    with watching(attention) as seen:
        states = forward()
    return states, seen[0]


def _behind(positions: Tensor) -> Tensor:
    """Return the position id behind a prompt: its largest on any axis, and 1."""
    largest = positions.amax(dim=-1, keepdim=True)
    if positions.dim() == 3:
        largest = largest.amax(dim=0, keepdim=True).expand(3, -1, -1)
    return largest + 1
