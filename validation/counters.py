"""FLOPs of a real run, by aten operator and by module, from torch's FlopCounterMode.

The counter prices matrix products, convolutions and attention at 2 FLOP per multiply–accumulate.
Whatever it has no formula for it counts as 0 without a word; here such a product gets a formula
(fused attention on the CPU) or raises `UncountedOperator`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..costmodel import MissingExtra, TokencostError

if TYPE_CHECKING:
    from torch import Size
    from torch.nn import Module
    from torch.utils._python_dispatch import TorchDispatchMode

Owner = TypeVar("Owner", bound=Hashable)

#: Words of the operator names that multiply matrices, such as `_grouped_mm` or `conv2d`.
_PRODUCT = re.compile(
    r"(^|_)((add|b|addb|baddb)?mm|(add)?mv|v?dot|linear|einsum|attention|conv(?!ert)\w*)(_|$)"
)


class UncountedOperator(TokencostError):
    """A run used products that the counter has no formula for, so that its count is too low."""

    def __init__(self, names: frozenset[str]) -> None:
        """Keep the operators' `names`."""
        self.names = names
        super().__init__(
            f"no FLOP formula for {', '.join(sorted(names))}; "
            "choose an implementation made of plain matrix products"
        )


def count_flops(run: Callable[[], object]) -> dict[str, int]:
    """Return the FLOPs of a call by operator (`{"aten.mm": …}`), without gradients.

    Prepare outside `run` what is not to be counted, such as rotary tables, which some versions of
    transformers build by a matrix product.

    Raises:
        MissingExtra: torch is not installed.
        UncountedOperator: The run used a product that the counter would have counted as 0.
    """
    return count_by_module(run, {}).get(None, {})


def count_by_module(
    run: Callable[[], object], owners: Mapping[Module, Owner]
) -> dict[Owner | None, dict[str, int]]:
    """Return the FLOPs of a call by owner, then by operator.

    What runs inside several owned modules belongs to the innermost one, and what runs outside all
    of them to None. Owners without FLOPs are absent.

    Raises:
        MissingExtra: torch is not installed.
        UncountedOperator: The run used a product that the counter would have counted as 0.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtra("torch", "validation") from None
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(
        display=False,
        custom_mapping={
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops
        },
    )
    ledger: _Ledger[Owner] = _Ledger(lambda: counter.flop_counts["Global"])
    unseen: set[str] = set()
    hooks: list[Any] = []
    try:
        for module, owner in owners.items():
            hooks += ledger.attach(module, owner)
        # The counter, entered last, sees an operator first and hands its parts to the watch.
        with torch.no_grad(), _watch(counter.flop_registry, unseen), counter:
            run()
        ledger.book()
    finally:
        for hook in hooks:
            hook.remove()
    if unseen:
        raise UncountedOperator(frozenset(unseen))
    return {owner: dict(flops) for owner, flops in ledger.booked.items() if flops}


def _attention_flops(query: Size, key: Size, value: Size, *_: Any, **__: Any) -> int:
    """Return 2·b·h·n_q·n_k·(d_qk + d_v), what the counter charges for the other fused kernels."""
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[-2] * (width + value[-1])


class _Ledger(Generic[Owner]):
    """Books a counter's growing total on the innermost owned module that is running."""

    def __init__(self, total: Callable[[], Mapping[Any, int]]) -> None:
        self.total = total
        self.running: list[Owner | None] = [None]
        self.booked: dict[Owner | None, Counter[str]] = defaultdict(Counter)
        self.seen: Counter[str] = Counter()

    def attach(self, module: Module, owner: Owner) -> tuple[Any, Any]:
        """Follow a module's calls; return the hooks to be removed."""

        def enter(*_: object) -> None:
            self.book()
            self.running.append(owner)

        def leave(*_: object) -> None:
            self.book()
            self.running.pop()

        return module.register_forward_pre_hook(enter), module.register_forward_hook(leave)

    def book(self) -> None:
        """Book what was counted since the last call."""
        total = Counter({str(operator): flops for operator, flops in self.total().items()})
        self.booked[self.running[-1]] += total - self.seen
        self.seen = total


def _watch(known: Container[object], unseen: set[str]) -> TorchDispatchMode:
    """Return a mode that notes the products executed under it that are not `known`."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            operator = getattr(func, "overloadpacket", func)
            if operator not in known and _PRODUCT.search(str(operator).rpartition(".")[2]):
                unseen.add(str(operator))
            return func(*args, **(kwargs or {}))

    return Watch()  # type: ignore[no-untyped-call]
