"""What a counter returns, and how it learns which module is running."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .kinds import Kind, is_product

if TYPE_CHECKING:
    from torch.nn import Module

Owner = TypeVar("Owner", bound=Hashable)
#: FLOPs while they are being added up.
Booked = dict[Owner | None, Counter[Kind]]


@dataclass(frozen=True)
class Count(Generic[Owner]):
    """FLOPs of a run, and the operators that the counter has no formula for.

    Attributes:
        flops: FLOPs by owner, then by kind of product; owners and kinds without FLOPs are absent.
        unseen: How often an operator ran uncounted, by its name, the most frequent first.
    """

    flops: dict[Owner | None, dict[Kind, int]]
    unseen: dict[str, int]

    @classmethod
    def of(cls, booked: Mapping[Owner | None, Counter[Kind]], unseen: Counter[str]) -> Count[Owner]:
        """Return a count without the zeros."""
        paid = {owner: dict(+kinds) for owner, kinds in booked.items()}
        ranked = sorted(unseen.items(), key=lambda item: (-item[1], item[0]))
        return cls({owner: kinds for owner, kinds in paid.items() if kinds}, dict(ranked))

    @property
    def unseen_products(self) -> dict[str, int]:
        """Products, convolutions and attention among the unseen: what makes the count too low."""
        return {name: times for name, times in self.unseen.items() if is_product(name)}


@contextmanager
def followed(
    owners: Mapping[Module, Owner], enter: Callable[[Owner], None], leave: Callable[[], None]
) -> Iterator[None]:
    """Call `enter` and `leave` around every call of an owned module, also one that fails."""
    handles: list[Any] = []

    def follow(module: Module, owner: Owner) -> None:
        handles.append(module.register_forward_pre_hook(lambda *_: enter(owner)))
        handles.append(module.register_forward_hook(lambda *_: leave(), always_call=True))

    try:
        for module, owner in owners.items():
            follow(module, owner)
        yield
    finally:
        for handle in handles:
            handle.remove()
