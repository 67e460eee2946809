"""Ways in which a request may have run, as far as memory depends on them, and which give a figure.

Most of a peak is weights, so that among many ways some comes near any figure. A way counts where it
gives what is not weights too, and the other figures of its table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from ...costmodel.peak import Asking, Peak, peak
from ...costmodel.transients import Running
from ...costmodel.weights import Storage
from ..claim import Claim
from .bounds import backends
from .printed import span
from .setting import Question, assumed_schedule, evaluated, missing, question_of, tokens_known

#: Differences up to which a recomputed peak counts as the printed one: of the figure, and of what
#: is not weights.
CLOSE, CLOSE_BESIDE = Fraction(3, 100), Fraction(1, 4)
#: Relative half of a last digit above which a figure alone tells no way from another.
_SHARP = Fraction(1, 100)
#: Text tokens where none are stated: a system prompt and a question.
PROMPT = 64


class Way(NamedTuple):
    """How a request may have run, as far as memory depends on it.

    Attributes:
        asking: What is asked of the memory model.
        words: The same for a sentence.
        plain: Whether it is usual: no maps kept, no old logits, no context.
    """

    asking: Asking
    words: str
    plain: bool


class Given(NamedTuple):
    """A way and a unit that give a figure, by their words and the value in base units."""

    way: Way
    unit: str
    value: Fraction

    @property
    def key(self) -> tuple[str, str]:
        """What figures of one table have in common."""
        return self.way.words, self.unit


def ways(claim: Claim) -> Iterator[Way]:
    """Yield the ways to run that a claim leaves open, the most usual first."""
    storage = Storage(bits=claim.weight_bits)
    for context in (False, True):
        for old in (False, True):
            for backend in backends(claim):
                for maps in (False, True):
                    if maps and backend != "eager":
                        continue
                    words = "eager attention" if backend == "eager" else "fused attention"
                    words += ", all maps kept" if maps else ""
                    words += ", logits of all positions" if old else ""
                    words += ", with the CUDA context" if context else ""
                    running = Running(backend, old, maps)
                    asking = Asking(storage, running=running, context=context)
                    yield Way(asking, words, not (context or old or maps))


def peak_of(claim: Claim, way: Way, *, scheduled: bool = True) -> Peak:
    """Return the peak of a claim's request."""
    text = PROMPT if claim.text_tokens is None else claim.text_tokens
    return _peaked(question_of(claim, text), way.asking, scheduled and not claim.dense)


@lru_cache(maxsize=4096)
def _peaked(question: Question, asking: Asking, scheduled: bool) -> Peak:
    return peak(evaluated(question), asking, scheduled=scheduled)


def units(claim: Claim) -> list[tuple[Fraction, str]]:
    """Return what a byte may be printed as: GB and MB are often GiB and MiB."""
    if claim.unit not in ("GB", "MB"):
        return [(Fraction(1), "")]
    size = Fraction(10**9, 2**30) if claim.unit == "GB" else Fraction(10**6, 2**20)
    return [(Fraction(1), ""), (size, f"{claim.unit[0]}iB")]


def giving(claim: Claim, known: Mapping[str, Claim]) -> list[Given]:
    """Return the ways that give a figure and those of its table, the most usual first.

    A figure without a table has to be printed to 2 % of it or finer, and by a usual way.
    """
    if not tokens_known(claim) or assumed_schedule(claim):
        return []
    found = list(_near(claim))
    others = [{one.key for one in _near(other)} for other in table(claim, known)]
    if others:
        return [one for one in found if all(one.key in keys for keys in others)]
    own, printed = span(claim), claim.base or Fraction(1)
    if (own.high - own.low) / 2 > _SHARP * printed:
        return []
    return [one for one in found if one.way.plain and own.holds(one.value)]


def _near(claim: Claim) -> Iterator[Given]:
    """Yield the ways that come within 3 % of a figure and a quarter of what is not weights."""
    printed = claim.base or Fraction(1)
    for way in ways(claim):
        found = peak_of(claim, way)
        beside = found.total - sum(found.weights.values())
        for size, name in units(claim):
            apart = abs(found.total * size - printed)
            if apart <= CLOSE * printed and apart <= CLOSE_BESIDE * beside * size:
                yield Given(way, name, found.total * size)


def table(claim: Claim, known: Mapping[str, Claim]) -> list[Claim]:
    """Return the other memory figures that share a claim's dense figure, and that figure."""
    root = claim.baseline if isinstance(claim.baseline, str) else claim.id
    return [
        other
        for other in known.values()
        if other.id != claim.id
        and root in (other.id, other.baseline)
        and other.quantity == "memory"
        and other.value is not None
        and not missing(other)
        and tokens_known(other)
        and not assumed_schedule(other)
    ]
