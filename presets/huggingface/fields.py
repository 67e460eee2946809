"""Checked access to one table of a config.json, which forgets no field.

A reader takes the fields that it understands; `finish` refuses the rest, unless they are known to
change no cost. A field that the file lacks takes its class's default, and the reading says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...costmodel import InvalidInput
from ...costmodel.errors import clip
from ...costmodel.numeric import LARGEST
from ...costmodel.tokens.base import LARGEST_SIDE
from .defaults import VERSION, ClassDefaults, class_defaults
from .ignored import changes_nothing, is_off

#: Far beyond any model, and few enough to list.
MOST_LAYERS = 10_000
#: Beyond any released model's widths, attention heads and vocabulary by a wide margin.
WIDEST, MOST_HEADS, LARGEST_VOCABULARY = 2**20, 4_096, 2**24
#: How fields that hold a width end.
_WIDTHS = ("hidden_size", "intermediate_size", "_dim", "d_model", "d_ff", "d_kv")
#: Tells a field that a file lacks from one that is null.
_ABSENT: Any = object()


class Notes:
    """What a reading has to tell besides figures, each once and in order.

    Attributes:
        origin: Where the file is from.
        defaulted: Fields that took their class's default.
        unverified: Fields of the model that no source settles.
        remarks: Sentences for the model's source.
    """

    def __init__(self, origin: str) -> None:
        """Begin without any; `origin` says where the file is from."""
        self.origin = origin
        self.defaulted: dict[str, None] = {}
        self.unverified: dict[str, None] = {}
        self.remarks: dict[str, None] = {}


class Fields:
    """One table of a config.json.

    Attributes:
        model_type: The type whose class's defaults hold.
        notes: What the reading has to tell, shared by all tables of a file.
    """

    def __init__(
        self,
        table: Mapping[str, Any],
        model_type: str,
        defaults: ClassDefaults,
        notes: Notes,
        *,
        prefix: str,
        path: str = "",
        start: Mapping[str, Any] | None = None,
        known_defaults: bool = True,
    ) -> None:
        """Wrap a table.

        Args:
            table: The fields.
            model_type: Its type.
            defaults: Its class's defaults.
            notes: Where to tell what was defaulted.
            prefix: What stands before a field's dotted name in an error: the file.
            path: Where the table is in the file, with a dot behind; empty at the top.
            start: Values that stand in for a table that the file lacks.
            known_defaults: False where the reading tells about the whole table instead.
        """
        self.model_type, self.notes = model_type, notes
        self._table, self._defaults, self._start = table, defaults, start or {}
        self._prefix, self._path, self._tells = prefix, path, known_defaults
        self._taken: set[str] = set()

    # --- values ----------------------------------------------------------------------------------

    def value(self, name: str) -> Any:
        """Return a field as it is in the file, or its default; null is None.

        Raises:
            InvalidInput: The file gives it twice, under two names, with two values.
        """
        given = _ABSENT
        for key in (name, *self._other_names(name)):
            self._taken.add(key)
            value = self._table.get(key, _ABSENT)
            if value is _ABSENT:
                continue
            if given is not _ABSENT and value != given:
                raise self.refusal(
                    key, value, f"and {name} are the same field with two values", "leave one out"
                )
            given = value
        if given is not _ABSENT:
            return given
        if name in self._start:
            return self._start[name]
        if name in self._defaults.fields and self._tells:
            self.notes.defaulted[self._path + name] = None
        return self._defaults.fields.get(name)

    def has(self, name: str) -> bool:
        """Return whether the file gives a field, and not null."""
        return any(self._table.get(key) is not None for key in (name, *self._other_names(name)))

    def positive(self, name: str) -> int:
        """Return a whole number of at least 1."""
        return self.whole(name, self.value(name), 1)

    def count(self, name: str) -> int:
        """Return a whole number of at least 0."""
        return self.whole(name, self.value(name), 0)

    def depth(self, name: str, minimum: int = 1) -> int:
        """Return a number of layers, each of which will be looked at."""
        return self.whole(name, self.value(name), minimum, MOST_LAYERS)

    def positive_or_none(self, name: str) -> int | None:
        """Return a whole number of at least 1, or None for null."""
        value = self.value(name)
        return None if value is None else self.whole(name, value, 1)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self.value(name)
        if not isinstance(value, bool):
            raise self.refusal(name, value, "is neither true nor false", "give true or false")
        return value

    def flag_or_none(self, name: str) -> bool | None:
        """Return true or false, or None for null."""
        return None if self.value(name) is None else self.flag(name)

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Return a text that is one of `choices`."""
        value = self.value(name)
        if not isinstance(value, str) or value not in choices:
            way_out = f"choose from {', '.join(choices)}"
            raise self.refusal(name, value, "is not understood", way_out)
        return value

    def side(self, name: str) -> int:
        """Return the side of a square that is given as one number or as two equal ones."""
        sides = self.size(name)
        if sides[0] != sides[1]:
            raise self.refusal(name, list(sides), "is no square", "give a square")
        return sides[0]

    def size(self, name: str) -> tuple[int, int]:
        """Return (height, width), given as one number for a square or as two."""
        value = self.value(name)
        if not isinstance(value, list | tuple):
            side = self.whole(name, value, 1, LARGEST_SIDE)
            return side, side
        if len(value) != 2:
            raise self.refusal(name, value, "is not a size", "give one number, or two")
        height, width = (self.whole(name, side, 1, LARGEST_SIDE) for side in value)
        return height, width

    def integers(self, name: str, minimum: int = 0) -> tuple[int, ...]:
        """Return a list of whole numbers."""
        value = self.value(name)
        if not isinstance(value, list | tuple):
            raise self.refusal(name, value, "is not a list", "give a list of whole numbers")
        return tuple(
            self.whole(f"{name}.{place}", item, minimum) for place, item in enumerate(value)
        )

    def layers(self, name: str, count: int) -> tuple[int, ...]:
        """Return a list of layers, of which there are `count`, in order."""
        found = self.integers(name)
        for place, layer in enumerate(found):
            if layer >= count:
                problem = f"names a layer beyond the last, {count - 1}"
                raise self.refusal(f"{name}.{place}", layer, problem, "correct it")
        return tuple(sorted(set(found)))

    def whole(self, name: str, value: object, minimum: int, maximum: int = LARGEST) -> int:
        """Return `value` as a whole number within bounds; digits in a text are none."""
        way_out = f"give a whole number of at least {minimum:,}"
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.refusal(name, value, "is not a whole number", way_out)
        if value < minimum:
            raise self.refusal(name, value, f"is below {minimum:,}", way_out)
        maximum = min(maximum, _plausible(name))
        if value > maximum:
            raise self.refusal(name, value, f"is above {maximum:,}", "give a plausible number")
        return value

    # --- tables ----------------------------------------------------------------------------------

    def part(self, name: str, readers: Iterable[str] = ()) -> Fields:
        """Return a nested config.

        Args:
            name: The field that holds it.
            readers: Types that can be read, where the file may name one.

        Raises:
            InvalidInput: It is no table, or of a type that is not read.
        """
        self._taken.add(name)
        spec = self._defaults.parts[name]
        table = self._table.get(name)
        missing = table is None
        if table is not None and not isinstance(table, Mapping):
            raise self.refusal(name, table, "is not a table of fields", "give a table of fields")
        table = table or {}
        model_type = spec.model_type
        if spec.any and not missing:
            model_type = table.get("model_type", spec.model_type)
            known = tuple(readers)
            if not isinstance(model_type, str) or model_type not in known:
                hint = hinted(str(model_type), known)
                field = f"{name}.model_type"
                raise self.refusal(field, model_type, "is not known", hint)
        if missing and self._tells:
            self.notes.defaulted[self._path + name] = None
        return Fields(
            table,
            model_type,
            class_defaults(model_type),
            self.notes,
            prefix=self._prefix,
            path=f"{self._path}{name}.",
            start=spec.fields if missing else None,
            known_defaults=self._tells and not missing,
        )

    def flat(self, model_type: str) -> Fields:
        """Return the view of this table as another type, whose fields it holds among its own."""
        view = Fields(
            self._table,
            model_type,
            class_defaults(model_type),
            self.notes,
            prefix=self._prefix,
            path=self._path,
        )
        view._taken = self._taken
        return view

    def sources(self, *more: str) -> tuple[str, ...]:
        """Return where the figures of this table are from."""
        where = f" ({self._path[:-1]})" if self._path else ""
        return (
            f"{self.notes.origin}{where}; transformers {VERSION} {self._defaults.name} for what it "
            "leaves out",
            *more,
        )

    # --- the rest --------------------------------------------------------------------------------

    def ignore(self, *names: str) -> None:
        """Take fields that change no cost in this part."""
        self._taken.update(names)

    def repeats(self, other: Fields) -> None:
        """Take the fields of another table that this one repeats.

        Raises:
            InvalidInput: A field has another value there.
        """
        for name in self._table.keys() & other._table.keys() & other._defaults.fields.keys():
            if name in self._taken:
                continue
            if self._table[name] != other._table[name]:
                problem = f"is not {other._path}{name}, which it repeats"
                raise self.refusal(name, self._table[name], problem, "leave one of them out")
            self._taken.add(name)

    def only(self, name: str, value: object, why: str) -> None:
        """Refuse a field that is not `value`, the one that is understood; it may be left out."""
        if not self.has(name) and self._defaults.fields.get(name) is None:
            self.ignore(name)
            return
        given = self.value(name)
        if given != value or isinstance(given, bool) != isinstance(value, bool):
            shown = _shown(value)
            raise self.refusal(
                name, given, f"is not understood: {why}", f"only {shown} can be read"
            )

    def finish(self) -> None:
        """Refuse the first field that nobody took, unless it is known to change no cost.

        Raises:
            InvalidInput: There is such a field.
        """
        for name, value in self._table.items():
            if name in self._taken or value is None or changes_nothing(name):
                continue
            if is_off(name, value):
                continue
            if name == "quantization_config":
                remark = "quantization_config: parameters are counted as if they were not quantised"
                self.notes.remarks[remark] = None
                continue
            raise self.refusal(
                name,
                value,
                f"is not understood for {self.model_type} and could change the cost",
                "remove it if it does not",
            )

    def refusal(self, name: str, value: object, problem: str, way_out: str) -> InvalidInput:
        """Return the error for a field of this table."""
        field = clip(f"{self._prefix}{self._path}{name}", 200)
        return InvalidInput(field, _shown(value), problem, way_out)

    def _other_names(self, name: str) -> list[str]:
        aliases = self._defaults.aliases
        others = [alias for alias, own in aliases.items() if own == name]
        return [*others, *([aliases[name]] if name in aliases else [])]


def _shown(value: object) -> object:
    """Return null, true, false, lists and tables as JSON writes them, and shortened."""
    if value is not None and not isinstance(value, bool | list | tuple | Mapping):
        return value
    try:
        return clip(json.dumps(value, default=str, ensure_ascii=False), 60)
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return "(numbers too long to print)"


def _plausible(name: str) -> int:
    """Return the most that a field of this name may hold."""
    if name.endswith("heads"):
        return MOST_HEADS
    if name.endswith("vocab_size"):
        return LARGEST_VOCABULARY
    return WIDEST if name.endswith(_WIDTHS) else LARGEST


def hinted(name: str, known: Sequence[str]) -> str:
    """Return what to give instead of a name: the one that it is a slip of, or the whole list.

    >>> hinted("lava", ["llava", "qwen2_vl"]), hinted("clip", ["llava", "qwen2_vl"])
    ('did you mean llava?', 'choose from llava, qwen2_vl')
    """
    import difflib  # only a slip needs it

    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.85)
    return f"did you mean {close[0]}?" if close else f"choose from {', '.join(known)}"
