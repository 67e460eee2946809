"""Queries and keys as attention gets them, through transformers' own registry of attention.

A registered implementation hands over what each attention module computes (projected, normed and
rotated, whatever the family does) and then leaves the work to the implementation that it wraps.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..costmodel import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

Implementation = Literal["eager", "sdpa"]


class Seen(NamedTuple):
    """What one call of an attention module attends with.

    Attributes:
        query: [B, h, n_q, d_h], with positions applied.
        key: [B, h_kv, n_k, d_h], likewise, those of a cache included.
        scaling: What the products are multiplied by before the softmax.
        mask: What is added to the products or, when boolean, where a query may look,
            [B or 1, 1, n_q, n_k]; None where the operator is handed no mask.
        softcap: Bound that tanh keeps the products within, before the mask; None without one.
    """

    query: Tensor
    key: Tensor
    scaling: float
    mask: Tensor | None = None
    softcap: float | None = None


#: Lists that collect what the attention modules under watch see, the innermost watch last.
_WATCHED: dict[Module, list[list[Seen]]] = {}


#: What computes attention instead of a module's own implementation.
_REPLACED: dict[Module, Any] = {}


@contextmanager
def attending(module: Module, compute: Any) -> Iterator[None]:
    """Let a function compute what an attention module attends to.

    Args:
        module: Its attention must be an `observable` one.
        compute: Takes the module, query, key, value, mask and options as transformers' own
            implementations do, and returns ([B, n, h, d_h], weights or None).
    """
    _REPLACED[module] = compute
    try:
        yield
    finally:
        del _REPLACED[module]


@contextmanager
def watching(module: Module) -> Iterator[list[Seen]]:
    """Collect what an attention module sees, call by call.

    The model's attention must be an `observable` one.
    """
    seen: list[Seen] = []
    watchers = _WATCHED.setdefault(module, [])
    watchers.append(seen)
    try:
        yield seen
    finally:
        watchers.pop()
        if not watchers:
            del _WATCHED[module]


def make_observable(model: PreTrainedModel) -> Implementation:
    """Let `watching` see a model's attention; return the implementation that does the work.

    The model keeps the observable implementation, which computes the same.

    Raises:
        InvalidInput: Parts of the model attend differently, or neither "eager" nor "sdpa".
    """
    configs = (model.config, model.config.text_config, model.config.vision_config)
    chosen = {str(part._attn_implementation).removeprefix(_PREFIX) for part in configs}
    if chosen not in ({"eager"}, {"sdpa"}):
        raise InvalidInput(
            "attn_implementation",
            " and ".join(sorted(chosen)),
            "cannot be observed",
            'build the model with "eager" or with "sdpa"',
        )
    name: Implementation = "eager" if chosen == {"eager"} else "sdpa"
    _register(name)
    model.set_attn_implementation(_PREFIX + name)
    return name


def choose_attention(model: PreTrainedModel, attention: Implementation) -> None:
    """Let a model that is there attend by an implementation.

    Raises:
        InvalidInput: A part of the model does not have it.
    """
    try:
        model.set_attn_implementation(attention)
    except ValueError:
        raise no_such_attention(model.config.model_type, attention) from None


def no_such_attention(model_type: str, attention: str) -> InvalidInput:
    """Return the error for an implementation that a part of a model does not have."""
    problem = f"is not there for the parts of {model_type}"
    return InvalidInput("--attention", attention, problem, "give --attention eager")


_PREFIX = "observed_"


def _register(name: Implementation) -> None:
    from transformers import AttentionInterface, masking_utils
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if _PREFIX + name in ALL_ATTENTION_FUNCTIONS:
        return
    wrapped = None if name == "eager" else ALL_ATTENTION_FUNCTIONS[name]

    def attend(
        module: Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        **options: Any,
    ) -> Any:
        for seen in _WATCHED.get(module, ()):
            scaling, softcap = float(options["scaling"]), options.get("softcap")
            seen.append(Seen(query, key, scaling, attention_mask, softcap))
        # Eager attention is no registered function: every modelling file has its own.
        run = (
            _REPLACED.get(module)
            or wrapped
            or sys.modules[type(module).__module__].eager_attention_forward
        )
        return run(module, query, key, value, attention_mask, **options)

    AttentionInterface.register(_PREFIX + name, attend)
    masks = masking_utils.ALL_MASK_ATTENTION_FUNCTIONS
    masks.register(_PREFIX + name, masks[name])
