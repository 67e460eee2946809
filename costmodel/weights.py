"""Bytes of weights: 16-bit, or the language model's linears in fewer bits with their scales."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from .architecture.blocks import Block, Norm, Transformer, norm_parameters
from .architecture.model import Model
from .errors import InvalidInput
from .sharding import PipelineStage

#: Bytes of a 16-bit value.
SIXTEEN = 2


class Scheme(NamedTuple):
    """How weights of fewer bits are stored.

    Attributes:
        scale_bits: Bits that one weight adds for its group's scale (and zero point).
        unpacks: Whether a prefill expands a whole matrix to 16 bits before it multiplies.
        text: The scheme in words, with its source.
    """

    scale_bits: Fraction
    unpacks: bool
    text: str


def scheme(name: str, bits: int) -> Scheme:
    """Return a scheme of `SCHEMES` at so many bits.

    nf4         blocks of 64 with an fp32 scale: 32/64 bit more per weight
    nf4-double  those scales in 8 bits, in blocks of 256 with an fp32 one: 8/64 + 32/(64·256) bit
    gptq        groups of 128 with an fp16 scale and a zero point: (16 + bits)/128 bit

    Raises:
        InvalidInput: No such scheme, or one of other bits.
    """
    if name not in SCHEMES:
        hint = f"choose from {', '.join(SCHEMES)}"
        raise InvalidInput("quantization", name, "is not a choice", hint)
    if name != "gptq" and bits != 4:
        problem = f"stores 4 bits and not {bits}"
        raise InvalidInput("quantization", name, problem, "choose gptq, or 4 bits")
    if name == "nf4":
        extra, text = Fraction(32, 64), "blocks of 64, fp32 scales (QLoRA, arXiv 2305.14314, §3)"
    elif name == "nf4-double":
        extra = Fraction(8, 64) + Fraction(32, 64 * 256)
        text = "blocks of 64, 8-bit scales in blocks of 256 (QLoRA, arXiv 2305.14314, §3)"
    else:
        extra = Fraction(16 + bits, 128)
        text = "groups of 128, fp16 scales, zero points (GPTQ arXiv 2210.17323; AWQ 2306.00978)"
    return Scheme(extra, name != "gptq", f"{name}: {text}")


SCHEMES = ("nf4", "nf4-double", "gptq")


def usual_scheme(bits: int) -> str:
    """Return the scheme that is meant where none is named."""
    return "nf4" if bits == 4 else "gptq"


class Storage(NamedTuple):
    """In how many bits weights are stored.

    Attributes:
        bits: Bits of a weight of a linear in the LLM's layers; 16 stores all alike.
        quantization: The scheme; None is the usual one of these bits.
        everywhere: Whether linears of encoders and connector are stored so too, as bitsandbytes
            does by default. Embeddings, head, norms, biases and routers keep 16 bits either way.
    """

    bits: int = 16
    quantization: str | None = None
    everywhere: bool = False

    @property
    def scheme(self) -> Scheme:
        """The scheme; of 16 bits, nothing is added."""
        if self.bits >= 16:
            return Scheme(Fraction(0), False, "16-bit weights")
        return scheme(self.quantization or usual_scheme(self.bits), self.bits)

    def bytes(self, linears: int, others: int) -> int:
        """Return the bytes of so many weights of linears, and of other parameters.

        ⌈linears · (bits + scale bits) / 8⌉ + 2 · others; 2 · (linears + others) at 16 bits.

        >>> Storage(bits=4, quantization="nf4").bytes(6_476_005_376, 0)
        3642753024
        """
        if self.bits >= 16:
            return SIXTEEN * (linears + others)
        exact = linears * (self.bits + self.scheme.scale_bits) / 8
        return -(-exact.numerator // exact.denominator) + SIXTEEN * others


def weight_bytes(
    model: Model, storage: Storage, stage: PipelineStage | None = None, selection: int = 0
) -> dict[str, int]:
    """Return the bytes of weights by component, on one device.

    A head that is tied to the embedding is stored once; on the last of several stages, where the
    embedding is not, it is a copy. `selection` counts parameters that a selection rule adds.
    Source: parameter counts of the architecture; LLaVA-1.5-7B: 2 · 7,063,427,072 bytes.
    """
    decoder = model.decoder
    stage = stage or PipelineStage(range(decoder.num_hidden_layers), first=True, last=True)
    norm = norm_parameters(decoder.norm, decoder.hidden_size)
    found = dict.fromkeys(("vision", "connector", "embedding", "layers", "head", "other"), 0)
    if stage.first:
        found["vision"] = sum(_tower_bytes(tower, storage) for tower in model.towers)
        linears, total = _connector_linears(model), model.connector.parameters(decoder.hidden_size)
        quantised = linears if storage.everywhere else 0
        found["connector"] = storage.bytes(quantised, total - quantised)
        found["embedding"] = SIXTEEN * (decoder.outside_parameters() - norm)
        found["other"] = SIXTEEN * sum(extra.count for extra in model.other_parameters)
    found["layers"] = _layer_bytes(decoder, stage.layers, storage)
    if stage.last:
        found["layers"] += SIXTEEN * norm
        if not (decoder.tie_word_embeddings and stage.first):
            found["head"] = SIXTEEN * decoder.head_parameters()
    if selection:
        found["selection"] = SIXTEEN * selection
    return found


def largest_linear(model: Model, layers: Sequence[int]) -> int:
    """Return the weights of the largest matrix of these decoder layers."""
    blocks = model.decoder.blocks
    widths = {blocks[layer].feed_forward.intermediate_size for layer in layers}
    return model.decoder.hidden_size * max(widths, default=0)


def _layer_bytes(stack: Transformer, layers: Sequence[int], storage: Storage) -> int:
    """Return the bytes of some layers of a stack whose linears are stored in fewer bits."""
    blocks, total = stack.blocks, 0
    counts: dict[int, int] = {}
    for layer in layers:
        key = id(blocks[layer])
        if key not in counts:
            own = stack.layer_parameters(layer)
            linears = linear_weights(blocks[layer], stack.hidden_size, stack.norm)
            counts[key] = storage.bytes(linears, own - linears)
        total += counts[key]
    return total


def _tower_bytes(tower: Any, storage: Storage) -> int:
    layers = range(tower.num_hidden_layers)
    if storage.everywhere and tower.patchwise:
        inside = _layer_bytes(tower, layers, storage)
        return SIXTEEN * int(tower.outside_parameters()) + inside
    own = tower.outside_parameters() + sum(tower.layer_parameters(layer) for layer in layers)
    return SIXTEEN * int(own)


def _connector_linears(model: Model) -> int:
    """Return the weights of the connector's linear stages, DeepStack's mergers included."""
    connector, stages = model.connector, list(model.connector.stages)
    if connector.deepstack is not None:
        stages += connector.deepstack.stages * len(connector.deepstack.encoder_layers)
    plain: list[Any] = [stage for stage in stages if stage.kind == "linear"]
    return sum(int(stage.in_features * stage.out_features) for stage in plain)


def linear_weights(block: Block, hidden: int, norm: Norm) -> int:
    """Return the weights of a block's linears: without norms, biases, scales and routers."""
    total = 0
    for attention in (block.attention, block.cross_attention):
        if attention is not None:
            bare: Any = _bare(attention)
            total += bare.parameters(hidden, norm)
            for rank in ("q_lora_rank", "kv_lora_rank"):  # norms of the latents
                total -= norm_parameters(norm, getattr(bare, rank, None) or 0)
    for network in (block.feed_forward, block.cross_feed_forward):
        if network is not None:
            bare = _bare(network)
            total += bare.parameters(hidden)
            if bare.kind == "experts":
                total -= hidden * bare.num_experts
    return total


#: What of an attention or a feed-forward network is no weight of a linear.
_NO_LINEARS = (
    "qkv_bias",
    "output_bias",
    "latent_bias",
    "bias",
    "qk_norm",
    "router_bias",
    "shared_gate",
    "norms",
    "gates",
    "source_norm",
)


def _bare(part: Any) -> Any:
    """Return a part without biases, norms and gates."""
    fields = type(part).model_fields
    empty = {name: 0 if name in ("norms", "gates") else False for name in _NO_LINEARS}
    return part.model_copy(update={name: empty[name] for name in _NO_LINEARS if name in fields})
