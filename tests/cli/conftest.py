"""Runs the command in this process, as `tokencost` would run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from vlm_tokencost.cli.main import main


class Result(NamedTuple):
    """What a run left behind."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """Parse standard output."""
        return json.loads(self.out)


@pytest.fixture
def tokencost(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Return a function that runs the command with these words."""

    def run(*words: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            main([str(word) for word in words])
        out, err = capfd.readouterr()
        code = exit_info.value.code
        return Result(code if isinstance(code, int) else 0, out, err)

    return run
