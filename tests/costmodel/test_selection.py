"""What each selection rule computes, written out; LLaVA-1.5-7B has h = 32, d_h = 128, d = 4096.

Its encoder has 577 tokens with the class token, 16 heads of 64.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from vlm_tokencost.costmodel import (
    CONVENTIONS,
    Compress,
    Counting,
    EncoderMerge,
    Report,
    Schedule,
    Stage,
    Workload,
    evaluate,
    lower,
    lower_decode,
)
from vlm_tokencost.costmodel.selection import Recycling, contextual_tokens, recycling
from vlm_tokencost.presets import load_model

HALVES = ((8, 288), (16, 144), (24, 72))


def staged(rule, *steps) -> Schedule:
    stages = tuple(Stage(first_layer=layer, tokens=tokens) for layer, tokens in steps)
    return Schedule(selection=rule, stages=stages)


def compressed(rule, tokens, at="after-connector") -> Schedule:
    return Schedule(selection=rule, compress=Compress(tokens=tokens, at=at))


def merging(amounts) -> Schedule:
    return Schedule(selection="tome", encoder=EncoderMerge(merged_per_layer=amounts))


def asked(schedule, model_id="llava-1.5-7b", counting=None, **work) -> Report:
    return evaluate(load_model(model_id), Workload(**work), schedule, counting)


def macs(report: Report) -> dict[str, int]:
    """Return the MACs of every selection operator, by name."""
    operators = lower(report.model, report.scheduled, report.counting, report.schedule)
    chosen = [operator for operator in operators if operator.component == "selection"]
    assert all(operator.layers == () for operator in chosen)
    assert len({operator.name for operator in chosen}) == len(chosen)
    return {operator.name: operator.macs for operator in chosen}


RULES = {
    "fastv": staged("fastv", (2, 288)),
    "pyramiddrop": staged("pyramiddrop", *HALVES),
    "visionzip": compressed("visionzip", 64, "before-connector"),
    "divprune": compressed("divprune", 56),
    "tome": merging(16),
    "sparsevlm": staged("sparsevlm", (2, 309), (6, 204), (15, 113)),
}
every_rule = pytest.mark.parametrize("rule", RULES)

# --- LLaVA-1.5-7B, by hand ------------------------------------------------------------------------


def test_fastv():
    # 576 + 64 tokens in layer 1: 640·32·128
    assert macs(asked(RULES["fastv"])) == {"query row in layer 1": 2_621_440}
    # then 288 + 64 in layer 8: 352·32·128
    twice = staged("fastv", (2, 288), (9, 100))
    assert macs(asked(twice)) == {
        "query row in layer 1": 2_621_440,
        "query row in layer 8": 1_441_792,
    }


def test_pyramiddrop():
    expected = {}
    for layer, n in ((8, 640), (16, 352), (24, 208)):
        expected[f"query for layer {layer}"] = 16_777_216  # 4096·32·128
        expected[f"keys for layer {layer}"] = n * 16_777_216
        expected[f"query row for layer {layer}"] = n * 4096
    assert macs(asked(RULES["pyramiddrop"])) == expected


def test_pyramiddrop_before_layer_0():
    names = macs(asked(staged("pyramiddrop", (0, 100))))
    assert names["query row for layer 0"] == 640 * 4096


def test_pyramiddrop_projects_grouped_keys():
    # Qwen2.5-VL-7B: d = 3584, 28 heads and 4 key heads of 128; 1521 + 2 + 64 = 1587 tokens
    found = macs(asked(staged("pyramiddrop", (7, 760)), "qwen2.5-vl-7b"))
    assert list(found.values()) == [3584 * 3584, 1587 * 3584 * 512, 1587 * 3584]


@pytest.mark.parametrize(
    ("tokens", "similarities"),
    [
        # dominant + contextual = 54 + 10: of 576 patches and the class token 577 − 64 remain
        (64, 513 * 10 * 64),
        (128, 449 * 20 * 64),  # 108 + 20
        (192, 385 * 30 * 64),  # 162 + 30
        (6, 0),  # 6·10 // 64 = 0 contextual tokens
    ],
)
def test_visionzip(tokens, similarities):
    found = macs(asked(compressed("visionzip", tokens, "before-connector")))
    expected = {
        "encoder class-token row in layer 22": 590_848,  # 577·16·64
        "similarities to contextual tokens": similarities,
    }
    assert found == {name: amount for name, amount in expected.items() if amount}


@pytest.mark.parametrize(("tokens", "contextual"), [(64, 10), (128, 20), (192, 30), (32, 5)])
def test_published_contextual_tokens(tokens, contextual):
    assert contextual_tokens(tokens) == contextual


def test_divprune():
    assert macs(asked(RULES["divprune"])) == {"cosines": 1_358_954_496}  # 576²·4096


def test_tome():
    found = macs(asked(RULES["tome"]))
    # n_l = 577 − 16·l tokens: (289 − 8l)·(288 − 8l)·64 in each of 24 layers
    assert found == {
        f"similarities in encoder layer {layer}": (289 - 8 * layer) * (288 - 8 * layer) * 64
        for layer in range(24)
    }
    assert sum(found.values()) == 64_018_432  # 1,000,288 pairs · 64
    contributing = Counting(encoder_layers="contributing")
    without_last = macs(asked(RULES["tome"], counting=contributing))
    assert sum(without_last.values()) == 64_018_432 - 105 * 104 * 64


def test_tome_compares_only_where_it_merges():
    found = macs(asked(merging((100, *[0] * 21, 10))))
    # 577 tokens in layer 0, 477 in layer 22
    assert found == {
        "similarities in encoder layer 0": 289 * 288 * 64,
        "similarities in encoder layer 22": 239 * 238 * 64,
    }


def test_sparsevlm():
    # (before, after, n): recycled tokens 83, 33, 29
    assert macs(asked(RULES["sparsevlm"])) == {
        "text raters": 576 * 64 * 4096,
        "rows of the text tokens in layer 1": 64 * 640 * 4096,
        "distances of recycled tokens for layer 2": 83**2 * 4096,
        "rows of the text tokens in layer 5": 64 * 373 * 4096,  # 309 + 64
        "distances of recycled tokens for layer 6": 33**2 * 4096,
        "rows of the text tokens in layer 14": 64 * 268 * 4096,  # 204 + 64
        "distances of recycled tokens for layer 15": 29**2 * 4096,
    }


# --- recycling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(576, 309, (300, 83, 9)), (309, 204, (200, 33, 4)), (204, 113, (110, 29, 3))],
)
def test_published_recycling(before, after, expected):
    assert recycling(before, after) == Recycling(*expected)


def slow_recycling(before: int, after: int) -> tuple[int, int, int] | None:
    """Try every number of kept tokens, the largest first."""
    for kept in range(after - 1, 0, -1):
        recycled = (3 * (before - kept)) // 10 + 1
        clusters = recycled // 10 + 1
        if kept + clusters == after:
            return kept, recycled, clusters
    return None


def test_recycling_is_the_largest_split():
    for before in (2, 3, 10, 40, 41, 204, 577):
        for after in range(1, before):
            expected = slow_recycling(before, after)
            if expected is None:
                with pytest.raises(ValueError, match="keeps no token"):
                    recycling(before, after)
            else:
                assert recycling(before, after) == expected


# --- other families -------------------------------------------------------------------------------


def test_visionzip_on_merged_neighbours_without_a_class_token():
    # Qwen2.5-VL, 448×644: 32×46 = 1,472 patches, 368 merged; layer 31 attends over all of them;
    # 16 heads of 80. 54 + 10 leave 368 − 64.
    report = asked(compressed("visionzip", 64), "qwen2.5-vl-7b", images=("448x644",))
    assert macs(report) == {
        "encoder scores in layer 31": 1472**2 * 16 * 80,
        "similarities to contextual tokens": 304 * 10 * 80,
    }


def test_visionzip_on_merged_neighbours_with_a_class_token():
    # InternVL3, 896×448: 2 tiles and a thumbnail of 1,025 tokens, 256 merged ones each
    report = asked(compressed("visionzip", 192), "internvl3-8b", images=("896x448",))
    assert macs(report) == {
        "encoder class-token row in layer 23": 3 * 1025 * 16 * 64,
        "similarities to contextual tokens": 3 * (256 - 64) * 10 * 64,
    }


def test_visionzip_on_crops():
    report = asked(compressed("visionzip", 320, "before-connector"), "llava-next-vicuna-7b")
    assert macs(report) == {
        "encoder class-token row in layer 22": 5 * 577 * 16 * 64,
        "similarities to contextual tokens": 5 * 513 * 10 * 64,
    }


def test_visionzip_without_a_class_token():
    # LLaVA-OneVision, 384×384: base crop and one crop of 729 tokens; 16 heads of 72
    report = asked(compressed("visionzip", 128, "before-connector"), "llava-onevision-7b")
    assert macs(report) == {
        "encoder scores in layer 25": 2 * 729**2 * 16 * 72,
        "similarities to contextual tokens": 2 * (729 - 64) * 10 * 72,
    }


def test_tome_on_crops():
    found = macs(asked(merging(16), "llava-next-vicuna-7b"))
    assert sum(found.values()) == 5 * 64_018_432


def test_divprune_compares_separators_too():
    # 2,880 patches and 48 newlines
    report = asked(compressed("divprune", 320), "llava-next-vicuna-7b")
    assert macs(report) == {"cosines": 2928**2 * 4096}


# --- relations ------------------------------------------------------------------------------------


def bare(schedule: Schedule) -> Schedule:
    return schedule.model_copy(update={"selection": None})


@every_rule
def test_selection_comes_on_top_and_leaves_the_rest_alone(rule):
    named = asked(RULES[rule], new_tokens=5)
    plain = asked(bare(RULES[rule]), new_tokens=5)
    assert named.scheduled == plain.scheduled
    cost = 2 * sum(macs(named).values())
    assert cost > 0
    components = named.bill().by_component()
    assert components.pop("selection") == cost
    assert components == plain.bill().by_component()
    assert named.bill().total == plain.bill().total + cost
    assert named.total() == plain.total() + cost
    assert named.bill().by_layer()["selection", None] == cost
    assert named.bill().by_part()["selection", None, "selection"] == cost
    assert named.floor() == plain.floor()
    assert named.bill(phase="decode") == plain.bill(phase="decode")
    assert named.bill(scheduled=False) == plain.bill(scheduled=False)
    assert "selection" not in named.decode_forward().by_component()
    decode = lower_decode(named.model, named.scheduled, 1, 4)
    assert {operator.component for operator in decode} == {"decoder", "head"}
    for convention in CONVENTIONS[:2]:
        assert named.total(convention) == plain.total(convention)


@every_rule
def test_selection_scales_with_the_batch(rule):
    one, three = (macs(asked(RULES[rule], batch=batch)) for batch in (1, 3))
    assert three == {name: 3 * amount for name, amount in one.items()}


@every_rule
def test_causal_accounting_leaves_selection_alone(rule):
    """A row of scores is computed over all keys that there are."""
    causal = asked(RULES[rule], counting=Counting(causal=True))
    assert macs(causal) == macs(asked(RULES[rule]))


@every_rule
def test_the_bill_is_two_flops_per_mac_and_names_its_terms(rule):
    report = asked(RULES[rule])
    entries = [entry for entry in report.bill().entries if entry.component == "selection"]
    assert {entry.name: entry.amount for entry in entries} == {
        name: 2 * amount for name, amount in macs(report).items()
    }


KEEPS_EVERYTHING = {
    "fastv": staged("fastv", (0, 576), (2, 576)),
    "pyramiddrop": staged("pyramiddrop", (8, 576)),
    "visionzip": compressed("visionzip", 576, "before-connector"),
    "divprune": compressed("divprune", 576),
    "tome": merging(0),
    "sparsevlm": staged("sparsevlm", (0, 576)),
}


@every_rule
def test_keeping_everything_chooses_nothing(rule):
    report = asked(KEEPS_EVERYTHING[rule], text_tokens=0)
    assert report.scheduled == report.dense
    assert report.bill() == report.bill(scheduled=False)
    assert report.ratio() == 1.0


@pytest.mark.parametrize("rule", ["fastv", "pyramiddrop", "sparsevlm"])
def test_withdrawing_everything_chooses_nothing(rule):
    whole = Stage(first_layer=0, withdraw=True)
    report = asked(Schedule(selection=rule, stages=(whole,)))
    assert "selection" not in report.bill().by_component()
    # A stage before the withdrawal still chooses.
    stages = (Stage(first_layer=4, tokens=100), Stage(first_layer=20, withdraw=True))
    alone = Schedule(selection=rule, stages=stages[:1])
    assert macs(asked(Schedule(selection=rule, stages=stages))) == macs(asked(alone))


def test_a_stage_that_removes_nothing_is_passed_over():
    twice = staged("fastv", (2, 288), (9, 288), (12, 144))
    assert list(macs(asked(twice))) == ["query row in layer 1", "query row in layer 11"]


def test_rules_are_imported_where_a_schedule_names_one():
    code = (
        "import sys\n"
        "from vlm_tokencost.costmodel import Schedule, Stage, evaluate\n"
        "from vlm_tokencost.presets import load_model\n"
        "model = load_model('llava-1.5-7b')\n"
        "stages = (Stage(first_layer=2, tokens=9),)\n"
        "evaluate(model, None, Schedule(stages=stages)).total()\n"
        "assert 'vlm_tokencost.costmodel.selection' not in sys.modules\n"
        "evaluate(model, None, Schedule(stages=stages, selection='fastv')).total()\n"
        "assert 'vlm_tokencost.costmodel.selection' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
