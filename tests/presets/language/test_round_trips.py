"""Every schedule is the same after being written and read, in every form."""

import json
import tomllib
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from random_schedules import PARTS, SCHEDULES, mixtures
from vlm_tokencost.costmodel import Schedule
from vlm_tokencost.costmodel.numeric import Spec
from vlm_tokencost.presets import read_schedule
from vlm_tokencost.presets.language import parse_schedule, schedule_text_form, schedule_toml

any_schedule = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@any_schedule
@given(schedule=SCHEDULES)
def test_the_line_is_read_back(schedule):
    line = schedule_text_form(schedule)
    assert "\n" not in line
    assert parse_schedule(line) == schedule


@any_schedule
@given(schedule=SCHEDULES)
def test_the_toml_is_read_back(schedule):
    text = schedule_toml(schedule)
    assert Schedule(**tomllib.loads(text, parse_float=Decimal)) == schedule


@any_schedule
@given(schedule=SCHEDULES)
def test_the_json_is_read_back(schedule):
    assert Schedule(**schedule.model_dump(mode="json")) == schedule
    assert Schedule(**json.loads(schedule.model_dump_json())) == schedule


def test_a_file_of_the_toml_is_read_back(tmp_path):
    schedule = parse_schedule("compress 64 before-connector | keep 1/3 @ 4 | sparse pairs 0.7")
    path = tmp_path / "written.toml"
    path.write_text(schedule_toml(schedule))
    assert read_schedule(path) == schedule


def test_every_field_is_drawn():
    """A field that a spec gains must be drawn too, or the tests above prove nothing of it."""
    drawn: dict[type, set[str]] = {}

    def visit(spec):
        for name in type(spec).model_fields:
            value = getattr(spec, name)
            default = type(spec).model_fields[name].get_default(call_default_factory=True)
            if value != default:
                drawn.setdefault(type(spec), set()).add(name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Spec):
                    visit(part)

    def draw(name, values):
        @settings(max_examples=300, deadline=None, database=None, derandomize=True)
        @given(value=values)
        def drawing(value):
            visit(Schedule(**{name: value}))

        drawing()

    for name, values in {**PARTS, "mixture": mixtures()}.items():
        draw(name, values)
    for spec, fields in drawn.items():
        # the kind of a rule is its default
        assert spec.model_fields.keys() - fields <= {"kind"}, spec.__name__


WRITTEN = {
    "dense": Schedule(),
    "keep 1.0 @ 2": Schedule(stages=[{"first_layer": 2, "ratio": 1}]),
    "keep 1 @ 2": Schedule(stages=[{"first_layer": 2, "tokens": 1}]),
    "keep 1/3 @ 2 | keep 0 @ 4": Schedule(
        stages=[{"first_layer": 2, "ratio": Fraction(1, 3)}, {"first_layer": 4, "withdraw": True}]
    ),
    "merge 16": Schedule(encoder={"merged_per_layer": 16}),
    "merge 16,": Schedule(encoder={"merged_per_layer": [16]}),
    "merge none": Schedule(encoder={"merged_per_layer": []}),
    "vectors tokens 1*2,0.5*3,0": Schedule(
        layers=[{"kind": "vectors", "tokens": [1, 1, 0.5, 0.5, 0.5, 0]}]
    ),
    "freeze 3,5-9": Schedule(layers=[{"kind": "freeze", "layers": [3, 5, 6, 7, 8, 9]}]),
    "mix 0.3: (compress 64) / 0.7: dense": Schedule(
        mixture=[
            {"probability": "0.3", "schedule": {"compress": {"tokens": 64}}},
            {"probability": "0.7"},
        ]
    ),
    'name "a | b" | round ceil | compress 0.5 + 1': Schedule(
        name="a | b", rounding="ceil", compress={"ratio": 0.5, "extra": 1}
    ),
    "train fixed 0.26 recompute encoder": Schedule(
        training={"fixed_share": 0.26, "recompute": True, "frozen_encoder": False}
    ),
}


@pytest.mark.parametrize(("line", "schedule"), WRITTEN.items(), ids=list(WRITTEN))
def test_the_line_is_the_shortest(line, schedule):
    assert schedule_text_form(schedule) == line
    assert parse_schedule(line) == schedule
