"""Options that say what is claimed, such as --speedup 7.8 or --flops-reduction 55%."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from ..costmodel import InvalidInput
from ..presets.claim import QUANTITIES
from .options import Text, flag, option

CLAIMED = "What is claimed"
#: Ways to write a unit, by what is measured: spelling → unit of a claim.
_SPELLINGS: dict[str, dict[str, str]] = {
    "compute": {
        **{f"{letter}{word}": f"{letter}FLOP" for letter in "PTG" for word in ("", "FLOP")},
        **{f"{letter}MAC": f"{letter}MAC" for letter in "TG"},
    },
    "count": {"": "tokens", "token": "tokens"},
    "bytes": {name: name for name in ("MB", "GB", "MiB", "GiB")},
    "time": {name: name for name in ("ms", "s", "min", "h")},
    "share": {"%": "%", "": "fraction"},
    "factor": {"": "×", "x": "×", "X": "×", "×": "×"},
}
#: Units of plain numbers of operations, such as 9.5e12.
_PLAIN = {"": "TFLOP", "FLOP": "TFLOP", "MAC": "TMAC"}
_WAYS_OUT = {
    "compute": "give an amount with its unit, such as 9.5T, 99.3GFLOPs or 1.78TMACs",
    "count": "give a number of tokens, such as 206.5",
    "bytes": "give bytes with their unit: MB, GB, MiB or GiB, such as 100.8MB",
    "time": "give a time with its unit: ms, s, min or h, such as 57.8ms",
    "share": "give a share such as 55% or 0.55",
    "factor": "give a factor such as 7.8 or 7.8x",
}
_NUMBER = r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{1,20})?|[0-9]{1,20}(?:\.[0-9]{1,20})?"
_FIGURE = re.compile(
    rf"(?:(?P<hedge>about|at least|up to) )?(?P<number>(?:{_NUMBER})(?:[eE][+-]?[0-9]{{1,2}})?)"
    r" ?(?P<unit>[^0-9]*)"
)


class Figure(NamedTuple):
    """A figure that was typed: the fields of a claim that it sets, and its option."""

    option: str
    quantity: str
    value: Decimal
    unit: str
    hedge: str


def _figure(name: str, text: str, metavar: str) -> Any:
    return option(CLAIMED, name, text, metavar)


@dataclass(eq=False, repr=False)
class Figures:
    """The figures that were typed, each an option."""

    speedup: Annotated[
        Text, _figure("--speedup", "Time of the dense model over the method's.", "FACTOR")
    ] = None
    latency: Annotated[
        Text, _figure("--latency", "Time of one request, such as 57.8ms.", "TIME")
    ] = None
    latency_reduction: Annotated[
        Text, _figure("--latency-reduction", "Share of the time saved.", "SHARE")
    ] = None
    throughput_factor: Annotated[
        Text, _figure("--throughput-factor", "Rate over the dense model's.", "FACTOR")
    ] = None
    flops: Annotated[Text, _figure("--flops", "Cost, such as 9.5T or 1.78TMACs.", "AMOUNT")] = None
    flops_ratio: Annotated[
        Text, _figure("--flops-ratio", "Cost over the dense model's.", "SHARE")
    ] = None
    flops_reduction: Annotated[
        Text, _figure("--flops-reduction", "Share of the cost saved.", "SHARE")
    ] = None
    flops_factor: Annotated[
        Text, _figure("--flops-factor", "Dense cost over the method's.", "FACTOR")
    ] = None
    average_tokens: Annotated[
        Text,
        _figure("--average-tokens", "Visual tokens, averaged over the LLM's layers.", "TOKENS"),
    ] = None
    token_reduction: Annotated[
        Text, _figure("--token-reduction", "Share of those visual tokens saved.", "SHARE")
    ] = None
    kv_bytes: Annotated[Text, _figure("--kv-bytes", "KV cache, such as 100.8MB.", "BYTES")] = None
    kv_reduction: Annotated[
        Text, _figure("--kv-reduction", "Share of the KV cache saved.", "SHARE")
    ] = None
    memory: Annotated[Text, _figure("--memory", "Peak memory, such as 14.8GB.", "BYTES")] = None
    memory_reduction: Annotated[
        Text, _figure("--memory-reduction", "Share of the peak memory saved.", "SHARE")
    ] = None
    training_reduction: Annotated[
        Text, _figure("--training-reduction", "Share of the training time saved.", "SHARE")
    ] = None

    def given(self) -> list[Figure]:
        """Return the figures that were typed.

        Raises:
            InvalidInput: One that is no such figure.
        """
        return [
            _typed(one.name, getattr(self, one.name))
            for one in fields(self)
            if getattr(self, one.name) is not None
        ]


#: Quantity that each option claims.
_QUANTITY_OF = {
    "speedup": "speed-up",
    "latency": "time",
    "latency_reduction": "time reduction",
    "average_tokens": "average visual tokens",
}


def _typed(name: str, text: str) -> Figure:
    quantity = _QUANTITY_OF.get(name, name.replace("_", " "))
    dimension = QUANTITIES[quantity]
    found = _FIGURE.fullmatch(text.strip())
    written = found["unit"].strip() if found else ""
    unit = _unit(_SPELLINGS[dimension], written)
    plain = _unit(_PLAIN, written) if dimension == "compute" else None
    if found is None or (unit or plain) is None:
        raise InvalidInput(flag(name), text, f"is no {_SHAPES[dimension]}", _WAYS_OUT[dimension])
    value = Decimal(found["number"].replace(",", ""))
    if not value or abs(value.adjusted()) > 30:
        raise InvalidInput(flag(name), text, "is out of range", _WAYS_OUT[dimension])
    whole = {"fraction": 1, "%": 100}.get(unit or "")
    if whole and (value > whole or (value == whole and quantity.endswith("reduction"))):
        problem = (
            "leaves nothing" if value == whole else f"is above {'1' if whole == 1 else '100%'}"
        )
        raise InvalidInput(flag(name), text, problem, _WAYS_OUT[dimension])
    if unit is None:
        value, unit = value.scaleb(-12), str(plain)
    return Figure(flag(name), quantity, value, unit, found["hedge"] or "")


#: What a figure is, in words.
_SHAPES = {
    "compute": "amount of FLOPs or MACs",
    "count": "number of tokens",
    "bytes": "number of bytes",
    "time": "time",
    "share": "share",
    "factor": "factor",
}


def _unit(spellings: dict[str, str], text: str) -> str | None:
    """Return the unit that a spelling stands for; the plural's s does not matter."""
    return spellings.get(text, spellings.get(text.removesuffix("s").removesuffix("S")))
