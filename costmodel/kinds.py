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
            return self._known(value)
        table = _table(value)
        kind = table.get("kind", self.default)
        if kind is None:
            raise InvalidInput("kind", None, "is missing", self._listed)
        if not isinstance(kind, str):
            raise InvalidInput("kind", kind, "is not a choice", self._listed)
        return self.spec(kind)(**table)

    def _known(self, value: Spec) -> Spec:
        """Return a spec that is of this part, and of the class of its kind."""
        given = type(value).__name__
        if getattr(type(value), "part", None) != self.part:
            article = "an" if self.part[0] in "aeiou" else "a"
            raise InvalidInput("", given, f"is not {article} {self.part}", self._listed)
        kind = str(getattr(value, "kind", ""))
        expected = self.spec(kind)
        if not isinstance(value, expected):
            way_out = f"build {expected.__name__}, or give a table of keys"
            raise InvalidInput("kind", kind, f"is not what {given} describes", way_out)
        return value

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
                inside = error.field and not error.names_spec
                field = f"{place}.{error.field}" if inside else str(place)
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

    None stays None.
    """

    def convert(value: object) -> Spec | None:
        return None if value is None else _Single(where).build(value)

    return convert


def lazily_all(where: str) -> Any:
    """Return the conversion of a list of such parts, which most models have empty."""

    def convert(value: object) -> tuple[Spec, ...]:
        # An empty list needs no class, whose import a command would wait for.
        if isinstance(value, list | tuple) and not value:
            return ()
        return _Single(where).build_all(value)

    return convert


class _Single(Kinds):
    """A part of one kind, which needs no name."""

    def __init__(self, where: str) -> None:
        super().__init__(where.split(":")[1], {"": where})

    def build(self, value: object) -> Spec:
        spec = self.spec("")
        return value if isinstance(value, spec) else spec(**_table(value))


def _table(value: object) -> dict[str, Any]:
    """Return a table of keys; Python itself would refuse keys that are no texts by another error.

    Raises:
        InvalidInput: It is something else.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput("", None, "is not a table of keys", "give a table of keys")
    for key in value:
        if not isinstance(key, str):
            raise InvalidInput("", str(key), "is not a known key", "give keys that are texts")
    return dict(value)
