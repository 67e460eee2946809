"""FLOPs of a real run from fvcore, which traces it and counts the operators of the graph.

fvcore counts multiply–accumulates, and calls them flops; they are doubled here. Its formulas for
norms, pooling and interpolation, 1 to 5 a value, are left out.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...costmodel import MissingExtra
from .kinds import Kind, computes, torch_name
from .result import Booked, Count, Owner
from .tracing import traceable, unhooked_on_failure

if TYPE_CHECKING:
    from torch.nn import Module

#: A formula of fvcore: MACs of a node of the graph from its inputs and outputs.
Handle = Callable[[list[Any], list[Any]], Any]
_NOT_PRODUCTS = (
    "batch_norm",
    "group_norm",
    "layer_norm",
    "instance_norm",
    "upsample_nearest2d",
    "upsample_bilinear2d",
    "adaptive_avg_pool2d",
    "grid_sampler",
)
#: What fvcore counts exactly; it rounds other equations to the digits that numpy prints.
_EXACT_EINSUMS = {"abc,abd->acd", "abc,adc->adb"}


def count_by_trace(run: Callable[[], object], owners: Mapping[Module, Owner]) -> Count[Owner]:
    """Return the FLOPs of a call by owner and kind, of the operators that its result depends on.

    Tensors reach the trace as constants, so `run` needs no inputs; what it returns are the
    graph's outputs, and layers that no returned tensor depends on are dropped. Python numbers
    cut dependence: indices read by `tolist()` drop the scores they came from.

    Unseen are the operators that fvcore reports as unsupported, copies and comparisons left out,
    and products that it would miscount: a broadcast first operand, vectors, inexact equations.

    Raises:
        MissingExtra: torch or fvcore is not installed.
        InvalidInput: A convolution on meta, or a run that goes on after an error in a module.
    """
    try:
        import torch

        with warnings.catch_warnings():
            # On import, fvcore compiles a loss by the deprecated torch.jit.script.
            warnings.simplefilter("ignore", DeprecationWarning)
            from fvcore.nn import FlopCountAnalysis
    except ModuleNotFoundError as error:
        raise MissingExtra((error.name or "fvcore").partition(".")[0], "validation") from None

    wrapper = traceable(run, owners)
    analysis = FlopCountAnalysis(wrapper, (torch.zeros(1),))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    scopes: dict[str, Owner] = {
        analysis.canonical_module_name(f"owned.{place}"): owner
        for place, owner in enumerate(owners.values())
    }
    unseen: Counter[str] = Counter()
    analysis.set_op_handle(**_handles(scopes, unseen))
    with torch.no_grad(), unhooked_on_failure(wrapper):
        macs = analysis.by_operator()
    unsupported = {torch_name(name): times for name, times in analysis.unsupported_ops().items()}
    unseen.update({name: times for name, times in unsupported.items() if computes(name)})
    booked: Booked[Owner] = defaultdict(Counter)
    for (owner, kind), count in macs.items():
        booked[owner][kind] += 2 * count
    return Count.of(booked, unseen)


def _handles(scopes: Mapping[str, Owner], unseen: Counter[str]) -> dict[str, Handle]:
    """Return fvcore's formulas for products, made to charge the innermost scope that is owned."""
    from fvcore.nn import jit_handles

    def charging(
        formula: Handle, kind: Callable[[list[Any]], Kind], fits: Callable[..., bool] | None = None
    ) -> Handle:
        def charge(inputs: list[Any], outputs: list[Any]) -> Counter[tuple[Owner | None, Kind]]:
            node = outputs[0].node()
            if fits is not None and not fits(inputs, outputs):
                unseen[torch_name(node.kind())] += 1
                return Counter()
            macs = formula(inputs, outputs)
            total = sum(macs.values()) if isinstance(macs, Counter) else macs
            running = reversed(node.scopeName().split("/"))
            owner = next((scopes[name] for name in running if name in scopes), None)
            return Counter({(owner, kind(inputs)): int(total)})

        return charge

    def matmul_kind(inputs: list[Any]) -> Kind:
        return "attention" if min(len(_shape(value)) for value in inputs) >= 3 else "linear"

    def multiplies_all_of_first(inputs: list[Any], outputs: list[Any]) -> bool:
        first, second = (_shape(value) for value in inputs)
        return min(len(first), len(second)) >= 2 and _shape(outputs[0])[:-1] == first[:-1]

    def is_exact(inputs: list[Any], _: list[Any]) -> bool:
        equation = inputs[0].toIValue().replace(" ", "")
        letters = dict.fromkeys(filter(str.isalpha, equation))
        standard = {ord(letter): ord("a") + place for place, letter in enumerate(letters)}
        return equation.translate(standard) in _EXACT_EINSUMS

    def convolution_by_name(inputs: list[Any], outputs: list[Any]) -> int:
        # With padding "valid"; fvcore knows the form with numbers alone.
        shapes = (_shape(value) for value in (*inputs[:2], outputs[0]))
        macs: int = jit_handles.conv_flop_count(*shapes)
        return macs

    silent: Handle = lambda inputs, outputs: Counter()  # noqa: E731
    return {
        **{f"aten::{name}": silent for name in _NOT_PRODUCTS},
        "aten::mm": charging(jit_handles.matmul_flop_jit, lambda _: "linear"),
        "aten::addmm": charging(jit_handles.addmm_flop_jit, lambda _: "linear"),
        "aten::linear": charging(jit_handles.linear_flop_jit, lambda _: "linear"),
        "aten::bmm": charging(jit_handles.bmm_flop_jit, lambda _: "attention"),
        "aten::_convolution": charging(jit_handles.conv_flop_jit, lambda _: "convolution"),
        "aten::_convolution_mode": charging(convolution_by_name, lambda _: "convolution"),
        "aten::matmul": charging(
            jit_handles.matmul_flop_jit, matmul_kind, fits=multiplies_all_of_first
        ),
        "aten::einsum": charging(jit_handles.einsum_flop_jit, lambda _: "attention", fits=is_exact),
    }


def _shape(value: Any) -> list[int]:
    sizes: list[int] = value.type().sizes()
    return sizes
