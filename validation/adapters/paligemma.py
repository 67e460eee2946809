"""PaliGemma: SigLIP, one linear layer, and Gemma or Gemma 2, whose prompt attends to all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..masks import SLIDING, Visible
from .base import Merge, Pixels
from .llava import LlavaAdapter

if TYPE_CHECKING:
    from torch import Tensor

    from ..sequence import Tokens


class PaliGemmaAdapter(LlavaAdapter):
    """Images come first; positions begin at 1; Gemma 2 bounds its logits by tanh."""

    model_types: ClassVar[tuple[str, ...]] = ("paligemma",)
    first_position: ClassVar[int] = 1
    text_before_images: ClassVar[bool] = False
    slides: ClassVar[bool] = True

    def tower_states(self, pixels: Pixels) -> Tensor:
        """Return the tower's last states, behind its norm."""
        states: Tensor = self.tower(pixels.inputs["pixel_values"]).last_hidden_state
        return states

    def merged_tower_states(self, pixels: Pixels, merge: Merge) -> Tensor:
        """Return the same after merging in every block."""
        merged: Tensor = self._vit.post_layernorm(super().merged_tower_states(pixels, merge))
        return merged

    def model_inputs(self, pixels: Pixels, ids: Tensor) -> dict[str, Any]:
        """Return the inputs with the kind of each token: all belong to the prompt."""
        import torch

        return {**super().model_inputs(pixels, ids), "token_type_ids": torch.zeros_like(ids)}

    def visible(self, tokens: Tokens, kind: str) -> Visible:
        """Return that every token of the prompt sees every other, also through a window."""
        import torch

        one_block = torch.zeros(1, tokens.length, dtype=torch.int64, device=tokens.states.device)
        window = self.window if kind == SLIDING else None
        return Visible(tokens.length, window, one_block, through_window=True)

    def logits(self, states: Tensor) -> Tensor:
        """Return the head's output, bounded if the decoder asks for it."""
        logits = super().logits(states)
        bound = getattr(self.decoder.config, "final_logit_softcapping", None)
        return logits if bound is None else (logits / bound).tanh() * bound

    @property
    def _contributing(self) -> int:
        return len(self.encoder_layers)
