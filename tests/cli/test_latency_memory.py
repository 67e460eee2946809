"""What `tokencost latency` says of runs that do not fit the device."""

from __future__ import annotations

from timed_answers import asked


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
