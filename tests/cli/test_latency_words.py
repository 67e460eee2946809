"""What `tokencost latency` says of its assumptions."""

from __future__ import annotations

import re

import pytest
from timed_answers import LLAVA, asked


def test_the_device_and_its_energy_are_in_plain_words(tokencost):
    words = ("--model", "llava-1.5-7b", "--device", "a100-80gb", "--new-tokens", 200)
    shown = " ".join(tokencost("latency", *words).out.split())
    assert "312 TFLOP/s bf16, 2039 GB/s (third-party page)" in shown
    # 199 forwards of 32 layers at 0.85 ms are 5.41 s: more than 1,000 J at 400 W
    joules = re.search(r"energy: at most ([0-9,]+) J in", shown)
    assert 400 * 199 * 32 * 0.85e-3 < int(joules[1].replace(",", "")) < 2400


def test_few_bits_say_what_happens(tokencost):
    words = ("latency", *LLAVA, "--bits", "8")
    assert "turned into bf16 before each product" in " ".join(tokencost(*words).out.split())
    answer = asked(tokencost, *words)
    assert answer["running"]["baseline"]["dequantized"] is True
    native = asked(tokencost, "latency", "--model", "llava-1.5-7b", "--device", "h100", "--bits", 8)
    assert native["running"]["baseline"]["precision"] == "fp8"
    told = "the LLM's products run on fp8 units; quantising activations is not priced"
    hopper = ("latency", "--model", "llava-1.5-7b", "--device", "h100")
    for more, said in ((("--bits", 8), True), (("--bits", 4), False), ((), False)):
        assert (told in " ".join(tokencost(*hopper, *more).out.split())) is said


def test_slow_kernels_of_few_bits_are_told_in_eager_python_alone(tokencost):
    for bits in ("8", "4"):
        text = " ".join(tokencost("latency", *LLAVA, "--bits", bits).out.split())
        assert "308 against 203 ms" in text
        assert "(FastV's README)" in text
    for words in (("--bits", "4", "--runtime", "graph"), ()):
        assert "bitsandbytes" not in tokencost("latency", *LLAVA, *words).out


def test_the_shares_behind_the_bounds_are_those_that_were_used(tokencost):
    def lower(*words):
        text = " ".join(tokencost("latency", "--model", "llava-1.5-7b", *words).out.split())
        return text[text.index("lower: datasheet") : text.index(" constants")]

    usual = "central: 0.75 of the peak, 0.9 of the bandwidth, encoder 0.25; "
    slow = "upper: 0.5 of the peak, 0.7 of the bandwidth, encoder 0.167"
    assert lower("--device", "a100-80gb").endswith(usual + slow)
    # fp8 on an H100 reaches 0.5: two thirds of it are 1/3. Encoder and head run at bf16.
    eight = lower("--device", "h100", "--bits", 8)
    assert "central at fp8: 0.5 of the peak, 0.9 of the bandwidth; upper at fp8: 0.333" in eight
    assert "upper at bf16: 0.5 of the peak" in eight
    # A T4 reaches 0.45 and 0.8: 0.3 and 7/9 · 0.8 = 0.622
    assert "upper: 0.3 of the peak, 0.622 of the bandwidth" in lower("--device", "t4")


@pytest.mark.parametrize(
    ("device", "measured"),
    [
        ("a100-80gb", True),
        ("rtx-4090", True),
        ("gh200-96", False),
        ("jetson-agx-orin-64", False),
        ("tpu-v5p", False),
        ("m3-max-40", False),
        ("gaudi3", False),
        ("mi300x", False),
    ],
)
def test_where_the_host_was_not_measured_it_says_so(tokencost, device, measured):
    words = ("--model", "llava-1.5-7b", "--device", device)
    assert asked(tokencost, "latency", *words)["running"]["host_measured"] is measured
    text = " ".join(tokencost("latency", *words).out.split())
    assert ("the host's share here is a guess, and no bound" in text) is not measured
    assert "is a guess" not in tokencost("latency", *words, "--runtime", "graph").out


def test_a_ceiling_that_says_nothing_is_not_printed(tokencost):
    words = (*LLAVA, "--tokens", 1, "--visual-tokens", 10**7, "--runtime", "graph")
    text = " ".join(tokencost("latency", *words).out.split())
    assert "a ceiling above 1,000× limits nothing; this schedule reaches >1,000×" in text
    assert "can exceed" not in text
    # The figure itself stays in the data.
    assert asked(tokencost, "latency", *words)["ceiling"]["speed_up"]["central"] > 1000


def test_more_tokens_than_the_images_have_are_not_encoded(tokencost):
    more = " ".join(tokencost("latency", *LLAVA, "--visual-tokens", 2880).out.split())
    assert "encoder and connector run for the images' 576 visual tokens, not for the 2,880" in more
    assert "gains and ceilings are too high" in more
    for words in ((), ("--visual-tokens", 576), ("--visual-tokens", 64)):
        assert "are too high" not in tokencost("latency", *LLAVA, *words).out


def test_only_figures_that_a_time_uses_are_called_unverified(tokencost):
    # The A100's int4 rate is confirmed by no source, and used by 4-bit activations alone.
    assert "peaks.int4" in asked(tokencost, "latency", *LLAVA)["device"]["unverified"]
    assert "unverified" not in tokencost("latency", *LLAVA).out
    four = tokencost("latency", *LLAVA, "--bits", 4, "--activation-bits", 4).out
    assert "unverified: peaks.int4" in " ".join(four.split())
