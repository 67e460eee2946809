"""What a kernel is: a launch with its FLOPs and bytes, and the stage that it belongs to."""

from __future__ import annotations

from typing import Literal, NamedTuple

Stage = Literal["load", "vision", "connector", "selection", "prefill", "decode"]
STAGES: tuple[Stage, ...] = ("load", "vision", "connector", "selection", "prefill", "decode")
Backend = Literal["eager", "sdpa", "flash"]
Kind = Literal["product", "attention", "pass", "launch"]
#: How much of a kernel the lower, the central and the upper time count.
ALL, PESSIMISTIC, USUAL = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0), (0.0, 1.0, 1.0)


class Numbers(NamedTuple):
    """Bits of the LLM's weights, of what enters its products, and of cached keys and values.

    Encoder, connector, embedding and head stay at 16 bits; so do results of products. Weights that
    are `dequantized` become 16 bits before a product.
    """

    weights: int = 16
    activations: int = 16
    kv: int = 16
    dequantized: bool = False


class Kernel(NamedTuple):
    """One launch, or `times` equal ones.

    Attributes:
        stage, name, kind: Where it belongs, what it computes, and which constants hold for it.
        times: Layers that run it.
        flops: FLOPs of one launch; `upper_flops`, if any, of one in slow software.
        weight_bytes, kv_bytes, moved_bytes: Bytes of one launch: weights, cached keys and values,
            anything else.
        present: How much of it the lower, the central and the upper time count.
        narrow: Whether the LLM's precision holds; else 16 bits do.
    """

    stage: Stage
    name: str
    kind: Kind
    times: int
    flops: int = 0
    weight_bytes: float = 0
    kv_bytes: float = 0
    moved_bytes: float = 0
    present: tuple[float, float, float] = ALL
    upper_flops: int | None = None
    narrow: bool = False

    @property
    def bytes(self) -> float:
        """All bytes of one launch."""
        return self.weight_bytes + self.kv_bytes + self.moved_bytes
