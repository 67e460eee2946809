"""What modules of a model take and make, for rules that see the sequence behind them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import finalize, ref

if TYPE_CHECKING:
    from torch.nn import Module


class Call(NamedTuple):
    """One call of a module: its first argument, its keyword arguments and what it returned."""

    first: Any
    keywords: dict[str, Any]
    made: Any


class Calls:
    """Collects a module's calls, until they are taken or nothing refers to this any more."""

    def __init__(self, module: Module) -> None:
        """Begin to watch."""
        self._calls: list[Call] = []
        watcher = ref(self)

        def note(_: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], made: Any) -> None:
            watching = watcher()
            if watching is not None:
                first = arguments[0] if arguments else None
                watching._calls.append(Call(first, keywords, made))

        hook = module.register_forward_hook(note, with_kwargs=True)
        self._end = finalize(self, hook.remove)

    def taken(self) -> list[Call]:
        """Return the calls so far, and watch no longer."""
        self._end()
        calls, self._calls = self._calls, []
        return calls
