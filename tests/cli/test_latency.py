"""`tokencost latency` and `tokencost crossover`: every format, contract, mistakes."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import jsonschema
import pytest

DOCS = Path(__file__).parents[2] / "docs"
LLAVA = ("--model", "llava-1.5-7b", "--device", "a100-80gb")
FASTV = (*LLAVA, "--method", "fastv")


def schema(name):
    return json.loads((DOCS / "schemas" / f"{name}.schema.json").read_text())


def asked(tokencost, name, *words):
    answer = tokencost(name, *words, "--format", "json")
    assert answer.status == 0, answer.err
    jsonschema.validate(answer.json(), schema(name))
    return answer.json()


def test_the_question_reads_as_in_other_commands():
    cost = schema("cost")["properties"]
    for name in ("workload", "counting", "schedule", "unverified"):
        assert schema("latency")["properties"][name] == cost[name], "update latency.schema.json"
        if name != "schedule":
            assert schema("crossover")["properties"][name] == cost[name]


def test_times_by_stage_and_in_total(tokencost):
    answer = asked(tokencost, "latency", *FASTV, "--new-tokens", 100, "--load-ms", "12.5")
    stages, totals = answer["stages"], answer["totals"]
    for side in ("baseline", "scheduled"):
        for bound in ("lower", "central", "upper"):
            parts = [stage[side]["time"][bound] for stage in stages.values()]
            assert totals["end_to_end"][side][bound] == pytest.approx(sum(parts))
            until_first = sum(parts) - stages["decode"][side]["time"][bound]
            assert totals["time_to_first_token"][side][bound] == pytest.approx(until_first)
        assert stages["load"][side]["time"]["upper"] == 0.0125
    assert stages["decode"]["baseline"]["bound_by"] == "host"
    # 32 layers at 0.85 ms, 99 forwards
    assert stages["decode"]["baseline"]["time"]["central"] == pytest.approx(99 * 32 * 0.85e-3)
    assert totals["end_to_end"]["speed_up"]["central"] < answer["ceiling"]["speed_up"]["central"]
    assert answer["energy_upper_bound_joules"]["baseline"]["central"] == pytest.approx(
        400 * totals["end_to_end"]["baseline"]["central"]
    )


def test_the_device_and_its_energy_are_in_plain_words(tokencost):
    words = ("--model", "llava-1.5-7b", "--device", "a100-80gb", "--new-tokens", 200)
    shown = " ".join(tokencost("latency", *words).out.split())
    assert "312 TFLOP/s bf16, 2039 GB/s (third-party page)" in shown
    # 199 forwards of 32 layers at 0.85 ms are 5.41 s: more than 1,000 J at 400 W
    joules = re.search(r"energy: at most ([0-9,]+) J in", shown)
    assert 400 * 199 * 32 * 0.85e-3 < int(joules[1].replace(",", "")) < 2400


def test_flops_mislead(tokencost):
    words = ("--model", "llava-next-vicuna-7b", "--device", "a100-80gb", "--tokens", 160)
    answer = asked(tokencost, "latency", *words, "--new-tokens", 64)
    # Ten times fewer FLOPs in the LLM, but decode hardly changes.
    assert answer["totals"]["time_to_first_token"]["speed_up"]["central"] > 2
    assert answer["totals"]["end_to_end"]["speed_up"]["central"] < 1.25
    assert answer["flop_speed_up"] > 3
    assert "decode" in answer["ceiling"]["sentence"]


def test_without_a_schedule_both_sides_agree(tokencost):
    answer = asked(tokencost, "latency", *LLAVA)
    assert answer["totals"]["time_to_first_token"]["speed_up"]["central"] == 1
    assert answer["flop_ratio"] == 1
    assert "reaches" not in answer["ceiling"]["sentence"]
    assert "scheduled" not in tokencost("latency", *LLAVA).out.replace("schedule ", "")


def test_every_format_has_the_same_numbers(tokencost):
    answer = asked(tokencost, "latency", *FASTV)
    central = answer["totals"]["time_to_first_token"]["baseline"]["central"]
    rows = list(csv.DictReader(io.StringIO(tokencost("latency", *FASTV, "--format", "csv").out)))
    (row,) = [row for row in rows if row["name"] == "time to first token"]
    assert float(row["baseline_central"]) == central
    assert {row["unit"] for row in rows} == {"s"}
    for form in ("table", "markdown", "latex"):
        text = tokencost("latency", *FASTV, "--format", form).out
        assert f"{1e3 * central:.1f}" in text, form


def test_a_runtime_without_python_and_other_attention(tokencost):
    eager = asked(tokencost, "latency", *LLAVA, "--attention", "eager")
    graph = asked(tokencost, "latency", *LLAVA, "--runtime", "graph", "--attention", "flash")
    assert graph["stages"]["prefill"]["baseline"]["host"]["upper"] == 0
    slow, fast = (one["stages"]["prefill"]["baseline"]["device"] for one in (eager, graph))
    # 32 layers of 26 bytes for 32 · 640² scores at 0.8 of 2039 GB/s, at least
    assert slow["central"] - fast["central"] > 32 * 26 * 32 * 640**2 / (0.8 * 2039e9)


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


def test_unverified_figures_and_models_that_do_not_fit(tokencost):
    out = tokencost("latency", "--model", "qwen2-vl-72b", "--device", "jetson-agx-thor").out
    text = " ".join(out.split())
    assert "unverified: memory_gb" in text
    assert "unverified: the memory of jetson-agx-thor" in text
    assert "these times are of a device that has them" in text


def test_a_run_that_does_not_fit_says_by_how_much_and_what_would(tokencost):
    # Weights of 13.2 GiB fit a T4's 14.9 GiB; 16 caches of 0.5 MiB · 640 tokens beside them do not.
    words = ("--model", "llava-1.5-7b", "--device", "t4", "--batch", 16, "--tokens", 64)
    own = asked(tokencost, "latency", *words)["memory"]
    same = tokencost("memory", *words, "--format", "json").json()["memory"]["fit"]
    assert own["capacity"] == same["capacity_bytes"] == 16 * 10**9
    for side in ("baseline", "scheduled"):
        assert own[side]["peak"] == same[side]["peak_bytes"]
        assert own[side]["excess"] == own[side]["peak"] - 16 * 10**9
        assert own[side]["fits"] is (own[side]["excess"] <= 0)
    assert (own["baseline"]["fits"], own["scheduled"]["fits"]) == (False, True)
    changes = [one["change"] for one in own["remedies"]]
    assert f"--batch {same['baseline']['largest_batch']}" in changes
    assert "--tp 2" in changes
    text = " ".join(tokencost("latency", *words).out.split())
    more = own["baseline"]["excess"] / 2**30
    assert f"{more:.3f} GiB more than t4 has: the time of the baseline run is of a device" in text
    assert f"what would fit: {changes[0]} (" in text
    fitting = tokencost("latency", "--model", "llava-1.5-7b", "--device", "t4").out
    assert "GiB" not in fitting


def test_a_request_without_a_schedule_is_told_of_once(tokencost):
    text = " ".join(tokencost("latency", "--model", "llava-1.5-13b", "--device", "t4").out.split())
    assert "memory: the request needs" in text
    assert text.count("more than t4 has") == 1


def test_what_fits_to_the_last_byte_is_not_warned_of(tokencost, tmp_path):
    words = ("--model", "llava-1.5-7b", "--tokens", 64)
    peak = asked(tokencost, "latency", *words, "--device", "t4")["memory"]["baseline"]["peak"]
    for less, fits in ((0, True), (1, False)):
        path = tmp_path / f"own-{less}.toml"
        path.write_text(f'base = "t4"\nmemory_gb = {(peak - less) / 10**9:.9f}\n')
        own = asked(tokencost, "latency", *words, "--device", path)["memory"]["baseline"]
        assert (own["excess"], own["fits"]) == (less, fits)
        warned = "memory: the baseline run" in tokencost("latency", *words, "--device", path).out
        assert warned is not fits


def test_fewer_bits_and_other_attention_change_what_fits(tokencost):
    words = ("--model", "llava-1.5-7b", "--device", "t4", "--visual-tokens", 2880)
    for more in (("--bits", 4), ("--attention", "eager"), ("--kv-bits", 8)):
        own = asked(tokencost, "latency", *words, *more)["memory"]["baseline"]["peak"]
        same = tokencost("memory", *words, *more, "--overhead", "device", "--format", "json").json()
        assert own == same["memory"]["baseline"]["peak_bytes"]


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


def test_kernels_sum_to_their_stages(tokencost):
    answer = asked(tokencost, "latency", *FASTV, "--new-tokens", 2, "--per-kernel")
    rows = answer["kernels"]
    for side in ("baseline", "scheduled"):
        for stage in ("vision", "connector", "selection", "prefill", "decode"):
            own = [row for row in rows if (row["side"], row["stage"]) == (side, stage)]
            for bound in ("lower", "central", "upper"):
                whole = answer["stages"][stage][side]["device"][bound]
                assert sum(row[bound] for row in own) == pytest.approx(whole)
    (down,) = [
        row
        for row in rows
        if row["side"] == "baseline" and row["stage"] == "prefill" and row["kernel"] == "down"
    ]
    assert (down["launches"], down["flops"]) == (32, 32 * 2 * 640 * 4096 * 11008)
    assert down["bound_by"] == "compute"
    table = tokencost("latency", *FASTV, "--per-kernel").out
    assert "gate + up" in table
    text = tokencost("latency", *FASTV, "--per-kernel", "--format", "csv").out
    listed = list(csv.DictReader(io.StringIO(text)))
    assert {row["kernel"] for row in listed} >= {"down", "scores and values", "norm"}


def test_a_device_of_ones_own(tokencost, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "Mine"\nvendor = "me"\narchitecture = "mine"\nmemory_gb = 80\n'
        "bandwidth_gb_s = 2039\n[peaks]\nbf16 = 312\nfp16 = 312\n"
    )
    words = ("--model", "llava-1.5-7b", "--device", path)
    answer = asked(tokencost, "latency", *words)
    usual = asked(tokencost, "latency", *LLAVA)
    assert answer["device"]["verification"] == "own"
    assert answer["totals"] == usual["totals"]
    refused = tokencost("latency", *words, "--output", path)
    assert (refused.status, refused.out) == (2, "")
    assert "is the device file" in refused.err


@pytest.mark.parametrize("command", ["latency", "crossover"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--model", "llava-1.5-7b"), "--device is missing; "),
        (("--model", "llava-1.5-7b", "--device", "a1000-80gb"), "--device a1000-80gb is not known"),
        ((*FASTV, "--runtime", "jit"), "--runtime jit is not a choice; choose from"),
        ((*FASTV, "--attention", "ring"), "--attention ring is not a choice"),
        ((*FASTV, "--bits", "5"), "--bits 5 is not a choice"),
        ((*FASTV, "--kv-bits", "x"), "--kv-bits x is not a choice"),
        ((*FASTV, "--load-ms", "-3"), "--load-ms -3 is not a number of milliseconds"),
        ((*FASTV, "--causal"), "--causal is of counting FLOPs"),
    ],
)
def test_mistakes(tokencost, command, words, sentence):
    answer = tokencost(command, *words)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {sentence}")
    assert answer.err.count("\n") == 1


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
