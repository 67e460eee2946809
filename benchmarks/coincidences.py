"""How many random figures `tokencost explain` finds an explanation for.

    python benchmarks/coincidences.py [FIGURES]

Draws figures log-uniformly from 10 G to 100 T, with a prefix that is printed, and prints a Markdown
table: the share of them that finds an explanation which gives their digits, by the chance that is
stated with it and by its rank.
"""

from __future__ import annotations

import random
import sys

from vlm_tokencost.costmodel.explaining import Search, read_printed, setting_of
from vlm_tokencost.presets import load_model

CASES = (
    ("llava-1.5-7b", 2),
    ("llava-1.5-7b", 3),
    ("llava-1.5-7b", 4),
    ("llava-next-vicuna-7b", 3),
    ("qwen2.5-vl-7b", 3),
)
CHANCES, RANKS = (0.05, 0.2, 0.5), (0, 1, 2)


def main(figures: int) -> None:
    """Print the table."""
    heads = [*(f"chance ≤ {chance:.0%}" for chance in CHANCES), *(f"rank ≤ {k}" for k in RANKS)]
    print("| model | digits |", " | ".join(heads), "|")
    print("| --- |", " | ".join(["---:"] * (len(heads) + 1)), "|")
    for model, digits in CASES:
        search = Search([setting_of(load_model(model))])
        draw = random.Random(1)
        best = []
        for _ in range(figures):
            text = f"{10 ** draw.uniform(10, 14):.{digits - 1}e}"
            found = [one for one in search.explain(read_printed(text)) if one.match != "close"]
            best.append(
                (
                    min((one.chance for one in found), default=1.0),
                    min((one.rank for one in found), default=99),
                )
            )
        shares = [sum(chance <= most for chance, _ in best) for most in CHANCES]
        shares += [sum(rank <= most for _, rank in best) for most in RANKS]
        cells = [f"{share / figures:.1%}" for share in shares]
        print(f"| {model} | {digits} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
