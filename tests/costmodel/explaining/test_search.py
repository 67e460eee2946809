"""Searches: figures of papers with the known answer, coincidences, and what has no answer."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from functools import cache

import pytest
from vlm_tokencost.costmodel import InvalidInput, Schedule, Stage, Workload
from vlm_tokencost.costmodel.explaining import Search, read_printed, setting_of
from vlm_tokencost.costmodel.explaining.chance import MOST_CHANCE, Hit, chances
from vlm_tokencost.costmodel.explaining.counts import FRAMES, PUBLISHED
from vlm_tokencost.presets import load_method, load_model
from vlm_tokencost.presets.loader import index_entries


@cache
def search(*models: str, schedule: Schedule | None = None) -> Search:
    return Search([setting_of(load_model(name), schedule) for name in models])


def best(text: str, *models: str, schedule: Schedule | None = None):
    found = search(*models, schedule=schedule).explain(read_printed(text))
    assert found, text
    return found[0]


def read(one):
    """Return convention, unit, scope, visual and text tokens."""
    reading = one.found.reading
    tokens = one.found.visual.tokens, one.found.text.tokens
    return reading.convention, reading.counts, reading.scope, *tokens


@pytest.mark.parametrize(
    ("text", "model", "answer", "value"),
    [
        # FastV's table, per layer: 4nd² + 2n²d + 2ndm at n = 612, d = 4096, m = 11008;
        # 13B: d = 5120, m = 13824
        ("99.3e9", "llava-1.5-7b", ("survey", "MAC", "one layer", 576, 36), 99_327_541_248),
        ("154.6e9", "llava-1.5-13b", ("survey", "MAC", "one layer", 576, 36), 154_641_530_880),
        # PyramidDrop, SparseVLM and others: 32 (4nd² + 2n²d + 3ndm) over visual tokens alone
        ("3.82e12", "llava-1.5-7b", ("gated", "MAC", "LLM layers", 576, 0), 3_817_152_184_320),
        ("1.25T", "llava-1.5-7b", ("gated", "MAC", "LLM layers", 192, 0), None),
        ("0.83T", "llava-1.5-7b", ("gated", "MAC", "LLM layers", 128, 0), None),
        ("0.42T", "llava-1.5-7b", ("gated", "MAC", "LLM layers", 64, 0), None),
        ("0.208T", "llava-1.5-7b", ("gated", "MAC", "LLM layers", 32, 0), None),
        ("7.444 TFLOPs", "llava-1.5-13b", ("gated", "MAC", "LLM layers", 576, 0), None),
        ("20.8T", "llava-next-vicuna-7b", ("gated", "MAC", "LLM layers", 2880, 0), None),
        ("4.252", "llava-next-vicuna-7b", ("gated", "MAC", "LLM layers", 640, 0), None),
        ("2.099", "llava-next-vicuna-7b", ("gated", "MAC", "LLM layers", 320, 0), None),
        ("1.043", "llava-next-vicuna-7b", ("gated", "MAC", "LLM layers", 160, 0), None),
        ("14.36", "video-llava-7b", ("gated", "MAC", "LLM layers", 2048, 0), None),
        # video tables: two FFN matrices; 28 layers, d = 3584, m = 18944; AOT's 15 %: 26 × 64
        ("40.8T", "llava-onevision-7b", ("survey", "MAC", "LLM layers", 6272, 0), None),
        ("3.365T", "llava-onevision-7b", ("survey", "MAC", "LLM layers", 627, 0), None),
        ("80.2T", "llava-video-7b", ("survey", "MAC", "LLM layers", 10816, 0), None),
        ("9.3e12", "llava-video-7b", ("survey", "MAC", "LLM layers", 1664, 0), None),
        # counters: the whole prefill, its decoder, the encoder
        ("8.91 TFLOPs", "llava-1.5-7b", ("exact", "FLOP", "LLM and encoder", 576, 64), None),
        ("381.9 GFLOPs", "llava-1.5-7b", ("exact", "FLOP", "encoder", 576, 0), 381_918_216_192),
        (
            "45638322487296",
            "llava-next-mistral-7b",
            ("exact", "FLOP", "LLM layers", 2880, 64),
            45_638_322_487_296,
        ),
        ("737685897216", "internvl3-8b", ("exact", "FLOP", "encoder and connector", 256, 0), None),
    ],
)
def test_published_figures(text, model, answer, value):
    one = best(text, model)
    assert read(one) == answer
    assert one.match == "rounded"
    assert value is None or one.value == value


def test_a_slip_of_a_thousand():
    one = best("3817e12", "llava-1.5-7b")
    assert read(one) == ("gated", "MAC", "LLM layers", 576, 0)
    assert one.scale.slip == 1000
    assert one.value == 3_817_152_184_320
    assert one.relative_difference == pytest.approx(3.817152184320 / 3.817 - 1)
    assert best("3.817e9", "llava-1.5-7b").scale.slip == Fraction(1, 1000)


def test_a_text_length_is_fitted():
    # SparseVLM's dense figure: 4,620,605,718,528 at 576 + 118; 117 give 4.6137, 119 give 4.6275
    one = best("4.62e12", "llava-1.5-7b")
    assert read(one) == ("gated", "MAC", "LLM layers", 576, 118)
    assert (one.found.fitted, one.texts) == ("text", (118, 118))
    assert one.chance > 0.2, "there are many text lengths"


def test_lengths_that_give_the_same_digits_are_told():
    # One layer of 13B, two FFN matrices, d = 5120, m = 13824: 160e9 takes the text lengths n
    # with which (4nd² + 2n²d + 2ndm) / 1e9 rounds to 160; one token more costs 0.26e9
    def gmac(n):
        return (4 * n * 5120**2 + 2 * n * n * 5120 + 2 * n * 5120 * 13824) / 1e9

    lengths = [n for n in range(1, 129) if round(gmac(576 + n)) == 160]
    assert len(lengths) > 1
    found = search("llava-1.5-13b").explain(read_printed("160G"))
    spans = [one.texts for one in found if one.found.reading[:3] == ("survey", "MAC", "one layer")]
    assert spans == [(lengths[0], lengths[-1])]


def test_digits_that_are_cut_off():
    # The survey prints 415 for 415.538: gated, 64 tokens.
    found = search("llava-1.5-7b").explain(read_printed("415"))
    cut = [one for one in found if one.match == "cut"]
    assert [read(one) for one in cut][:1] == [("gated", "MAC", "LLM layers", 64, 0)]
    assert cut[0].value == 32 * (4 * 64 * 4096**2 + 2 * 64**2 * 4096 + 3 * 64 * 4096 * 11008)
    assert 415e9 + 0.5e9 < cut[0].value < 416e9


def test_a_close_figure_is_not_called_its_digits():
    found = search("llava-1.5-7b").explain(read_printed("3.80T"))
    (close,) = [one for one in found if one.rank == 4]
    assert (close.match, *read(close)) == ("close", "gated", "MAC", "LLM layers", 576, 0)
    assert close.relative_difference == pytest.approx(3.817152 / 3.80 - 1, rel=1e-4)
    assert [one.match for one in found] == sorted((one.match for one in found), reverse=True)


def test_the_unit_of_macs_excludes_flops():
    flops = search("llava-1.5-7b").explain(read_printed("8.91 TFLOPs"))
    macs = search("llava-1.5-7b").explain(read_printed("8.91 TMACs"))
    assert any(one.found.reading.counts == "FLOP" for one in flops)
    assert all(one.found.reading.counts == "MAC" for one in macs)


def test_ratios_of_a_schedule():
    # FastV's 55 %: 0.551609 at 576 + 36, K = 2, R = 50 %; the reduction is 45 %
    half = Schedule.keep("0.5", layer=2)
    for text, quantity in (("55.16%", "ratio"), ("44.84%", "reduction"), ("0.5516", "ratio")):
        one = best(text, "llava-1.5-7b", schedule=half)
        assert read(one) == ("survey", "MAC", "LLM layers", 576, 36)
        assert one.found.quantity == quantity
    one = best("1.813x", "llava-1.5-7b", schedule=half)  # 1 / 0.551609 = 1.81288
    assert (one.found.quantity, *read(one)[3:]) == ("factor", 576, 36)


def test_a_schedule_of_papers():
    # PyramidDrop: (f(2880) + f(1440) + f(720) + f(360)) · 8 = 9.4646e12, three FFN matrices
    stages = ((8, "0.5"), (16, "0.25"), (24, "0.125"))
    pyramid = Schedule(stages=tuple(Stage(first_layer=k, ratio=r) for k, r in stages))
    one = best("9.46T", "llava-next-vicuna-7b", schedule=pyramid)
    assert read(one) == ("gated", "MAC", "LLM layers", 2880, 0)
    assert one.value == 8 * sum(
        4 * n * 4096**2 + 2 * n * n * 4096 + 3 * n * 4096 * 11008 for n in (2880, 1440, 720, 360)
    )
    dense = best("20.83T", "llava-next-vicuna-7b", schedule=pyramid)
    assert dense.found.dense
    assert read(dense) == ("gated", "MAC", "LLM layers", 2880, 0)


def test_layers_from_the_reduction_on():
    # 30 layers at 288 + 36 tokens, two FFN matrices: 30 · 51,820,756,992 = 1.5546e12
    one_layer = 4 * 324 * 4096**2 + 2 * 324**2 * 4096 + 2 * 324 * 4096 * 11008
    assert 30 * one_layer == 1_554_622_709_760
    found = search("llava-1.5-7b", schedule=Schedule.keep("0.5", layer=2)).explain(
        read_printed("1554622709760")
    )
    assert found[0].found.reading.first_layer == 2
    assert found[0].value == 30 * one_layer


def test_a_batch():
    # eight sequences: 8 · 3,817,152,184,320
    one = best("30537217474560", "llava-1.5-7b")
    assert (one.found.batch, *read(one)) == (8, "gated", "MAC", "LLM layers", 576, 0)


def test_structural_tokens_may_be_left_out():
    # Qwen2.5-VL-7B, 1092×1092: 1521 visual tokens between <|vision_start|> and <|vision_end|>;
    # 28 layers, d = 3584, m = 18944, three FFN matrices, no GQA
    def gated(n):
        return 28 * (4 * n * 3584**2 + 2 * n * n * 3584 + 3 * n * 3584 * 18944)

    for tokens, structural in ((1521, 0), (1523, 2)):
        one = best(f"{gated(tokens)}", "qwen2.5-vl-7b")
        assert (one.value, one.structural) == (gated(tokens), structural)
        assert read(one)[3:] == (1521, 0)


def test_cross_attention_has_curves_in_the_text_too():
    one = best("2023500021760", "llama3.2-vision-11b")  # 64 tokens over 6404 keys
    assert read(one) == ("exact", "FLOP", "LLM layers", 6404, 63)
    assert one.structural == 1
    assert one.value == 2_023_500_021_760


def test_cross_attention_has_lines_for_other_counts():
    # half of the 6404 keys: every reading of the decoder is there
    found = search("llama3.2-vision-11b").lines[0][1]
    (half,) = [line for line in found if line.visual.tokens == 3202]
    assert {reading.scope for reading in half.scheduled} >= {"LLM layers", "LLM", "one layer"}


def test_a_stream_has_no_causal_reading():
    model = load_model("llava-video-7b")
    schedule = load_method("codecsight").schedule(model, Workload())
    settings = [setting_of(model, schedule)]
    scheduled = Search(settings).lines[0][1][0].scheduled
    assert scheduled
    assert not any(reading.causal for reading in scheduled)


def test_a_token_count_is_solved_for_when_all_digits_are_there():
    # gated over 1237 tokens, which nothing suggests: 32 (4nd² + 2n²d + 3ndm)
    value = 32 * (4 * 1237 * 4096**2 + 2 * 1237**2 * 4096 + 3 * 1237 * 4096 * 11008)
    one = best(str(value), "llava-1.5-7b")
    assert (one.found.fitted, one.found.visual.tokens, one.value) == ("tokens", 1237, value)
    three = f"{value:.2e}"
    found = search("llava-1.5-7b").explain(read_printed(three))
    assert not [one for one in found if one.found.fitted == "tokens"], "any number has such a count"


@pytest.mark.parametrize("text", ["98123456789", "3.46e12", "6.021e14", "7.77e17", "1.00e3"])
def test_numbers_without_an_explanation(text):
    assert search("llava-1.5-7b").explain(read_printed(text)) == []


def test_the_model_is_found():
    one = best("20.8T", "llava-1.5-7b", "llava-next-vicuna-7b", "qwen2.5-vl-7b")
    assert one.found.setting.model.id == "llava-next-vicuna-7b"


def test_a_schedule_that_does_not_fit_is_refused():
    with pytest.raises(InvalidInput, match="not a layer"):
        Search([setting_of(load_model("llava-1.5-7b"), Schedule.keep("0.5", layer=40))])


def test_values_are_those_of_reports():
    for text in ("3.82T", "99.3G", "8.91T", "20.8"):
        for one in search("llava-1.5-7b").explain(read_printed(text)):
            found = one.found
            report = found.setting.ask(found.visual, found.text.tokens)
            assert one.value == found.batch * found.reading.value(report)
            assert float(one.value) == pytest.approx(found.value, rel=1e-12)


def test_families_of_the_tables_exist():
    families = {entry.family for entry in index_entries()}
    assert set(PUBLISHED) | set(FRAMES) <= families


def test_the_chance_is_the_share_that_is_covered():
    candidate, scale = None, read_printed("10.0T").scales("amount")[0]
    printed = read_printed("10.0T")  # its decade: 3.16 to 31.6; half widths 0.5 %
    numbers = [(0, 5.0), (0, 5.01), (0, 9.0), (1, 20.0), (2, 30.0), (2, 400.0)]
    around = [Hit(rank, number, candidate, scale) for rank, number in numbers]
    found = chances(around, {0, 1, 2}, printed.tolerance, printed, "amount")
    each, decade = 2 * math.log1p(0.005), math.log(10)
    overlap = each - math.log(5.01 / 5.0)
    assert found[0] == pytest.approx((3 * each - overlap) / decade)
    assert found[1] == pytest.approx((4 * each - overlap) / decade)
    assert found[2] == pytest.approx((5 * each - overlap) / decade), "400 is in no decade of 10"


def test_the_chance_of_a_share_is_linear():
    printed = read_printed("50%")
    scale = printed.scales("share")[0]
    around = [Hit(0, number, None, scale) for number in (0.1, 0.5, 0.502)]
    found = chances(around, {0}, printed.tolerance, printed, "share")
    assert found[0] == pytest.approx(0.01 + 0.01 + 0.002)


def test_random_figures_seldom_find_a_strong_explanation():
    # The stated chance must hold: of random figures with three digits, at most a share p may have
    # an explanation whose chance is p or less (with three standard deviations of 150 draws).
    draw, many = random.Random(7), 150
    best_chances = []
    for _ in range(many):
        text = f"{10 ** draw.uniform(10, 14):.2e}"
        found = search("llava-1.5-7b").explain(read_printed(text))
        best_chances.append(min((one.chance for one in found if one.match != "close"), default=1.0))
    for most in (0.02, 0.05, 0.1, 0.2, MOST_CHANCE):
        share = sum(chance <= most for chance in best_chances) / many
        assert share <= most + 3 * math.sqrt(most * (1 - most) / many)
    assert sum(chance < 1 for chance in best_chances) > 0, "the search finds coincidences at all"
