"""Schedules made of any primitives at any values, for properties that hold of all of them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, get_args

from hypothesis import strategies as st
from vlm_tokencost.costmodel import Compress, Schedule
from vlm_tokencost.costmodel.numeric import Spec
from vlm_tokencost.costmodel.primitives.encoding import EncoderStages
from vlm_tokencost.costmodel.primitives.layers import LAYER_RULES, Profile

COUNTS = st.integers(0, 10**9)
POSITIVES = st.integers(1, 10**9)
LAYERS = st.integers(0, 200)
RATIOS = st.one_of(
    st.fractions(0, 1, max_denominator=1000).filter(bool),
    st.integers(1, 10**6).map(lambda count: Fraction(count, 10**6)),
    st.fractions(0, 1, max_denominator=10**45).filter(bool),
    st.floats(0, 1, exclude_min=True).map(str).map(Fraction).filter(lambda f: f.denominator < 1e40),
)
SHARES = st.one_of(st.just(Fraction(0)), RATIOS)
NAMES = st.text(max_size=80).filter(str.isprintable)
LAYER_LISTS = st.sets(LAYERS, min_size=1, max_size=12).map(sorted)
SHARE_LISTS = st.lists(SHARES, min_size=1, max_size=40)
ROUNDINGS = st.sampled_from(["floor", "round", "ceil", "float-floor"])
EXPRESSIONS = st.sampled_from(["1", "M", "ceil(M, 2) * d", "b - a", "min(M, N) // crops"])
NOTHING = st.none()


def table(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


def choices(spec: type[Spec], field: str) -> st.SearchStrategy[str]:
    return st.sampled_from(get_args(spec.model_fields[field].annotation))


AMOUNT = st.one_of(table({"tokens": POSITIVES}), table({"ratio": RATIOS}))


def joined(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda dicts: {k: v for one in dicts for k, v in one.items()})


COMPRESS = joined(
    AMOUNT,
    table({}, extra=COUNTS, learned=COUNTS, at=choices(Compress, "at")),
)
STAGE = joined(st.one_of(AMOUNT, st.just({"withdraw": True})), table({"first_layer": LAYERS}))
ENCODER_STAGES = st.builds(
    lambda stages, op: {
        "stages": sorted(stages, key=lambda stage: stage["first_layer"]),
        "op": op,
    },
    st.lists(
        joined(AMOUNT, table({"first_layer": LAYERS})),
        min_size=1,
        max_size=3,
        unique_by=lambda stage: stage["first_layer"],
    ),
    choices(EncoderStages, "op"),
)
ENCODER = st.one_of(
    table({"merged_per_layer": st.one_of(COUNTS, st.lists(COUNTS, max_size=5))}), ENCODER_STAGES
)
RULES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "profile": table(
        {
            "curve": choices(Profile, "curve"),
            "ratio": SHARES,
        },
        layer=LAYERS,
        steepness=COUNTS,
        least=SHARES,
        full_above=RATIOS,
    ),
    "withdraw": table({"layer": LAYERS}),
    "inject": table({"layer": LAYERS}),
    "expand": table({"layer": LAYERS, "ratio": RATIOS}),
    "freeze": st.one_of(table({"layers": LAYER_LISTS}), table({"first_layer": LAYERS})),
    "sparse": table({}, pairs=RATIOS, ffn=RATIOS, layers=LAYER_LISTS),
    "subset": table({"ratio": RATIOS}, layers=LAYER_LISTS),
    "vectors": st.one_of(
        table({"tokens": SHARE_LISTS}, pairs=SHARE_LISTS),
        table({"query": SHARE_LISTS}, key=SHARE_LISTS, ffn=SHARE_LISTS, pairs=SHARE_LISTS),
        table({"pairs": SHARE_LISTS}),
    ),
}
assert RULES.keys() == LAYER_RULES.modules.keys(), "every layer rule needs its values here"
RULE = st.sampled_from(sorted(RULES)).flatmap(
    lambda kind: RULES[kind].map(lambda fields: {"kind": kind, **fields})
)
CACHE = st.one_of(
    *(
        table(
            {},
            **one,
            **other,
            first_layer=LAYERS,
            focal_layers=LAYER_LISTS,
            generated=RATIOS,
            shrink=SHARES,
            rescan=SHARES,
            reserve=st.booleans(),
        )
        for one in ({"stored": SHARES}, {"stored_tokens": COUNTS})
        for other in ({"read": SHARES}, {"read_tokens": COUNTS})
    )
)
TERM = st.one_of(
    table(
        {
            "name": NAMES,
            "tokens": EXPRESSIONS,
            "in_features": EXPRESSIONS,
            "out_features": EXPRESSIONS,
        },
        times=EXPRESSIONS,
        when=st.sampled_from(["ideal", "released", "both"]),
        per=st.sampled_from(["prefill", "reduction", "step"]),
    ),
    table(
        {
            "name": NAMES,
            "kind": st.just("transformer"),
            "tokens": EXPRESSIONS,
            "layers": EXPRESSIONS,
            "hidden_size": EXPRESSIONS,
            "intermediate_size": EXPRESSIONS,
        },
        gated=st.booleans(),
        sequences=EXPRESSIONS,
    ),
    table(
        {
            "name": NAMES,
            "kind": st.just("scores"),
            "queries": EXPRESSIONS,
            "keys": EXPRESSIONS,
            "heads": EXPRESSIONS,
            "size": EXPRESSIONS,
        }
    ),
)
FOOTPRINT = table(
    {},
    launches=EXPRESSIONS,
    attention_map=EXPRESSIONS,
    per=st.sampled_from(["prefill", "reduction"]),
)
DESCRIBED = table(
    {"name": NAMES, "computes": st.text(st.characters(exclude_categories=["Cs"]), max_size=30)},
    terms=st.lists(TERM, max_size=2),
    ideal=FOOTPRINT,
    released=FOOTPRINT,
    parameters=EXPRESSIONS,
)
SELECTION = st.one_of(
    st.sampled_from(["fastv", "pyramiddrop", "visionzip", "divprune", "tome", "sparsevlm"]),
    DESCRIBED,
)
PARTS: dict[str, Any] = {
    "name": NAMES,
    "rounding": ROUNDINGS,
    "input": st.one_of(
        table({"frames": RATIOS}, patches=RATIOS, crops=POSITIVES), table({"crops": POSITIVES})
    ),
    "encoder": ENCODER,
    "compress": COMPRESS,
    "stages": st.lists(STAGE, max_size=4),
    "layers": st.lists(RULE, max_size=4),
    "cache": CACHE,
    "channels": table({}, key=RATIOS, value=RATIOS, ffn=RATIOS, encoder_ffn=RATIOS),
    "bits": table({}, weights=POSITIVES, activations=POSITIVES, kv=POSITIVES),
    "stream": table({"stride": RATIOS}, refresh=SHARES, bank=COUNTS),
    "training": table(
        {}, recompute=st.booleans(), fixed_share=SHARES, frozen_encoder=st.booleans()
    ),
    "selection": SELECTION,
}
FLAT = table({}, **PARTS)
#: Training is of the whole.
WAY = table({}, **{name: part for name, part in PARTS.items() if name != "training"})
CHANCES = st.integers(1, 99).map(lambda percent: Fraction(percent, 100))


@st.composite
def mixtures(draw: Any) -> list[dict[str, Any]]:
    """Return ways whose probabilities sum to 1."""
    first = draw(CHANCES)
    chances = [first, (1 - first) / 2, (1 - first) / 2]
    ways = st.one_of(
        st.just({}), st.just({"skipped": True}), WAY.map(lambda fields: {"schedule": fields})
    )
    return [{"probability": chance, **draw(ways)} for chance in chances]


SCHEDULES = joined(FLAT, table({}, mixture=mixtures())).map(lambda fields: Schedule(**fields))
