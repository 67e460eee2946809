"""One decoder layer in which not every token does everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..costmodel import InvalidInput
from .activity import Places
from .attention import Implementation
from .masks import Visible, additive
from .projections import heads, rotated

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Cache

#: A pre-norm layer: attention and feed-forward network, each behind its norm.
_PARTS = frozenset({"input_layernorm", "self_attn", "post_attention_layernorm", "mlp"})


def check_layer(layer: Any) -> None:
    """Refuse layers that are not made of the four usual parts.

    Raises:
        InvalidInput: Further norms, cross-attention, parallel branches.
    """
    parts = {name for name, _ in layer.named_children()}
    projections = ("q_proj", "k_proj", "v_proj", "o_proj")
    known = parts == _PARTS and all(hasattr(layer.self_attn, name) for name in projections)
    if not known or getattr(layer.self_attn, "sliding_window", None) is not None:
        raise InvalidInput(
            "layers",
            None,
            f"let tokens do a part of a layer, and {type(layer).__name__} has other parts than "
            "attention and a feed-forward network behind their norms",
            "choose a schedule whose tokens do all or nothing in each layer",
        )


def partial_layer(
    layer: Any,
    states: Tensor,
    tables: tuple[Tensor, Tensor],
    visible: Visible,
    attention: Implementation,
    cache: Cache,
    at: Places,
) -> Tensor:
    """Return states [B, n, d] behind a layer that updates some tokens from some keys.

    Attention runs from the tokens at.query to those at.key, whose keys and values are cached; the
    feed-forward network runs on those at.ffn. Who takes part in neither leaves as it came.

    Args:
        layer: A decoder layer, as `check_layer` wants it.
        states: Of all present tokens.
        tables: Their rotary tables.
        visible: What each of them may look at.
        attention: What does the model's attention.
        cache: Takes keys and values.
        at: Who does what.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    module = layer.self_attn
    normed = layer.input_layernorm(states)
    asking, asked = _rows(normed, at.query), _rows(normed, at.key)
    query = rotated(module, heads(asking, module, "q"), *_tables(tables, at.query))
    key = rotated(module, heads(asked, module, "k"), *_tables(tables, at.key))
    keys, values = cache.update(key, heads(asked, module, "v"), module.layer_idx)
    seen = visible.matrix(states.device).expand(len(states), -1, -1, -1)
    seen = seen.gather(2, at.query[:, None, :, None].expand(-1, 1, -1, seen.shape[-1]))
    seen = seen.gather(3, at.key[:, None, None, :].expand(-1, 1, seen.shape[2], -1))
    mask = seen if attention == "sdpa" else additive(seen, states.dtype)
    attend = ALL_ATTENTION_FUNCTIONS[module.config._attn_implementation]
    attended, _ = attend(
        module, query, keys, values, mask, dropout=0.0, scaling=float(module.scaling)
    )
    update = module.o_proj(attended.reshape(*asking.shape[:2], -1))
    states = _put(states, at.query, _rows(states, at.query) + update)
    passing = _rows(states, at.ffn)
    changed = layer.mlp(layer.post_attention_layernorm(passing))
    return _put(states, at.ffn, passing + changed)


def _rows(states: Tensor, index: Tensor) -> Tensor:
    return states.gather(1, index[..., None].expand(-1, -1, states.shape[-1]))


def _put(states: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Return states [B, n, d] with rows [B, k, d] at index [B, k]."""
    return states.scatter(1, index[..., None].expand_as(rows), rows)


def _tables(tables: tuple[Tensor, Tensor], index: Tensor) -> tuple[Tensor, Tensor]:
    """Return rotary tables [(3,) B or 1, n, d] at index [B, k]."""

    def at(table: Tensor) -> Tensor:
        wide = table.expand(*table.shape[:-3], len(index), -1, -1)
        rows = index[..., None].expand(-1, -1, table.shape[-1])
        return wide.gather(-2, rows.expand(*table.shape[:-3], -1, -1, -1))

    cosine, sine = tables
    return at(cosine), at(sine)
