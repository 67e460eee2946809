"""Options of `tokencost memory`: how weights are stored, what transformers keeps, which devices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..costmodel import InvalidInput
from ..costmodel.numeric import whole
from .options import Sink, Text, flag, one_of, option

if TYPE_CHECKING:
    from ..costmodel import Report
    from ..costmodel.device import Device
    from ..costmodel.peak import Asking

MEMORY, DEVICES = "Memory", "Devices"
#: Options that are one of some words.
_CHOICES: dict[str, tuple[str, ...]] = {
    "attention": ("eager", "sdpa", "flash"),
    "bits": ("16", "8", "4"),
    "quantization": ("nf4", "nf4-double", "gptq"),
    "quantized": ("llm", "all"),
    "kv_bits": ("16", "8", "4"),
    "transformers": ("old", "new"),
    "overhead": ("torch", "device"),
}


@dataclass(eq=False, repr=False)
class Memory:
    """How the model is stored, run and spread, as typed."""

    device: Annotated[
        Text,
        option(
            DEVICES,
            "--device",
            "Device whose memory it should fit, or a TOML file of your own; see `tokencost devices "
            "list`.",
            "ID|FILE",
        ),
    ] = None
    attention: Annotated[
        Text,
        option(
            MEMORY,
            "--attention",
            "eager: every score in memory; sdpa, flash: fused (default: sdpa).",
            "NAME",
        ),
    ] = None
    output_attentions: Annotated[
        bool,
        option(MEMORY, "--output-attentions", "The attention maps of all decoder layers are kept."),
    ] = False
    transformers: Annotated[
        Text,
        option(
            MEMORY,
            "--transformers",
            "old: before 4.45, logits of all positions and a copy of 32 bits; new: of the last "
            "position (default: new).",
            "old|new",
        ),
    ] = None
    bits: Annotated[
        Text,
        option(
            MEMORY,
            "--bits",
            "Bits of the weights of the LLM's linears: 16, 8 or 4 (default: the schedule's, 16).",
            "BITS",
        ),
    ] = None
    quantization: Annotated[
        Text,
        option(
            MEMORY,
            "--quantization",
            "What is stored beside them: nf4, nf4-double or gptq (default: nf4 at 4 bits, gptq at "
            "8).",
            "NAME",
        ),
    ] = None
    quantized: Annotated[
        Text,
        option(
            MEMORY,
            "--quantized",
            "llm: its layers alone; all: the linears of encoder and connector too (default: llm).",
            "llm|all",
        ),
    ] = None
    kv_bits: Annotated[
        Text,
        option(
            MEMORY,
            "--kv-bits",
            "Bits of cached keys and values: 16, 8 or 4 (default: the schedule's, 16).",
            "BITS",
        ),
    ] = None
    overhead: Annotated[
        Text,
        option(
            MEMORY,
            "--overhead",
            "torch: as max_memory_allocated counts; device: with the CUDA context, as nvidia-smi "
            "(default: torch).",
            "torch|device",
        ),
    ] = None
    tp: Annotated[
        Text,
        option(DEVICES, "--tp", "Devices that share every LLM layer (default: 1).", "INT"),
    ] = None
    pp: Annotated[
        Text,
        option(DEVICES, "--pp", "Pipeline stages of LLM layers (default: 1).", "INT"),
    ] = None
    shard_encoder: Annotated[
        bool,
        option(
            DEVICES,
            "--shard-encoder",
            "Those devices share the encoder's layers too, instead of each holding all.",
        ),
    ] = False

    def asking(self, logits: str | None) -> Asking:
        """Return what the options say.

        Raises:
            InvalidInput: A value that is no choice, or options that contradict each other.
        """
        from ..costmodel.peak import Asking
        from ..costmodel.sharding import MOST_DEVICES, Sharding
        from ..costmodel.transients import Running
        from ..costmodel.weights import Storage

        chosen: dict[str, Any] = {
            name: one_of(getattr(self, name), flag(name), choices)
            for name, choices in _CHOICES.items()
            if getattr(self, name) is not None
        }
        counts = {
            name: whole(getattr(self, name) or 1, flag(name), minimum=1, maximum=MOST_DEVICES)
            for name in ("tp", "pp")
        }
        storage = Storage(
            int(chosen.get("bits", 16)),
            chosen.get("quantization"),
            chosen.get("quantized") == "all",
        )
        running = Running(
            chosen.get("attention", "sdpa"),
            chosen.get("transformers") == "old",
            self.output_attentions,
        )
        self._contradictions(running, logits)
        return Asking(
            storage,
            int(chosen["kv_bits"]) if "kv_bits" in chosen else None,
            running,
            Sharding(**counts, encoder=self.shard_encoder),
            chosen.get("overhead") == "device",
        )

    def _contradictions(self, running: Any, logits: str | None) -> None:
        if self.output_attentions and running.attention != "eager":
            problem = f"keeps maps that {running.attention} attention does not compute"
            raise InvalidInput("--output-attentions", None, problem, "add --attention eager")
        if running.old and logits == "last":
            problem = "computes the logits of all positions, whatever --logits says"
            raise InvalidInput("--transformers", "old", problem, "leave --logits out")

    def checked(self, report: Report) -> Report:
        """Return the report, with which the options of bits and execution go together.

        Raises:
            InvalidInput: An option that would change nothing, or that the schedule contradicts.
        """
        from ..costmodel.weights import scheme

        own = report.schedule.bits if report.schedule is not None else None
        for name, theirs in (("bits", own and own.weights), ("kv_bits", own and own.kv)):
            if getattr(self, name) is not None and theirs not in (None, 16):
                problem = f"stands beside the schedule's own {theirs} bits"
                raise InvalidInput(
                    flag(name), getattr(self, name), problem, "leave one of them out"
                )
        stored = [int(self.bits or 16), int(own.weights) if own is not None else 16]
        fewer = [bits for bits in stored if bits < 16]
        for name in ("quantization", "quantized"):
            if getattr(self, name) is not None and not fewer:
                problem = "changes nothing: weights have 16 bits"
                raise InvalidInput(flag(name), getattr(self, name), problem, "add --bits 8 or 4")
        if self.quantization is not None:
            for bits in fewer:
                try:
                    scheme(self.quantization, bits)
                except InvalidInput as error:
                    raise InvalidInput(
                        "--quantization", self.quantization, error.problem, error.way_out
                    ) from None
        for key, usual in (("experts", "routed"), ("adapters", "active")):
            value = getattr(report.counting, key)
            if value != usual:
                problem = "changes FLOPs alone and no byte"
                raise InvalidInput("--implementation", f"{key}={value}", problem, "leave it out")
        return report

    def target(self, sink: Sink) -> Device | None:
        """Return the device, if one is given.

        Raises:
            InvalidInput: None is known by that name, or the output would replace its file.
        """
        if self.device is None:
            return None
        from ..presets.device import load_device

        device, (_, path) = load_device(self.device, "--device"), sink.chosen()
        if path and path.exists() and device.verification == "own":
            given = Path(self.device)
            if given.is_file() and path.samefile(given):
                problem = "is the device file"
                raise InvalidInput("--output", sink.output, problem, "name another file")
        return device
