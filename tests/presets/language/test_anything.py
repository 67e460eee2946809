"""Whatever is typed or stored, the answer is a schedule or one sentence."""

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_schedules import SCHEDULES
from vlm_tokencost.costmodel import InvalidInput, Schedule, Workload
from vlm_tokencost.presets import load_model
from vlm_tokencost.presets.language import (
    open_written,
    parse_schedule,
    schedule_text_form,
)
from vlm_tokencost.presets.language.forms import keywords

LLAVA = load_model("llava-1.5-7b")
WORDS = st.one_of(
    st.sampled_from([*keywords(), *'|()@+:/{}"', "0.5", "1", "64", "1/2", "50%", "3,5-9", "2-"]),
    st.sampled_from(["stored", "read", "dense", "skip", "1*8,0.5", "none", "nan", "1e-400", "-1"]),
    st.text(max_size=6),
)


def is_schedule_or_sentence(line):
    try:
        found = parse_schedule(line, depth=32)
    except InvalidInput as error:
        sentence = str(error)
        assert sentence.startswith("schedule")
        assert sentence.isprintable()
        assert len(sentence) < 600
    else:
        assert isinstance(found, Schedule)


@settings(max_examples=400, deadline=None)
@given(line=st.text(max_size=60))
def test_any_text(line):
    is_schedule_or_sentence(line)


@settings(max_examples=800, deadline=None)
@given(words=st.lists(WORDS, max_size=12))
def test_any_words(words):
    is_schedule_or_sentence(" ".join(words))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedule=SCHEDULES, seed=st.integers(0, 2**32))
def test_a_line_with_a_few_characters_changed(schedule, seed):
    chance = random.Random(seed)
    characters = list(schedule_text_form(schedule))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(characters) + 1)
        what = chance.choice(' |()@+:/"{}0.59x,-*%\n')
        characters[place : place + chance.randint(0, 2)] = what
    is_schedule_or_sentence("".join(characters))


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(max_size=40), st.from_regex(r"[0-9]{1,3}:[0-9a-z.:;,_ -]{0,20}")))
def test_any_text_in_place_of_a_file(text):
    try:
        written = open_written(text)
        schedule = written.fitted(LLAVA, Workload())
    except InvalidInput as error:
        assert str(error).isprintable()
    else:
        assert isinstance(schedule, Schedule)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    content=st.one_of(
        st.binary(max_size=80),
        st.text(max_size=60).map(lambda text: f"sparse: {text}".encode("utf-8", "replace")),
        st.text("0123456789.e-[]{}&*:,xr \n'\"!", max_size=60).map(
            lambda text: (
                "sparse: {method: TokenReduction, special: {method: FastV, rate: " + text
            ).encode()
        ),
    )
)
def test_any_yaml(tmp_path, content):
    path = tmp_path / "method.yml"
    path.write_bytes(content)
    try:
        open_written(str(path)).fitted(LLAVA, Workload())
    except InvalidInput as error:
        assert str(error).isprintable()
