"""What an elementwise pass over a decoder layer's tokens moves: the one set of figures for it.

Numbers per token that CUDA kernels of an engine read and write, cached or not: they access one
16-bit number at a time, and wait for their accesses, not for memory. Read off Sarathi-Serve's
kernels, which Vidur profiled (github.com/microsoft/sarathi-serve, csrc/ at 49d825d and 8d8c986),
and confirmed by those profiles: counted as memory traffic, passes are off by 39 % instead of 18 to
19 % (docs/calibration.md).
"""

from __future__ import annotations

from typing import Any

#: Bytes of an operand that an L2 cache still holds when the next kernel reads it: that of an A100,
#: 40 MB (an H100 has 50).
CACHED_BYTES = 40_000_000


def norm_numbers(width: Any) -> Any:
    """Return 4·d: a norm reads its input twice and its weight once, and writes."""
    return 4 * width


def rotation_numbers(width: Any) -> Any:
    """Return 3·(q + kv): two numbers, a cosine and a sine are read for each two written."""
    return 3 * width


def activation_numbers(width: Any, *, gated: bool = True) -> Any:
    """Return 3·m, gate and up read and their product written; 2·m without a gate."""
    return (3 if gated else 2) * width


def add_numbers(tokens: int, width: int, bits: int = 16) -> int:
    """Return 2·d, or 3·d where an operand outgrows the cache.

    torch's kernel has wide accesses, so that memory counts: one operand, just written, is still in
    the cache. Concluded after the profiles had been seen (2.3 d on an A100, 2.0 d on an H100).
    """
    return (2 if tokens * width * bits / 8 <= CACHED_BYTES else 3) * width
