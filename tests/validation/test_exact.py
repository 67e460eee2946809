"""The `exact` convention equals what a FLOP counter measures on transformers, to the integer.

The counted side uses nothing of the cost model: configs from conftest.py, crops written out below,
visual tokens from the model's own image features, tokens per layer from arithmetic in the tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import pytest
from vlm_tokencost.costmodel import (
    Bill,
    Compress,
    Counting,
    InvalidInput,
    Schedule,
    Stage,
    Workload,
    evaluate,
    model_parameters,
)
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.forward import Driver, Place

Counts = Mapping[Place | None, Mapping[str, int]]
DriverOf = Callable[..., Driver]
TEXT = 64


class Case(NamedTuple):
    """Images of one prompt, the patch grids that transformers makes of them, and S."""

    model: str
    images: tuple[tuple[int, int], ...]
    crops: tuple[tuple[int, int], ...]
    structural: int = 0

    def lengths(self, visual: int, driver: Driver, schedule: str = "dense") -> list[int]:
        """Return the tokens of every layer when M = `visual`."""
        kept = [VISUAL[schedule](visual, layer) for layer in range(len(driver.layers))]
        return [tokens + self.structural + TEXT for tokens in kept]


#: Visual tokens of M that layer l processes.
VISUAL: dict[str, Callable[[int, int], int]] = {
    "dense": lambda m, layer: m,
    "fastv": lambda m, layer: m if layer < 2 else m // 2,
    "pyramid": lambda m, layer: m // 2 ** min(layer // 8, 3),
    "withdraw": lambda m, layer: m if layer < 16 else 0,
}
CLIP, SIGLIP, TILE = (24, 24), (27, 27), (32, 32)  # 336/14, ⌊384/14⌋, 448/14 patches per side
LLAVA = Case("llava-1.5-7b", ((336, 336),), (CLIP,))
INTERNVL = Case("internvl3-8b", ((448, 448),), (TILE,), 2)
DEFAULTS = [
    LLAVA,
    Case("llava-next-mistral-7b", ((672, 672),), (CLIP,) * 5),  # base + 2×2
    Case("llava-onevision-7b", ((384, 384),), (SIGLIP,) * 2),  # base + 1×1
    INTERNVL,
    Case("qwen2-vl-7b", ((1092, 1092),), ((78, 78),), 2),
    Case("qwen2.5-vl-7b", ((1092, 1092),), ((78, 78),), 2),  # windows of 8×8 patches: 9¾ × 9¾
]
SMALLER_THAN_A_WINDOW = Case("qwen2.5-vl-7b", ((56, 56),), ((4, 4),), 2)
OTHER_SIZES = [
    Case("llava-next-mistral-7b", ((500, 1000),), (CLIP,) * 3),  # base + 1×2
    Case("llava-next-mistral-7b", ((300, 900),), (CLIP,) * 4),  # base + 1×3
    Case("llava-onevision-7b", ((1000, 1152),), (SIGLIP,) * 10),  # base + 3×3
    Case("llava-onevision-7b", ((2304, 2304),), (SIGLIP,) * 37),  # base + 6×6, shrunk to max_9
    Case("internvl3-8b", ((896, 1344),), (TILE,) * 7, 2),  # 2×3 and a thumbnail
    Case("qwen2-vl-7b", ((448, 644),), ((32, 46),), 2),
    Case("qwen2.5-vl-7b", ((448, 644),), ((32, 46),), 2),  # 4 × 5¾ windows
    Case("qwen2.5-vl-7b", ((1000, 300),), ((72, 22),), 2),  # 1008×308 pixels, 9 × 2¾ windows
    SMALLER_THAN_A_WINDOW,
    Case("qwen2.5-vl-3b", ((1000, 300),), ((72, 22),), 2),
]
SEVERAL_IMAGES = [
    Case("llava-1.5-7b", ((480, 640), (336, 336)), (CLIP,) * 2),
    Case("llava-next-mistral-7b", ((672, 672), (300, 900)), (CLIP,) * 9),
    Case("llava-onevision-7b", ((1000, 1152), (384, 384)), (SIGLIP,) * 2),  # base crops alone
    Case("internvl3-8b", ((448, 448), (896, 1344)), (TILE,) * 8, 4),
    Case("qwen2-vl-7b", ((448, 644), (896, 896)), ((32, 46), (64, 64)), 4),
    Case("qwen2.5-vl-7b", ((448, 644), (1000, 300)), ((32, 46), (72, 22)), 4),
]
FAST_V = Schedule.keep(0.5, layer=2)
PYRAMID = Schedule(
    stages=(
        Stage(first_layer=8, ratio=0.5),
        Stage(first_layer=16, ratio=0.25),
        Stage(first_layer=24, ratio=0.125),
    )
)
SCHEDULES = {
    "fastv": FAST_V,
    "pyramid": PYRAMID,
    "withdraw": Schedule(stages=(Stage(first_layer=16, withdraw=True),)),
}
KINDS = {
    "aten.convolution": "convolution",
    "aten.bmm": "attention",  # eager attention, and nothing else, is a batched product
    "aten.mm": "linear",
    "aten.addmm": "linear",
}


def name(case: Case) -> str:
    return "-".join([case.model, *(f"{height}x{width}" for height, width in case.images)])


def each(cases: Iterable[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=name)


@pytest.fixture(scope="module")
def features_of(driver_of: DriverOf) -> Callable[[Case], tuple[Counts, int]]:
    """Return the count of a case's image features, and M."""

    @cache
    def count(case: Case) -> tuple[Counts, int]:
        driver, features = driver_of(case.model), []
        run = driver.image_features(case.images, case.crops)
        counts = driver.count(lambda: features.append(run()))
        return counts, len(features[0])

    return count


def assert_equal(bill: Bill, *counts: Counts) -> None:
    """Compare by component, then by component, layer and kind of operator."""
    priced: Counter[Any] = Counter()
    for (component, layer, part), flops in bill.by_part().items():
        kinds = {"patch embedding": "convolution", "attention scores": "attention"}
        priced[(component, layer), kinds.get(part, "linear")] += flops
    counted: Counter[Any] = Counter()
    components: Counter[Any] = Counter()
    for count in counts:
        for place, operators in count.items():
            for operator, flops in operators.items():
                counted[place, KINDS[operator]] += flops
                components[place and place[0]] += flops
    assert bill.by_component() == components
    assert priced == counted


def total(counts: Counts, component: str) -> int:
    return sum(
        flops
        for place, operators in counts.items()
        for flops in operators.values()
        if place is not None and place[0] == component
    )


def prefill(driver: Driver, lengths: list[int], cache: Any = None, **options: Any) -> Counts:
    """Count decoder and head."""
    batch = options.pop("batch", 1)
    run = driver.prefill(lengths, cache, batch)
    return driver.count(lambda: driver.logits(run(), **options))


@pytest.mark.parametrize("model_id", [*(case.model for case in DEFAULTS), "qwen2.5-vl-3b"])
def test_parameters(driver_of: DriverOf, model_id: str) -> None:
    prefixes = {
        "model.visual.merger": "connector",
        "model.multi_modal_projector": "connector",
        "model.image_newline": "connector",
        "model.vision_tower": "vision",
        "model.visual": "vision",
        "model.language_model": "decoder",
        "lm_head": "head",  # absent when it is tied: a shared parameter is listed once
    }
    counted = dict.fromkeys(("vision", "connector", "decoder", "head"), 0)
    for path, parameter in driver_of(model_id).model.named_parameters():
        component = next(prefixes[prefix] for prefix in prefixes if path.startswith(prefix))
        counted[component] += parameter.numel()
    assert model_parameters(load_model(model_id)) == counted


@each([*DEFAULTS, *OTHER_SIZES, *SEVERAL_IMAGES])
def test_dense_prefill(driver_of: DriverOf, features_of: Any, case: Case) -> None:
    driver, (features, visual) = driver_of(case.model), features_of(case)
    report = evaluate(load_model(case.model), Workload(images=case.images, text_tokens=TEXT))
    lengths = case.lengths(visual, driver)
    assert_equal(report.bill("exact", scheduled=False), features, prefill(driver, lengths))


@pytest.mark.parametrize("schedule", ["fastv", "pyramid"])
@each(DEFAULTS)
def test_pruned_generation(
    driver_of: DriverOf, features_of: Any, case: Case, schedule: str
) -> None:
    check_generation(driver_of, features_of, case, schedule)


def test_generation_after_withdrawal(driver_of: DriverOf, features_of: Any) -> None:
    check_generation(driver_of, features_of, INTERNVL, "withdraw")


def check_generation(driver_of: DriverOf, features_of: Any, case: Case, schedule: str) -> None:
    driver, (features, visual) = driver_of(case.model), features_of(case)
    workload = Workload(images=case.images, text_tokens=TEXT, new_tokens=3)
    report = evaluate(load_model(case.model), workload, SCHEDULES[schedule])
    cache = driver.new_cache()
    decoder = prefill(driver, case.lengths(visual, driver, schedule), cache)
    assert_equal(report.bill("exact"), features, decoder)
    # The prefill left as many keys in each layer as it processed there; each forward adds one.
    first, second = driver.count(driver.decode(cache)), driver.count(driver.decode(cache))
    assert_equal(report.decode_forward(1), first)
    assert_equal(report.decode_forward(2), second)
    assert_equal(report.bill("exact", phase="decode"), first, second)


@each(DEFAULTS)
def test_dense_decode_forward(driver_of: DriverOf, features_of: Any, case: Case) -> None:
    driver, (_, visual) = driver_of(case.model), features_of(case)
    report = evaluate(load_model(case.model), Workload(images=case.images, text_tokens=TEXT))
    cache = driver.new_cache()
    driver.prefill(case.lengths(visual, driver), cache)()
    assert_equal(report.decode_forward(1), driver.count(driver.decode(cache)))


@each(DEFAULTS)
def test_logits_at_all_positions(driver_of: DriverOf, features_of: Any, case: Case) -> None:
    driver, (features, visual) = driver_of(case.model), features_of(case)
    workload = Workload(images=case.images, text_tokens=TEXT)
    report = evaluate(load_model(case.model), workload, FAST_V, Counting(logits="all"))
    counts = prefill(driver, case.lengths(visual, driver, "fastv"), positions="all")
    assert_equal(report.bill("exact"), features, counts)


@each(DEFAULTS)
def test_contributing_encoder_layers(driver_of: DriverOf, features_of: Any, case: Case) -> None:
    driver, (features, visual) = driver_of(case.model), features_of(case)
    # LLaVA-1.5 and LLaVA-NeXT read hidden_states[-2]: transformers computes layer 23 in vain.
    dead = [("vision", 23)] if case.crops[0] == CLIP else []
    contributing = {place: flops for place, flops in features.items() if place not in dead}
    assert len(contributing) == len(features) - len(dead)
    workload = Workload(images=case.images, text_tokens=TEXT)
    counting = Counting(encoder_layers="contributing")
    report = evaluate(load_model(case.model), workload, counting=counting)
    decoder = prefill(driver, case.lengths(visual, driver))
    assert_equal(report.bill("exact"), contributing, decoder)


def test_compression_before_and_after_the_connector(driver_of: DriverOf, features_of: Any) -> None:
    driver, (features, _) = driver_of("llava-1.5-7b"), features_of(LLAVA)
    model, decoder = load_model("llava-1.5-7b"), prefill(driver, [192 + TEXT] * 32)
    after = evaluate(model, schedule=Schedule(compress=Compress(tokens=192)))
    assert_equal(after.bill("exact"), features, decoder)

    tower = {place: flops for place, flops in features.items() if place[0] == "vision"}
    kept = driver.zeros(1, 192, 1024)
    projector: Any = driver.model.base_model.get_submodule("multi_modal_projector")
    connector = driver.count(lambda: projector(kept))
    compress = Compress(tokens=192, at="before-connector")
    before = evaluate(model, schedule=Schedule(compress=compress))
    assert_equal(before.bill("exact"), tower, connector, decoder)


@each([LLAVA, Case("qwen2.5-vl-7b", ((448, 644),), ((32, 46),), 2)])
def test_batch(driver_of: DriverOf, case: Case) -> None:
    driver, features = driver_of(case.model), []
    run = driver.image_features(case.images * 3, case.crops * 3)
    encoder = driver.count(lambda: features.append(run()))
    lengths = case.lengths(len(features[0]) // 3, driver, "fastv")
    cache = driver.new_cache()
    workload = Workload(images=case.images, text_tokens=TEXT, batch=3)
    report = evaluate(load_model(case.model), workload, FAST_V)
    assert_equal(report.bill("exact"), encoder, prefill(driver, lengths, cache, batch=3))
    assert_equal(report.decode_forward(1), driver.count(driver.decode(cache, batch=3)))


@each(DEFAULTS)
def test_driven_layers_cost_what_the_decoders_own_forward_costs(
    driver_of: DriverOf, case: Case
) -> None:
    driver = driver_of(case.model)
    language_model: Any = driver.model.base_model.get_submodule("language_model")
    embeddings = driver.zeros(1, 320, language_model.config.hidden_size)
    # A finished mask: making one reads values, which meta tensors do not have.
    mask = driver.zeros(1, 1, 320, 320)
    own = driver.count(lambda: language_model(inputs_embeds=embeddings, attention_mask=mask))
    assert driver.count(driver.prefill([320] * len(driver.layers))) == own


@each([*DEFAULTS[:5], SMALLER_THAN_A_WINDOW])
def test_fused_attention_counts_as_eager_attention(driver_of: DriverOf, case: Case) -> None:
    counts = []
    for attention in ("eager", "sdpa"):
        driver = driver_of(case.model, attention)
        run = driver.image_features(case.images, case.crops)
        lengths = [320] * 8 + [192] * (len(driver.layers) - 8)
        cache = driver.new_cache()
        runs = (run, driver.prefill(lengths, cache), driver.decode(cache))
        by_place = [driver.count(run) for run in runs]
        counts.append(
            [{place: sum(ops.values()) for place, ops in count.items()} for count in by_place]
        )
    assert counts[0] == counts[1]


def test_golden_llava_1_5(driver_of: DriverOf, features_of: Any) -> None:
    driver, (features, visual) = driver_of("llava-1.5-7b"), features_of(LLAVA)
    assert visual == 576
    assert total(features, "vision") == 381_918_216_192
    assert total(features, "connector") == 24_159_191_040
    dense = prefill(driver, [640] * 32, cache := driver.new_cache())
    assert total(dense, "decoder") == 8_504_035_246_080
    assert total(dense, "head") == 262_668_288
    pruned = prefill(driver, [640] * 2 + [352] * 30)
    assert total(pruned, "decoder") == 4_866_567_045_120
    assert total(driver.count(driver.decode(cache)), "decoder") == 13_288_079_360  # 641 keys


def test_golden_qwen2_5_vl_encoder_with_merger(features_of: Any) -> None:
    features, visual = features_of(Case("qwen2.5-vl-7b", ((896, 896),), ((64, 64),), 2))
    assert visual == 1_024
    assert total(features, "vision") + total(features, "connector") == 5_645_449_297_920


def test_golden_internvl3_one_tile(features_of: Any) -> None:
    features, visual = features_of(INTERNVL)
    assert visual == 256
    assert total(features, "vision") + total(features, "connector") == 737_685_897_216


def test_golden_llava_next_decoder_at_2944_tokens(driver_of: DriverOf) -> None:
    counts = prefill(driver_of("llava-next-mistral-7b"), [2_944] * 32)
    assert total(counts, "decoder") == 45_638_322_487_296
    report = evaluate(load_model("llava-next-mistral-7b"), Workload(text_tokens=16))
    assert report.bill("exact").by_component()["decoder"] == 45_638_322_487_296


def test_driver_refuses_lengths_that_grow(driver_of: DriverOf) -> None:
    with pytest.raises(InvalidInput, match=r"^lengths 352\b.* more than the 320 "):
        driver_of("llava-1.5-7b").prefill([320, 352])


def test_driver_refuses_a_model_type_without_adapter() -> None:
    class Config:
        model_type = "llava_extra"

    class Model:
        config = Config()

    with pytest.raises(InvalidInput, match=r"llava_extra\b.* no adapter; choose from llava,"):
        Driver(Model())  # type: ignore[arg-type]
