"""Reads schedules from texts."""

import pytest
from vlm_tokencost.costmodel import InvalidInput, Schedule
from vlm_tokencost.presets import read_schedule


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a text to a file and reads the schedule in it."""

    def write_and_read(text: str | bytes) -> Schedule:
        path = tmp_path / "schedule.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_schedule(path)

    return write_and_read


@pytest.fixture
def refused(read):
    """Return a function that reads a malformed schedule and returns the sentence refusing it."""

    def refusal(text: str | bytes) -> str:
        with pytest.raises(InvalidInput) as caught:
            read(text)
        assert caught.value.field == "schedule"
        sentence = str(caught.value)
        assert sentence.startswith("schedule ")
        assert "schedule.toml" in sentence
        assert "\n" not in sentence
        assert len(sentence) < 600
        return sentence

    return refusal
