"""Everything that a printed figure could be of one model: readings × token counts × prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from . import counts
from .counts import NO_TEXT, Count, Text
from .lines import Line, Setting
from .readings import COMPONENTS_OF, Reading

Quantity = Literal["amount", "ratio", "reduction", "factor"]
Fitted = Literal["", "text", "tokens"]
#: Candidates above this rank are not made: almost any number would have one.
MOST_RANK = 8
BATCHES, BATCH_RANK = (2, 4, 8, 16, 32), 5
DENSE_RANK = 1


class Candidate(NamedTuple):
    """One thing that a figure could be.

    Attributes:
        value: The figure, nearly; exact ones are recomputed for what is shown.
        rank: How unnatural it is, all in all.
        fitted: What was tried one by one: "text", "tokens" or nothing.
    """

    value: float
    rank: int
    setting: Setting
    reading: Reading
    visual: Count
    text: Text = NO_TEXT
    quantity: Quantity = "amount"
    dense: bool = False
    batch: int = 1
    fitted: Fitted = ""


def amounts(setting: Setting, line: Line) -> Iterator[Candidate]:
    """Return what an amount could be at a token count."""
    sides = [(line.scheduled, False)]
    if setting.scheduled:
        sides.append((line.dense, True))
    for side, dense in sides:
        for reading, (a, b, c) in side.items():
            rank = setting.rank + reading.rank + line.visual.rank + DENSE_RANK * dense
            for text, fitted in _texts(setting, reading, line, MOST_RANK - rank):
                if (text.rank or text.tokens) and not (a or b):
                    continue  # an encoder sees no text
                n = line.offset + (text.tokens if text.structural else -line.structural)
                one = Candidate(
                    (a * n + b) * n + c,
                    rank + text.rank,
                    setting,
                    reading,
                    line.visual,
                    text,
                    "amount",
                    dense,
                    1,
                    fitted,
                )
                yield one
                if setting.batch is None and one.rank == setting.rank:
                    for batch in BATCHES:
                        value, more = one.value * batch, one.rank + BATCH_RANK
                        yield one._replace(value=value, batch=batch, rank=more)


def shares(setting: Setting, line: Line, quantities: tuple[Quantity, ...]) -> Iterator[Candidate]:
    """Return what a ratio, a reduction or a factor could be at a token count."""
    for reading, (a, b, c) in line.scheduled.items():
        own = "FLOP" if reading.convention == "exact" else "MAC"
        if reading not in line.dense or reading.counts != own or reading.scope == "one layer":
            continue  # twice the same ratio
        rank = setting.rank + reading.rank + line.visual.rank
        a0, b0, c0 = line.dense[reading]
        for text, fitted in _texts(setting, reading, line, MOST_RANK - rank):
            n = line.offset + text.tokens
            ratio = ((a * n + b) * n + c) / ((a0 * n + b0) * n + c0)
            if not 0 < ratio < 1:
                continue
            forms = {"ratio": ratio, "reduction": 1 - ratio, "factor": 1 / ratio}
            for quantity in quantities:
                one = Candidate(forms[quantity], rank + text.rank, setting, reading, line.visual)
                yield one._replace(text=text, quantity=quantity, fitted=fitted)


def _texts(
    setting: Setting, reading: Reading, line: Line, most: int
) -> Iterator[tuple[Text, Fitted]]:
    """Return the text lengths that go with a reading, up to a rank, and whether they are fitted."""
    if setting.text is not None:
        if most >= 0:
            yield Text(setting.text, "as given", 0), ""
        return
    for text in counts.TEXTS:
        if reading.convention == "exact" and "decoder" in COMPONENTS_OF[reading.scope]:
            # Who counts a real pass counts a prompt; who applies a formula often does not.
            text = text._replace(rank=max(text.rank, 1))
        if text.rank <= most:
            yield text, ""
    if line.structural and reading.convention != "exact" and not setting.scheduled and most >= 0:
        yield Text(0, "no text and no structural tokens", 0, structural=False), ""
    if reading.rank <= 1 and line.visual.rank == 0:
        for text in counts.FITTED_TEXTS:
            if text.rank <= most:
                yield text, "text"
