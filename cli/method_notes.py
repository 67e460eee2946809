"""What an answer says about the method that its schedule comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..costmodel import Report, Schedule

if TYPE_CHECKING:
    from ..presets.method import AppliedMethod


def method_notes(schedule: Schedule | None) -> tuple[str, ...]:
    """Return paper and assumptions of a schedule's method for people; none without a method."""
    method = _applied(schedule)
    if method is None:
        return ()
    setting = "published default" if method.budget is None else f"budget {method.budget}"
    head = f"method {method.id}: {method.title} (arXiv {method.paper}), {setting}"
    return (head, *(f"assumed: {text}" for text in method.assumed))


def video_notes(report: Report) -> tuple[str, ...]:
    """Return that a method for videos is asked about one image."""
    method = _applied(report.schedule)
    if method is None or report.dense.frames or len(report.dense.images) > 1:
        return ()
    from ..presets.method import load_method

    if load_method(method.id).input != "video":
        return ()
    return (f"{method.title} is for videos: here the crops of one image stand for frames",)


def _applied(schedule: Schedule | None) -> AppliedMethod | None:
    if schedule is None or type(schedule) is Schedule:
        return None
    from ..presets.method import MethodSchedule  # a plain schedule comes from no method

    return schedule.method if isinstance(schedule, MethodSchedule) else None
