"""`tokencost crossover`: what it finds, how it says so, mistakes."""

from __future__ import annotations

import pytest
from timed_answers import FASTV, LLAVA, asked


def test_from_how_many_tokens_on_a_schedule_pays(tokencost):
    answer = asked(tokencost, "crossover", *FASTV)
    below, first = answer["times"]
    assert first["value"] == answer["pays_from"] == below["value"] + 1
    assert below["speed_up"]["central"] <= 1 < first["speed_up"]["central"]
    # What is printed is what `latency` says there.
    for one in (below, first):
        same = asked(tokencost, "latency", *FASTV, "--visual-tokens", one["value"])
        assert same["totals"]["time_to_first_token"]["scheduled"] == one["scheduled"]


@pytest.mark.parametrize(
    ("over", "first", "last"),
    [
        ("visual-tokens", 2, 131_072),
        ("text-tokens", 1, 131_072),
        ("batch", 1, 1024),
        ("new-tokens", 2, 8192),
    ],
)
def test_how_far_a_search_goes_by_itself(tokencost, over, first, last):
    answer = asked(tokencost, "crossover", *FASTV, "--over", over)
    assert (answer["first"], answer["last"]) == (first, last)


def test_a_search_over_tokens_says_that_images_stay(tokencost):
    text = " ".join(tokencost("crossover", *FASTV).out.split())
    assert "encoder and connector run for the one image with 576 visual tokens whatever" in text
    assert "--over frames has that priced" in text
    assert "how many positions the model was trained for is not checked" in text
    batch = tokencost("crossover", *FASTV, "--over", "batch", "--up-to", 8).out
    assert "whatever their number" not in batch
    assert "positions" not in batch


def test_a_search_tells_where_memory_ends(tokencost):
    words = ("--model", "llava-1.5-7b", "--device", "t4", "--method", "fastv", "--over", "batch")
    answer = asked(tokencost, "crossover", *words, "--gain", "1.75", "--up-to", 64)
    for one in answer["times"]:
        own = asked(tokencost, "latency", *words[:6], "--batch", one["value"])
        assert one["memory"] == own["memory"]
    wide = answer["best"]["value"]
    text = " ".join(tokencost("crossover", *words, "--gain", "1.75", "--up-to", 64).out.split())
    assert f"memory at batch {wide}: the baseline run needs" in text


@pytest.mark.parametrize(
    ("words", "shown", "hidden"),
    [
        (("--over", "batch"), ("(batch 1)", "(at batch 1)"), ("1 batch", "batch batch")),
        (
            ("--model", "qwen2.5-vl-7b", "--over", "frames"),
            ("(1 frame)", "(at 1 frame)"),
            ("1 frames",),
        ),
        (
            ("--over", "batch", "--gain", "9", "--up-to", "20"),
            ("never more than 9 times as fast up to batch 20 (best: ", "at batch "),
            ("20 batch",),
        ),
    ],
)
def test_numbers_and_their_nouns(tokencost, words, shown, hidden):
    if "--model" not in words:
        words = ("--model", "llava-1.5-7b", *words)
    given = ("--device", "a100-80gb", "--method", "fastv", *words)
    text = " ".join(tokencost("crossover", *given).out.split())
    for one in shown:
        assert one in text
    for one in hidden:
        assert one not in text


def test_a_search_that_finds_no_number_names_none(tokencost):
    answer = tokencost("crossover", *FASTV, "--over", "frames")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == (
        "error: --over frames finds no number that can be priced: the model takes no video; give "
        "images instead\n"
    )


def test_a_larger_gain_needs_more_tokens(tokencost):
    found = [
        asked(tokencost, "crossover", *FASTV, "--gain", gain)["pays_from"]
        for gain in ("1", "1.2", "1.5")
    ]
    assert found == sorted(found)
    assert len(set(found)) == 3


def test_the_gain_that_is_asked_for_is_shown(tokencost):
    words = (*FASTV, "--over", "batch", "--up-to", 8)
    searched = "batch from 1 to 8, every one priced; time to the first token"
    for more, said in (((), False), (("--gain", "1.5"), True)):
        text = " ".join(tokencost("crossover", *words, *more).out.split())
        assert f"{searched}, more than 1.5 times as fast" in text if said else searched in text
        assert ("1.5 times" in text) is said


def test_what_never_pays_says_so(tokencost):
    words = (*LLAVA, "--method", "divprune", "--over", "new-tokens", "--up-to", "300")
    answer = asked(tokencost, "crossover", *words)
    if answer["pays_from"] is None:
        assert "never faster up to 300 new tokens" in answer["sentence"]
    words = (*FASTV, "--gain", "100", "--up-to", "5000")
    answer = asked(tokencost, "crossover", *words)
    assert answer["pays_from"] is None
    assert "is never more than 100 times as fast up to 5,000 visual tokens" in answer["sentence"]


def test_a_short_prompt_pays_in_larger_batches(tokencost):
    words = (*FASTV, "--visual-tokens", 64, "--text-tokens", 0, "--over", "batch", "--up-to", 200)
    answer = asked(tokencost, "crossover", *words)
    assert answer["pays_from"] > 1
    assert answer["exhaustive"]
    assert answer["tried"] == 200
    for form in ("table", "markdown", "latex", "csv"):
        assert str(answer["pays_from"]) in tokencost("crossover", *words, "--format", form).out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (LLAVA, "--method is missing: there is no schedule; "),
        ((*FASTV, "--over", "layers"), "--over layers is not a choice; "),
        ((*FASTV, "--up-to", "1"), "--up-to 1 is below 2"),
        ((*FASTV, "--gain", "0.5"), "--gain 0.5 is not a speed-up; "),
        ((*FASTV, "--until", "dawn"), "--until dawn is not a choice; "),
        ((*FASTV, "--over", "batch", "--batch", "2"), "--batch 2 is what is searched for; "),
        (
            (*FASTV, "--over", "new-tokens", "--until", "first-token"),
            "--until first-token does not depend on the new tokens; ",
        ),
        ((*LLAVA, "--tokens", "64", "--up-to", "50"), "--tokens 64 is more than the 50 visual"),
    ],
)
def test_mistakes_in_a_search(tokencost, words, sentence):
    answer = tokencost("crossover", *words)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {sentence}"), answer.err
