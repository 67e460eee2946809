"""Single torch modules on the meta device, counted; nothing of the cost model but its operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from vlm_tokencost.costmodel.operators import Attention, Convolution, Linear, Operator

_KINDS = {
    "aten.mm": "linear",
    "aten.addmm": "linear",
    "aten.bmm": "attention",
    "aten.baddbmm": "attention",
    "aten.convolution": "convolution",
}
_CLASSES = {Linear: "linear", Attention: "attention", Convolution: "convolution"}


def on_meta(build: Callable[[], Any]) -> Any:
    """Build a module without memory for its weights."""
    import torch

    with torch.device("meta"):
        return build().eval()


def empty(*shape: int) -> Any:
    """Return a tensor of a shape alone."""
    import torch

    return torch.empty(*shape, device="meta")


def stored(*modules: Any) -> int:
    """Return the parameters of modules."""
    return sum(each.numel() for module in modules for each in module.parameters())


def counted(*runs: Callable[[], object]) -> Counter[str]:
    """Run and count: MACs by kind of operator, as torch's FlopCounterMode sees them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    found: Counter[str] = Counter()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for run in runs:
            run()
    for operator, flops in counter.get_flop_counts()["Global"].items():
        found[_KINDS[str(operator)]] += flops // 2
    return found


def priced(operators: Iterable[Operator]) -> Counter[str]:
    """Return the MACs of operators by kind, for all layers that execute them."""
    found: Counter[str] = Counter()
    for operator in operators:
        found[_CLASSES[type(operator)]] += operator.macs * max(1, len(operator.layers))
    return found
