"""Makes a call fit for torch.jit's tracing, which models are not written for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...costmodel import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from torch.overrides import TorchFunctionMode


def traceable(run: Callable[[], object], modules: Iterable[Module]) -> Module:
    """Return a module that makes the call and returns the tensors in its result.

    It takes a tensor, for a trace needs an input, and holds the `modules` as `owned`.

    Raises:
        InvalidInput: When it is called: what cannot be traced, namely a convolution on meta, or
            a run that goes on after an error in a module.
    """
    from torch.nn import Module, ModuleList

    class Traceable(Module):
        def __init__(self) -> None:
            super().__init__()
            self.owned = ModuleList(modules)

        def forward(self, dummy: Tensor) -> tuple[Tensor, ...]:
            with _every_call_returns(), _plain_python():
                return (dummy, *_tensors(run()))

    return Traceable()


@contextmanager
def unhooked_on_failure(root: Module) -> Iterator[None]:
    """Remove the hooks that fvcore leaves on modules when the call that it traces fails."""
    parts = list(root.modules())
    tables = [table for part in parts for table in (part._forward_pre_hooks, part._forward_hooks)]
    before = [set(table) for table in tables]
    try:
        yield
    except BaseException:
        for table, kept in zip(tables, before, strict=True):
            for hook in set(table) - kept:
                del table[hook]
        raise


def _tensors(result: object) -> Iterator[Tensor]:
    from torch import Tensor

    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, Mapping):
        yield from _tensors(tuple(result.values()))
    elif isinstance(result, (tuple, list)):
        for part in result:
            yield from _tensors(part)


@contextmanager
def _plain_python() -> Iterator[None]:
    """Let shapes be integers and weights constants, which need no gradient."""
    frozen: list[Tensor] = []
    try:
        with _translation(frozen):
            yield
    finally:
        for weight in frozen:
            weight.requires_grad = True


def _translation(frozen: list[Tensor]) -> TorchFunctionMode:
    """Return a mode that adapts the arguments and results of torch's functions."""
    import torch
    from torch.overrides import TorchFunctionMode

    shape: Any = torch.Tensor.shape
    # Tracing makes tensors of these, which cannot do what models do with them, such as `round`.
    measures = {shape.__get__, torch.Tensor.size, torch.Tensor.numel, torch.numel}
    convolutions = {torch.conv1d, torch.conv2d, torch.conv3d}

    class Translation(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            named = kwargs or {}
            for tensor in _tensors((args, named)):
                if func in convolutions and tensor.is_meta:
                    raise InvalidInput(
                        "--counter",
                        "fvcore",
                        "cannot trace a convolution on meta",
                        "use --device cpu, with --scale reduced for a large model",
                    )
                if tensor.requires_grad and tensor.is_leaf:
                    tensor.requires_grad = False
                    frozen.append(tensor)
            result = func(*args, **named)
            if func not in measures:
                return result
            return torch.Size(map(int, result)) if isinstance(result, tuple) else int(result)

    return Translation()


@contextmanager
def _every_call_returns() -> Iterator[None]:
    """Refuse a graph in which an error left a module: torch would abort the process on it."""
    from torch.nn.modules import module

    running = 0

    def enter(*_: object) -> None:
        nonlocal running
        running += 1

    def leave(*_: object) -> None:
        nonlocal running
        running -= 1

    hooks: list[Any] = [
        module.register_module_forward_pre_hook(enter),
        module.register_module_forward_hook(leave),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if running:
        raise InvalidInput(
            "--counter",
            "fvcore",
            "cannot trace a run that goes on after an error in a module",
            "choose another counter",
        )
