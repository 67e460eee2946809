"""What every rule promises: FLOPs, shapes alone, determinism, batches, strides, narrow types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, is_dataclass
from typing import Any

import pytest
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers import sparsevlm
from vlm_tokencost.validation.reducers.common import attention_rows, top_indices
from vlm_tokencost.validation.reducers.dart import dart
from vlm_tokencost.validation.reducers.divprune import divprune
from vlm_tokencost.validation.reducers.fastv import fastv
from vlm_tokencost.validation.reducers.gprune import gathered
from vlm_tokencost.validation.reducers.lrcp import lrcp
from vlm_tokencost.validation.reducers.pyramiddrop import pyramiddrop
from vlm_tokencost.validation.reducers.scope import scope
from vlm_tokencost.validation.reducers.tokencarve import tokencarve
from vlm_tokencost.validation.reducers.tome import tome
from vlm_tokencost.validation.reducers.visionzip import (
    class_token_scores,
    received_scores,
    visionzip,
)

torch = pytest.importorskip("torch")


@dataclass(frozen=True)
class Rule:
    """A rule, the shapes of its tensors without the batch, and its MACs per sequence.

    A shape that is a list holds indices; "bool" before a shape asks for true and false.
    """

    run: Callable[..., Any]
    shapes: tuple[Any, ...]
    macs: int
    shown: tuple[tuple[int, ...], ...]

    def tensors(self, batch: int, dtype: Any = None) -> list[Any]:
        """Draw the rule's arguments."""
        made = torch.Generator().manual_seed(batch)
        drawn = []
        for shape in self.shapes:
            if isinstance(shape, list):
                drawn.append(torch.tensor([shape] * batch))
            elif shape[0] == "bool":
                drawn.append(torch.rand(batch, *shape[1:], generator=made) < 0.5)
                drawn[-1][:, 0] = True
            else:
                real = torch.randn(batch, *shape, generator=made, dtype=torch.float64)
                drawn.append(real.to(dtype or torch.float64))
        return drawn


VISUAL = [2, 3, 4, 5, 6, 7, 8, 9]
RULES = {
    # 12 tokens · 4 heads · 8
    "fastv": Rule(
        lambda query, key, visual: fastv(query, key, 0.3, visual, 3),
        ((4, 1, 8), (2, 12, 8), VISUAL),
        384,
        ((3,),),
    ),
    "pyramiddrop": Rule(
        lambda query, key, visual: pyramiddrop(query, key, 0.3, visual, 5),
        ((4, 1, 8), (4, 12, 8), VISUAL),
        384,
        ((5,),),
    ),
    # 3 rows · 12 tokens · 4 heads · 8
    "attention rows": Rule(
        lambda query, key: attention_rows(query, key, 0.3),
        ((4, 3, 8), (1, 12, 8)),
        1_152,
        ((4, 3, 12),),
    ),
    # 17 · 4 · 8
    "class token": Rule(
        lambda query, key: class_token_scores(query, key, 0.3),
        ((4, 1, 8), (4, 17, 8)),
        544,
        ((17,),),
    ),
    # 16² · 4 · 8, although 3 blocks of rows make it
    "received": Rule(
        lambda query, key: received_scores(query, key, 0.3, rows_at_once=6),
        ((4, 16, 8), (4, 16, 8)),
        8_192,
        ((16,),),
    ),
    # 17 − 5 dominant = 12 remaining; (12 − 3)·3·8
    "visionzip, class token": Rule(
        lambda states, scores, keys: visionzip(states, scores, keys, 5, 3, class_token=True),
        ((17, 6), (17,), (17, 8)),
        216,
        ((8, 6), (5,), (3,), (9,), (9,)),
    ),
    # 16 − 4 dominant = 12 remaining; (12 − 5)·5·8
    "visionzip, none": Rule(
        lambda states, scores, keys: visionzip(states, scores, keys, 4, 5, class_token=False),
        ((16, 6), (16,), (16, 8)),
        280,
        ((9, 6), (4,), (5,), (7,), (7,)),
    ),
    # 11² · 6
    "divprune": Rule(lambda features: divprune(features, 4), ((11, 6),), 726, ((4,),)),
    # 9 even · 8 odd · 5
    "tome": Rule(
        lambda states, sizes, metric: tome(states, 1 + sizes.float().abs(), metric, 6, True),
        ((17, 7), (17,), (17, 5)),
        360,
        ((11, 7), (11,)),
    ),
    # 11 · 7 · 6
    "raters": Rule(sparsevlm.raters, ((11, 6), (7, 6)), 462, ((7,),)),
    # 5 text rows · 12 tokens · 4 heads · 8, whoever rates
    "rater scores": Rule(
        lambda query, key, raters, visual: sparsevlm.rater_scores(query, key, 0.3, raters, visual),
        ((4, 5, 8), (2, 12, 8), ("bool", 5), VISUAL),
        1_920,
        ((8,),),
    ),
    # 8 pivots · 11 · 6
    "dart": Rule(
        lambda visual, text, lengths, others: dart(visual, text, lengths, others, 7),
        ((11, 6), (5, 6), (11,), (5,)),
        528,
        ((7,),),
    ),
    # 11² · 6
    "scope": Rule(
        lambda features, seen: scope(features, seen.sigmoid(), 4), ((11, 6), (11,)), 726, ((4,),)
    ),
    # 11² · 6 and 5 steps of 11²
    "g-prune": Rule(lambda tokens: top_indices(gathered(tokens), 4), ((11, 6),), 1_331, ((4,),)),
    # 6² · 9, to 4 vectors and back, and (6 − 2) · 2 · 9
    "lrcp": Rule(lambda tokens: lrcp(tokens, 2), ((6, 9),), 828, ((2,), (2, 9))),
    # 8² · 9, and of ⌊1.5 · 5⌋ = 7 tokens 4 · 3 · 9
    "tokencarve": Rule(
        lambda states, seen: tokencarve(states, seen, 5), ((8, 9), (8,)), 684, ((5,), (5, 9))
    ),
    # 9² · 6
    "recycle": Rule(
        lambda states, scores, kept: sparsevlm.recycle(states, scores, kept, 9, 3),
        ((16, 6), (16,), [0, 3, 4, 11]),
        486,
        ((3, 6),),
    ),
}


@pytest.fixture(params=RULES, ids=lambda name: name.replace(", ", "-").replace(" ", "-"))
def rule(request: pytest.FixtureRequest) -> Rule:
    return RULES[request.param]


def results(made: Any) -> Sequence[Any]:
    """Return the tensors that a rule returned."""
    if isinstance(made, torch.Tensor):
        return (made,)
    return astuple(made) if is_dataclass(made) else made


def agree(one: Sequence[Any], other: Sequence[Any], tolerance: float = 0) -> None:
    """Assert that indices are equal and numbers as close as the tolerance says."""
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("device", "batch"), [("cpu", 1), ("cpu", 3), ("meta", 2)])
def test_flops(rule: Rule, device: str, batch: int) -> None:
    tensors = [tensor.to(device) for tensor in rule.tensors(batch)]
    assert count_flops(lambda: rule.run(*tensors)) == {"aten.bmm": 2 * batch * rule.macs}


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_shapes(rule: Rule, device: str) -> None:
    made = results(rule.run(*(tensor.to(device) for tensor in rule.tensors(3))))
    assert tuple(one.shape for one in made) == tuple((3, *shape) for shape in rule.shown)
    assert {one.device.type for one in made} == {device}
    kinds = {one.dtype for one in made}
    assert kinds <= {torch.float64, torch.float32, torch.int64, torch.bool}


def test_meta_would_refuse_to_wait_for_the_device() -> None:
    scores = torch.zeros(2, 3, device="meta")
    for wait in (lambda: scores.tolist(), lambda: scores.max().item(), lambda: scores[scores > 0]):
        with pytest.raises((RuntimeError, NotImplementedError)):
            wait()


def test_same_bits_every_time(rule: Rule) -> None:
    tensors = rule.tensors(4, torch.float32)
    copies = [tensor.clone() for tensor in tensors]
    first = results(rule.run(*tensors))
    for _ in range(5):
        agree(results(rule.run(*tensors)), first)
    agree(tensors, copies)  # and the arguments are left alone


def test_sequences_do_not_mix(rule: Rule) -> None:
    tensors = rule.tensors(4)
    together = results(rule.run(*tensors))
    for place in range(4):
        alone = results(rule.run(*(tensor[place : place + 1] for tensor in tensors)))
        agree(alone, [one[place : place + 1] for one in together], 1e-13)
    differs = [not torch.equal(one[0], one[1]) for one in together if one.numel()]
    assert any(differs), "the sequences would look alike to a rule that mixes them"


def test_strided_tensors(rule: Rule) -> None:
    tensors = rule.tensors(3)
    spread = [tensor.repeat_interleave(2, -1)[..., ::2] for tensor in tensors]
    turned = [tensor.transpose(0, -1).contiguous().transpose(0, -1) for tensor in tensors]
    assert not any(tensor.is_contiguous() for tensor in [*spread, *turned])
    for strided in (spread, turned):
        agree(results(rule.run(*strided)), results(rule.run(*tensors)), 1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_narrow_types_choose_as_float32_does(rule: Rule, dtype: Any) -> None:
    narrow = rule.tensors(3, dtype)
    wide = [one.float() if one.is_floating_point() else one for one in narrow]
    for left, right in zip(results(rule.run(*narrow)), results(rule.run(*wide)), strict=True):
        assert torch.equal(left, right.to(left.dtype))
        assert left.dtype in {dtype, right.dtype}
