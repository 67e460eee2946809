"""LLaVA-UHD v4's table of encoder costs (arXiv 2605.08985), from layers and patches.

The figures are of SigLIP 2 SO400M/14 (27 layers, d = 1152, m = 4304, 16 heads) on 980×980 pixels,
attended as a whole: 4,900 patches, and 1,225 behind the merger. They count multiply–adds of matrix
products, which are ours, and elementwise operations, which `exact` leaves out: 4 for each entry of
an attention map, 12d + m for each patch and layer (two norms of 5, two residuals, an activation).
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Counting, Model, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.architecture.connector import Connector
from vlm_tokencost.presets import load_method, load_model

D, M, HEADS, LAYERS, PATCHES = 1152, 4304, 16, 27, 4900
IMAGE = Workload(images=["980x980"], text_tokens=0)


@pytest.fixture(scope="module")
def uhd() -> Model:
    """SigLIP 2 SO400M/14 and Qwen3-8B with the paper's second merger between them."""
    encoder, llm = load_model("idefics2-8b"), load_model("internvl3.5-8b")
    second = Connector(
        name="2×2 merger",
        stages=[
            {"kind": "merge", "size": 2},
            {"kind": "norm", "norm": "layer", "width": 4 * D},
            {"kind": "linear", "in_features": 4 * D, "out_features": 4 * D, "bias": True},
            {"kind": "linear", "in_features": 4 * D, "out_features": 4096, "bias": True},
        ],
        source=["THUMAI-Lab/LLaVA-UHD-v4 commit 98345a7: mlp_merger.py"],
    )
    return Model(
        id="llava-uhd-v4-8b",
        family="LLaVA-UHD",
        hf_id="",
        model_type="",
        status="partial",
        vision=encoder.vision,
        connector=second,
        decoder=llm.decoder,
        token_rule=encoder.token_rule.model_copy(update={"structural_per_image": 0}),
        source=llm.source,
    )


def products(uhd: Model, first_layer: int | None) -> Fraction:
    """Return the encoder's GMAC when layers from `first_layer` on have a quarter of the patches."""
    schedule = None
    if first_layer is not None:
        stages = [{"first_layer": first_layer, "ratio": "1/4"}]
        schedule = Schedule(encoder={"op": "pool", "stages": stages})
    report = evaluate(uhd, IMAGE, schedule)
    return Fraction(report.bill().by_component()["vision"], 2 * 10**9)


def elementwise(patches: int) -> Fraction:
    """Return a layer's: 4 for each entry of its maps, norms, residuals and activations."""
    return Fraction(4 * HEADS * patches**2 + patches * (12 * D + M), 10**9)


def whole(uhd: Model, full_layers: int) -> Fraction:
    first = None if full_layers == LAYERS else full_layers
    quarter = (LAYERS - full_layers) * elementwise(PATCHES // 4)
    return products(uhd, first) + full_layers * elementwise(PATCHES) + quarter


#: Modules: an MLP over four patches, 4d → 4d → d or 4d → 4m → d, and a layer's attention, which the
#: paper counts over the whole image; norms take 5 operations, residuals and activations one.
SMALL_MLP = Fraction(PATCHES // 4 * (4 * D * 4 * D + 4 * D * D) + PATCHES * 6 * D, 10**9)
MLP = Fraction(PATCHES // 4 * (4 * D * 4 * M + 4 * M * D) + PATCHES * (5 * D + M), 10**9)
ATTENTION = Fraction(
    PATCHES * (4 * D**2 + 6 * D) + PATCHES**2 * (2 * D + 4 * HEADS),
    10**9,
)

#: printed GMAC, full layers (those up to and with layer k, where the merger follows), modules
TABLE = [
    ("3555.1", 27, 0),
    ("1245.1", 4, MLP + ATTENTION),
    ("1573.1", 7, MLP + ATTENTION),
    ("1901.1", 10, MLP + ATTENTION),
    ("2557.0", 16, MLP + ATTENTION),
    ("1368.7", 7, 0),
    ("1401.2", 7, SMALL_MLP),
    ("1490.2", 7, MLP),
    ("1484.1", 7, SMALL_MLP + ATTENTION),
]


@pytest.mark.parametrize(("printed", "full_layers", "modules"), TABLE)
def test_the_table_of_encoder_costs(uhd, printed, full_layers, modules):
    found = whole(uhd, full_layers) + modules
    assert abs(found - Fraction(printed)) <= Fraction(5, 100), "one decimal is printed"


def test_the_slope_of_the_table(uhd):
    # printed: (2557.0 − 1245.1)/12 = 109.325 for each layer moved; a full less a quarter layer
    per_layer = (whole(uhd, 16) - whole(uhd, 4)) / 12
    assert abs(per_layer - Fraction("109.325")) < Fraction(1, 100)
    # products alone: 0.75·4900·(4d² + 2dm) + 0.9375·2·4900²·d
    linear = PATCHES * (4 * D**2 + 2 * D * M)
    pairs = 2 * PATCHES**2 * D
    moved = (products(uhd, 16) - products(uhd, 4)) / 12
    assert moved == (Fraction(3, 4) * linear + Fraction(15, 16) * pairs) / 10**9


def test_the_whole_encoder_by_hand(uhd):
    # 27 layers of 4900·(4d² + 2dm) + 2·4900²·d, and a patch convolution of 3·14² values
    layer = PATCHES * (4 * D**2 + 2 * D * M) + 2 * PATCHES**2 * D
    assert products(uhd, None) * 10**9 == LAYERS * layer + PATCHES * 588 * D


def test_the_preset(uhd):
    # 896×896: 64×64 patches, 7 layers on them and 20 on 32×32, then 16×16 tokens: 4096/16
    workload = Workload(images=["896x896"], text_tokens=0)
    schedule = load_method("llava-uhd-v4").schedule(uhd, workload)
    report = evaluate(uhd, workload, schedule)
    assert report.scheduled.encoder_tokens == (4096,) * 7 + (1024,) * 20
    assert report.dense.dense_visual_tokens == 1024
    assert set(report.scheduled.visual) == {256}
    assert report.scheduled.connector_tokens == 256
    # the second merger: 4d → 4d → 4096
    second = 256 * (4 * D * 4 * D + 4 * D * 4096)
    assert report.bill().by_component()["connector"] == 2 * second
    # windows of 2×2 patches, and the MLP 4d → 4m → d
    windows = 4096 * (4 * D**2 + 4 * 2 * D)
    mlp = 1024 * (4 * D * 4 * M + 4 * M * D)
    assert report.bill().by_component()["selection"] == 2 * (windows + mlp)


def test_the_encoder_s_last_layer_is_not_left_out(uhd):
    counting = Counting(encoder_layers="contributing")
    assert evaluate(uhd, IMAGE, None, counting).bill().by_component()["vision"] == 2 * int(
        products(uhd, None) * 10**9
    )


def test_odd_grids_are_refused(uhd):
    # 70×70 patches become 35×35, which no 2×2 merger halves; the model's code refuses them too
    schedule = load_method("llava-uhd-v4").schedule(uhd, IMAGE)
    assert refusal(evaluate, uhd, IMAGE, schedule).field == "compress.tokens"
    # CLIP ViT-L/14-384 of 27×27
    vila = load_model("vila-1.5-3b")
    one = load_method("llava-uhd-v4").schedule(vila)
    assert refusal(evaluate, vila, Workload(), one).field == "encoder.op"
