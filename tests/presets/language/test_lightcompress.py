"""LightCompress files: amounts as its code computes them, for LLaVA-1.5 (M = 576)."""

import sys

import pytest
from vlm_tokencost.costmodel import InvalidInput, Workload, evaluate, plan
from vlm_tokencost.costmodel.errors import MissingExtra
from vlm_tokencost.presets import load_method, load_model
from vlm_tokencost.presets.language import open_written

LLAVA = load_model("llava-1.5-7b")

#: configs/sparsification/methods/FastV/fastv.yml of ModelTC/llmc at 14ae841, in part.
FILE = """\
base:
    seed: &seed 42
model:
    type: Llava
    path: model path
eval:
    eval_pos: [pretrain, transformed]
    name: [mme]
sparse:
    {sparse}
"""
INNER = "method: TokenReduction\n    special: {{{0}}}"
VISION = "vision: {{method: TokenReduction, special: {{{0}}}}}"


@pytest.fixture
def opened(tmp_path):
    """Return a function that writes a method's file and opens it."""

    def write_and_open(special, form=INNER):
        path = tmp_path / "method.yml"
        path.write_text(FILE.format(sparse=form.format(special)))
        return open_written(str(path))

    return write_and_open


#: Settings of the published files, and what each leaves.
AMOUNTS = {
    # round(576 · (1 − 0.778)) = round(127.87) = 128
    "method: FastV, pruning_loc: 3, rate: 0.778": [(3, 128)],
    "method: RandomPrune, pruning_loc: 3, rate: 0.778": [(3, 128)],
    # int(576 · r)
    "method: PyramidDrop, image_token_ratio_list: [0.5, 0.25, 0.125], layer_list: [8, 16, 24]": [
        (8, 288),
        (16, 144),
        (24, 72),
    ],
    # kept 300: of 276 dropped int(82.8) + 1 = 83 become 9; then of 109 dropped 33 become 4; of 94
    # dropped 29 become 3
    "method: SparseVLM, pruning_loc: [2, 6, 15], retained_tokens: 192": [
        (3, 309),
        (7, 204),
        (16, 113),
    ],
    # kept 180: of 396 dropped 119 become 12
    "method: SparseVLM, pruning_loc: [2], retained_tokens: 192, prune_flag: True, "
    "merge_flag: True": [(3, 192)],
    "method: SparseVLM, pruning_loc: [2], retained_tokens: 64, prune_flag: True, "
    "merge_flag: False": [(3, 64)],
    # 4 + 8 · (128 // 8)
    "method: DART, pruning_loc: 2, reduction_ratio: 0.778, max_num_trunction: 128, "
    "pivot_image_token: 4, pivot_text_token : 4": [(2, 132)],
    # 4 + 8 · int(127.87 / 8)
    "method: DART, pruning_loc: 2, reduction_ratio: 0.778, pivot_image_token: 4, "
    "pivot_text_token : 4": [(2, 124)],
}


@pytest.mark.parametrize(("special", "stages"), AMOUNTS.items(), ids=list(AMOUNTS))
def test_stages_inside_the_llm(opened, special, stages):
    schedule = opened(special).fitted(LLAVA, Workload())
    assert [(stage.first_layer, stage.tokens) for stage in schedule.stages] == stages


COMPRESSED = {
    # the class token is the 192nd of the dominant ones
    "method: VisionZip, dominant: 191, contextual: 30": (222, "before-connector"),
    "method: VisPruner, prune_ratio: 0.778, important_ratio: 0.5": (128, "after-connector"),
    "method: FasterVLM, rate: 0.778": (128, "after-connector"),
    # round(576 · 0.0556) = round(32.03)
    "method: DivPrune, reduction_ratio: 0.9444": (32, "after-connector"),
    "method: DivPrune, rate: 0.0556": (32, "after-connector"),
}


@pytest.mark.parametrize(("special", "left"), COMPRESSED.items(), ids=list(COMPRESSED))
def test_compression_before_the_llm(opened, special, left):
    compress = opened(special, VISION).fitted(LLAVA, Workload()).compress
    assert (compress.tokens, compress.at) == left


def test_merging_in_the_encoder(opened):
    # 24 blocks, of which 23 contribute: 577 − 23·16 = 209 with the class token
    schedule = opened("method: ToMe, r: 16", VISION).fitted(LLAVA, Workload())
    assert plan(LLAVA, Workload(), schedule).entering_visual_tokens == 208
    # [start, step]: int(16 − 0.5·i): 16, 15, 15, 14, 14, … for 24 blocks
    falling = opened("method: ToMe, r: [16, -0.5]", VISION).fitted(LLAVA, Workload())
    assert falling.encoder.merged_per_layer == tuple(int(16 - 0.5 * i) for i in range(24))
    listed = opened("method: ToMe, r: [16, 16, 16]", VISION).fitted(LLAVA, Workload())
    assert listed.encoder.merged_per_layer == (16, 16, 16)


def test_the_choice_is_priced_where_a_rule_fits(opened):
    fastv = opened("method: FastV, pruning_loc: 3, rate: 0.778").fitted(LLAVA, Workload())
    assert (fastv.selection, fastv.name) == ("fastv", "LightCompress FastV")
    chance = opened("method: RandomPrune, pruning_loc: 3, rate: 0.5").fitted(LLAVA, Workload())
    assert (chance.selection, chance.name) == (None, "LightCompress RandomPrune")
    # class-token row over 577 keys of 16 heads of 64; 577 − 222 others × 30 targets × 64
    visionzip = opened("method: VisionZip, dominant: 191, contextual: 30", VISION)
    report = evaluate(LLAVA, Workload(), visionzip.fitted(LLAVA, Workload()))
    macs = 577 * 1024 + (577 - 222) * 30 * 64
    assert report.bill("exact").by_component()["selection"] == 2 * macs


def test_the_preset_s_rule_prices_the_preset_s_settings_alone(opened):
    dart = "method: DART, pruning_loc: 2, reduction_ratio: 0.778, pivot_image_token: {}"
    vispruner = "method: VisPruner, prune_ratio: 0.778, important_ratio: {}"
    for special, form, same, other in ((dart, INNER, 4, 8), (vispruner, VISION, 0.5, 0.75)):
        known = opened(special.format(same), form).fitted(LLAVA, Workload())
        unknown = opened(special.format(other), form).fitted(LLAVA, Workload())
        assert known.selection == load_method(known.name.split()[1].lower()).selection
        assert unknown.selection is None
        assert unknown.name.endswith(", choice not priced")


@pytest.mark.parametrize(
    ("special", "words"),
    [
        ("method: MustDrop, spatial_threshold: 0.6", "MustDrop, which leaves as many tokens"),
        ("method: HoliTom, RETAIN_RATIO: 0.2", "HoliTom, which leaves as many tokens"),
        ("method: Fastv, rate: 0.5", "Fastv, which is not known; did you mean FastV?"),
        ("method: NewIdea, rate: 0.5", "NewIdea, which is not known; choose from DART"),
        ("rate: 0.5", "None, which is not known"),
    ],
)
def test_methods_that_are_not_known_are_refused_by_name(opened, special, words):
    with pytest.raises(InvalidInput, match=r"method\.yml says ") as caught:
        opened(special)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("special", "words"),
    [
        ("method: FastV, pruning_loc: 3", "rate is missing"),
        ("method: FastV, pruning_loc: 3, rate: 1.5", "rate 1.5 is not a share in [0, 1]"),
        ("method: FastV, pruning_loc: 3, rate: 1", "stages.0.tokens 0 is below 1"),
        ("method: FastV, pruning_loc: yes, rate: 0.5", "pruning_loc True is not a whole number"),
        ("method: PyramidDrop, image_token_ratio_list: [0.5], layer_list: [8, 16]", "2 layers for"),
        ("method: SparseVLM, pruning_loc: [2], retained_tokens: 192", "means different lists"),
        ("method: SparseVLM, pruning_loc: [2, 6, 15], retained_tokens: 96", "has no list"),
        ("method: ToMe, r: (16, -1.0)", "r (16 is not a whole number"),
    ],
)
def test_settings_that_are_wrong(opened, special, words):
    with pytest.raises(InvalidInput) as caught:
        opened(special).fitted(LLAVA, Workload())
    assert words in str(caught.value)


def test_files_are_about_one_crop(opened):
    model = load_model("llava-next-mistral-7b")
    with pytest.raises(InvalidInput, match="crops are 5 of this request"):
        opened("method: VisPruner, prune_ratio: 0.5").fitted(model, Workload())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "is not YAML at line"),
        ("a: 3", "has no `sparse` section"),
        ("- 1", "has no `sparse` section"),
        ("sparse: {method: Wanda}", "names no method of token reduction"),
        ("sparse: {method: Wanda, special: {method: FastV}}", "Wanda, which reduces no tokens"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
        ("a: &a [*a]", "repeats itself by aliases"),
        ("a: 2020-13-45", "holds a number"),
    ],
)
def test_files_that_are_something_else(tmp_path, text, words):
    path = tmp_path / "method.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"method\.yaml") as caught:
        open_written(str(path))
    assert words in str(caught.value)


def test_aliases_that_multiply_are_refused(tmp_path):
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    path = tmp_path / "bomb.yml"
    path.write_text("\n".join(lines))
    with pytest.raises(InvalidInput, match="repeats itself by aliases"):
        open_written(str(path))


def test_large_files_are_refused(tmp_path):
    path = tmp_path / "large.yml"
    path.write_text("a: 1\n" * 10_000)
    with pytest.raises(InvalidInput, match="larger than 32 KiB"):
        open_written(str(path))


def test_without_pyyaml_the_extra_is_named(opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtra, match=r"pip install 'vlm-tokencost\[yaml\]'"):
        opened("method: FastV, pruning_loc: 3, rate: 0.5")
