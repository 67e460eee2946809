"""Queries and keys as an attention module would compute them, on tokens of one's own choice."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def heads(states: Tensor, attention: Any, which: str) -> Tensor:
    """Project states to queries ("q"), keys ("k") or values ("v"), with their norm: [B, h, n, d_h].

    The weights are used without calling their module, so that no counter books it there.
    """
    from torch.nn.functional import linear

    projection = getattr(attention, f"{which}_proj")
    projected = linear(states, projection.weight, projection.bias)
    split: Tensor = projected.view(*states.shape[:-1], -1, attention.head_dim).transpose(1, 2)
    norm = getattr(attention, f"{which}_norm", None)
    return split if norm is None else norm(split)


def rotated(attention: Any, split: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Apply rotary tables to heads [B, h, n, d_h] with the family's own function."""
    family = sys.modules[type(attention).__module__]
    turned: Tensor
    if hasattr(family, "apply_multimodal_rotary_pos_emb"):  # Qwen-VL before transformers 5.23
        sections = attention.config.rope_parameters["mrope_section"]
        turned, _ = family.apply_multimodal_rotary_pos_emb(split, split, cosine, sine, sections)
    else:
        turned, _ = family.apply_rotary_pos_emb(split, split, cosine, sine)
    return turned
