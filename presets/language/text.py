"""The one-line form of a schedule: statements joined by `|`.

    input frames 0.5 patches 0.3             before the encoder
    merge 16                                 in every encoder block (merge 200,100: by block)
    encoder 0.25 @ 6 unshuffle               from layer 6 of the encoder on (keep, merge, pool)
    compress 64 before-connector + 1         tokens, or a share (0.1, 1/9, 10%); one token on top
    keep 300 @ 3                             tokens, or a share of those that enter the LLM
    keep 0.5 @ 1/2                           from half of the layers on, rounded down; 0 is none
    withdraw @ 16 | inject @ 4 | freeze 3,5-9 | sparse pairs 0.3 ffn 0.5 @ 2- | subset 0.4
    freeze @ 16 | expand 0.1 @ 8             frozen from layer 16 on; few tokens before layer 8
    profile sigmoid 0.2 @ 10 steepness 5     a curve over the layers
    vectors tokens 1*2,0.5*30                a share for each layer
    cache stored 1 read 0.05 focal 3,9 @ 2 generated 0.5 shrink 0.01 rescan 0.1
    channels key 0.25 | bits weights 4 kv 4 | stream stride 0.25 refresh 0.1 bank 1024
    mix 0.3: compress 64 / 0.6: (keep 0.5 @ 2 | bits kv 8) / 0.05: dense / 0.05: skip
    train fixed 0.26 recompute encoder       a step with recomputation that trains the encoder
    select fastv | round float-floor | name "for the reader"

A whole number is a number of tokens, anything else a share: `keep 1` leaves one token, `keep 1.0`
all of them. Shares that can be nothing else may be written either way (`subset 1`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from ...costmodel import InvalidInput
from ...costmodel.errors import clip
from ...costmodel.schedule import Schedule
from .forms import Form, Reader, form_of, keywords
from .words import Misread, Onward, Part, Word, share, split, unknown

#: Statements whose value is no table.
_PLAIN = ("name", "rounding", "selection")
_LISTS = ("stages", "layers")
_ENDS = ("|", ")")


class Parsed(NamedTuple):
    """A schedule as tables, and where each of them was said.

    Attributes:
        table: Its tables; layers may be shares of the depth.
        spans: Column and statement of each dotted key.
    """

    table: dict[str, Any]
    spans: dict[str, tuple[int, str]]

    @property
    def needs_depth(self) -> bool:
        """Whether a layer is a share of the layers, or a list goes on to the last."""
        return _open(self.table)

    def schedule(self, depth: int | None = None) -> Schedule:
        """Return the schedule, of a decoder of `depth` layers.

        Raises:
            Misread: A value that is wrong.
        """
        try:
            return Schedule(**filled(self.table, depth or 0))
        except InvalidInput as error:
            raise self.misread(error) from None

    def misread(self, error: InvalidInput) -> Misread:
        """Return an error about a field of the schedule as one about the text's column."""
        parts = error.field.split(".")
        places = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
        column, keyword = next((self.spans[one] for one in places if one in self.spans), (1, ""))
        what = parts[-1] if error.value is None else clip(error.value, 40)
        if parts[-1] in (keyword, "") or parts[-1].isdecimal():
            what = "" if error.value is None else what
        problem = f"{what} {error.problem}".strip()
        return Misread(column, f"in {keyword}: {problem}" if keyword else problem, error.way_out)


def parse_schedule(text: str, depth: int | None = None) -> Schedule:
    """Return the schedule that a one-line text describes.

    Args:
        text: The line.
        depth: Decoder layers of the model, for positions such as `@ 1/2`.

    Raises:
        InvalidInput: The text is wrong; the sentence names the column.

    >>> parse_schedule("compress 64 | keep 0.5 @ 16").stages[0].ratio
    Fraction(1, 2)
    """
    try:
        parsed = parse(text)
        if parsed.needs_depth and depth is None:
            problem = "has a layer that depends on the model's depth"
            raise InvalidInput("schedule", text, problem, "give the depth, or write a number")
        return parsed.schedule(depth)
    except Misread as error:
        problem = f"at column {error.column}: {error.problem}"
        raise InvalidInput("schedule", text, problem, error.way_out) from None


def parse(text: str) -> Parsed:
    """Return the tables that a one-line text describes.

    Raises:
        Misread: A word that is wrong.
    """
    parser = _Parser(split(text), len(text) + 1)
    table = parser.statements("")
    rest = parser.peek()
    if rest is not None:
        raise rest.complaint("closes nothing", "leave it out")
    return Parsed(table, parser.spans)


def filled(value: Any, depth: int) -> Any:
    """Return tables in which shares of the layers are layers."""
    if isinstance(value, Mapping):
        return {key: filled(item, depth) for key, item in value.items()}
    if isinstance(value, Part):
        return value.of(depth)
    if isinstance(value, list):
        found: list[Any] = []
        for item in value:
            if isinstance(item, Onward):
                found += range(item.first, depth)
            else:
                found.append(filled(item, depth))
        return found
    return value


def _constant(value: Any, word: Word) -> Any:
    return value


def _open(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_open(item) for item in value.values())
    if isinstance(value, list):
        return any(_open(item) for item in value)
    return isinstance(value, Part | Onward)


class _Parser:
    """Reads words from left to right."""

    def __init__(self, words: list[Word], end: int) -> None:
        self.words, self.end, self.next = words, end, 0
        self.spans: dict[str, tuple[int, str]] = {}
        self.branch = False

    def peek(self) -> Word | None:
        return self.words[self.next] if self.next < len(self.words) else None

    def take(self, wanted: str) -> Word:
        """Return the next word of a statement; a sign is none."""
        word = self.peek()
        if word is None or self.ends(word):
            column = self.end if word is None else word.column
            raise Misread(column, f"ends where {wanted} is wanted", f"add {wanted}")
        if word.text in "@+:(" and word.value is None:
            raise word.complaint(f"stands where {wanted} is wanted", f"write {wanted}")
        self.next += 1
        return word

    def ends(self, word: Word) -> bool:
        signs = (*_ENDS, "/") if self.branch else _ENDS
        return word.value is None and word.text in signs

    def statements(self, prefix: str) -> dict[str, Any]:
        """Return the tables of statements joined by `|`."""
        table: dict[str, Any] = {}
        while True:
            self.statement(table, prefix)
            word = self.peek()
            if word is None or word.text != "|" or self.branch:
                return table
            self.next += 1

    def statement(self, table: dict[str, Any], prefix: str) -> None:
        word = self.take("a statement such as keep 0.5 @ 2")
        form = None if word.value is not None else form_of(word.text)
        if form is None:
            raise unknown(word, keywords(), "statement")
        path = prefix + form.goes
        if form.goes in _LISTS:
            path += f".{len(table.setdefault(form.goes, []))}"
        elif form.goes and form.goes in table and word.text != "encoder":
            raise word.complaint("comes twice", "say it once")
        if form.goes:
            self.spans.setdefault(path, (word.column, word.text))
        if word.text == "dense":
            self.finish(word, form)
            return
        if word.text == "mix":
            if prefix:
                raise word.complaint("stands inside a mix", "list all ways at once")
            table["mixture"] = self.ways(prefix)
            return
        values = self.values(word, form, path)
        if word.text == "encoder":
            self.encoder_stage(table, word, values, path)
        elif form.goes in _LISTS:
            kind = {"kind": form.kind} if form.kind else {}
            table[form.goes].append({**kind, **values})
        else:
            table[form.goes] = values[form.goes] if form.goes in _PLAIN else values

    def values(self, keyword: Word, form: Form, path: str) -> dict[str, Any]:
        """Return what the words of a statement say, by field."""
        found: dict[str, Any] = {}

        def put(field: str, reader: Reader, word: Word) -> None:
            value = reader(word)
            values = {field: value} if field else value
            for name in values:
                if name in found:
                    raise word.complaint(f"gives {name} once more", "say it once")
                where = path if form.goes in _PLAIN else f"{path}.{name}"
                self.spans[where] = (word.column, keyword.text)
            found.update(values)

        for field, reader in form.first:
            after = self.peek()
            if form.at and field and after is not None and after.text == "@":
                break  # `freeze @ 16` names no list
            put(field, reader, self.item(field or "an amount"))
        while (word := self.peek()) is not None and not self.ends(word):
            sign = {"@": form.at, "+": form.plus}.get(word.text) if word.value is None else None
            if sign is not None:
                self.next += 1
                put(*sign, self.item("a number"))
            elif word.text in form.options:
                self.next += 1
                put(*form.options[word.text], self.item(f"a value of {word.text}"))
            elif word.text in form.flags:
                self.next += 1
                name, value = form.flags[word.text]
                put(name, partial(_constant, value), word)
            else:
                self.finish(keyword, form)
        if form.needs_layer and form.at is not None and form.at[0] not in found:
            raise keyword.complaint("names no layer", "add @ and the first layer, such as @ 16")
        return found

    def item(self, wanted: str) -> Word:
        """Return a value; a list goes on behind a comma and a space."""
        word = self.take(wanted)
        while word.text.endswith(",") and (more := self.peek()) is not None:
            if self.ends(more) or more.value is not None or not more.text[0].isdigit():
                break
            self.next += 1
            word = Word(word.text + more.text, word.column)
        return word

    def finish(self, keyword: Word, form: Form) -> None:
        """Refuse words behind the end of a statement."""
        word = self.peek()
        if word is None or self.ends(word):
            return
        signs = [sign for sign, part in (("@", form.at), ("+", form.plus)) if part]
        known = [*form.options, *form.flags, *signs]
        if not known or word.text in keywords():
            raise word.complaint(f"is too much behind {keyword.text}", "put | before the next one")
        raise unknown(word, known, f"part of {keyword.text}")

    def encoder_stage(
        self, table: dict[str, Any], word: Word, values: dict[str, Any], path: str
    ) -> None:
        """Add a stage of the encoder; all have the same op."""
        encoder = table.setdefault("encoder", {"stages": []})
        if "stages" not in encoder:
            raise word.complaint("does not go with merge", "leave one of them out")
        index = len(encoder["stages"])
        op = values.pop("op", None)
        if op is not None:
            if index and encoder.get("op", "keep") != op:
                raise word.complaint("has another op than the one before", "give one op")
            encoder["op"] = op
        elif index and encoder.get("op", "keep") != "keep":
            raise word.complaint("lacks the op of the one before", f"add {encoder['op']}")
        for name in ("", *(f".{name}" for name in values)):
            self.spans[f"{path}.stages.{index}{name}"] = (word.column, word.text)
        encoder["stages"].append(values)

    def ways(self, prefix: str) -> list[dict[str, Any]]:
        """Return the ways of a mixture."""
        found: list[dict[str, Any]] = []
        outer, self.branch = self.branch, True
        while True:
            path = f"{prefix}mixture.{len(found)}"
            chance = self.take("a probability")
            self.spans[path] = self.spans[f"{path}.probability"] = (chance.column, "mix")
            way: dict[str, Any] = {"probability": share(chance)}
            sign = self.peek()
            if sign is not None and sign.text == ":":
                self.next += 1
            way |= self.way(path)
            found.append(way)
            after = self.peek()
            if after is None or after.text != "/":
                self.branch = outer
                return found
            self.next += 1

    def way(self, path: str) -> dict[str, Any]:
        """Return what one way of a mixture does."""
        word = self.peek()
        if word is not None and word.value is None and word.text in ("dense", "skip"):
            self.next += 1
            after = self.peek()
            if after is not None and not self.ends(after):
                raise after.complaint("is too much behind a way", "put / before the next one")
            return {"skipped": True} if word.text == "skip" else {}
        if word is None or word.text != "(":
            return {"schedule": self.statements(f"{path}.schedule.")}
        self.next += 1
        self.branch = False
        closing = self.peek()
        empty = closing is not None and closing.text == ")"
        schedule = {} if empty else self.statements(f"{path}.schedule.")
        closing = self.peek()
        if closing is None:
            raise Misread(self.end, "ends where ) is wanted", "add )")
        self.next += 1
        self.branch = True
        return {"schedule": schedule}
