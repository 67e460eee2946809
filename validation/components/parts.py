"""A transformers model, called component by component."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ...costmodel.plan import TokenPlan
from ...costmodel.tokens.base import Size
from ..counters import count_by_module

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

#: Rotary tables: no cost, although some versions of transformers build them by a matrix product.
ROTARY = "rotary"
OUTSIDE = "elsewhere"


class Parts:
    """A model on meta, run by its own modules; families say what they are called and take.

    Class attributes:
        places: Component by the path of a module; the innermost one counts.
        decoder_path, head_path: The LLM, and its head.
        beyond_reason: Why `beyond` is not empty, in a sentence.
        arranges: Whether what `see` returns is the model's own doing; else it repeats the plan.
    """

    places: ClassVar[Mapping[str, str]] = {
        "model.vision_tower": "vision",
        "model.multi_modal_projector": "connector",
        "model.language_model": "decoder",
        "lm_head": "head",
    }
    decoder_path: ClassVar[str] = "model.language_model"
    head_path: ClassVar[str] = "lm_head"
    beyond_reason: ClassVar[str] = ""
    arranges: ClassVar[bool] = True

    def __init__(self, model: Any) -> None:
        """Take a model in evaluation mode."""
        self.model = model
        self.cache: Any = None
        self.owners: dict[Module, str] = {}
        for path, component in self.places.items():  # inner places come behind outer ones
            self.owners.update(dict.fromkeys(_runs(model.get_submodule(path)), component))
        for path, module in model.named_modules():
            if path.rpartition(".")[2].startswith("rotary"):
                self.owners[module] = ROTARY

    @property
    def title(self) -> str:
        """The transformers class, or classes, that run."""
        return type(self.model).__name__

    # --- what a family says ----------------------------------------------------------------------

    def see(self, plan: TokenPlan) -> int:
        """Run encoder and connector, and return the visual tokens that the LLM gets."""
        raise NotImplementedError

    def beyond(self, plan: TokenPlan, step: int) -> Mapping[str, int]:
        """Return FLOPs by component that transformers spends beyond the closed form, on purpose.

        Args:
            plan: What was run.
            step: 0 for the prefill, or the number of a decode forward.
        """
        return {}

    @property
    def decoder(self) -> Any:
        """The LLM without its head."""
        return self.model.get_submodule(self.decoder_path)

    @property
    def head(self) -> Any:
        """The LLM's head."""
        return self.model.get_submodule(self.head_path)

    def read(self, tokens: int) -> Tensor:
        """Run the LLM on so many further tokens, and return its states."""
        states = self.empty(1, tokens, self.decoder.config.hidden_size)
        found: Tensor = self.decoder(
            inputs_embeds=states, past_key_values=self.cache, use_cache=True
        ).last_hidden_state
        return found

    def new_cache(self) -> Any:
        """Return an empty cache of keys and values."""
        from transformers import DynamicCache

        return DynamicCache(config=self.decoder.config)

    # --- what all do -----------------------------------------------------------------------------

    def prefill(self, plan: TokenPlan) -> int:
        """Run encoder, connector, LLM and head on a plan's inputs; return the visual tokens."""
        visual = self.see(plan)
        self.cache = self.new_cache()
        self.begin(visual, plan)
        return visual

    def begin(self, visual: int, plan: TokenPlan) -> None:
        """Run the LLM on visual, structural and text tokens, and the head on the last position."""
        self.head(self.read(visual + plan.structural_tokens + plan.text_tokens)[:, -1:])

    def decode(self) -> None:
        """Run LLM and head on one more token."""
        self.head(self.read(1)[:, -1:])

    def counted(self, run: Callable[[], object]) -> Counter[str]:
        """Return the FLOPs of a call by component."""
        found: Counter[str] = Counter()
        for owner, flops in count_by_module(run, self.owners).items():
            if owner != ROTARY:
                found[owner or OUTSIDE] += sum(flops.values())
        return found

    @staticmethod
    def empty(*shape: int) -> Tensor:
        """Return a tensor of a shape alone."""
        import torch

        return torch.empty(*shape, device="meta")

    @staticmethod
    def zeros(*shape: int) -> Tensor:
        """Return indices of a shape alone."""
        import torch

        return torch.zeros(*shape, dtype=torch.int64, device="meta")

    def pixels(self, crops: Iterable[Size]) -> Tensor:
        """Return the pixels of equal crops: [crops, channels, height, width]."""
        grids = list(crops)
        (grid,) = set(grids)
        vision = self.model.config.vision_config
        height, width = (
            _edge(side, vision.patch_size, vision.image_size, axis)
            for axis, side in enumerate(grid)
        )
        return self.empty(len(grids), 3, height, width)


def _runs(module: Module) -> Iterator[Module]:
    """Yield a module and its children, which a family may call one by one, lists by their items."""
    from torch.nn import ModuleList

    yield module
    for child in module.children():
        yield child
        if isinstance(child, ModuleList):
            yield from child


def _edge(patches: int, patch_size: Any, image_size: Any, axis: int) -> int:
    """Return pixels of a side: the encoder's own, where the patches are those of a whole image."""
    patch, image = (
        size[axis] if isinstance(size, list | tuple) else size for size in (patch_size, image_size)
    )
    return int(image if image // patch == patches else patches * patch)


def tokens_of(features: Any) -> int:
    """Return how many tokens a tensor [..., tokens, width] or a list of them holds."""
    if isinstance(features, list | tuple):
        return sum(tokens_of(one) for one in features)
    return math.prod(features.shape[:-1])
