"""A cache's reads given as a number of tokens."""

from refusals import refusal
from vlm_tokencost.costmodel import Schedule, Workload, plan
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")


def test_tokens_read():
    # 576 are stored; 100 are read from layer 2 on, all in layer 5, and never more than there are
    cache = {"read_tokens": 100, "first_layer": 2, "focal_layers": [5]}
    found = plan(LLAVA, Workload(), Schedule(cache=cache))
    assert found.visual_read == (576,) * 2 + (100,) * 3 + (576,) + (100,) * 26
    assert found.visual_stored == (576,) * 32
    many = plan(LLAVA, Workload(), Schedule(cache={"read_tokens": 1000}))
    assert many.visual_read == (576,) * 32


def test_one_amount():
    assert refusal(Schedule, cache={"read": "1/2", "read_tokens": 3}).field == "cache.read"
    assert refusal(Schedule, cache={"stored": 1, "stored_tokens": 3}).field == "cache.stored"
