"""Runs a transformers model under a schedule: encoder, connector, then the decoder layer by layer.

Nothing of transformers is replaced or copied: its modules are called one after another, and
between them the sequence is shortened by the rule that the schedule names. Caches become ragged,
because every layer keeps what it processed. On `meta` the same code runs on shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from ..costmodel import InvalidInput
from ..costmodel.tokens.base import Size
from .adapters import Adapter, Clip, Pixels, adapter_of
from .attention import Seen, make_observable
from .layers import Amounts, Modules, Prefilled, decode_layers, prefill_layers
from .prompt import Request, Visual, assemble, prompt_of
from .reduction import Reduction
from .rules import Rule, check_rule, rule_of, split, without_class_token
from .sequence import Tokens
from .staged import staged_states

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

#: A component of the cost model and a layer of it; None is what lies outside the layers.
Place = tuple[str, int | None]
#: Rotary tables: no cost, although some versions of transformers build them by a matrix product.
ROTARY: Place = ("rotary", None)
#: Routed experts, whose linear layers run as batched products.
EXPERTS = "experts"
#: What decode forwards score to choose anew which stored tokens they read.
RESCAN = "rescan"
#: Names of the modules that make a tower's patches.
_EMBEDDINGS = ("embeddings", "patch_embed", "patch_embedding")


def component_of(place: Place) -> str:
    """Return the component of the cost model that pays for a place."""
    return {EXPERTS: "decoder", RESCAN: "selection"}.get(place[0], place[0])


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
        self.rescanner: Any = _selector()
        self.runners = tuple(_selector() for _ in self.adapter.layers)

    def owners(self) -> dict[Module, Place]:
        """Return the place of every module whose products have one."""
        adapter = self.adapter
        places: dict[Module, Place] = {
            adapter.tower: ("vision", None),
            adapter.head: ("head", None),
            self.selector: ("selection", None),
            self.rescanner: (RESCAN, None),
        }
        places.update(dict.fromkeys(adapter.connector_parts, ("connector", None)))
        for component, layers in (("vision", adapter.encoder_layers), ("decoder", adapter.layers)):
            for index, layer in enumerate(layers):
                places[layer] = (component, index)
                # Merging blocks are run by their parts.
                places.update(dict.fromkeys(layer.children(), (component, index)))
                for path, module in layer.named_modules():
                    if path.rpartition(".")[2] == EXPERTS:
                        places[module] = (EXPERTS, index)
        places.update((one, ("decoder", index)) for index, one in enumerate(self.runners))
        for path, module in self.model.named_modules():
            name = path.rpartition(".")[2]
            if name.startswith("rotary"):
                places[module] = ROTARY
            elif name in _EMBEDDINGS:
                places[module] = ("vision", None)
        return places

    def request(
        self,
        images: Sequence[Size],
        crops: Sequence[Sequence[Size]],
        text_tokens: int,
        batch: int = 1,
        seed: int = 0,
        clip: Clip | None = None,
    ) -> Request:
        """Return random equal requests; the same seed gives the same on every device.

        Args:
            images: Sizes (height, width) of one request's images, or that of its video's frames.
            crops: Per image, the patch grids (rows, columns) that pass the encoder.
            text_tokens: N; the first 35 of them, half at most, stand before the images.
            batch: Requests, with different pixels and text.
            seed: Of the random numbers.
            clip: The video that each request has instead of images.

        Raises:
            InvalidInput: A video that the family cannot run.
        """
        import torch

        generator = torch.Generator().manual_seed(seed)
        pixels = self.adapter.pixels(images, crops, batch, generator, clip)
        vocabulary = int(self.model.config.text_config.vocab_size)
        text = torch.randint(vocabulary, (batch, text_tokens), generator=generator)
        for special in self.adapter.specials():
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
        reduction.check(len(self.adapter.encoder_layers), len(self.adapter.layers))
        rule = rule_of(reduction, self.adapter)
        rule.text = request.text
        check_rule(rule, reduction, self.adapter, request.text.shape[1])
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
            modules = Modules(self.selector, self.runners)
            amounts = Amounts(visual, reduction.active, reduction.keeping)
            return prefill_layers(
                self.adapter, self.attention, modules, entered, amounts, rule, logits
            )

    def decode(self, prefilled: Prefilled, ids: Tensor) -> Tensor:
        """Run one decode forward on ids [batch, 1], and return its logits [batch, 1, vocabulary].

        A layer with position ids of its own continues them; the others continue the prompt's.
        """
        import torch

        with torch.no_grad():
            return decode_layers(self.adapter, self.attention, self.rescanner, prefilled, ids)

    def _entering(self, request: Request, reduction: Reduction, rule: Rule) -> Tokens:
        """Return the sequence that enters layer 0."""
        pixels, compressed = request.pixels, reduction.compressed
        count, at = compressed or (0, "after-connector")
        if at == "instead-of-connector":

            def patches() -> Tensor:
                return self._tower_states(pixels, reduction, rule)

            own = count - rule.learned
            visual = self.selector(rule.instead_of_connector, pixels, patches, own)
            return assemble(self.adapter, request, rule.with_learned(visual))
        if at == "before-connector":

            def states() -> Tensor:
                return self._tower_states(pixels, reduction, rule)

            visual = self.selector(rule.before_connector, pixels, states, count - rule.learned)
            return assemble(self.adapter, request, rule.with_learned(visual))
        if reduction.merged or reduction.staged is not None:
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
        reduction.check_amount("compressed", count - rule.learned, sequence.visual)
        sequence = cast(Tokens, self.selector(rule.compress, sequence, count))
        return (
            sequence
            if self.adapter.keeps_positions
            else sequence.renumbered(self.adapter.first_position)
        )

    def _tower_states(self, pixels: Pixels, reduction: Reduction, rule: Rule) -> Tensor:
        if reduction.staged is not None:
            return staged_states(self.adapter, pixels, *reduction.staged)
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


def _selector() -> Module:
    import torch

    class Selector(torch.nn.Module):
        """Runs whatever it is given, so that hooks can tell a selection rule's products."""

        def forward(self, run: Callable[..., Any], *arguments: Any) -> Any:
            return run(*arguments)

    return Selector()
