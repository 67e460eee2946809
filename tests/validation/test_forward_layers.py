"""Layers that some tokens skip, or do a part of, against runs of full length under masks."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from masked_reference import Reference, relative_error
from small_figures import LAYERS
from small_models import ONE_IMAGE, SEVERAL_IMAGES, driven, own, request_of
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.costmodel.primitives.cache import Cache
from vlm_tokencost.costmodel.primitives.widths import Channels
from vlm_tokencost.validation.activity import Active, alive, precedence
from vlm_tokencost.validation.caches import Keeping, narrow_attention
from vlm_tokencost.validation.reduction import Reduction

torch = pytest.importorskip("torch")
STEPS = 4


class Way(NamedTuple):
    """Percent of M in each layer: updated, keys, through the FFN; what the cache keeps."""

    query: tuple[int, ...]
    key: tuple[int, ...]
    ffn: tuple[int, ...]
    cache: Cache | None = None

    @classmethod
    def alike(cls, *percent: int, cache: Cache | None = None) -> Way:
        """Return the way of tokens that do all or nothing."""
        return cls(percent, percent, percent, cache)


ALL = (100,) * LAYERS
WAYS = {
    "inject": Way.alike(0, 0, 100, 100, 100, 100),
    "inject, prune, withdraw": Way.alike(0, 100, 60, 30, 0, 0),
    "expand": Way.alike(25, 25, 25, 100, 100, 100),
    "come and go": Way.alike(100, 40, 80, 20, 100, 60),
    "freeze": Way((100, 0, 0, 100, 0, 0), ALL, (100, 0, 0, 100, 0, 0)),
    "subset": Way((50,) * LAYERS, (50,) * LAYERS, ALL),
    "sparse FFN": Way(ALL, ALL, (50, 50, 25, 0, 75, 100)),
    "between attention and FFN": Way(
        (100, 70, 70, 40, 40, 20), (100, 70, 70, 40, 40, 20), (70, 70, 40, 40, 20, 20)
    ),
    "store less": Way.alike(*ALL, cache=Cache(stored=Fraction(1, 2))),
    "read less": Way.alike(*ALL, cache=Cache(read=Fraction(1, 3), first_layer=2)),
    "focal": Way.alike(*ALL, cache=Cache(read_tokens=2, focal_layers=(1, 4))),
    "shrink": Way.alike(*ALL, cache=Cache(read=Fraction(1, 2), shrink=Fraction(1, 4))),
    "generated": Way.alike(*ALL, cache=Cache(generated=Fraction(1, 2))),
    "rescan": Way.alike(*ALL, cache=Cache(read=Fraction(1, 4), rescan=Fraction(1, 2))),
    "prune and store": Way.alike(
        100, 100, 50, 50, 25, 25, cache=Cache(stored=Fraction(1, 3), generated=Fraction(3, 4))
    ),
}
CASES = [ONE_IMAGE[0], ONE_IMAGE[5], SEVERAL_IMAGES[4]]


RUNS = [
    pytest.param(case, way, attention, id=f"{case}-{way}-{attention}")
    for case in CASES
    for way in WAYS
    for attention in (("eager", "sdpa") if case is CASES[0] else ("sdpa",))
]


@pytest.mark.parametrize(("case", "way", "attention"), RUNS)
def test_masked_reference(case, way, attention):
    driver, model = driven(case.model, attention, "float64"), own(case.model, attention, "float64")
    request = request_of(driver, case, batch=2)
    new = torch.randint(190, (2, STEPS), generator=torch.Generator().manual_seed(3))
    reference = Reference(model, driver.model_inputs(request), new, driver.adapter.specials())
    visual = int(reference.visual[0].sum())
    counts = Active(*(tuple(visual * p // 100 for p in percent) for percent in WAYS[way][:3]))
    present = tuple(map(max, *counts))
    keeping, cache = None, WAYS[way].cache
    if cache is not None:
        stored, read = cache.lengths(counts.key, visual, "floor")
        keeping = Keeping(stored, read, cache, visual, Channels())

    prefilled = driver.prefill(
        request, Reduction(visual=present, entering=visual, active=counts, keeping=keeping)
    )
    assert prefilled.lengths == [reference.length - visual + count for count in present]
    expected = masked(reference, counts, keeping)
    # Eager attention's softmax is in float32.
    bound = 1e-12 if attention == "sdpa" else 1e-5
    left = prefilled.tokens.origin[0]
    assert relative_error(prefilled.tokens.states, expected[:, left]) <= bound
    logits = reference.logits(expected[:, reference.length - 1 :])
    assert relative_error(prefilled.logits, logits[:, :1]) <= bound
    for step in range(STEPS):
        decoded = driver.decode(prefilled, new[:, step : step + 1])
        assert relative_error(decoded, logits[:, step + 1 : step + 2]) <= bound


def masked(reference: Any, counts: Active, keeping: Keeping | None) -> Any:
    """Run every layer on the whole sequence, and undo what it did to tokens that skip it."""
    length, whole = reference.length, reference.states.shape[1]
    is_visual = torch.zeros(whole, dtype=torch.bool)
    is_visual[:length] = reference.visual[0]
    ranks = precedence(length)
    order = sorted(torch.where(is_visual)[0].tolist(), key=lambda place: ranks[place])

    def doing(count: int) -> Any:
        chosen = ~is_visual
        chosen[order[:count]] = True
        return chosen

    states = reference.states
    causal = torch.ones(whole, whole, dtype=torch.bool).tril()
    with torch.no_grad():
        tables = reference.decoder.rotary_emb(states, reference.ids)
        for index, layer in enumerate(reference.decoder.layers):
            query, key, ffn = (doing(lengths[index]) for lengths in counts)
            seen = causal & key
            for step in range(1, whole - length + 1):
                if keeping is not None:
                    read = min(keeping.read[index], counts.key[index])
                    gone = int(keeping.spec.shrink_of(index) * keeping.entering * (step - 1))
                    row = doing(max(0, read - gone))
                    own_row = length + step - 1
                    recent = int(keeping.spec.generated * (step - 1))
                    row[length:] = False
                    row[own_row - recent : own_row + 1] = True
                    seen[own_row] = row
            mask = torch.zeros(seen.shape, dtype=states.dtype)
            mask = mask.masked_fill(~seen, torch.finfo(states.dtype).min)[None, None]
            attended, _ = layer.self_attn(
                layer.input_layernorm(states),
                attention_mask=mask.expand(len(states), -1, -1, -1),
                position_embeddings=tables,
            )
            states = torch.where(query[:, None], states + attended, states)
            passed = states + layer.mlp(layer.post_attention_layernorm(states))
            states = torch.where(ffn[:, None], passed, states)
        final = reference.decoder.norm(states)
    return final


def test_what_is_at_hand():
    assert alive((0, 9, 4, 6, 0)) == (9, 9, 6, 6, 0)
    assert alive((5, 3, 3, 1)) == (5, 3, 3, 1)
    assert alive(()) == ()


@pytest.mark.parametrize("count", [1, 2, 5, 16, 33])
def test_precedence_is_an_even_order(count):
    ranks = precedence(count)
    assert sorted(ranks) == list(range(count))
    # The first 2^j tokens stand in different 2^j-ths of the next power of two.
    size = 1 << max(count - 1, 1).bit_length()
    for amount in (1, 2, 4, 8):
        first = [place for place in range(count) if ranks[place] < min(amount, count)]
        if count == size:
            assert len({place * amount // size for place in first}) == len(first)


def test_narrow_attention_is_attention_without_the_other_channels():
    generator = torch.Generator().manual_seed(0)
    query, keys, values = (
        torch.randn(2, heads, n, 8, generator=generator, dtype=torch.float64)
        for heads, n in ((4, 1), (2, 7), (2, 7))
    )
    channels = Channels(key=Fraction(1, 2), value=Fraction(3, 4))  # 4 and 6 of 8
    narrow_keys, narrow_values = keys.clone(), values.clone()
    narrow_keys[:, :, :5, 4:] = 0
    narrow_values[:, :, :5, 6:] = 0
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, narrow_keys, narrow_values, scale=0.3, enable_gqa=True
    )
    found = narrow_attention(query, keys, values, 0.3, 5, channels)
    assert found.shape == (2, 4, 1, 8)
    assert (found - expected).abs().max() < 1e-6  # the softmax is in float32


def test_layers_of_other_parts_are_refused():
    from small_models import FURTHER

    case = FURTHER[-1]
    driver = driven(case.model, "sdpa", "float32")
    request = request_of(driver, case)
    features = sum(int(one.shape[1]) for one in driver.adapter.features(request.pixels))
    counts = Active((0,) * LAYERS, (features,) * LAYERS, (0,) * LAYERS)
    reduction = Reduction(visual=(features,) * LAYERS, entering=features, active=counts)
    with pytest.raises(InvalidInput, match="has other parts than attention"):
        driver.prefill(request, reduction)


class Entered(NamedTuple):
    """What entered layer 0, for `masked`."""

    states: Any
    ids: Any
    visual: Any
    length: int
    decoder: Any


@pytest.mark.parametrize("way", ["freeze", "come and go", "read less", "store less"])
def test_layers_and_caches_behind_a_compression(way):
    case = ONE_IMAGE[0]
    driver, model = driven(case.model, "sdpa", "float64"), own(case.model, "sdpa", "float64")
    request = request_of(driver, case, batch=2)
    new = torch.randint(190, (2, STEPS), generator=torch.Generator().manual_seed(3))
    visual = 9  # of 16
    counts = Active(*(tuple(visual * p // 100 for p in percent) for percent in WAYS[way][:3]))
    keeping, cache = None, WAYS[way].cache
    if cache is not None:
        keeping = Keeping(*cache.lengths(counts.key, visual, "floor"), cache, visual, Channels())
    prefilled = driver.prefill(
        request,
        Reduction(
            compressed=(visual, "after-connector"),
            visual=tuple(map(max, *counts)),
            entering=visual,
            active=counts,
            keeping=keeping,
        ),
    )
    entered, length = prefilled.entered, prefilled.entered.length
    with torch.no_grad():
        appended = model.get_input_embeddings()(new)
    whole = Entered(
        torch.cat([entered.states, appended], dim=1),
        torch.arange(length + STEPS).expand(2, -1),
        entered.kinds == 2,
        length,
        model.base_model.language_model,
    )
    final = masked(whole, counts, keeping)
    with torch.no_grad():
        logits = model.lm_head(final[:, length - 1 :])
    assert relative_error(prefilled.logits, logits[:, :1]) <= 1e-12
    for step in range(STEPS):
        decoded = driver.decode(prefilled, new[:, step : step + 1])
        assert relative_error(decoded, logits[:, step + 1 : step + 2]) <= 1e-12
