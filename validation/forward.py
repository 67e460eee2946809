"""Runs a transformers model under a schedule: encoder, connector, then the decoder layer by layer.

Nothing of transformers is replaced or copied: its modules are called one after another, and
between them the sequence is shortened by the rule that the schedule names. Caches become ragged,
because every layer keeps what it processed. On `meta` the same code runs on shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from ..costmodel import InvalidInput
from ..costmodel.tokens import Size
from .adapters import Adapter, Pixels, adapter_of
from .attention import Seen, make_observable, watching
from .prompt import Request, Visual, assemble, prompt_of
from .reduction import Reduction
from .rules import Rule, Stage, rule_of, split, without_class_token
from .sequence import Tokens

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import Cache, PreTrainedModel

#: A component of the cost model and a layer of it; None is what lies outside the layers.
Place = tuple[str, int | None]
#: Rotary tables: no cost, although some versions of transformers build them by a matrix product.
ROTARY: Place = ("rotary", None)


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
    steps: int = field(default=0)


class Driver:
    """Runs a model's parts.

    Attributes:
        model: A transformers model with a language-model head.
        adapter: Its family.
        selector: The module that every selection rule runs inside.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Find the model's parts, and let its attention be watched.

        Raises:
            InvalidInput: No adapter knows the model's type.
        """
        self.model = model
        self.adapter: Adapter = adapter_of(model)
        self.attention = make_observable(model)
        self.selector: Any = _selector()

    def owners(self) -> dict[Module, Place]:
        """Return the place of every module whose products have one."""
        adapter = self.adapter
        places: dict[Module, Place] = {
            adapter.tower: ("vision", None),
            adapter.connector: ("connector", None),
            adapter.head: ("head", None),
            self.selector: ("selection", None),
        }
        for component, layers in (("vision", adapter.encoder_layers), ("decoder", adapter.layers)):
            for index, layer in enumerate(layers):
                places[layer] = (component, index)
                # Merging blocks are run by their parts.
                places.update(dict.fromkeys(layer.children(), (component, index)))
        for path, module in self.model.named_modules():
            name = path.rpartition(".")[2]
            if name.startswith("rotary"):
                places[module] = ROTARY
            elif name in ("embeddings", "patch_embed"):
                places[module] = ("vision", None)
        return places

    def request(
        self,
        images: Sequence[Size],
        crops: Sequence[Sequence[Size]],
        text_tokens: int,
        batch: int = 1,
        seed: int = 0,
    ) -> Request:
        """Return random equal requests; the same seed gives the same on every device.

        Args:
            images: Sizes (height, width) of one request's images.
            crops: Per image, the patch grids (rows, columns) that pass the encoder.
            text_tokens: N; the first 35 of them, half at most, stand before the images.
            batch: Requests, with different pixels and text.
            seed: Of the random numbers.
        """
        import torch

        generator = torch.Generator().manual_seed(seed)
        pixels = self.adapter.pixels(images, crops, batch, generator)
        vocabulary = int(self.model.config.text_config.vocab_size)
        text = torch.randint(vocabulary, (batch, text_tokens), generator=generator)
        before, placeholder, after = self.adapter.special_ids()
        for special in (*before, placeholder, *after):
            text[text == special] = 0
        return Request(pixels, text)

    def ids(self, request: Request, counts: Sequence[int]) -> Tensor:
        """Return the ids [batch, n] of a prompt whose images have `counts` visual tokens."""
        return prompt_of(self.adapter, request, counts).ids

    def model_inputs(self, request: Request) -> dict[str, Any]:
        """Return what the whole model takes for a request, as its processor would make it."""
        counts = [int(feature.shape[1]) for feature in self.adapter.features(request.pixels)]
        inputs = self.adapter.model_inputs(request.pixels, self.ids(request, counts))
        device = self.model.device
        on_host = ("image_grid_thw", "image_sizes", "batch_num_images")
        return {
            name: value if name in on_host else value.to(device) for name, value in inputs.items()
        }

    def prefill(
        self,
        request: Request,
        reduction: Reduction | None = None,
        logits: Literal["last", "all"] = "last",
    ) -> Prefilled:
        """Run a prefill under a reduction, and the head at the last or at all positions.

        Raises:
            InvalidInput: A reduction that the family cannot run.
        """
        import torch

        reduction = reduction or Reduction()
        reduction.check(
            len(self.adapter.encoder_layers), len(self.adapter.layers), request.text.shape[1]
        )
        rule = rule_of(reduction.selection, self.adapter)
        with torch.no_grad():
            entered = self._entering(request, reduction, rule)
            if reduction.entering not in (None, entered.visual):
                raise InvalidInput(
                    "visual_tokens",
                    reduction.entering,
                    f"enter the LLM by the plan, but the model makes {entered.visual} of the image",
                    "leave out --visual-tokens",
                )
            visual = reduction.visual or (entered.visual,) * len(self.adapter.layers)
            reduction.check_amount("visual", visual[0], entered.visual)
            if rule.watches_layer_before and 0 < visual[0] < entered.visual:
                raise InvalidInput(
                    "selection",
                    reduction.selection,
                    "looks at the layer before, and layer 0 has none",
                    "reduce from layer 1 on",
                )
            return self._decode_layers(entered, visual, rule, logits)

    def decode(self, prefilled: Prefilled, ids: Tensor) -> Tensor:
        """Run one decode forward on ids [batch, 1], and return its logits [batch, 1, vocabulary].

        A layer with position ids of its own continues them; the others continue the prompt's.
        """
        import torch

        with torch.no_grad():
            return self._decode(prefilled, ids)

    def _decode(self, prefilled: Prefilled, ids: Tensor) -> Tensor:
        adapter = self.adapter
        states = adapter.embed(ids)
        tables: dict[int | None, Any] = {}
        for index, layer in enumerate(adapter.layers):
            own = prefilled.renumbered_from is not None and index >= prefilled.renumbered_from
            start = prefilled.lengths[index] if own else None
            if start not in tables:
                position = prefilled.next_position
                if start is not None:
                    position = position.new_full(position.shape, start)
                tables[start] = adapter.decoder.rotary_emb(states, position + prefilled.steps)
            states = layer(
                states,
                attention_mask=None,
                position_embeddings=tables[start],
                past_key_values=prefilled.cache,
            )
        prefilled.steps += 1
        logits: Tensor = adapter.head(adapter.decoder.norm(states))
        return logits

    def _entering(self, request: Request, reduction: Reduction, rule: Rule) -> Tokens:
        """Return the sequence that enters layer 0."""
        pixels, compressed = request.pixels, reduction.compressed
        count, at = compressed or (0, "after-connector")
        if at == "before-connector":

            def states() -> Tensor:
                return self._tower_states(pixels, reduction, rule)

            visual = self.selector(rule.before_connector, pixels, states, count)
            return assemble(self.adapter, request, visual)
        if reduction.merged:
            visual = self._merged(pixels, reduction, rule)
        elif compressed and rule.ranks_in_encoder:

            def features() -> list[Tensor]:
                return self.adapter.features(pixels)

            visual = self.selector(rule.after_connector, pixels, features, count)
            return assemble(self.adapter, request, visual)
        else:
            tokens = self.adapter.features(pixels)
            visual = Visual(tokens, [int(one.shape[1]) for one in tokens])
        sequence = assemble(self.adapter, request, visual)
        if compressed is None:
            return sequence
        reduction.check_amount("compressed", count, sequence.visual)
        sequence = cast(Tokens, self.selector(rule.compress, sequence, count))
        return sequence if self.adapter.keeps_positions else sequence.renumbered()

    def _tower_states(self, pixels: Pixels, reduction: Reduction, rule: Rule) -> Tensor:
        if not reduction.merged:
            return self.adapter.tower_states(pixels)

        def merge(block: int, seen: Seen, states: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
            merged = reduction.merged[block]
            if not merged:
                return states, sizes
            left: tuple[Tensor, Tensor] = self.selector(
                rule.in_encoder, seen, states, sizes, merged
            )
            return left

        return self.adapter.merged_tower_states(pixels, merge)

    def _merged(self, pixels: Pixels, reduction: Reduction, rule: Rule) -> Visual:
        states = without_class_token(self.adapter, self._tower_states(pixels, reduction, rule))
        tokens = self.adapter.connect(states)
        joined = tokens.reshape(pixels.batch, -1, tokens.shape[-1])
        sizes = [len(crops) * tokens.shape[1] for crops in pixels.crops]
        return Visual(split(joined, sizes), sizes)

    def _decode_layers(
        self, entered: Tokens, visual: Sequence[int], rule: Rule, positions: str
    ) -> Prefilled:
        from transformers import DynamicCache

        adapter = self.adapter
        reducing = {
            layer: count
            for layer, (before, count) in enumerate(
                zip((entered.visual, *visual), visual, strict=False)
            )
            if count != before
        }
        choosing = {layer for layer, count in reducing.items() if count}
        if choosing:
            self.selector(rule.begin, entered)
        cache = DynamicCache(config=adapter.decoder.config)
        tokens, tables, mask = entered, self._tables(entered), self._mask(entered)
        lengths, stages, renumbered_from = [], {}, None
        seen: Seen | None = None
        for index, layer in enumerate(adapter.layers):
            if index in reducing:
                if reducing[index]:
                    stage = Stage((index, layer), tokens, tables, seen, reducing[index])
                    tokens = self.selector(rule.stage, stage)
                else:
                    tokens = tokens.keep(None)
                if rule.renumbers and not adapter.keeps_positions:
                    tokens = tokens.renumbered()
                    renumbered_from = index if renumbered_from is None else renumbered_from
                tables, mask = self._tables(tokens), self._mask(tokens)
                stages[index] = tokens
            watch = rule.watches_layer_before and index + 1 in choosing

            def forward(layer: Any = layer, now: Any = (tokens, tables, mask)) -> Tensor:
                states: Tensor = layer(
                    now[0].states,
                    attention_mask=now[2],
                    position_embeddings=now[1],
                    past_key_values=cache,
                )
                return states

            states, seen = _watched(layer.self_attn, forward) if watch else (forward(), None)
            tokens = tokens._replace(states=states)
            lengths.append(tokens.length)
        tokens = tokens._replace(states=adapter.decoder.norm(tokens.states))
        at = tokens.states if positions == "all" else tokens.states[:, -1:]
        return Prefilled(
            tokens=tokens,
            logits=adapter.head(at),
            cache=cache,
            lengths=lengths,
            entered=entered,
            stages=stages,
            next_position=_behind(entered.positions),
            renumbered_from=renumbered_from,
        )

    def _tables(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        tables: tuple[Tensor, Tensor] = self.adapter.decoder.rotary_emb(
            tokens.states, tokens.positions
        )
        return tables

    def _mask(self, tokens: Tokens) -> Tensor | None:
        """Return the causal mask; fused attention makes its own when it gets none."""
        import torch

        if self.attention == "sdpa":
            return None
        states = tokens.states
        hidden = torch.full(
            (tokens.length, tokens.length),
            torch.finfo(states.dtype).min,
            dtype=states.dtype,
            device=states.device,
        )
        return hidden.triu(1)[None, None]


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


def _selector() -> Module:
    import torch

    class Selector(torch.nn.Module):
        """Runs whatever it is given, so that hooks can tell a selection rule's products."""

        def forward(self, run: Callable[..., Any], *arguments: Any) -> Any:
            return run(*arguments)

    return Selector()
