"""What choosing the tokens computes: the matrix products of each rule, as this project runs it.

MACs per sequence, n being the tokens of the layer before a stage, M and N the visual and text
tokens, b and a the visual tokens before and after a reduction, h_v and d_v the encoder's heads:

    fastv        n·h·d_h per reducing stage: the last token's query row in the layer before it
    pyramiddrop  d·h·d_h + n·d·h_kv·d_h + n·h·d_h per reducing stage: query, keys and row
                 (of latent attention, what projects its queries and keys instead)
    visionzip    Σ n_i·h_v·d_v (class token) or Σ n_i²·h_v·d_v (none) over the crops, and
                 (remaining − contextual)·contextual·d_v in each
    divprune     M²·d: cosines of the projected features
    tome         Σ ⌈n_i/2⌉·⌊n_i/2⌋·d_v over the crops, in each encoder block that merges
    sparsevlm    M·N·d once, N·n·h·d_h + n_r²·d per reducing stage

A reduction that removes nothing, or everything, chooses nothing and costs nothing.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..architecture.blocks import Place, Transformer
from ..architecture.model import Model
from ..encoder import attends_jointly, crop_sizes, merged_per_layer
from ..errors import InvalidInput
from ..operators import Attention, Linear, Operator
from ..schedule import RuleName, Schedule
from ..tokenplan import TokenPlan
from ..workload import Counting

Work = Callable[[Model, TokenPlan, Schedule, Counting], Iterator[Operator]]


class Rule(NamedTuple):
    """How a rule is priced.

    Attributes:
        primitive: The schedule's primitive that the rule chooses for, the only one it goes with.
        computes: What this project's implementation computes, for the reader.
        work: Yields the operators; raises `InvalidInput` where the rule does not fit.
        reads_encoder: Whether it reads the attention of the encoder.
    """

    primitive: str
    computes: str
    work: Work
    reads_encoder: bool = False


class Recycling(NamedTuple):
    """How SparseVLM's stage makes its tokens: kept + clusters = what the stage leaves.

    Attributes:
        kept: Tokens kept as they are.
        recycled: Dropped tokens that are clustered, n_r = ⌊0.3·dropped⌋ + 1.
        clusters: Tokens that the clusters become, ⌊n_r/10⌋ + 1.
    """

    kept: int
    recycled: int
    clusters: int


def named_operators(
    model: Model, plan: TokenPlan, schedule: Schedule, counting: Counting
) -> tuple[Operator, ...]:
    """List what a rule that is known by name computes in a prefill.

    Raises:
        InvalidInput: A rule that does not fit the schedule, the model or the request.
    """
    rule = RULES[schedule.selection]
    primitives = [name for name in schedule.primitives if name not in _BESIDE]
    if rule.primitive not in primitives:
        wanted = _PRIMITIVES[rule.primitive]
        raise _misfit(schedule.selection, f"has no `{rule.primitive}` to choose for", wanted)
    for other in primitives:
        if other != rule.primitive:
            problem = f"chooses for `{rule.primitive}` and not for `{other}`"
            raise _misfit(schedule.selection, problem, f"leave `{other}` or the rule out")
    if rule.primitive == "stages" and not all(layer.in_sequence for layer in plan.layout):
        problem = f"ranks tokens of the LLM's own sequence, which {model.id} keeps images out of"
        if model.decoder.encoder_layers:
            problem = f"ranks by a query row of the next token, which {model.id}'s encoder lacks"
        raise _misfit(schedule.selection, problem, "choose another rule, or leave it out")
    joint = attends_jointly(model.vision, plan.visual_input)
    if rule.reads_encoder and (not model.vision.patchwise or joint):
        problem = f"ranks by attention over each crop, which {model.vision.name} does not have"
        raise _misfit(schedule.selection, problem, "choose another rule, or leave it out")
    return tuple(rule.work(model, plan, schedule, counting))


#: Primitives that a rule does not choose for, and that may stand beside it.
_BESIDE = ("selection", "training", "bits", "cache", "channels")
#: The primitives that reduce tokens, and how a schedule gets one.
_PRIMITIVES = {
    "encoder": "add [encoder] merged_per_layer",
    "compress": "add [compress]",
    "stages": "add [[stages]]",
}


def _misfit(rule: RuleName, problem: str, way_out: str) -> InvalidInput:
    return InvalidInput("selection", rule, problem, way_out)


class _Reduction(NamedTuple):
    """A stage that removes some of the visual tokens and leaves some: n tokens come before it."""

    layer: int
    before: int
    after: int
    n: int


def _reductions(plan: TokenPlan, schedule: Schedule) -> Iterator[_Reduction]:
    before = plan.entering_visual_tokens
    for stage in schedule.stages:
        after = plan.visual[stage.first_layer]
        if 0 < after < before:
            n = before + plan.structural_tokens + plan.text_tokens
            yield _Reduction(stage.first_layer, before, after, n)
        before = after


def _layer_before(rule: RuleName, stage: _Reduction) -> int:
    if stage.layer == 0:
        problem = "reads the attention of the layer before a stage, and layer 0 has none before it"
        raise _misfit(rule, problem, "let the first stage begin at layer 1 or later")
    return stage.layer - 1


def _linear(name: str, tokens: int, c_in: int, c_out: int) -> Linear:
    return Linear("selection", (), "selection", name, tokens, c_in, c_out)


def _scores(name: str, queries: int, keys: int, pairs: int, stack: Transformer) -> Attention:
    attention = stack.attention
    heads, size = attention.num_attention_heads, attention.head_dim
    return Attention("selection", (), "selection", name, queries, keys, pairs, heads, size, 0)


def _fastv(
    model: Model, plan: TokenPlan, schedule: Schedule, counting: Counting
) -> Iterator[Operator]:
    batch = plan.batch
    for stage in _reductions(plan, schedule):
        name = f"query row in layer {_layer_before('fastv', stage)}"
        keys = batch * stage.n
        yield _scores(name, batch, keys, keys, model.decoder)


def _pyramiddrop(
    model: Model, plan: TokenPlan, schedule: Schedule, counting: Counting
) -> Iterator[Operator]:
    batch, decoder, attention = plan.batch, model.decoder, model.decoder.attention
    hidden, place = decoder.hidden_size, Place("selection", ())
    for layer, _, _, n in _reductions(plan, schedule):
        for query in attention.query_projections(place, hidden, batch, "selection"):
            yield query._replace(name=f"{query.name} for layer {layer}")
        for keys in attention.key_projections(place, hidden, batch * n, "selection"):
            yield keys._replace(name=f"keys for layer {layer}")
        yield _scores(f"query row for layer {layer}", batch, batch * n, batch * n, decoder)


def _visionzip(
    model: Model, plan: TokenPlan, schedule: Schedule, counting: Counting
) -> Iterator[Operator]:
    vision, connector, batch = model.vision, model.connector, plan.batch
    crops, kept = plan.visual_input.crops, plan.entering_visual_tokens
    if not connector.per_token and connector.merge_size == 1:
        problem = f"chooses among tokens of a crop, which {connector.name} replaces by its own"
        raise _misfit("visionzip", problem, "choose another rule, or leave it out")
    one_by_one = connector.merge_size == 1
    place = "before-connector" if one_by_one else "after-connector"
    assert schedule.compress is not None
    if schedule.compress.at != place:
        what = "encoder tokens" if one_by_one else "tokens that the connector merged"
        problem = f"chooses among {what} in {model.id}"
        raise _misfit("visionzip", problem, f'write at = "{place}" in [compress]')
    if kept == plan.dense_visual_tokens:
        return
    if kept % len(crops):
        problem = f"cannot share {kept:,} tokens equally among {len(crops)} crops"
        raise _misfit("visionzip", problem, f"give a multiple of {len(crops)}")
    per_crop = kept // len(crops)
    contextual = contextual_tokens(per_crop)
    selectable = int(vision.class_token and one_by_one)  # the class token may be dominant
    candidates = [model.geometry.tokens(crop) + selectable for crop in crops]
    if per_crop > min(candidates):
        problem = f"takes {per_crop:,} tokens of a crop that has {min(candidates):,}"
        raise _misfit("visionzip", problem, f"give at most {min(candidates) * len(crops)}")
    layer = vision.contributing_layers - 1
    if vision.windows and layer not in vision.windows.full_attention_layers:
        problem = f"ranks by encoder layer {layer}, which attends in windows in {model.id}"
        raise _misfit("visionzip", problem, "choose another rule")
    keys = batch * plan.encoder_tokens[layer]
    if vision.class_token:
        name, queries, pairs = f"class-token row in layer {layer}", batch * len(crops), keys
    else:
        name, queries, pairs = f"scores in layer {layer}", keys, batch * plan.encoder_pairs[layer]
    yield _scores(f"encoder {name}", queries, keys, pairs, vision)
    if contextual:
        # Neither dominant (per_crop − contextual) nor targets (contextual): the rest is merged.
        merged = batch * (sum(candidates) - len(crops) * per_crop)
        size = vision.attention.head_dim
        yield _linear("similarities to contextual tokens", merged, size, contextual)


def _divprune(
    model: Model, plan: TokenPlan, schedule: Schedule, counting: Counting
) -> Iterator[Operator]:
    assert schedule.compress is not None
    if schedule.compress.at != "after-connector":
        problem = "compares projected features"
        raise _misfit("divprune", problem, 'write at = "after-connector" in [compress]')
    dense = plan.dense_visual_tokens
    if plan.entering_visual_tokens < dense:
        yield _linear("cosines", plan.batch * dense, model.decoder.hidden_size, dense)


def _tome(
    model: Model, plan: TokenPlan, schedule: Schedule, counting: Counting
) -> Iterator[Operator]:
    vision, crops, batch = model.vision, plan.visual_input.crops, plan.batch
    assert schedule.encoder is not None
    merged = merged_per_layer(vision, schedule.encoder)
    contributing = counting.encoder_layers == "contributing"
    layers = vision.contributing_layers if contributing else vision.num_hidden_layers
    for layer, sizes in enumerate(crop_sizes(vision, crops, merged)[:layers]):
        if merged[layer]:
            yield Attention(
                component="selection",
                layers=(),
                part="selection",
                name=f"similarities in encoder layer {layer}",
                queries=batch * sum(count * ((n + 1) // 2) for n, count in sizes.items()),
                keys=batch * sum(count * (n // 2) for n, count in sizes.items()),
                pairs=batch * sum(count * ((n + 1) // 2) * (n // 2) for n, count in sizes.items()),
                heads=1,  # of the mean of the heads' keys
                query_key_size=vision.attention.head_dim,
                value_size=0,
            )


def _sparsevlm(
    model: Model, plan: TokenPlan, schedule: Schedule, counting: Counting
) -> Iterator[Operator]:
    batch, text, hidden = plan.batch, plan.text_tokens, model.decoder.hidden_size
    for place, stage in enumerate(_reductions(plan, schedule)):
        layer = _layer_before("sparsevlm", stage)
        if not text:
            problem = "rates visual tokens by text tokens, of which there are none"
            raise _misfit("sparsevlm", problem, "give at least 1 text token")
        if place == 0:
            entering = plan.entering_visual_tokens
            yield _linear("text raters", batch * entering, hidden, text)
        rows, keys = batch * text, batch * stage.n
        pairs = batch * text * stage.n
        yield _scores(f"rows of the text tokens in layer {layer}", rows, keys, pairs, model.decoder)
        tokens = recycling(stage.before, stage.after).recycled
        name = f"distances of recycled tokens for layer {stage.layer}"
        yield _linear(name, batch * tokens, hidden, tokens)


def recycling(before: int, after: int) -> Recycling:
    """Split SparseVLM's `after` tokens of `before` into kept ones and clusters of dropped ones.

    With dropped = before − kept, n_r = ⌊3·dropped/10⌋ + 1 tokens become ⌊n_r/10⌋ + 1 clusters;
    the largest `kept` with kept + clusters = after is taken.

    Raises:
        InvalidInput: So few tokens that none would be kept.

    >>> recycling(576, 309)
    Recycling(kept=300, recycled=83, clusters=9)
    """

    def split(kept: int) -> Recycling:
        return recycled(before, kept)

    # kept + clusters grows by 0 or 1 with each token kept, so every amount from `least` on occurs.
    least = 1 + split(1).clusters
    if after < least:
        problem = f"keeps no token where {before:,} become {after:,}: clusters take all of them"
        raise _misfit("sparsevlm", problem, f"leave at least {least} of {before:,}")
    kept = bisect_right(range(after), after, key=lambda kept: kept + split(kept).clusters) - 1
    return split(kept)


def recycled(before: int, kept: int) -> Recycling:
    """Return what SparseVLM makes of `before` tokens when it keeps `kept` of them as they are.

    >>> recycled(576, kept=300)
    Recycling(kept=300, recycled=83, clusters=9)
    """
    tokens = 3 * (before - kept) // 10 + 1
    return Recycling(kept, tokens, tokens // 10 + 1)


def contextual_tokens(per_crop: int) -> int:
    """Return how many of a crop's tokens VisionZip merges from the rest; the others are dominant.

    ⌊10·k/64⌋, the published split.

    >>> [(k - contextual_tokens(k), contextual_tokens(k)) for k in (64, 128, 192, 32)]
    [(54, 10), (108, 20), (162, 30), (27, 5)]
    """
    return per_crop * 10 // 64


#: The rules by name.
RULES: dict[RuleName, Rule] = {
    "fastv": Rule("stages", "one query row per stage, no attention map", _fastv),
    "pyramiddrop": Rule(
        "stages", "one query row and its keys per stage, no attention map", _pyramiddrop
    ),
    "visionzip": Rule(
        "compress",
        "one encoder layer's class-token row, or its scores without a class token",
        _visionzip,
        reads_encoder=True,
    ),
    "divprune": Rule("compress", "one matrix of cosines", _divprune),
    "tome": Rule(
        "encoder", "similarities of every other token in each block", _tome, reads_encoder=True
    ),
    "sparsevlm": Rule(
        "stages", "query rows of the text tokens per stage, no attention map", _sparsevlm
    ),
}
