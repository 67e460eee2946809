"""What the reducers save: one row instead of a map, distances updated instead of found again.

`python benchmarks/reducers.py [--device cpu|cuda]` prints medians beside the obvious way to compute
the same choice, at the shapes of LLaVA-1.5-7B (576 visual tokens) and LLaVA-NeXT-7B (2,928).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from vlm_tokencost.validation.reducers.common import top_indices, unit
from vlm_tokencost.validation.reducers.divprune import divprune
from vlm_tokencost.validation.reducers.fastv import fastv

HEADS, HEAD_DIM, HIDDEN = 32, 128, 4096
SCALING = HEAD_DIM**-0.5


def whole_map(query: Tensor, key: Tensor, visual: Tensor, count: int) -> Tensor:
    """FastV from the attention map of all queries, as eager attention returns it."""
    hidden = torch.full((query.shape[2],) * 2, float("-inf"), device=query.device).triu(1)
    weights = ((query @ key.mT) * SCALING + hidden).softmax(dim=-1)
    return top_indices(weights.mean(dim=1)[:, -1].gather(1, visual), count)


def distances_found_again(features: Tensor, count: int) -> Tensor:
    """DivPrune that takes the minimum over all picks in every round."""
    directions = unit(features)
    distance = 1 - directions @ directions.mT
    distance.diagonal(dim1=1, dim2=2).fill_(float("inf"))
    picks = distance.amin(dim=2).argmax(dim=1, keepdim=True)
    for _ in range(count - 1):
        rows = distance.gather(1, picks[..., None].expand(-1, -1, distance.shape[2]))
        nearest = rows.amin(dim=1).scatter(1, picks, float("-inf"))
        picks = torch.cat([picks, nearest.argmax(dim=1, keepdim=True)], dim=1)
    return picks.sort(dim=1).values


def median_ms(run: Callable[[], Tensor], repeats: int, device: str) -> float:
    """Return the median time of a call after two warm-ups."""
    times = []
    for repeat in range(repeats + 2):
        if device == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        if repeat > 1:
            times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {asked.device}, {torch.get_num_threads()} threads, float32")
    print("| rule | visual tokens | kept | this [ms] | obvious way [ms] | times |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for tokens, count in ((576, 64), (2928, 320)):
        made = {"device": asked.device}
        features = torch.randn(1, tokens, HIDDEN, **made)
        query, key = (torch.randn(1, HEADS, tokens + 64, HEAD_DIM, **made) for _ in range(2))
        visual = torch.arange(35, 35 + tokens, **made)[None]
        pairs: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {
            "FastV": (
                lambda: fastv(query[:, :, -1:], key, SCALING, visual, count),  # noqa: B023
                lambda: whole_map(query, key, visual, count),  # noqa: B023
            ),
            "DivPrune": (
                lambda: divprune(features, count),  # noqa: B023
                lambda: distances_found_again(features, count),  # noqa: B023
            ),
        }
        for name, (ours, obvious) in pairs.items():
            assert torch.equal(ours(), obvious()), f"{name}: both ways must choose the same"
            fast, slow = (median_ms(run, asked.repeats, asked.device) for run in (ours, obvious))
            print(f"| {name} | {tokens} | {count} | {fast:.2f} | {slow:.2f} | {slow / fast:.1f} |")


if __name__ == "__main__":
    main()
