"""Specs of several kinds: a table's key `kind` says which, and only that one is imported.

A command prices one model. What other models are made of is never loaded, so start-up does not
grow with the kinds that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from .errors import InvalidInput, suggestion
from .numeric import Spec


class Kinds:
    """The kinds of one part: name → "module:Class", modules relative to this package.

    >>> from vlm_tokencost.costmodel.connectors import STAGES
    >>> STAGES.spec("merge").__name__
    'Merge'
    """

    def __init__(self, part: str, modules: Mapping[str, str], default: str | None = None) -> None:
        """Remember what the part is called and where each kind is; `default` needs no `kind`."""
        self.part, self.modules, self.default = part, dict(modules), default

    def spec(self, kind: str) -> type[Spec]:
        """Return the class of a kind.

        Raises:
            InvalidInput: There is no such kind.
        """
        if kind not in self.modules:
            hint = suggestion(str(kind), self.modules).replace("known keys:", "choose from")
            raise InvalidInput("kind", kind, "is not a choice", hint)
        module, name = self.modules[kind].split(":")
        found: type[Spec] = getattr(import_module(module, __package__), name)
        return found

    def build(self, value: object) -> Spec:
        """Return the spec that a table describes; a spec of one of the kinds stays what it is.

        Raises:
            InvalidInput: No table, no kind, an unknown kind, or a field that is wrong.
        """
        if isinstance(value, Spec):
            if getattr(type(value), "part", None) != self.part:
                raise InvalidInput("", type(value).__name__, f"is not a {self.part}", self._listed)
            return value
        if not isinstance(value, Mapping):
            raise InvalidInput("", None, "is not a table of keys", "give a table of keys")
        kind = value.get("kind", self.default)
        if kind is None:
            raise InvalidInput("kind", None, "is missing", self._listed)
        if not isinstance(kind, str):
            raise InvalidInput("kind", kind, "is not a choice", self._listed)
        return self.spec(kind)(**value)

    def build_all(self, value: object) -> tuple[Spec, ...]:
        """Return the specs of a list of tables.

        Raises:
            InvalidInput: As `build`, the place in the list before the field.
        """
        if not isinstance(value, list | tuple):
            raise InvalidInput("", None, "is not a list", "give a list")
        built = []
        for place, item in enumerate(value):
            try:
                built.append(self.build(item))
            except InvalidInput as error:
                field = f"{place}.{error.field}" if error.field else str(place)
                raise InvalidInput(field, error.value, error.problem, error.way_out) from None
        return tuple(built)

    @property
    def _listed(self) -> str:
        return f"choose from {', '.join(self.modules)}"


def optional(kinds: Kinds) -> Any:
    """Return the conversion of a part that may be absent."""

    def convert(value: object) -> Spec | None:
        return None if value is None else kinds.build(value)

    return convert


def lazily(where: str) -> Any:
    """Return the conversion of a part of one kind that most models lack: table → "module:Class".

    None stays None; a list becomes a tuple of parts.
    """

    def convert(value: object) -> Any:
        if value is None:
            return None
        module, name = where.split(":")
        spec: type[Spec] = getattr(import_module(module, __package__), name)
        kinds = _Single(spec)
        return kinds.build_all(value) if isinstance(value, list | tuple) else kinds.build(value)

    return convert


class _Single(Kinds):
    """A part of one kind, which needs no name."""

    def __init__(self, spec: type[Spec]) -> None:
        super().__init__(spec.__name__, {})
        self._spec = spec

    def build(self, value: object) -> Spec:
        if isinstance(value, self._spec):
            return value
        if not isinstance(value, Mapping):
            raise InvalidInput("", None, "is not a table of keys", "give a table of keys")
        return self._spec(**value)
