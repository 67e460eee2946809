"""Runs decoder layers one after another: a prefill that is shortened between them, and decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .activity import Active, alive, nested, places
from .adapters import Adapter
from .attention import Implementation, Seen, attending, watching
from .caches import Keeping, KeptCache, narrow_attention
from .masks import SLIDING, decoding_mask, mask_of
from .partial import check_layer, partial_layer
from .reducers.common import attention_rows
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
        kept: What of the cache decode forwards read; None for all of it.
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
    kept: KeptCache | None = None
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


class Modules(NamedTuple):
    """Modules that run functions, so that counters know whose products they are.

    Attributes:
        selector: Runs selection rules.
        runners: Run what stands for a decoder layer, one for each.
    """

    selector: Any
    runners: tuple[Any, ...]


class Amounts(NamedTuple):
    """How many visual tokens there are where.

    Attributes:
        visual: Those that each layer works on.
        active: Those that do a part of it, where not all do everything, or tokens come back.
        keeping: What decode forwards store and read; None for everything.
    """

    visual: Sequence[int]
    active: Active | None = None
    keeping: Keeping | None = None


def prefill_layers(
    adapter: Adapter,
    attention: Implementation,
    modules: Modules,
    entered: Tokens,
    amounts: Amounts,
    rule: Rule,
    positions: Literal["last", "all"],
) -> Prefilled:
    """Run all layers, the visual tokens of layer l being visual[l], and the head.

    Tokens stay at hand as long as a later layer works on them, and come as they left.

    Args:
        adapter: The family.
        attention: What does the model's attention.
        modules: Run rules and parts of layers.
        entered: What enters layer 0.
        amounts: Visual tokens of each layer.
        rule: Chooses them.
        positions: Where the head runs.

    Raises:
        InvalidInput: Layers whose parts cannot be run one by one, where that is asked for.
    """
    from transformers import DynamicCache

    active, selector = amounts.active, modules.selector
    at_hand = alive(tuple(amounts.visual))
    reducing = {
        layer: count
        for layer, (before, count) in enumerate(
            zip((entered.visual, *at_hand), at_hand, strict=False)
        )
        if count != before
    }
    choosing = {layer for layer, count in reducing.items() if count}
    if choosing:
        selector(rule.begin, entered)
    cache = DynamicCache(config=adapter.decoder.config)
    tokens = entered if active is None and amounts.keeping is None else _numbered(entered)
    around = Around.of(adapter, tokens, attention)
    stages: dict[int, Tokens] = {}
    lengths: list[int] = []
    inputs: list[dict[str, Any]] = []
    exposed: list[Tokens] = []
    renumbered_from: int | None = None
    seen: Seen | None = None
    last = len(adapter.layers) - 1
    for index, layer in enumerate(adapter.layers):
        kind = adapter.layer_kinds[index]
        if index in reducing:
            if reducing[index]:
                stage = Stage(
                    (index, layer),
                    tokens,
                    around.tables[kind],
                    around.masks[kind],
                    seen,
                    reducing[index],
                    None if active is None else entered.length,
                )
                tokens = selector(rule.stage, stage)
            else:
                tokens = tokens.keep(None)
            if rule.renumbers and not adapter.keeps_positions:
                tokens = tokens.renumbered(adapter.first_position)
                renumbered_from = index if renumbered_from is None else renumbered_from
            around = Around.of(adapter, tokens, attention)
            stages[index] = tokens
        if rule.interposes_at is not None and index == min(rule.interposes_at, last):
            tokens = selector(rule.before_layer, tokens)
        present, place, here = tokens, None, around
        if amounts.visual[index] < tokens.visual:
            count = amounts.visual[index]
            present, place = tokens.part(nested(tokens, count, entered.length) if count else None)
            here = Around.of(adapter, present, attention)
            stages[index] = present
        if active is None or active.plain(index):
            watched = rule.watches_layer_before and index + 1 in choosing
            states, seen = _whole_layer(adapter, index, present, here, cache, watched=watched)
            exposed.append(present)
        else:
            check_layer(layer)
            at = places(present, active, index, entered.length)
            states = modules.runners[index](
                partial_layer,
                layer,
                present.states,
                here.tables[kind],
                adapter.visible(present, kind),
                attention,
                cache,
                at,
            )
            exposed.append(present.at(at.key, active.key[index]))
        lengths.append(present.length)
        inputs.append(adapter.decode_inputs(index, present))
        if place is None:
            tokens = tokens._replace(states=states).with_added(index)
        else:
            tokens = tokens.with_states_at(place, states).with_added(index)
    tokens = tokens._replace(states=adapter.decoder.norm(tokens.states))
    end = tokens.states if positions == "all" else tokens.states[:, -1:]
    kept = None
    if amounts.keeping is not None:
        kept = KeptCache(cache, exposed, amounts.keeping, entered.length)
    return Prefilled(
        tokens=tokens,
        logits=adapter.logits(end),
        cache=cache,
        lengths=lengths,
        entered=entered,
        stages=stages,
        next_position=_behind(entered.positions),
        renumbered_from=renumbered_from,
        inputs=inputs,
        kept=kept,
    )


def _numbered(entered: Tokens) -> Tokens:
    """Return what enters layer 0 with its own places as origins, where it was compressed before."""
    import torch

    places = torch.arange(entered.length, device=entered.origin.device).expand_as(entered.origin)
    return entered._replace(origin=torch.where(entered.origin < 0, entered.origin, places))


def _whole_layer(
    adapter: Adapter, index: int, tokens: Tokens, around: Around, cache: Cache, *, watched: bool
) -> tuple[Tensor, Seen | None]:
    """Return the states behind a layer, and what its attention saw if that is wanted."""
    layer, kind = adapter.layers[index], adapter.layer_kinds[index]

    def forward() -> Tensor:
        after: Tensor = layer(
            tokens.states,
            attention_mask=around.masks[kind],
            position_embeddings=around.tables[kind],
            past_key_values=cache,
            **adapter.layer_inputs(index, tokens),
        )
        return after

    return _watched(layer.self_attn, forward) if watched else (forward(), None)


def decode_layers(
    adapter: Adapter,
    attention: Implementation,
    rescanner: Any,
    prefilled: Prefilled,
    ids: Tensor,
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
        read = None if prefilled.kept is None else prefilled.kept.before(index)
        cached: Any = prefilled.cache.layers[index]
        keys = 1 + int(cached.keys.shape[-2])

        def forward(
            layer: Any = layer,
            states: Tensor = states,
            mask: Tensor | None = decoding_mask(window, keys, attention, states),  # noqa: B008
            table: tuple[Tensor, Tensor] = tables[start, kind],
            besides: dict[str, Any] = prefilled.inputs[index],
        ) -> Tensor:
            after: Tensor = layer(
                states,
                attention_mask=mask,
                position_embeddings=table,
                past_key_values=prefilled.cache,
                **besides,
            )
            return after

        if prefilled.kept is None or read is None:
            states = forward()
        else:
            states = _reading(layer.self_attn, forward, prefilled.kept, index, read, rescanner)
    prefilled.steps += 1
    if prefilled.kept is not None:
        prefilled.kept.steps += 1
    return adapter.logits(adapter.decoder.norm(states))


def _reading(
    attention: Any,
    forward: Callable[[], Tensor],
    kept: KeptCache,
    index: int,
    read: int,
    rescanner: Any,
) -> Tensor:
    """Run a layer of a decode forward on what a schedule reads, and choose anew where it does."""
    channels = kept.keeping.channels

    def narrow(
        module: Any, query: Tensor, keys: Tensor, values: Tensor, mask: Any, **options: Any
    ) -> tuple[Tensor, None]:
        scaling = float(options["scaling"])
        attended = narrow_attention(query, keys, values, scaling, read, channels)
        return attended.transpose(1, 2).contiguous(), None

    if channels.key == channels.value == 1:
        states, seen = _watched(attention, forward)
    else:
        with attending(attention, narrow):
            states, seen = _watched(attention, forward)
    kept.after(index)
    unread = kept.unread(index)
    if unread.shape[2] and kept.keeping.chooses(kept.steps + 1):
        query = seen.query[..., : unread.shape[-1]]
        kept.scores.append(rescanner(attention_rows, query, unread, seen.scaling))
    return states


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
