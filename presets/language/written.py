"""The inverse of the readers: a schedule as one line, and as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from itertools import groupby
from typing import Any

from ...costmodel.numeric import Spec
from ...costmodel.schedule import Schedule, Stage, ratio_text
from .forms import form_of


def schedule_text_form(schedule: Schedule) -> str:
    """Return a schedule as the one line from which `parse_schedule` reads it back.

    >>> from vlm_tokencost.costmodel import Schedule
    >>> schedule_text_form(Schedule.keep(0.5, layer=2))
    'keep 0.5 @ 2'
    """
    return " | ".join(_statements(schedule)) or "dense"


def schedule_toml(schedule: Schedule) -> str:
    """Return a schedule as the TOML from which `read_schedule` reads it back.

    >>> from vlm_tokencost.costmodel import Schedule
    >>> print(schedule_toml(Schedule.keep("1/3", layer=2)))
    [[stages]]
    first_layer = 2
    ratio = "1/3"
    """
    table = spec_table(schedule)
    plain = {name: value for name, value in table.items() if not isinstance(value, dict | list)}
    parts = [[f"{name} = {_toml(value)}" for name, value in plain.items()]]
    for name, value in table.items():
        if isinstance(value, dict):
            parts.append([f"[{name}]", *_lines(value)])
        elif isinstance(value, list):
            parts += [[f"[[{name}]]", *_lines(one)] for one in value]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def spec_table(spec: Spec) -> dict[str, Any]:
    """Return the fields of a spec that differ from their defaults, as tables and lists."""
    fields = Schedule.model_fields if isinstance(spec, Schedule) else type(spec).model_fields
    return {
        name: _plain(getattr(spec, name))
        for name in fields
        if not _is_default(spec, name) or (name == "kind" and hasattr(type(spec), "part"))
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return spec_table(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _statements(schedule: Schedule) -> Iterator[str]:
    if schedule.name:
        yield f"name {_json(schedule.name)}"
    if schedule.rounding != "floor":
        yield f"round {schedule.rounding}"
    yield from _statement("input", schedule.input)
    yield from _encoder(schedule.encoder)
    yield from _statement("compress", schedule.compress)
    for stage in schedule.stages:
        yield from _statement("keep", stage)
    for rule in schedule.layers:
        yield from _statement(rule.kind, rule)
    for keyword in ("cache", "channels", "bits", "stream"):
        yield from _statement(keyword, getattr(schedule, keyword))
    if schedule.mixture:
        yield "mix " + " / ".join(_way(branch) for branch in schedule.mixture)
    yield from _statement("train", schedule.training)
    if isinstance(schedule.selection, str):
        yield f"select {schedule.selection}"
    elif schedule.selection is not None:
        yield f"select {_json(spec_table(schedule.selection))}"


def _statement(keyword: str, spec: Spec | None) -> Iterator[str]:
    """Yield the statement of a spec, unless there is none."""
    if spec is None:
        return
    form = form_of(keyword)
    assert form is not None
    words = [keyword]
    for field, _ in form.first:
        words += [_value(field, getattr(spec, field)) if field else _amount(spec)] * (
            not field or getattr(spec, field) is not None
        )
    told = {word: field for word, (field, _) in form.options.items()}
    told |= {sign: part[0] for sign, part in (("@", form.at), ("+", form.plus)) if part}
    changed = {field for field in type(spec).model_fields if not _is_default(spec, field)}
    for word, field in told.items():
        if field in changed:
            words += [word, _value(field, getattr(spec, field))]
    for word, (field, value) in form.flags.items():
        words += [word] if field in changed and getattr(spec, field) == value else []
    yield " ".join(words)


def _is_default(spec: Spec, field: str) -> bool:
    info = type(spec).model_fields[field]
    default = info.get_default(call_default_factory=True)
    return not info.is_required() and bool(getattr(spec, field) == default)


def _value(name: str, value: Any) -> str:
    if isinstance(value, Fraction):
        return ratio_text(value)
    if isinstance(value, tuple):
        return _ranges(value) if name.endswith("layers") else _runs(value)
    return str(value)


def _amount(spec: Any) -> str:
    """Return tokens as a whole number, and a share as anything else."""
    if spec.tokens is not None:
        return str(spec.tokens)
    if isinstance(spec, Stage) and spec.withdraw:
        return "0"
    return "1.0" if spec.ratio == 1 else ratio_text(spec.ratio)


def _encoder(encoder: Any) -> Iterator[str]:
    if encoder is None:
        return
    if hasattr(encoder, "stages"):
        op = "" if encoder.op == "keep" else f" {encoder.op}"
        for stage in encoder.stages:
            yield f"encoder {_amount(stage)} @ {stage.first_layer}{op}"
        return
    merged = encoder.merged_per_layer
    if isinstance(merged, int):
        yield f"merge {merged}"
    else:
        listed = ",".join(str(count) for count in merged)
        yield f"merge {listed or 'none'}{',' if len(merged) == 1 else ''}"


def _way(branch: Any) -> str:
    chance = ratio_text(branch.probability)
    if branch.skipped:
        return f"{chance}: skip"
    if branch.schedule is None:
        return f"{chance}: dense"
    inner = " | ".join(_statements(branch.schedule))
    return f"{chance}: ({inner})"


def _ranges(layers: tuple[int, ...]) -> str:
    """Return growing numbers with their runs as ranges.

    >>> _ranges((3, 5, 6, 7))
    '3,5-7'
    """
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _runs(shares: tuple[Fraction, ...]) -> str:
    runs = [(ratio_text(share), len(list(same))) for share, same in groupby(shares)]
    return ",".join(text if count == 1 else f"{text}*{count}" for text, count in runs)


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def _lines(table: dict[str, Any]) -> list[str]:
    return [f"{name} = {_toml(value)}" for name, value in table.items()]


def _toml(value: Any) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Fraction):
        text = ratio_text(value)
        return _quoted(text) if "/" in text else text if "." in text or "e" in text else f"{text}.0"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(_lines(value)) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return str(value)


def _quoted(text: str) -> str:
    escaped = "".join(
        "\\" + character
        if character in '"\\'
        else character
        if character.isprintable()
        else f"\\U{ord(character):08x}"
        for character in text
    )
    return f'"{escaped}"'
