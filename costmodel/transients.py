"""Activations that exist at once in one layer, as transformers runs it; 16 bits a value.

With n tokens updated, k projected, a attended to, f in the FFN, P pairs, h heads of d_h, h_kv key
and value heads, the hidden size d and the intermediate size m, in bytes:

    stream         2·(n_0·d + 2·n·d): the prompt's embeddings, a layer's input and its normed
                   copy; 2·n·d more in the FFN, whose residual is no longer the layer's input
    rotary tables  2·2·n·d_h: cosines and sines
    attention      fused: 2·(2·n·h·d_h + 2·k·h_kv·d_h): queries, keys, values, output
                   eager: 8·h·P + 2·n·h·d_h: scores of 16 bits, softmax of 32 and its 16-bit copy
    repeated K, V  2·2·a·h·d_h where key/value heads are fewer than query heads
    feed-forward   2·3·f·m gated (gate, up, product), 2·2·f·m otherwise
    mask           2·n·a eager, n·a where fused attention needs an explicit mask

The larger of attention and FFN counts. Source: the forward functions of transformers 5.23, whose
live tensors on the meta device sum up to these, but for integers of a few bytes a token. There and
on a CPU, eager attention holds 10 bytes a score: the copy of 32 bits is made before the softmax,
and on a GPU inside it.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from .architecture.blocks import Block
from .architecture.decoder import Decoder
from .tokenplan import TokenPlan

AttentionKind = Literal["eager", "sdpa", "flash"]
Terms = dict[str, int]
#: Bytes of an activation, and of an attention score while eager attention computes it.
ENTRY, EAGER = 2, 8


class Running(NamedTuple):
    """How transformers runs the model.

    Attributes:
        attention: "eager" keeps every score; "sdpa" and "flash" keep none.
        old: A version before 4.45: logits of all positions, with a copy of 32 bits, and repeated
            keys and values with sdpa too.
        output_attentions: The maps of every decoder layer are kept.
    """

    attention: AttentionKind = "sdpa"
    old: bool = False
    output_attentions: bool = False


class Work(NamedTuple):
    """Tokens of one layer, batch included; as `blocks.Tokens` with P for self-attention."""

    query: int
    key: int
    attended: int
    ffn: int
    pairs: int
    cross: int = 0


def layer_work(plan: TokenPlan, layer: int) -> Work:
    """Return a decoder layer's tokens in a prefill."""
    batch = plan.batch
    return Work(
        batch * plan.query[layer],
        batch * plan.key[layer],
        batch * plan.attended[layer],
        batch * plan.ffn[layer],
        batch * plan.pairs[layer],
        batch * plan.cross[layer],
    )


def attention_terms(
    block: Block, work: Work, running: Running, masked: bool, cached: bool = True
) -> list[Terms]:
    """Return what each attention of a block holds at its peak.

    `masked`: whether fused attention is given an explicit mask. `cached`: whether keys and values
    are those of the cache, which eager attention then holds once.
    """
    found = []
    eager = running.attention == "eager"
    own: Any = block.attention
    if own is not None:
        values = _value_width(own)
        terms = {"attention": ENTRY * work.query * own.query_width}
        if eager:
            terms["attention"] += EAGER * own.num_attention_heads * work.pairs
            terms["mask"] = ENTRY * work.pairs
            if not cached:
                terms["attention"] += ENTRY * work.key * _key_value_width(own)
        else:
            terms["attention"] += ENTRY * work.key * _key_value_width(own)
            terms["attention"] += ENTRY * work.query * values
            terms["mask"] = work.pairs if masked and running.attention == "sdpa" else 0
        if own.num_key_value_heads < own.num_attention_heads and _repeats(running, masked):
            terms["repeated K, V"] = ENTRY * work.attended * (own.query_width + values)
        found.append(terms)
    cross: Any = block.cross_attention
    if cross is not None:
        width = cross.query_width
        terms = {"attention": ENTRY * (work.query * width + 2 * work.cross * cross.key_width)}
        if eager:
            pairs = work.query * work.cross
            terms["attention"] += EAGER * cross.num_attention_heads * pairs
        else:
            terms["attention"] += ENTRY * work.query * width
        if cross.num_key_value_heads < cross.num_attention_heads and _repeats(running, masked):
            terms["repeated K, V"] = 2 * ENTRY * work.cross * width
        found.append(terms)
    return found


def _repeats(running: Running, masked: bool) -> bool:
    """Tell whether keys and values are repeated for every query head."""
    if running.attention == "eager":
        return True
    return running.attention == "sdpa" and (running.old or masked)


def _value_width(attention: Any) -> int:
    heads: int = attention.num_attention_heads
    return heads * int(getattr(attention, "v_head_dim", None) or attention.head_dim)


def _key_value_width(attention: Any) -> int:
    """Return the features of keys and values together."""
    if attention.kind == "latent":
        return int(attention.query_width) + _value_width(attention)
    return 2 * int(attention.key_width)


def feed_forward_bytes(network: Any, hidden: int, tokens: int, activation: int = 1) -> int:
    """Return what a feed-forward network holds at its peak.

    `activation`: maps that the activation makes; a quick GELU makes two.

    Experts whose products are grouped hold, for every pair of token and expert, 4·d values when
    outputs are weighed and put back in order, or d + 4·m in the products (3·m ungated), and the
    router's scores of 16 bits and 32; a loop over the experts, as in transformers 4, holds less.
    """
    live = 3 if network.gated else 1 + activation
    if network.kind != "experts":
        return int(ENTRY * live * tokens * network.intermediate_size)
    routed = tokens * network.num_experts_per_tok
    each = max(4 * hidden, hidden + (live + 1) * network.intermediate_size)
    shared = live * tokens * network.shared_intermediate_size
    return int(ENTRY * max(routed * each, shared) + EAGER * tokens * network.num_experts)


def largest(found: list[Terms]) -> Terms:
    """Return the terms whose sum is largest; nothing of nothing."""
    return max(found, key=lambda terms: sum(terms.values()), default={})


def layer_terms(
    block: Block,
    hidden: int,
    entering: int,
    work: Work,
    running: Running,
    masked: bool = False,
    cached: bool = True,
    activation: int = 1,
) -> Terms:
    """Return what a block holds at its peak: its stream, and attention or FFN.

    `entering`: tokens of the prompt's embeddings, which are held beside the layer's input; 0 where
    the layer's input is all there is. For others see `attention_terms`, `feed_forward_bytes`.
    """
    copies = ENTRY * hidden * (entering + 2 * work.query)
    attentions = attention_terms(block, work, running, masked, cached)
    found = [{"stream": copies, **terms} for terms in attentions]
    within = copies + ENTRY * hidden * work.query
    networks = [(block.feed_forward, work.ffn)]
    if block.cross_feed_forward is not None:
        networks.append((block.cross_feed_forward, work.query))
    for network, tokens in networks:
        held = feed_forward_bytes(network, hidden, tokens, activation)
        found.append({"stream": within, "feed-forward": held})
    return {name: amount for name, amount in largest(found).items() if amount}


def rotary_bytes(decoder: Decoder, tokens: int) -> int:
    """Return the cosines and sines of so many positions; none with learned positions."""
    if decoder.position_embeddings:
        return 0
    size = getattr(decoder.attention, "qk_rope_head_dim", None) or decoder.attention.head_dim
    return 2 * ENTRY * tokens * int(size)


def map_bytes(block: Block, work: Work) -> int:
    """Return the attention maps of a block that are kept: 2 · h · P."""
    total = 0
    if block.attention is not None:
        total += block.attention.num_attention_heads * work.pairs
    if block.cross_attention is not None:
        total += block.cross_attention.num_attention_heads * work.query * work.cross
    return ENTRY * total


def explicit_mask(decoder: Decoder, plan: TokenPlan, layer: int) -> bool:
    """Tell whether a layer's attention needs more than a causal flag.

    Blocks that attend both ways, windows shorter than the sequence, and layers that do not update
    every token that they attend to.
    """
    window = plan.layout[layer].window
    narrow = window is not None and plan.attended[layer] > window
    return narrow or decoder.bidirectional is not None or not plan.uniform
