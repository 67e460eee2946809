"""Feed-forward networks with fewer channels, for as long as a run takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from ..costmodel import InvalidInput
from ..costmodel.primitives.widths import Channels
from .adapters import Adapter

#: Linear layers of a feed-forward network by name: those that make it wider, and the one back.
_WIDENING = frozenset({"gate_proj", "up_proj", "fc1", "linear_fc1"})
_NARROWING = frozenset({"down_proj", "fc2", "linear_fc2"})


@contextmanager
def narrowed(adapter: Adapter, channels: Channels | None) -> Iterator[None]:
    """Let FFNs of decoder and encoder run on the first ⌊share · m⌋ of their m channels.

    Raises:
        InvalidInput: A feed-forward network of other parts.
    """
    replaced: list[tuple[Any, str, Any]] = []
    try:
        if channels is not None:
            for share, layers, field in (
                (channels.ffn, adapter.layers, "channels.ffn"),
                (channels.encoder_ffn, adapter.encoder_layers, "channels.encoder_ffn"),
            ):
                if share < 1:
                    for layer in layers:
                        replaced += _narrow(getattr(layer, "mlp", None), share, field)
        yield
    finally:
        for module, name, whole in replaced:
            setattr(module, name, whole)


def _narrow(network: Any, share: Fraction, field: str) -> Iterator[tuple[Any, str, Any]]:
    """Replace a network's linear layers; yield what was where."""
    import torch

    names = [name for name, _ in network.named_children()] if network is not None else []
    linear = [name for name in names if isinstance(getattr(network, name), torch.nn.Linear)]
    if not linear or not {*linear} <= _WIDENING | _NARROWING:
        kind = type(network).__name__
        problem = f"cannot be run on {kind}, whose linear layers are not known by name"
        raise InvalidInput(field, None, problem, "leave it out")
    for name in linear:
        whole = getattr(network, name)
        widens = name in _WIDENING
        rows = int(share * whole.out_features) if widens else whole.out_features
        columns = whole.in_features if widens else int(share * whole.in_features)
        weight = whole.weight[:rows, :columns]
        part = torch.nn.Linear(
            columns,
            rows,
            bias=whole.bias is not None,
            device="meta",  # the weights are views of those that are there
        )
        part.weight = torch.nn.Parameter(weight, requires_grad=False)
        if whole.bias is not None:
            part.bias = torch.nn.Parameter(whole.bias[:rows], requires_grad=False)
        yield network, name, whole
        setattr(network, name, part)
