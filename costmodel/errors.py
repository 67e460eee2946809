"""Errors that a user can mend: one sentence with the field, the value and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


class TokencostError(Exception):
    """Base of every error that this library raises on purpose.

    >>> issubclass(InvalidInput, TokencostError), issubclass(MissingExtra, TokencostError)
    (True, True)
    """


class InvalidInput(TokencostError, ValueError):
    """A value that cannot be priced.

    Attributes:
        field: Name of the offending field, dotted when it is nested (``stages.1.ratio``).
        value: What was given; ``None`` when the field is absent.
        problem: What is wrong, as a clause.
        way_out: What to do instead, as a clause.
        names_spec: Whether `field` is the spec itself, because the problem is no single field's.

    >>> print(InvalidInput("keep", 1.5, "is outside (0, 1]", "give a ratio such as 0.5"))
    keep 1.5 is outside (0, 1]; give a ratio such as 0.5
    """

    names_spec = False

    def __init__(self, field: str, value: object, problem: str, way_out: str) -> None:
        """Keep the parts, so that a front end can rename the field to its own option."""
        self.field, self.value, self.problem, self.way_out = field, value, problem, way_out
        super().__init__(self.sentence(field))

    def sentence(self, name: str) -> str:
        """Return the error as one sentence in which the field is called `name`."""
        shown = "" if self.value is None else f" {clip(self.value) or repr('')}"
        return f"{name}{shown} {self.problem}; {self.way_out}"

    @classmethod
    def from_validation(cls, error: ValidationError, spec: type[BaseModel]) -> InvalidInput:
        """Turn pydantic's first complaint about a spec into one sentence."""
        complaints: list[Any] = list(error.errors(include_url=False))
        # A misspelt key also leaves one missing: the misspelling is what to tell.
        unknown = [item for item in complaints if item["type"] == "extra_forbidden"]
        first = (unknown or complaints)[0]
        path = [clip(part) for part in first["loc"]]  # a key is whatever the user typed
        inner = first.get("ctx", {}).get("error")
        if isinstance(inner, InvalidInput):
            # The innermost field names itself; its path comes from pydantic.
            path = [*path, clip(inner.field, 240)] if inner.field and not inner.names_spec else path
        found = cls._first(first, path, spec)
        found.names_spec = not path  # an outer spec knows it by its own name of the field
        return found

    @classmethod
    def _first(cls, first: Any, path: list[str], spec: type[BaseModel]) -> InvalidInput:
        """Word one complaint of pydantic's."""
        name = ".".join(path) or spec.__name__.lower()
        inner = first.get("ctx", {}).get("error")
        if isinstance(inner, InvalidInput):
            return cls(name, inner.value, inner.problem, inner.way_out)
        kind = first["type"]
        if kind == "extra_forbidden":
            return cls(name, None, "is not a known key", suggestion(path[-1], _keys(spec, path)))
        if kind == "missing":
            return cls(name, None, "is missing", "add it")
        if kind == "invalid_key":
            return cls(name, None, "is not a known key", "give keys that are texts")
        value = None if isinstance(first["input"], (dict, BaseModel)) else first["input"]
        if kind == "literal_error":
            choices = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
            named = ", ".join(one for one in choices.split(", ") if one)  # "" is what is not told
            return cls(name, value, "is not a choice", f"choose from {named}")
        if kind in _SHAPES:
            return cls(name, value, f"is not {_SHAPES[kind]}", f"give {_SHAPES[kind]}")
        if kind == "too_short":
            return cls(name, value, "is too short", f"give at least {first['ctx']['min_length']}")
        if kind in _BOUNDS:
            bound = next(iter(first["ctx"].values()))
            return cls(name, value, _BOUNDS[kind].format(bound), "correct it")
        message = first["msg"].removeprefix("Value error, ")
        return cls(name, value, message[0].lower() + message[1:], "correct it")


#: What pydantic's commonest complaints are about, in words.
_SHAPES = {
    "tuple_type": "a list",
    "dict_type": "a table of keys",
    "model_type": "a table of keys",
    "model_attributes_type": "a table of keys",
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
}
#: What it says of values beyond a bound, in words.
_BOUNDS = {
    "greater_than": "is not above {}",
    "greater_than_equal": "is below {}",
}


def _keys(spec: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Return the keys that the table at `path`, its last part left out, can have."""
    specs = [spec]
    for part in path[:-1]:
        fields = [one.model_fields[part] for one in specs if part in one.model_fields]
        if fields:
            specs = [model for field in fields for model in _models(field.annotation)] or specs
        else:  # the place in a list, or the kind of a union's member
            kinds = {getattr(one.model_fields.get("kind"), "default", None): one for one in specs}
            specs = [kinds[part]] if part in kinds else specs
    return list(specs[0].model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


class UnknownName(InvalidInput):
    """A name that no preset has.

    >>> print(UnknownName("model", "lava-1.5-7b", ["llava-1.5-7b"], "tokencost models list"))
    model lava-1.5-7b is not known; did you mean llava-1.5-7b?
    """

    def __init__(self, field: str, name: str, known: Sequence[str], listing: str) -> None:
        """Suggest the closest of the `known` names, or the `listing` command."""
        close = closest(name, known)
        hint = f"did you mean {close}?" if close else f"see `{listing}`"
        super().__init__(field, name, "is not known", hint)


class MissingExtra(TokencostError):
    """An optional dependency that is not installed.

    >>> print(MissingExtra("pandas", "pandas"))
    pandas is not installed; install the extra with: pip install 'vlm-tokencost[pandas]'
    """

    def __init__(self, package: str, extra: str) -> None:
        """Name the `package` and the `extra` that brings it."""
        self.package, self.extra = package, extra
        super().__init__(
            f"{package} is not installed; "
            f"install the extra with: pip install 'vlm-tokencost[{extra}]'"
        )


def clip(value: object, limit: int = 80) -> str:
    """Return `value` on one printable line of at most `limit` characters.

    Of a path the end stays, which names the file.

    >>> clip("/home/user/schedules/plan.toml", 20), clip("a text without an end", 10)
    ('…schedules/plan.toml', 'a text wi…')
    """
    try:
        text = " ".join(str(value).split())
    except ValueError:  # Python prints no integer of more than 4,300 digits
        text = "(a number too long to print)"
    text = "".join(character if character.isprintable() else "?" for character in text)
    if len(text) <= limit:
        return text
    if hasattr(value, "__fspath__") or re.fullmatch(r"[^\s]*[/\\][^\s/\\]+\.\w{1,8}", text):
        return "…" + text[1 - limit :]
    return text[: limit - 1] + "…"


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that `name` most resembles, or an empty string.

    A name of the same parts in another order comes first: 11b is not 90b, wherever it stands.

    >>> closest("Llama-3.2-11B-Vision", ["llama3.2-vision-90b", "llama3.2-vision-11b"])
    'llama3.2-vision-11b'
    """
    import difflib  # only a slip needs it

    names, wanted = list(known), name.lower()
    by_parts = {_parts(known): known for known in reversed(names) if _parts(known)}
    parts = difflib.get_close_matches(_parts(wanted), by_parts, n=1, cutoff=0.75)
    matches = [by_parts[found] for found in parts]
    matches += difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
    matches += [known for known in names if len(wanted) > 3 and wanted in known]
    return matches[0] if matches else ""


def _parts(name: str) -> str:
    """Return a name's words and numbers, a unit such as b with its number, in order.

    >>> _parts("llama3.2-vision-11b")
    '11b 3.2 llama vision'
    """
    words = re.findall(r"[0-9][0-9.]*[A-Za-z]?(?![A-Za-z])|[A-Za-z]+|[0-9.]+", name)
    return " ".join(sorted(words))


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" for a misspelt key, or the list of known keys."""
    choices = sorted(known, key=lambda one: (int(one) if one.isdecimal() else 0, one))
    close = closest(name, choices)
    return f"did you mean {close}?" if close else f"known keys: {', '.join(choices)}"
