"""Runs a suite: what is left of it, within the time, written after every case."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from ...costmodel import InvalidInput, Model
from ..build import check_memory, free_bytes
from ..memory import weight_bytes, working_bytes
from . import document as files
from .options import Case, Options, plan_suite

Progress = Callable[[int, int, str], None]

_NOT_REACHED = "not reached yet"
_NO_TIME = "no time was left; run the same command again to go on"


class Measuring(Protocol):
    """What a suite runs on."""

    def prepare(self, model: Model, headroom: int = 0) -> None:
        """Build a model."""

    def measure(self, case: Case) -> dict[str, Any]:
        """Measure a case on it."""

    def release(self) -> None:
        """Give it back."""


def run_suite(
    options: Options,
    path: Path,
    progress: Progress = lambda done, total, label: None,
    *,
    bench: Measuring | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Measure the cases that a file does not hold yet, and return the document that it then holds.

    The time is shared out among the models by their cases, so that each gets its first ones; what
    one leaves, the next may use. Interrupted, the file holds what was measured.

    Args:
        options: What is to be measured.
        path: The file; it is written after every case.
        progress: Is told how many of the cases are done, and what is being done.
        bench: What measures, instead of a real machine.
        clock: Seconds.

    Raises:
        InvalidInput: Options that cannot be met, too little memory for every case, or a file of
            another suite, machine or version.
        MissingExtra: A package is missing.
        KeyboardInterrupt: After the file was written.
    """
    begin = clock()
    bench = bench or _bench(options)
    cases = plan_suite(options)
    from .machine import describe

    run = _Run(options, path, progress, bench, clock, cases)
    run.document = files.opened(path, options.suite(), describe(options.device))
    run.deadline = begin + 60 * options.max_minutes
    return run.all()


def _bench(options: Options) -> Measuring:
    from .bench import Bench

    return Bench(options)


class _Run:
    """One call of `run_suite`."""

    document: dict[str, Any]
    deadline: float

    def __init__(
        self,
        options: Options,
        path: Path,
        progress: Progress,
        bench: Measuring,
        clock: Callable[[], float],
        cases: Sequence[Case],
    ) -> None:
        self.options, self.path, self.progress = options, path, progress
        self.bench, self.clock, self.cases = bench, clock, cases
        self.reasons: dict[int, str] = {}
        #: The longest case so far, by what makes one long.
        self.longest: dict[object, float] = {}

    def all(self) -> dict[str, Any]:
        finished = [_key(row) for row in self.document["rows"]]
        self.pending = [
            place for place, case in enumerate(self.cases) if _key(case.key) not in finished
        ]
        for place in self.pending:
            self.reasons[place] = self.cases[place].refusal or _NOT_REACHED
        left = self._fitting(
            [place for place in self.pending if self.cases[place].report is not None]
        )
        self._write()
        try:
            self._models(left)
        except KeyboardInterrupt:
            self._give_up("interrupted; run the same command again to go on")
            raise
        except BaseException:
            self._give_up("an error ended the run")
            raise
        finally:
            self.bench.release()
        self._tell("done")
        return self.document

    def _models(self, left: list[int]) -> None:
        groups = [
            list(places) for _, places in groupby(left, lambda place: self.cases[place].preset)
        ]
        for index, places in enumerate(groups):
            following = sum(map(len, groups[index + 1 :]))
            remaining = self.deadline - self.clock()
            share = remaining * len(places) / (len(places) + following)
            self._model(places, self.clock() + share)

    def _model(self, places: list[int], until: float) -> None:
        first = self.cases[places[0]]
        assert first.report is not None
        if self.clock() >= until:
            self._skip(places)
            return
        self._tell(f"building {first.report.model.id}")
        self.bench.prepare(first.report.model, min(map(self._working_bytes, places)))
        for place in places:
            case = self.cases[place]
            kind = (case.preset, case.batch, case.attention)
            if self.clock() + self.longest.get(kind, 0.0) >= until:
                self._skip([place])
                continue
            begin = self.clock()
            self._case(place, case)
            self.longest[kind] = max(self.longest.get(kind, 0.0), self.clock() - begin)

    def _case(self, place: int, case: Case) -> None:
        self._tell(case.label)
        try:
            measured = self.bench.measure(case)
        except InvalidInput as error:
            self.reasons[place] = str(error)
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise
            self.reasons[place] = "the device ran out of memory"
        else:
            self.document["rows"].append({**described(case), **measured, **_stamp(self.document)})
            del self.reasons[place]
        self._write()

    def _fitting(self, places: list[int]) -> list[int]:
        """Leave out what does not fit into memory; refuse if nothing is left of what was asked."""
        free = free_bytes(self.options.device)
        if free is None:
            return places
        fitting, lacking = [], []
        for place in places:
            report = self.cases[place].report
            assert report is not None
            need = weight_bytes(report, self.options.dtype) + self._working_bytes(place)
            if need <= free:
                fitting.append(place)
            else:
                lacking.append((need, report.model.id))
                self.reasons[place] = (
                    f"needs about {need / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free"
                )
        if lacking and not fitting and not self.document["rows"]:
            need, what = min(lacking)
            check_memory(self.options.device, need, what)
        return fitting

    def _working_bytes(self, place: int) -> int:
        case = self.cases[place]
        assert case.report is not None
        return working_bytes(case.report, self.options.dtype, case.attention)

    def _skip(self, places: Sequence[int]) -> None:
        for place in places:
            self.reasons[place] = _NO_TIME
        self._write()

    def _give_up(self, reason: str) -> None:
        for place, known in self.reasons.items():
            if known == _NOT_REACHED:
                self.reasons[place] = reason
        self._write()

    def _tell(self, label: str) -> None:
        self.progress(len(self.cases) - len(self.reasons), len(self.cases), label)

    def _write(self) -> None:
        self.document["not_measured"] = [
            {**self.cases[place].key, "reason": reason} for place, reason in self.reasons.items()
        ]
        files.write(self.path, self.document)


def described(case: Case) -> dict[str, Any]:
    """Return what a row says about its case before any clock ran."""
    report = case.report
    assert report is not None
    plan = report.scheduled
    return {
        **case.key,
        "built_as": report.model.id,
        "images": [list(image) for image in plan.images],
        "text_tokens": plan.text_tokens,
        "structural_tokens": plan.structural_tokens,
        "visual_tokens": plan.dense_visual_tokens,
        "entering_visual_tokens": plan.entering_visual_tokens,
        "average_visual_tokens": float(plan.average_visual_tokens),
        "tokens_per_layer": list(plan.query),
        "flops": {
            "prefill": dict(report.bill("exact").by_component()),
            "decode_forward": dict(report.decode_forward(1).by_component()),
        },
    }


def _stamp(document: dict[str, Any]) -> dict[str, Any]:
    return {"date": files.now(), "commit": document["commit"]}


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[part] for part in ("model", "method", "budget", "batch", "attention"))
