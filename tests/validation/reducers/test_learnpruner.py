"""LearnPruner against loops."""

from __future__ import annotations

import math

import pytest
from loops import attention, normal
from slow_ranked import slow_diverse
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.learnpruner import (
    Scorer,
    diverse_choice,
    random_scorer,
    scores,
    text_scores,
)

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("count", [0, 1, 9, 10, 25, 39, 40])
def test_diverse_choice(count: int) -> None:
    features, ranked = normal(3, 40, 5), normal(3, 40, seed=1)
    made = diverse_choice(features, ranked, count)
    for one in range(3):
        assert made[one].tolist() == slow_diverse(
            features[one].tolist(), ranked[one].tolist(), count
        )


def test_equal_features_go_to_the_first() -> None:
    # 18 by score and two for variety
    made = diverse_choice(torch.ones(1, 30, 4), torch.ones(1, 30), 20)
    assert made.tolist() == [list(range(20))]


def test_what_is_chosen_for_variety_counts_as_kept() -> None:
    # 18 along the first axis; of the others two stand along the second, which are alike, and one
    # between the first and the third: it is less like what is kept once the second is.
    features = torch.zeros(1, 21, 3)
    features[0, :18, 0] = 1
    features[0, 18:20, 1] = 1
    features[0, 20] = torch.tensor([0.6, 0, 0.8])
    ranked = torch.arange(21, 0, -1.0)[None]
    assert diverse_choice(features, ranked, 20)[0, -2:].tolist() == [18, 20]


def test_scores_are_two_layers() -> None:
    features = normal(2, 7, 4)
    hidden, output = (normal(2, 4), normal(2, seed=1)), (normal(1, 2, seed=2), normal(1, seed=3))
    made = scores(features, Scorer(hidden, output))
    for one in range(2):
        for place, row in enumerate(features[one].tolist()):
            inner = []
            for weights, bias in zip(hidden[0].tolist(), hidden[1].tolist(), strict=True):
                value = sum(a * b for a, b in zip(weights, row, strict=True)) + bias
                inner.append(value * (1 + math.erf(value / math.sqrt(2))) / 2)
            expected = sum(a * b for a, b in zip(output[0][0].tolist(), inner, strict=True))
            expected += output[1].item()
            assert made[one, place].item() == pytest.approx(expected, abs=1e-13)


def test_the_scorer_has_the_published_size() -> None:
    scorer = random_scorer(torch.empty(1, 1024, device="meta"))
    sizes = [part.numel() for layer in (scorer.hidden, scorer.output) for part in layer]
    assert sum(sizes) == 525_313  # 0.53 M


def test_text_scores() -> None:
    query, key = normal(2, 4, 3, 6), normal(2, 2, 8, 6, seed=1)
    visual = torch.tensor([[1, 2, 5], [0, 3, 4]])
    made = text_scores(query, key, 0.5, visual)
    for one in range(2):
        heads = attention(query[one], key[one], 0.5)
        for place, at in enumerate(visual[one].tolist()):
            expected = sum(head[row][at] for head in heads for row in range(3)) / 12
            assert made[one, place].item() == pytest.approx(expected, abs=1e-14)


def test_more_than_there_are() -> None:
    with pytest.raises(InvalidInput, match="count 41 is impossible with 40 tokens"):
        diverse_choice(normal(1, 40, 5), normal(1, 40), 41)


def test_flops_of_llava() -> None:
    features, ranked = torch.empty(1, 576, 1024, device="meta"), torch.empty(1, 576, device="meta")
    # 54 tokens: 49 by score; 527 others against them, and against all but the last of five
    macs = 527 * (49 + 4) * 1024
    counted = count_flops(lambda: diverse_choice(features, ranked, 54))
    assert counted == {"aten.bmm": 2 * macs}
    assert count_flops(lambda: diverse_choice(features, ranked, 9)) == {}
    scorer = random_scorer(features)
    # 1,024 → 512 → 1
    assert sum(count_flops(lambda: scores(features, scorer)).values()) == 2 * 576 * 512 * 1025
    query, key = torch.empty(1, 32, 64, 128, device="meta"), ranked[:, None, :118, None]
    key = key.expand(1, 32, 118, 128)
    visual = torch.empty(1, 54, dtype=torch.int64, device="meta")
    counted = count_flops(lambda: text_scores(query, key, 0.1, visual))
    assert counted == {"aten.bmm": 2 * 64 * 118 * 4096}
