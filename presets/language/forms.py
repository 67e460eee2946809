"""What each statement of the one-line form is made of: one description for reading and writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

from ...costmodel.numeric import Spec
from ...costmodel.schedule import Compress
from .words import Word, amount, counts, layer, layers, place, share, shares

Reader = Callable[[Word], Any]


def number(word: Word) -> str:
    """Return a value as it was written; the spec makes a number of it."""
    return word.text


def name(word: Word) -> Any:
    """Return a word, or what stands in quotes or braces."""
    return word.text if word.value is None else word.value


def kept(word: Word) -> dict[str, Any]:
    """Return tokens, a share, or that nothing is left."""
    return {"withdraw": True} if word.text in ("0", "none") else amount(word)


class Form(NamedTuple):
    """What a statement is made of.

    Attributes:
        goes: Key of the schedule; "stages" and "layers" are lists.
        first: Fields that come first, in this order; one without a name gives several.
        options: Words that a value follows.
        flags: Words that stand alone, with the field and the value that each gives.
        at: Field behind `@`; `plus`, behind `+`.
        kind: Of a layer rule.
        needs_layer: Whether the statement is about a layer, so that `@` cannot be left out.
    """

    goes: str
    first: tuple[tuple[str, Reader], ...] = ()
    options: Mapping[str, tuple[str, Reader]] = {}
    flags: Mapping[str, tuple[str, Any]] = {}
    at: tuple[str, Reader] | None = None
    plus: tuple[str, Reader] | None = None
    kind: str = ""
    needs_layer: bool = False

    @property
    def covered(self) -> frozenset[str]:
        """Fields that the form has a place for."""
        named = [field for field, _ in (*self.first, *self.options.values(), *self.flags.values())]
        behind = [part[0] for part in (self.at, self.plus) if part is not None]
        amounts = ["tokens", "ratio", "withdraw"] if "" in named else []
        return frozenset(["kind", *named, *behind, *amounts])

    def completed(self, spec: type[Spec]) -> Form:
        """Return the form with words for every other field of the spec: its name, or choices."""
        options, flags = dict(self.options), dict(self.flags)
        for field, info in spec.model_fields.items():
            if field in self.covered:
                continue
            word = field.replace("_", "-")
            choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
            if choices:
                flags.update({choice: (field, choice) for choice in choices})
            elif info.annotation is bool:
                flags[word] = (field, not info.default)
            else:
                options[word] = (field, layers if field.endswith("layers") else _guess)
        return self._replace(options=options, flags=flags)


def _guess(word: Word) -> Any:
    listed = "," in word.text or "*" in word.text
    return shares(word) if listed else share(word)


def _named(reader: Reader, *words: str, **others: str) -> dict[str, tuple[str, Reader]]:
    return {word: (word, reader) for word in words} | {
        word.replace("_", "-"): (field, reader) for word, field in others.items()
    }


def _rule(kind: str, **parts: Any) -> Form:
    return Form("layers", kind=kind, **parts)


FORMS: dict[str, Form] = {
    "name": Form("name", first=(("name", name),)),
    "input": Form("input", options=_named(share, "frames", "patches")),
    "merge": Form("encoder", first=(("merged_per_layer", counts),)),
    "encoder": Form(
        "encoder",
        first=(("", amount),),
        at=("first_layer", layer),
        needs_layer=True,
    ),
    "compress": Form(
        "compress",
        first=(("", amount),),
        plus=("extra", number),
    ),
    "keep": Form("stages", first=(("", kept),), at=("first_layer", place), needs_layer=True),
    "profile": _rule(
        "profile",
        first=(("curve", number), ("ratio", share)),
        options=_named(number, "steepness") | _named(share, "least", full_above="full_above"),
        at=("layer", place),
    ),
    "withdraw": _rule("withdraw", at=("layer", place), needs_layer=True),
    "inject": _rule("inject", at=("layer", place), needs_layer=True),
    "expand": _rule("expand", first=(("ratio", share),), at=("layer", place), needs_layer=True),
    "freeze": _rule("freeze", first=(("layers", layers),), at=("first_layer", place)),
    "sparse": _rule("sparse", options=_named(share, "pairs", "ffn"), at=("layers", layers)),
    "subset": _rule("subset", first=(("ratio", share),), at=("layers", layers)),
    "vectors": _rule("vectors", options=_named(shares, "tokens", "query", "key", "ffn", "pairs")),
    "cache": Form(
        "cache",
        options=_named(share, "stored", "read", "generated", "shrink", "rescan")
        | _named(number, tokens="stored_tokens")
        | _named(layers, focal="focal_layers"),
        at=("first_layer", place),
    ),
    "channels": Form(
        "channels", options=_named(share, "key", "value", "ffn", encoder_ffn="encoder_ffn")
    ),
    "bits": Form("bits", options=_named(number, "weights", "activations", "kv")),
    "stream": Form("stream", options=_named(share, "stride", "refresh") | _named(number, "bank")),
    "train": Form(
        "training",
        options=_named(share, fixed="fixed_share"),
        flags={"recompute": ("recompute", True), "encoder": ("frozen_encoder", False)},
    ),
    "round": Form("rounding", first=(("rounding", number),)),
    "select": Form("selection", first=(("selection", name),)),
    "mix": Form("mixture"),
    "dense": Form(""),
}
_HOME = "vlm_tokencost.costmodel.primitives"
#: Specs of the statements that give one table, so that no field of theirs lacks a word.
_SPECS = {
    "input": ".inputs:Input",
    "encoder": ".encoding:EncoderStages",
    "cache": ".cache:Cache",
    "channels": ".widths:Channels",
    "bits": ".widths:Bits",
    "stream": ".stream:Stream",
    "train": ".training:Training",
}


def form_of(keyword: str) -> Form | None:
    """Return what a statement is made of; a layer rule without a form of its own has options."""
    form = FORMS.get(keyword)
    if form is None:
        from ...costmodel.primitives.layers import LAYER_RULES  # a rule, or a slip

        if keyword not in LAYER_RULES.modules:
            return None
        form = _rule(keyword)
    if not (form.kind or keyword in _SPECS or keyword == "compress"):
        return form
    completed = form.completed(_spec(keyword, form))
    if keyword == "encoder":
        options = {word: part for word, part in completed.options.items() if part[0] != "stages"}
        completed = completed._replace(options=options)
    return completed


def _spec(keyword: str, form: Form) -> type[Spec]:
    if keyword == "compress":
        return Compress
    if form.kind:
        from ...costmodel.primitives.layers import LAYER_RULES

        return LAYER_RULES.spec(form.kind)
    from importlib import import_module

    module, kind = _SPECS[keyword].split(":")
    found: type[Spec] = getattr(import_module(_HOME + module), kind)
    return found


def keywords() -> list[str]:
    """Return the words with which a statement begins."""
    from ...costmodel.primitives.layers import LAYER_RULES

    return sorted({*FORMS, *LAYER_RULES.modules})
