"""FLOPs of a real run, by aten operator and by module, from torch's FlopCounterMode.

Whatever the counter has no formula for it counts as 0 without a word; here such a product gets a
formula (fused attention on the CPU) or raises `UncountedOperator`, and other arithmetic is listed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any, Generic

from ...costmodel import MissingExtra, TokencostError
from .kinds import computes, is_product, kind_of
from .result import Booked, Count, Owner, followed

if TYPE_CHECKING:
    from torch import Size
    from torch.nn import Module
    from torch.utils._python_dispatch import TorchDispatchMode


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
    booked, _ = _count(run, owners)
    return {owner: dict(flops) for owner, flops in booked.items() if flops}


def count_by_dispatch(run: Callable[[], object], owners: Mapping[Module, Owner]) -> Count[Owner]:
    """Return the FLOPs of a call by owner and kind; unseen is arithmetic with floating results.

    Raises:
        MissingExtra: torch is not installed.
        UncountedOperator: The run used a product that the counter would have counted as 0.
    """
    by_operator, unseen = _count(run, owners)
    booked: Booked[Owner] = defaultdict(Counter)
    for owner, operators in by_operator.items():
        for operator, flops in operators.items():
            booked[owner][kind_of(operator)] += flops
    return Count.of(booked, unseen)


def _count(
    run: Callable[[], object], owners: Mapping[Module, Owner]
) -> tuple[dict[Owner | None, Counter[str]], Counter[str]]:
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
    unseen: Counter[str] = Counter()
    watch = _watch(counter.flop_registry, unseen)
    # The counter, entered last, sees an operator first and hands its parts to the watch.
    with followed(owners, ledger.enter, ledger.leave), torch.no_grad(), watch, counter:
        run()
    ledger.book()
    products = frozenset(filter(is_product, unseen))
    if products:
        raise UncountedOperator(products)
    return ledger.booked, unseen


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

    def enter(self, owner: Owner) -> None:
        """Charge `owner` from now on."""
        self.book()
        self.running.append(owner)

    def leave(self) -> None:
        """Charge the owner before again."""
        self.book()
        self.running.pop()

    def book(self) -> None:
        """Book what was counted since the last call."""
        total = Counter({str(operator): flops for operator, flops in self.total().items()})
        self.booked[self.running[-1]] += total - self.seen
        self.seen = total


def _watch(known: Container[object], unseen: Counter[str]) -> TorchDispatchMode:
    """Return a mode that notes the arithmetic executed under it whose operator is not `known`."""
    from torch import Tensor
    from torch.utils._python_dispatch import TorchDispatchMode

    def is_floating(result: object) -> bool:
        if isinstance(result, (tuple, list)):
            return any(map(is_floating, result))
        return isinstance(result, Tensor) and result.is_floating_point()

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            operator = getattr(func, "overloadpacket", func)
            result = func(*args, **(kwargs or {}))
            name = str(operator)
            if operator not in known and (
                is_product(name) or (computes(name) and is_floating(result))
            ):
                unseen[name] += 1
            return result

    return Watch()  # type: ignore[no-untyped-call]
