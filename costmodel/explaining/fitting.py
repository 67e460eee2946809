"""Token counts without a source, solved for: they mean something for figures of many digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from .candidates import Candidate
from .chance import MOST_CHANCE
from .counts import Count
from .curve import counts_within
from .lines import Line, Setting, token_curves
from .printed import Printed, Scale
from .readings import COMPONENTS_OF

RANK, MOST_TOKENS = 9, 1_000_000
#: √10, to either side of a figure, is its decade.
_SIDE = Fraction(3162, 1000)

Found = tuple[Candidate, Scale, Fraction, float]


def fitted_tokens(found: Sequence[tuple[Setting, list[Line]]], printed: Printed) -> list[Found]:
    """Return token counts that give all the digits of an amount, under the natural readings.

    With the scale, the figure in base units, and the chance: token counts in the figure's decade,
    each as wide as its digits. Nothing where the chance is above `MOST_CHANCE`, as it is for three
    digits: any number has a token count that nearly gives it. Nothing where the user said how many
    tokens there are.
    """
    solved: list[tuple[Candidate, Scale, Fraction]] = []
    tried = 0
    scales = [scale for scale in printed.scales("amount") if not scale.rank]
    for setting, own in found:
        if setting.scheduled or setting.given or setting.tokens or setting.text is not None:
            continue
        wanted = tuple(
            one
            for one in own[0].scheduled
            if one.rank <= 1
            and set(COMPONENTS_OF[one.scope]) <= {"decoder", "head"}
            and (printed.unit != "MAC" or one.counts == "MAC")
        )
        for reading, curve in token_curves(setting, wanted).items():
            for scale in scales:
                shown, half = printed.number * scale.factor, printed.step / 2 * scale.factor
                tried += len(counts_within(curve, shown / _SIDE, shown * _SIDE, MOST_TOKENS))
                for tokens in counts_within(curve, shown - half, shown + half, MOST_TOKENS)[:1]:
                    count = Count(tokens, "fitted", RANK, (), tokens)
                    rank = setting.rank + reading.rank + RANK
                    one = Candidate(float(shown), rank, setting, reading, count)
                    solved.append((one._replace(fitted="tokens"), scale, shown))
    chance = tried * 2 * float(printed.tolerance) / math.log(float(_SIDE**2))
    if chance > MOST_CHANCE:
        return []
    return [(*one, chance) for one in solved]
