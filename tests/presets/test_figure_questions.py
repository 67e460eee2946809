"""Printed figures: what their questions mean, by arithmetic on LLaVA-1.5-7B."""

from __future__ import annotations

from fractions import Fraction

import pytest
from vlm_tokencost.presets import load_method
from vlm_tokencost.presets.figures import Figure, recompute


def answer(method: str = "divprune", **question) -> Fraction:
    asked = {"printed": "1", "unit": "tokens", "model": "llava-1.5-7b", "source": "here"}
    return recompute(load_method(method), Figure(**{**asked, **question})).value


def published(n: int) -> int:
    """Return 4nd² + 2n²d + 2ndm, one layer of `survey`."""
    return 4 * n * 4096**2 + 2 * n * n * 4096 + 2 * n * 4096 * 11008


def test_a_mean_over_text_lengths():
    # round(0.098 · 576) = 56 visual tokens
    ratios = [Fraction(published(56 + t), published(576 + t)) for t in (15, 83)]
    question = {"quantity": "ratio", "unit": "×", "convention": "survey"}
    assert answer(**question, text_lengths=[15, 83]) == sum(ratios) / 2


def test_a_mean_over_visual_lengths():
    # round(0.098 · 1000) = 98
    assert answer(
        quantity="entering visual tokens", text_lengths=[0, 0], visual_lengths=[576, 1000]
    ) == Fraction(56 + 98, 2)
    with pytest.raises(ValueError, match="zip"):
        answer(quantity="ratio", text_lengths=[0], visual_lengths=[576, 1000])


def test_a_term_of_a_component():
    # r = 16 leaves 577 − 16 · 22 = 225 tokens to the last used block
    question = {"quantity": "selection", "unit": "GMAC", "convention": "exact"}
    last = answer("tome", **question, term="similarities in encoder layer 22")
    assert last * 10**9 == 113 * 112 * 64


def test_the_encoder_without_its_embedding():
    layer = 4 * 577 * 1024**2 + 2 * 577**2 * 1024 + 2 * 577 * 1024 * 4096
    question = {"quantity": "vision layers", "unit": "GMAC", "convention": "exact", "dense": True}
    assert answer(**question) * 10**9 == 24 * layer
    assert answer(**question, encoder_layers="contributing") * 10**9 == 23 * layer


def test_the_tokens_of_the_last_layer():
    assert answer("fastv", quantity="final visual tokens") == 288
    assert answer("fastv", quantity="final token reduction", unit="%") == 50


def test_the_released_selection():
    # 3nd² at 640, 352 and 208 tokens, and the query rows
    question = {"quantity": "selection", "unit": "GMAC", "convention": "exact", "text_tokens": 64}
    released = answer("pyramiddrop", **question, selection="released")
    assert released * 10**9 == (640 + 352 + 208) * (3 * 4096**2 + 4096)
