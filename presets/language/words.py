"""Words of the one-line form of a schedule, each with its column."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any, NamedTuple

from ...costmodel import InvalidInput
from ...costmodel.errors import clip, closest
from ...costmodel.numeric import ratio

#: More layers than any decoder has; a range of more is a slip.
MOST_LAYERS = 10_000
_WORD = re.compile(r'[^\s|()@+:"{}]+')
_PLACE = "1/2 of the layers, or a layer such as 16"


class Word(NamedTuple):
    """A word, a sign, or a value in JSON.

    Attributes:
        text: As written.
        column: Of its first character, from 1.
        value: What JSON says, for texts in quotes and tables in braces.
    """

    text: str
    column: int
    value: Any = None

    def complaint(self, problem: str, way_out: str) -> InvalidInput:
        """Return the error that this word is wrong."""
        return Misread(self.column, f"{clip(self.text, 40)} {problem}", way_out)


class Misread(InvalidInput):
    """A text that is no schedule, with the column at which that shows."""

    def __init__(self, column: int, problem: str, way_out: str) -> None:
        """Keep the column; whoever knows the text words the sentence."""
        self.column = column
        super().__init__("", None, problem, way_out)


class Part(NamedTuple):
    """A share of the decoder layers, rounded down, where a layer is wanted."""

    share: Fraction

    def of(self, depth: int) -> int:
        """Return the layer."""
        return int(self.share * depth)


class Onward(NamedTuple):
    """Every layer from one on, in a list of layers."""

    first: int


def split(text: str) -> list[Word]:
    """Return the words of a text.

    Raises:
        Misread: A quote or a brace that is never closed, or a character with no meaning.
    """
    words: list[Word] = []
    decoder = json.JSONDecoder()
    at = 0
    while at < len(text):
        character = text[at]
        if character.isspace():
            at += 1
        elif character in "|()@+:":
            words.append(Word(character, at + 1))
            at += 1
        elif character in '"{':
            try:
                value, end = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                what = "a text in quotes" if character == '"' else "a table in braces"
                problem = f"{clip(text[at:], 20)} is not {what}"
                raise Misread(at + 1, problem, "write it as in JSON") from None
            words.append(Word(text[at:end], at + 1, value))
            at = end
        else:
            found = _WORD.match(text, at)
            if found is None:
                raise Misread(at + 1, f"{character} has no meaning here", "leave it out")
            words.append(Word(found[0], at + 1))
            at = found.end()
    return words


def amount(word: Word) -> dict[str, Any]:
    """Return {"tokens": …} of a whole number and {"ratio": …} of a share.

    >>> amount(Word("64", 1)), amount(Word("0.5", 1)), amount(Word("50%", 1))
    ({'tokens': '64'}, {'ratio': '0.5'}, {'ratio': Fraction(1, 2)})
    """
    return {"tokens": word.text} if word.text.isdecimal() else {"ratio": share(word)}


def share(word: Word) -> str | Fraction:
    """Return a share as it was written, or an exact percentage."""
    if not word.text.endswith("%"):
        return word.text
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", word.text[:-1]):
        found = Fraction(word.text[:-1]) / 100
        if 0 <= found <= 1:
            return found
    raise word.complaint("is no percentage up to 100%", "give a share such as 0.5")


def place(word: Word) -> str | Part:
    """Return a layer as it was written, or its share of the layers."""
    if word.text.isdecimal():
        return word.text
    try:
        found = share(word)
        return Part(ratio(found, ""))
    except InvalidInput:
        raise word.complaint("is no layer", f"give {_PLACE}") from None


def layer(word: Word) -> str:
    """Return the number of a layer as it was written."""
    if not word.text.isdecimal():
        raise word.complaint("is no layer", "give a layer such as 6")
    return word.text


def layers(word: Word) -> list[Any]:
    """Return layers: "3,5-9" or "2-", which goes on to the last.

    >>> layers(Word("3,5-7,12-", 1))
    [3, 5, 6, 7, Onward(first=12)]
    """
    found: list[Any] = []
    for item in _items(word):
        match = re.fullmatch(r"([0-9]{1,5})(-([0-9]{0,5}))?", item)
        if match is None:
            raise word.complaint("is no list of layers", "write layers such as 3,5-9 or 2-")
        first = int(match[1])
        last = int(match[3]) if match[3] else first
        if match[2] and not match[3]:
            found.append(Onward(first))
        elif not first <= last <= MOST_LAYERS:
            raise word.complaint("has a range of layers that ends before it begins", "correct it")
        else:
            found += range(first, last + 1)
    return found


def shares(word: Word) -> list[str]:
    """Return a share for each layer; "1*8" stands for eight of them.

    >>> shares(Word("1*2,0.5", 1))
    ['1', '1', '0.5']
    """
    found: list[str] = []
    for item in _items(word):
        value, _, times = item.partition("*")
        if times and not re.fullmatch(r"[0-9]{1,5}", times):
            raise word.complaint("is no list of shares", "write shares such as 1*8,0.5*24")
        found += [value] * (int(times) if times else 1)
        if len(found) > MOST_LAYERS:
            raise word.complaint("has more shares than any decoder has layers", "give one each")
    return found


def counts(word: Word) -> str | list[str]:
    """Return one number, or a list of them; "16," is a list of one and "none" an empty one."""
    if word.text == "none":
        return []
    if "," not in word.text:
        return word.text
    return list(_items(word))


def _items(word: Word) -> list[str]:
    return word.text.removesuffix(",").split(",")


def unknown(word: Word, known: list[str], what: str) -> InvalidInput:
    """Return the error that a word is none of the known ones, with the closest of them."""
    close = closest(word.text, known)
    hint = f"did you mean {close}?" if close else f"choose from {', '.join(known)}"
    return word.complaint(f"is no {what}", hint)
