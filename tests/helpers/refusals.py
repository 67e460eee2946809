"""Checks of the errors that refuse a value."""

import pytest
from vlm_tokencost.costmodel import (
    InvalidInput,
    Schedule,
)
from vlm_tokencost.costmodel.errors import clip


def refusal(call, *args, **kwargs) -> InvalidInput:
    """Return the error that a call raises; its sentence holds field, value and way out."""
    with pytest.raises(InvalidInput) as caught:
        call(*args, **kwargs)
    error = caught.value
    sentence = str(error)
    assert sentence.startswith(error.field)
    if error.value is not None:
        assert clip(error.value) in sentence
    assert error.problem in sentence
    assert sentence.endswith(error.way_out)
    assert error.way_out
    assert "\n" not in sentence
    return error


def assert_one_sentence(result, *fragments):
    """Check that a command refused: one sentence with these fragments, and nothing printed."""
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in result.err


def named(value: object) -> str:
    """Name a case by what it is about."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, dict):
        return ",".join(value)
    if isinstance(value, Schedule):
        amounts = [f"{stage.first_layer}:{stage.tokens or stage.ratio}" for stage in value.stages]
        compress = [f"compress:{one.tokens or one.ratio}" for one in [value.compress] if one]
        return " ".join([*compress, *amounts])
    return str(value)
