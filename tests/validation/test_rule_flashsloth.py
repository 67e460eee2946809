"""FlashSloth in real models: pooled squares, learned tokens behind them, and what they fetch."""

from __future__ import annotations

from typing import Any

import pytest
from loops import normal
from small_models import Small, driven, own
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation import rules
from vlm_tokencost.validation.reducers.flashsloth import AttentionPooling, QueryModule
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.rules.sloth import FlashSloth
from vlm_tokencost.validation.sequence import TEXT, VISUAL

torch = pytest.importorskip("torch")

MODEL = "llava-1.5-7b"
#: Patches of 14 pixels: the small model's tower takes 4×4, of which no squares of 3×3 can be made.
SIX = Small(MODEL, ((84, 84), (84, 84)), (((6, 6),), ((6, 6),)))


def tower_states(crops: int) -> Any:
    """Return random states of 6×6 patches and a class token, as of a tower of another size."""
    return normal(crops, 37, 32, seed=3)


def test_squares_are_pooled_and_learned_tokens_follow() -> None:
    driver = driven(MODEL, "eager", "float64")
    rule = FlashSloth(driver.adapter, learned=9)
    pixels = driver.request(SIX.images, SIX.crops, 20, batch=2).pixels
    states = tower_states(4)
    with torch.no_grad():
        visual = rule.with_learned(rule.before_connector(pixels, lambda: states, 8))
        grids = states[:, 1:].reshape(4, 6, 6, 32)
        pooled = AttentionPooling.of(grids)(grids)
        expected = own(MODEL, "eager", "float64").model.multi_modal_projector(pooled)
    assert visual.dense == [4, 4 + 9]
    torch.testing.assert_close(visual.tokens[0], expected[::2])
    torch.testing.assert_close(visual.tokens[1][:, :4], expected[1::2])
    learned = visual.tokens[1][:, 4:]
    assert torch.equal(learned[0], learned[1])
    assert learned[0].std() > 0.5
    # the patches of both images of each request, before pooling
    assert torch.equal(rule.patches, states[:, 1:].reshape(2, 72, 32))


def test_what_learned_tokens_fetch() -> None:
    """Only they change, by the query module's own products; here the last 2 of 16 are learned."""
    driver = driven(MODEL, "eager", "float64")
    request = driver.request([(56, 56)], [[(4, 4)]], 20, batch=2, seed=1)
    tokens = driver.prefill(request).entered
    rule = FlashSloth(driver.adapter, learned=2)
    rule.patches = tower_states(2)[:, 1:]
    with torch.no_grad():
        after = rule.before_layer(tokens)
        before, text = tokens.states_of(VISUAL), tokens.states_of(TEXT)
        fetch = QueryModule.of(before, rule.patches)
        # four heads of the LLM divide 16 and 32
        expected = fetch(before[:, 14:], text, rule.patches, 4)
    assert torch.equal(after.states_of(TEXT), text)
    assert torch.equal(after.states_of(VISUAL)[:, :14], before[:, :14])
    torch.testing.assert_close(after.states_of(VISUAL)[:, 14:], expected)
    assert not torch.allclose(expected, before[:, 14:])


@pytest.mark.parametrize(
    ("model", "count", "at", "problem"),
    [
        (MODEL, 4, "before-connector", "4 is not what FlashSloth makes of 1 crop of 4×4 patches"),
        (MODEL, 1, "before-connector", "1 is not what FlashSloth makes"),
        ("internvl3-8b", 4, "after-connector", "cannot be run on internvl"),
    ],
)
def test_what_cannot_be_run(
    monkeypatch: pytest.MonkeyPatch, model: str, count: int, at: Any, problem: str
) -> None:
    monkeypatch.setitem(rules.RULES, "FlashSloth", FlashSloth)
    driver = driven(model, "eager", "float64")
    size = (4, 4) if model == MODEL else (8, 8)
    request = driver.request([(56, 56)], [[size]], 20)
    reduction = Reduction(compressed=(count, at), selection="FlashSloth", described=True)
    with pytest.raises(InvalidInput, match=problem):
        driver.prefill(request, reduction)
