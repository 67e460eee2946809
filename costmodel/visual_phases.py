"""What is alive before the LLM runs: pixels, encoder layers, connector, the choice of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .architecture.blocks import Block
from .architecture.model import Model
from .tokenplan import TokenPlan
from .transients import EAGER, ENTRY, Running, Terms, Work, largest, layer_terms

#: Bytes of a value of 32 bits.
FLOAT = 4
#: Encoders, by a part of their model type, whose activation is the quick GELU: three maps alive.
_QUICK_GELU = ("clip", "qwen2_vl")


def _pixels(model: Model, plan: TokenPlan) -> int:
    """Return the bytes of the images: values under every patch, each frame of a pair."""
    total = 0
    for tower, positions in zip(model.towers, plan.tower_positions, strict=True):
        patch: Any = tower.patch_embedding
        values = patch.num_channels * patch.temporal_patch_size * patch.patch_size**2
        total += positions * values
    return ENTRY * plan.batch * total


def held_visual(model: Model, plan: TokenPlan) -> Terms:
    """Return what the caller and the model hold while the LLM runs: pixels and visual features."""
    deepstack = model.connector.deepstack
    copies = 1 + (len(deepstack.encoder_layers) if deepstack is not None else 0)
    tokens = plan.batch * min(plan.connector_tokens, plan.entering_visual_tokens)
    features = ENTRY * tokens * model.decoder.hidden_size * copies
    return {"pixels": _pixels(model, plan), "visual features": features}


def visual_phases(
    model: Model, plan: TokenPlan, running: Running
) -> Iterator[tuple[str, int | None, Terms]]:
    """Yield the encoders' fullest layers, and the connector."""
    pixels, first, kept, hidden_states = _pixels(model, plan), 0, 0, 0
    batch = plan.batch
    name = "vision"
    for index, tower in enumerate(model.towers):
        layers = range(first, first + tower.num_hidden_layers)
        held = {"pixels": pixels, **({"features of the first encoder": kept} if index else {})}
        if tower.patchwise:
            found = [
                {**held, **_tower_terms(model, index, plan, first, layer, running)}
                for layer in layers
            ]
            place = max(range(len(found)), key=lambda one: sum(found[one].values()))
            yield name, place, found[place]
        else:
            yield name, None, {**held, "feature maps": _maps(model, plan)}
        tokens = plan.encoder_tokens[layers[-1]]
        kept += ENTRY * batch * tokens * tower.features
        if _keeps_hidden_states(model):
            states = sum(plan.encoder_tokens[layers[0] : layers[-1] + 1])
            hidden_states += ENTRY * batch * states * tower.hidden_size
        first, name = layers[-1] + 1, "second vision"
    from .lower import connector_flow

    moved = [_in_and_out(one) for one in model.connector.operators(connector_flow(model, plan))]
    terms = {"pixels": pixels, "encoder features": kept, "connector": max(moved, default=0)}
    if hidden_states:
        terms["kept hidden states"] = hidden_states
    yield "connector", None, terms


def _tower_terms(
    model: Model, index: int, plan: TokenPlan, first: int, layer: int, running: Running
) -> Terms:
    """Return what an encoder layer holds besides pixels."""
    tower: Any = model.towers[index]
    batch, hidden = plan.batch, tower.hidden_size
    tokens, pairs = batch * plan.encoder_tokens[layer], batch * plan.encoder_pairs[layer]
    block, entering = tower.blocks[layer - first], batch * plan.encoder_tokens[first]
    packed = model.token_rule.kind == "native" and tower.joint is None
    if packed:
        # One sequence of all images: eager attention takes one image after the other, and one loop
        # over the layers holds no embeddings.
        sides = [rows * columns for rows, columns in plan.visual_input.crops]
        pairs, entering = min(pairs, max(sides, default=0) ** 2), 0
    work = Work(tokens, tokens, tokens, batch * plan.encoder_ffn[layer], pairs)
    quick = any(name in tower.model_type for name in _QUICK_GELU)
    terms = layer_terms(
        block, hidden, entering, work, running, cached=False, activation=2 if quick else 1
    )
    if packed:
        terms = _packed_terms(tower, block, tokens, terms)
    terms["mask"] = 0  # all tokens see all
    if _keeps_hidden_states(model):
        # The embeddings and the layer's input are in the stream already.
        states = plan.encoder_tokens[first + 1 : layer]
        terms["kept hidden states"] = ENTRY * batch * hidden * sum(states)
    return {name: amount for name, amount in terms.items() if amount}


def _packed_terms(tower: Any, block: Block, tokens: int, usual: Terms) -> Terms:
    """Return what a layer of a Qwen-VL encoder holds, whose queries and keys turn in 32 bits.

    Its rotation holds the fused projection (3·n·w values of 16 bits, w = h·d_h), queries and keys
    in 32 bits (4), the turned queries (2) and three products of the keys (6): 15 altogether. Eager
    scores stand beside the fused projection, of which queries and keys are copies by then.
    """
    assert block.attention is not None
    width = ENTRY * tokens * block.attention.query_width
    if "attention" in usual:
        usual["attention"] += 2 * width
    turning = {"stream": 2 * ENTRY * tokens * tower.hidden_size, "attention": 15 * width}
    tables = {"rotary tables": 2 * FLOAT * tokens * block.attention.head_dim}
    if tower.position_embeddings:
        tables["positions in 32 bits"] = FLOAT * tokens * tower.hidden_size
    return {**largest([usual, turning]), **tables}


def _keeps_hidden_states(model: Model) -> bool:
    """Tell whether the model asks its encoder for all hidden states, as LLaVA's descendants do."""
    return "llava" in model.model_type


def _maps(model: Model, plan: TokenPlan) -> int:
    """Return three times the largest map of convolutional encoders: an estimate.

    A row's input, its output and what the activation makes of it.
    """
    from .lower import lower_vision
    from .workload import Counting

    rows: list[Any] = list(lower_vision(model, plan, Counting()))
    outputs = [
        one.positions * one.out_channels
        if hasattr(one, "positions")
        else one.tokens * one.out_features
        for one in rows
        if hasattr(one, "positions") or hasattr(one, "out_features")
    ]
    return 3 * ENTRY * max(outputs, default=0)


def _in_and_out(operator: Any) -> int:
    """Return the bytes of a product's input and output, weights left out."""
    if hasattr(operator, "positions"):
        return int(ENTRY * operator.positions * (operator.in_channels + operator.out_channels))
    if hasattr(operator, "in_features"):
        return int(ENTRY * operator.tokens * (operator.in_features + operator.out_features))
    width = operator.heads * (operator.query_key_size + operator.value_size)
    return int(ENTRY * (operator.queries + operator.keys) * width)


def selection_terms(model: Model, plan: TokenPlan, work: Any, layer: int | None) -> Terms:
    """Return what choosing holds: maps, what eager attention adds, and the largest matrix.

    `layer`: the decoder layer before which tokens go; None where they go before the LLM.
    """
    terms: Terms = {}
    maps = work.attention_map_bytes
    if maps:
        if layer is None:
            heads = model.vision.attention.num_attention_heads if model.vision.patchwise else 1
            pairs = max(plan.encoder_pairs, default=0)
        else:
            heads, pairs = model.decoder.attention.num_attention_heads, plan.pairs[layer - 1]
        one = ENTRY * heads * plan.batch * pairs
        terms["selection's maps"] = maps
        terms["eager scores"] = (EAGER - ENTRY) // ENTRY * min(maps, one)
    matrices = [_result(one) for one in work.operators]
    if any(matrices):
        terms["selection's matrix"] = max(matrices)
    if layer is not None:
        terms["stream"] = ENTRY * plan.batch * model.decoder.hidden_size * 3 * plan.query[0]
    return terms


def _result(operator: Any) -> int:
    """Return the bytes of a product's result, or of its scores."""
    if hasattr(operator, "out_features"):
        return int(ENTRY * operator.tokens * operator.out_features)
    if hasattr(operator, "pairs"):
        return int(ENTRY * operator.pairs * operator.heads)
    return int(ENTRY * operator.positions * operator.out_channels)
