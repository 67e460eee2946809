"""Published figures as typed data: what is claimed, under which conditions, and how it is known.

Files hold `[[claims]]` tables and, before them, `[defaults]` that each of them starts from. Users
write their own in the same form.
"""

import tomllib
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, StrictBool, model_validator

from ..costmodel import InvalidInput, TokencostError, UnknownName, Workload
from ..costmodel.errors import suggestion
from ..costmodel.numeric import Converted, Count, Positive, Spec
from .quantities import QUALITY as QUALITY
from .quantities import QUANTITIES as QUANTITIES
from .quantities import UNITS as UNITS
from .schedule_file import file_text, in_file

CLAIMS = Path(__file__).parent / "claims"
#: Thousands of claims; a line of dotted keys takes time that grows with its square.
LARGEST_FILE, LONGEST_LINE = 1 << 20, 1 << 13

Scope = Literal[
    "",
    "llm-prefill",
    "prefill",
    "ttft",
    "decode",
    "end-to-end",
    "attention",
    "encoder",
    "selection",
    "serving",
    "training",
]
Verification = Literal["source", "secondary", "abstract", "survey", "memory", "calculated"]


#: What of a request a reading may suppose.
Supposable = Literal["visual_tokens", "text_tokens", "new_tokens", "batch", "attention"]


#: What cannot be nought or less: amounts, but not shares, differences of scores, or texts.
_AMOUNTS = frozenset({"compute", "count", "bytes", "time", "rate", "factor"})

RelationKind = Literal["ratio", "reduction", "factor", "sum", "difference", "product", "equal"]


class Relation(Spec):
    """How a figure follows from others that are printed beside it.

    Attributes:
        kind: "ratio" a/b, "reduction" 1 − a/b, "factor" b/a, "sum" a + b + …, "difference" b − a,
            "product" a · b of a share a, "equal" a; of a the scheduled and b the dense figure.
        of: Ids of the other figures, a first; or their values in the unit that they share.
        as_times: Whether figures are rates, whose ratios are those of times upside down.
    """

    kind: RelationKind
    of: Annotated[tuple[str | Decimal, ...], Field(min_length=1)]
    as_times: StrictBool = False

    @model_validator(mode="after")
    def _arguments(self) -> Self:
        pairs = ("ratio", "reduction", "factor", "difference", "product")
        wanted = {**dict.fromkeys(pairs, 2), "equal": 1}
        if self.kind in wanted and len(self.of) != wanted[self.kind]:
            raise InvalidInput(
                "of", len(self.of), f"figures do not make a {self.kind}", "name a and b"
            )
        return self


def _number(value: object) -> Decimal:
    """Return a number with the digits that are printed."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise InvalidInput("", value, "is not a number", "write it as printed, such as 20.80")
    try:
        number = Decimal(value)
    except ArithmeticError:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise InvalidInput("", value, "is not a number", "write it as printed, such as 20.80")
    return number


def _one_of(table: dict[str, Any], what: str) -> Any:
    def convert(value: object) -> str:
        if not isinstance(value, str) or value not in table:
            known = tuple(table)
            way_out = suggestion(str(value), known).replace("known keys:", "choose from")
            raise InvalidInput("", value, f"is not a {what}", way_out)
        return value

    return convert


Printed = Annotated[Decimal, Converted(_number)]


class Claim(Spec):
    """One published figure.

    Attributes:
        id: Ours.
        method, model_name, setting, conditions, printed: As the source words them; `printed` where
            the figure is no plain number ("9:25", "75-95").
        applies: Our id of the method; empty for a dense model or a method that we do not have.
        model: Our id of the model; empty where none fits. `stands_in` says which other model it
            stands for, and why it may: nothing is then more than assumed.
        paper: arXiv number, if any. `source` says where in it the figure stands, `source_kind` what
            was read, `verification` how far it was seen there.
        primary: Whether the source is the method's own.
        quantity, value, most, unit: The figure; `most` ends a range that starts at `value`.
        hedge: "about", "at least" (or "more than") and "up to", where the source says so.
        cut: Whether the source cuts digits off instead of rounding.
        convention: That the source states: its own formula; empty where it states none.
        scope: What a time, speed-up or cost is of; empty where the source leaves it open. A cost of
            "llm-prefill" is of the decoder's layers, of "prefill" of encoder and connector too.
        dense: Whether the figure is of the model without the method.
        budget, schedule: The method's setting: tokens, or a schedule in full; without both the
            method's default. `unsettled` says why no setting can be given.
        images, frames, visual_tokens, text_tokens, new_tokens, batch: The request as far as it is
            known; None where the source is silent.
        text_lengths, visual_lengths: Several requests, whose mean is printed.
        device, attention, runtime: What it ran on, as far as it is known.
        weight_bits: Bits of the LLM's weights as they are stored.
        baseline: The dense model's figure printed beside it, or that claim's id.
        cost: Id of the claim that prints the FLOPs of the same run, of which a speed-up is judged
            where model or setting are not known.
        supposed: Names of the fields above that the source leaves open, and that are filled with
            the one reading that is judged; `note` says why with that.
        repeats: Id of the claim that records the same figure of the same source elsewhere, with
            which it is counted once.
        follows: How it must follow from others of the same source.
        corrected, correction: The right figure where the source is known to err, and why.
        note: What a reader should know.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    method: str
    applies: str = ""
    model_name: str = ""
    model: str = ""
    stands_in: str = ""
    paper: Annotated[str, Field(pattern=r"^(\d{4}\.\d{4,5})?$")] = ""
    setting: str = ""
    conditions: str = ""
    source: str
    source_kind: Literal["paper", "repository", "survey", "notes", "documents", "user"] = "user"
    primary: StrictBool = False
    verification: Verification = "source"
    quantity: Annotated[str, Converted(_one_of(QUANTITIES, "quantity"))]
    value: Printed | None = None
    most: Printed | None = None
    unit: Annotated[str, Converted(_one_of(UNITS, "unit"))]
    printed: str = ""
    hedge: Literal["", "about", "at least", "up to"] = ""
    cut: StrictBool = False
    convention: Literal["", "survey", "gated", "exact"] = ""
    scope: Scope = ""
    dense: StrictBool = False
    budget: Positive | None = None
    schedule: dict[str, Any] | str | None = None
    unsettled: str = ""
    images: tuple[str, ...] = ()
    frames: Count = 0
    visual_tokens: Positive | None = None
    text_tokens: Count | None = None
    text_lengths: tuple[Count, ...] = ()
    visual_lengths: tuple[Positive, ...] = ()
    new_tokens: Positive | None = None
    batch: Positive | None = None
    device: str = ""
    attention: Literal["", "eager", "fused"] = ""
    runtime: Literal["", "eager", "graph"] = ""
    weight_bits: Literal[16, 8, 4] = 16
    baseline: Printed | str | None = None
    cost: str = ""
    supposed: tuple[Supposable, ...] = ()
    repeats: str = ""
    follows: tuple[Relation, ...] = ()
    corrected: Printed | None = None
    correction: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wanted = QUANTITIES[self.quantity]
        if UNITS[self.unit].dimension != wanted:
            fitting = [name for name, unit in UNITS.items() if unit.dimension == wanted]
            problem = f"does not measure {self.quantity}"
            raise InvalidInput("unit", self.unit, problem, f"use {' or '.join(fitting)}")
        if self.value is None and not self.printed:
            raise InvalidInput("value", None, "is missing", "write the figure, or `printed`")
        if self.most is not None and (self.value is None or self.most < self.value):
            raise InvalidInput("most", self.most, "is below value", "write the range upwards")
        if wanted in _AMOUNTS:
            for name in ("value", "baseline", "corrected"):
                amount = getattr(self, name)
                if isinstance(amount, Decimal) and amount <= 0:
                    problem = f"is no {self.quantity}"
                    raise InvalidInput(name, amount, problem, "write a positive figure")
        if sum((self.budget is not None, self.schedule is not None, self.dense)) > 1:
            problem = "do not go together"
            raise InvalidInput("budget, schedule, dense", None, problem, "give one of them")
        for name in self.supposed:
            if getattr(self, name) in (None, ""):
                raise InvalidInput("supposed", name, "is empty", "fill that field, or leave it out")
        lengths = len(self.text_lengths), len(self.visual_lengths)
        if lengths[1] and lengths[0] != lengths[1]:
            problem = f"has {lengths[1]} numbers for {lengths[0]} text lengths"
            raise InvalidInput("visual_lengths", None, problem, "give both for every request")
        named = [of for relation in self.follows for of in relation.of]
        if self.id in (*named, self.baseline, self.cost, self.repeats):
            problem = "names the claim itself"
            raise InvalidInput("follows", self.id, problem, "name other figures of its source")
        whole = Decimal(100) if self.unit == "%" else Decimal(1)
        if self.quantity.endswith("reduction") and self.value is not None and self.value >= whole:
            problem = "saves everything or more"
            raise InvalidInput("value", self.value, problem, "write a share below the whole")
        if (self.corrected is None) != (not self.correction):
            problem = "and correction go together"
            raise InvalidInput("corrected", None, problem, "say what is right, and why")
        return self

    @property
    def judged(self) -> bool:
        """Whether the figure is one that can be checked: no quality, no text."""
        return self.quantity not in QUALITY and QUANTITIES[self.quantity] != "text"

    @property
    def base(self) -> Fraction | None:
        """The figure in base units: MAC or FLOP, token, byte, second, one."""
        return None if self.value is None else Fraction(self.value) * UNITS[self.unit].size

    @property
    def step(self) -> Fraction:
        """One unit of the last printed digit, in base units."""
        assert self.value is not None, "a text has no digits"
        exponent = self.value.as_tuple().exponent
        assert isinstance(exponent, int)
        return Fraction(10) ** exponent * UNITS[self.unit].size

    def workload(self, text_tokens: int | None = None) -> Workload:
        """Return the request; what the source leaves open is 0 text tokens, one image, batch 1."""
        text = text_tokens if text_tokens is not None else self.text_tokens or 0
        return Workload(
            images=self.images,
            frames=self.frames,
            visual_tokens=self.visual_tokens,
            text_tokens=text,
            new_tokens=self.new_tokens or 1,
            batch=self.batch or 1,
        )


class ClaimFile(NamedTuple):
    """The claims of a file, in its order."""

    path: str
    claims: tuple[Claim, ...]


def read_claims(path: str | Path, field: str = "claims") -> ClaimFile:
    """Return the claims of a user's TOML file.

    Raises:
        InvalidInput: The file cannot be read or is malformed; the sentence names line and key.
    """
    return ClaimFile(str(path), _parsed(claims_text(path, field), str(path), field))


def claims_text(path: str | Path, field: str = "claims") -> str:
    """Return the text of a user's file of claims.

    Raises:
        InvalidInput: The file cannot be read, or is beyond what TOML's readers take in good time.
    """
    way_out = "give a readable TOML file of [[claims]] tables"
    text = file_text(Path(path), field, way_out, LARGEST_FILE)
    if any(len(line) > LONGEST_LINE for line in text.splitlines()):
        problem = f"has a line of more than {LONGEST_LINE:,} signs"
        raise InvalidInput(field, path, problem, way_out)
    return text


def _parsed(text: str, path: str, field: str) -> tuple[Claim, ...]:
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(field, path, f"is not TOML: {error}", "correct that line") from None
    except (ValueError, ArithmeticError, RecursionError):
        problem = "holds a number or a nesting beyond what Python reads"
        raise InvalidInput(field, path, problem, "write plain numbers") from None
    tables, defaults = content.pop("claims", None), content.pop("defaults", {})
    if content or not isinstance(tables, list) or not isinstance(defaults, dict):
        odd = next(iter(content), "claims")
        problem = f"has no [[claims]] tables, or a key beside them: {odd}"
        raise InvalidInput(field, path, problem, "write [[claims]] tables, after [defaults] if any")
    claims, seen = [], set[str]()
    for index, table in enumerate(tables):
        try:
            if not isinstance(table, dict):
                raise InvalidInput("", None, "is not a table", "write [[claims]] tables")
            claim = Claim(**{**defaults, **table})
            if claim.id in seen:
                raise InvalidInput("id", claim.id, "is there twice", "give each claim its own id")
        except InvalidInput as error:
            inner = InvalidInput(
                f"claims.{index}.{error.field}", error.value, error.problem, error.way_out
            )
            raise in_file(inner, path, text, field) from None
        seen.add(claim.id)
        claims.append(claim)
    return tuple(claims)


@cache
def load_claims() -> dict[str, Claim]:
    """Return all published claims by id, in the order of their files.

    Raises:
        TokencostError: A file is wrong; the message names file, line and key.
    """
    claims: dict[str, Claim] = {}
    for path in sorted(CLAIMS.glob("*.toml")):
        try:
            found = _parsed(path.read_text(encoding="utf-8"), path.name, "claims")
        except InvalidInput as error:
            raise TokencostError(str(error)) from None
        for claim in found:
            if claim.id in claims:
                raise TokencostError(f"{path.name}: id {claim.id} is in another file too")
            claims[claim.id] = claim
    return claims


def load_claim(claim_id: str) -> Claim:
    """Return the claim called `claim_id`.

    Raises:
        UnknownName: No claim has that id.
    """
    known = load_claims()
    if claim_id not in known:
        raise UnknownName("claim", claim_id, tuple(known), "tokencost claims list")
    return known[claim_id]
