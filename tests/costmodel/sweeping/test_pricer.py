"""Arrays of stages against the scalar path, figure by figure, and by hand."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np  # noqa: TID253 (arrays are what is tested)
import pytest
from vlm_tokencost.costmodel import (
    CONVENTIONS,
    Compress,
    Counting,
    EncoderMerge,
    InvalidInput,
    Schedule,
    Stage,
    TokencostError,
    Workload,
    evaluate,
    kv_cache_bytes,
)
from vlm_tokencost.costmodel.sweeping import StagePricer, layers
from vlm_tokencost.costmodel.sweeping.block import BLOCK
from vlm_tokencost.presets import list_models, load_model

LLAVA = "llava-1.5-7b"
#: Requests whose layers differ: experts, latents, windows that bind, cross-attention, an LLM
#: encoder, prefixes, second encoders; with decode forwards and other counting.
REQUESTS = {
    "plain": (LLAVA, {}, {}),
    "generation": (LLAVA, {"new_tokens": 33, "batch": 3, "text_tokens": 0}, {}),
    "causal": (LLAVA, {}, {"causal": True}),
    "all logits": ("qwen2.5-vl-7b", {"text_tokens": 7}, {"logits": "all"}),
    "contributing": ("internvl3-8b", {}, {"encoder_layers": "contributing"}),
    "deepstack": ("qwen3-vl-30b-a3b", {"new_tokens": 5}, {"experts": "all"}),
    "latent": ("kimi-vl-a3b", {"new_tokens": 9}, {"latent": "absorbed"}),
    "dense layer first": ("deepseek-vl2", {}, {}),
    "windows that do not bind": ("gemma3-4b", {"new_tokens": 9}, {}),
    "windows that bind for some": ("gemma3-4b", {"text_tokens": 900, "new_tokens": 200}, {}),
    "windows that bind": ("gemma3-4b", {"text_tokens": 1200, "batch": 2}, {}),
    "windows that bind late": ("gemma3-4b", {"text_tokens": 700, "new_tokens": 100}, {}),
    "long prefix": ("paligemma2-3b-224", {"text_tokens": 4000, "new_tokens": 40}, {}),
    "all windows": ("idefics2-8b", {"visual_tokens": 4500, "new_tokens": 3}, {}),
    "crossing": ("llama3.2-vision-11b", {"new_tokens": 11}, {}),
    "image size": ("qwen2-vl-7b", {"images": [(560, 1120)] * 3, "text_tokens": 100}, {}),
    "video": ("llava-onevision-7b", {"frames": 32}, {}),
}


def scalar(model, workload, counting, schedule):
    """Return the figures of one schedule by the scalar path."""
    report = evaluate(model, workload, schedule, counting)
    figures = {
        name: report.total(name) if report.obstacle(name) is None else None for name in CONVENTIONS
    }
    figures["kv_cache_bytes"] = kv_cache_bytes(model, report.scheduled, None, counting.execution)
    placed = [one.in_sequence or one.crosses for one in report.scheduled.layout]
    average = report.scheduled.average_visual_tokens
    figures["visual_tokens"] = average * sum(placed)
    return figures


def random_stages(model, count, draw, denominator, entering):
    layers = sorted(draw.sample(range(model.decoder.num_hidden_layers), count))
    least = -(-denominator // entering)  # a smaller share would leave nothing
    shares = sorted((draw.randint(least, denominator) for _ in range(count)), reverse=True)
    return layers, shares


def compare(model, workload, counting, base, *, samples, denominator=1000, seed=1):
    """Compare random schedules of 1 to 4 stages; return the largest figure."""
    pricer = StagePricer(model, workload, counting, base)
    draw = random.Random(seed)
    largest = 0
    for count in (1, 2, 3, 4):
        drawn = [
            random_stages(model, count, draw, denominator, pricer.entering_visual_tokens)
            for _ in range(samples)
        ]
        drawn[0] = (drawn[0][0], [denominator] * count)  # nothing is left out
        layers = [np.array([row[0][place] for row in drawn]) for place in range(count)]
        shares = [np.array([row[1][place] for row in drawn]) for place in range(count)]
        found = pricer.price(layers, shares, denominator)._asdict()
        for row, (firsts, numerators) in enumerate(drawn):
            stages = tuple(
                Stage(first_layer=layer, ratio=Fraction(numerator, denominator))
                for layer, numerator in zip(firsts, numerators, strict=True)
            )
            schedule = (base or Schedule()).model_copy(update={"stages": stages})
            for name, expected in scalar(model, workload, counting, schedule).items():
                if expected is None:
                    assert found[name] is None
                elif expected < 2**53:
                    assert found[name][row] == expected, (name, firsts, numerators)
                else:
                    off = abs(Fraction(float(found[name][row])) - expected) / expected
                    assert off <= Fraction(1, 10**14), (name, firsts, numerators)
                largest = max(largest, expected or 0)
    return largest


@pytest.mark.parametrize("name", REQUESTS)
def test_random_schedules_are_those_of_the_scalar_path(name):
    model_id, workload, counting = REQUESTS[name]
    compare(load_model(model_id), Workload(**workload), Counting(**counting), None, samples=12)


@pytest.mark.parametrize("model_id", list_models())
def test_every_model_agrees(model_id):
    compare(load_model(model_id), Workload(), Counting(), None, samples=1, seed=2)


@pytest.mark.parametrize("rounding", ["floor", "round", "ceil", "float-floor"])
def test_rounding_rules(rounding):
    model = load_model("llava-next-vicuna-7b")  # 2,928 tokens: 0.7 of many sizes rounds down
    for tokens, denominator in ((2880, 10), (2928, 20), (1001, 1000), (9, 8), (577, 3)):
        workload, base = Workload(visual_tokens=tokens), Schedule(rounding=rounding)
        compare(model, workload, Counting(), base, samples=12, denominator=denominator)


def test_float_floor_is_not_floor():
    # 0.7 · 2880 = 2016, but 2015.9999999999998 in floats
    model, workload = load_model(LLAVA), Workload(visual_tokens=2880)
    sums = {}
    for rounding in ("floor", "float-floor"):
        pricer = StagePricer(model, workload, None, Schedule(rounding=rounding))
        sums[rounding] = pricer.price([np.array([0])], [np.array([7])], 10).visual_tokens[0]
    assert sums == {"floor": 32 * 2016, "float-floor": 32 * 2015}


@pytest.mark.parametrize(
    "base",
    [
        Schedule(compress=Compress(tokens=100)),
        Schedule(compress=Compress(ratio="0.3", at="before-connector")),
        Schedule(encoder=EncoderMerge(merged_per_layer=4)),
        Schedule(bits={"kv": 4}),
    ],
    ids=["compress", "compress before", "encoder", "bits"],
)
def test_what_acts_besides_the_stages(base):
    compare(load_model(LLAVA), Workload(new_tokens=4), Counting(), base, samples=8)


@pytest.mark.parametrize("batch", [10**4, 10**7, 10**9])
def test_beyond_the_exact_integers(batch):
    workload = Workload(batch=batch, new_tokens=17)
    for model_id in (LLAVA, "gemma3-4b", "deepseek-vl2"):
        model = load_model(model_id)
        assert compare(model, workload, Counting(), None, samples=8) > 2**53


def test_figures_by_hand():
    # LLaVA-1.5-7B: 32 layers, d 4096, m 11008, 576 visual and 64 text tokens
    d, m = 4096, 11008

    def layer(n, matrices):
        return 4 * n * d * d + 2 * n * n * d + matrices * n * d * m

    found = StagePricer(load_model(LLAVA)).price(
        [np.array([2, 2]), np.array([8, 9]), np.array([16, 31])],
        [np.array([10, 20]), np.array([5, 20]), np.array([1, 7])],
        20,
    )
    # keep 0.5, 0.25, 0.05: 288, 144, ⌊28.8⌋ tokens; keep 1, 1, 0.35: 576, 576, ⌊201.6⌋
    plans = [
        [576] * 2 + [288] * 6 + [144] * 8 + [28] * 16,
        [576] * 31 + [201],
    ]
    for row, visual in enumerate(plans):
        assert found.survey[row] == sum(layer(n + 64, 2) for n in visual)
        assert found.gated[row] == sum(layer(n + 64, 3) for n in visual)
        assert found.visual_tokens[row] == sum(visual)
        # 2 · 32 heads · 128 values of 2 bytes
        assert found.kv_cache_bytes[row] == sum(n + 64 for n in visual) * 16384
        # conventions.md: vision, connector and head; the decoder's gated MACs twice
        outside = 381_918_216_192 + 24_159_191_040 + 262_668_288
        assert found.exact[row] == 2 * found.gated[row] + outside


def test_blocks_join_without_a_seam():
    model = load_model("gemma3-4b")
    pricer = StagePricer(model, Workload(text_tokens=1000, new_tokens=7))
    rows = 2 * BLOCK + 17
    layers = [1 + np.arange(rows) % 16, 17 + np.arange(rows) % 17]
    shares = [50 + np.arange(rows) % 50, 1 + np.arange(rows) % 50]
    whole = pricer.price(layers, shares, 100)
    for row in (0, BLOCK - 1, BLOCK, 2 * BLOCK, rows - 1):
        alone = pricer.price([one[[row]] for one in layers], [one[[row]] for one in shares], 100)
        for together, single in zip(whole, alone, strict=True):
            assert together[row] == single[0]


def test_floats_of_any_type_are_whole_numbers():
    pricer = StagePricer(load_model(LLAVA))
    totals = [
        pricer.price([np.array([2], dtype)], [np.array([11], dtype)], 20).exact[0]
        for dtype in (np.int8, np.int32, np.uint16, np.float32, np.float64)
    ]
    assert len(set(totals)) == 1


@pytest.mark.parametrize(
    ("layers", "shares", "field", "words"),
    [
        ([[3], [3]], [[9], [5]], "first_layer", "not a layer behind 3 of"),
        ([[5], [3]], [[9], [5]], "first_layer", "not a layer behind 5 of"),
        ([[32]], [[5]], "first_layer", "which has 32"),
        ([[-1]], [[5]], "first_layer", "which has 32"),
        ([[3]], [[0]], "ratio", "leaves 0 of 576"),
        ([[3]], [[11]], "ratio", "leaves 633 of 576"),
        ([[3], [5]], [[4], [5]], "ratio", "leaves 288 of 230"),
        ([[3.5]], [[5]], "layers, numerators", "not whole"),
        ([[3]], [[5.5]], "layers, numerators", "not whole"),
        ([[float("nan")]], [[5]], "layers, numerators", "not whole"),
        ([[3, 4]], [[5]], "layers", "different lengths"),
        ([[3], [4]], [[5]], "layers", "2 arrays of layers and 1 of shares"),
        ([], [], "layers", "at least one"),
    ],
)
def test_what_the_scalar_path_refuses(layers, shares, field, words):
    pricer = StagePricer(load_model(LLAVA))
    with pytest.raises(InvalidInput) as caught:
        pricer.price([np.array(one) for one in layers], [np.array(one) for one in shares], 10)
    assert caught.value.field == field
    assert words in str(caught.value)


def test_one_wrong_row_among_many_is_found():
    pricer = StagePricer(load_model(LLAVA))
    layers = np.full(3 * BLOCK, 7)
    layers[2 * BLOCK + 5] = 40
    with pytest.raises(InvalidInput, match="first_layer 40"):
        pricer.price([layers], [np.full(3 * BLOCK, 5)], 10)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"layers": [{"kind": "withdraw", "layer": 20}]}, "layers"),
        ({"cache": {"stored": "0.5"}}, "cache"),
        ({"channels": {"key": "0.5"}}, "channels"),
        ({"selection": "fastv", "stages": [{"first_layer": 2, "ratio": "0.5"}]}, "stages"),
        ({"stages": [{"first_layer": 2, "ratio": "0.5"}]}, "stages"),
    ],
)
def test_what_is_not_priced_over_arrays_is_named(given, field):
    with pytest.raises(InvalidInput, match="is not priced over arrays") as caught:
        StagePricer(load_model(LLAVA), None, None, Schedule(**given))
    assert caught.value.field == field


def test_causal_counting_where_it_is_no_polynomial():
    causal = Counting(causal=True)
    with pytest.raises(InvalidInput, match="images attend inside"):
        StagePricer(load_model("gemma3-4b"), None, causal)
    with pytest.raises(InvalidInput, match="windows bind"):
        StagePricer(load_model("idefics2-8b"), Workload(text_tokens=5000), causal)
    compare(load_model("idefics2-8b"), Workload(), causal, None, samples=4)


def test_denominators_that_floats_cannot_divide_by_exactly():
    pricer = StagePricer(load_model(LLAVA))
    with pytest.raises(InvalidInput, match="denominator 10000000000000 is too large"):
        pricer.price([np.array([2])], [np.array([10**13])], 10**13)


def test_a_price_that_is_no_polynomial_is_noticed(monkeypatch):
    real = layers.stored_bytes_per_layer

    def cubic(model, plan, bits, execution):
        found = real(model, plan, bits, execution)
        return [*found[:-1], found[-1] + plan.visual[-1] ** 3]

    monkeypatch.setattr(layers, "stored_bytes_per_layer", cubic)
    with pytest.raises(TokencostError, match=r"kv_cache_bytes of layer 31 of llava-1\.5-7b"):
        StagePricer(load_model(LLAVA))


def test_a_price_that_grows_where_nobody_looked_is_noticed(monkeypatch):
    """A step between the fitted counts and those of the model."""
    real = layers.stored_bytes_per_layer

    def stepped(model, plan, bits, execution):
        found = real(model, plan, bits, execution)
        return [amount + 2 * (plan.visual[0] > 200) for amount in found]

    monkeypatch.setattr(layers, "stored_bytes_per_layer", stepped)
    with pytest.raises(TokencostError, match="is no polynomial of its visual tokens"):
        StagePricer(load_model(LLAVA))
