"""Everything that is known of one model, for `tokencost models`."""

from __future__ import annotations

from typing import Any

from ..costmodel import Model, Workload, kv_bytes_per_token, model_parameters, plan
from ..costmodel.architecture.blocks import Block, Transformer
from ..costmodel.numeric import Spec
from ..costmodel.plan import TokenPlan, entering_encoder
from ..costmodel.version import __version__
from .document import Column, Document, Table
from .summary import SCHEMA_VERSION
from .units import percent, ranges

Figure = tuple[str, str, Any]


def card(model: Model) -> Document:
    """Return architecture, token rule, parameters, sources and verification."""
    parameters = model_parameters(model)
    total = sum(parameters.values())
    dense = plan(model, Workload())
    rows = figures(model)
    notes = [f"source [{part}]: {source}" for part, source in _sources(model)]
    notes += _published(model, total)
    return Document(
        title=f"{model.id}: {model.family}",
        facts=(
            ("Hub id", model.hf_id or "—"),
            ("model type", model.model_type or "—"),
            ("configuration", model.status),
            ("unverified", ", ".join(model.unverified) or "none"),
            *((("defaulted", ", ".join(model.defaulted)),) if model.defaulted else ()),
            ("token rule", _rule(model)),
            ("default", default_text(model, dense)),
            ("KV cache", f"{kv_bytes_per_token(model.decoder):,} bytes per token at 16 bit"),
        ),
        tables=(
            Table(
                "Architecture",
                (Column("part", "left"), Column("figure", "left"), Column("value")),
                tuple((part, name, shown(value)) for part, name, value in rows),
            ),
            Table(
                "Parameters",
                (Column("component", "left"), Column("parameters"), Column("share")),
                (
                    *(
                        (name, f"{count:,}", percent(count, total))
                        for name, count in parameters.items()
                    ),
                    ("total", f"{total:,}", percent(total, total)),
                ),
            ),
        ),
        notes=tuple(notes),
        sentence="",
        payload={
            "schema_version": SCHEMA_VERSION,
            "tokencost_version": __version__,
            **dumped(model),
            "unverified": list(model.unverified),
            "parameters": {**parameters, "total": total},
            "default_tokens": {
                "encoder": entering_encoder(model, dense),
                "connector": dense.connector_tokens,
                "visual": dense.dense_visual_tokens,
                "structural": dense.structural_tokens,
            },
            "kv_cache_bytes_per_token": {"bits": 16, "bytes": kv_bytes_per_token(model.decoder)},
        },
        records=tuple(
            {"model": model.id, "part": part, "figure": name, "value": value}
            for part, name, value in rows
        ),
    )


def dumped(spec: Spec) -> dict[str, Any]:
    """Return a spec's fields as JSON has them, parts of any kind with their own fields."""

    def plain(value: Any) -> Any:
        if isinstance(value, Spec):
            return {name: plain(getattr(value, name)) for name in type(value).model_fields}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    result: dict[str, Any] = plain(spec)
    return result


def default_text(model: Model, dense: TokenPlan) -> str:
    """Return the default images or video, and the tokens that they become."""
    (height, width), frames = dense.images[0], dense.frames
    images = f"{frames} frames of {height}×{width}" if frames else f"{height}×{width}"
    return (
        f"{images}: {entering_encoder(model, dense):,} encoder tokens, "
        f"{dense.connector_tokens:,} connector tokens, "
        f"{dense.dense_visual_tokens:,} visual tokens, "
        f"{dense.structural_tokens} structural tokens"
    )


def figures(model: Model) -> list[Figure]:
    """Return the architecture as (part, figure, value), names as in transformers' configs."""
    decoder = model.decoder
    rows: list[Figure] = []
    for part, tower in zip(("vision", "second vision"), model.towers, strict=False):
        patch, windows = tower.patch_embedding, tower.windows
        rows += [(part, "tower", tower.name), *_stack(part, tower)]
        rows += [
            (part, "contributing_layers", tower.contributing_layers),
            (part, "patch_size", patch.patch_size),
            (part, "temporal_patch_size", patch.temporal_patch_size),
            (part, "class_token", tower.class_token),
            (part, "window (patches)", f"{windows.size}x{windows.size}" if windows else None),
            (
                part,
                "full-attention layers",
                " ".join(map(str, windows.full_attention_layers)) if windows else "all",
            ),
        ]
        if tower.joint:
            what = "all tiles of an image" if tower.joint.over == "image" else "all images"
            rows.append((part, "attention over", f"{what} together"))
    rows.append(("connector", "kind", model.connector.name))
    for index, stage in enumerate(model.connector.stages):
        rows.append(("connector", f"stage {index}", stage.text))
    if model.connector.deepstack:
        layers = " ".join(map(str, model.connector.deepstack.encoder_layers))
        rows.append(("connector", "DeepStack mergers of layers", layers))
    rows += [
        ("connector", "learned separator", model.connector.newline),
        *_stack("decoder", decoder),
        ("decoder", "vocab_size", decoder.vocab_size),
        ("decoder", "tie_word_embeddings", decoder.tie_word_embeddings),
    ]
    if decoder.encoder_layers:
        rows.append(("decoder", "layers of the LLM's encoder", f"0–{decoder.encoder_layers - 1}"))
    if decoder.sliding_window:
        window = decoder.sliding_window
        rows.append(("decoder", "sliding_window", window.size))
        rows.append(("decoder", "sliding layers", ranges(window.layers)))
    if decoder.adapter:
        rows.append(("decoder", "adapter rank", decoder.adapter.rank))
    return rows


def _stack(part: str, stack: Transformer) -> list[Figure]:
    rows: list[Figure] = [
        (part, "num_hidden_layers", stack.num_hidden_layers),
        (part, "hidden_size", stack.hidden_size),
    ]
    if not isinstance(stack, Transformer):  # a convolutional tower has no one block
        return rows
    rows += _block(part, stack.usual_block)
    for variant in stack.variants:
        block = stack.blocks[variant.layers[0]]
        where = f"{part}, layers {ranges(variant.layers)}"
        rows += [row for row in _block(where, block) if row[1:] not in {one[1:] for one in rows}]
    return rows


def _block(part: str, block: Block) -> list[Figure]:
    rows: list[Figure] = []
    for kind, attention in (("", block.attention), ("cross-attention ", block.cross_attention)):
        if attention is not None:
            rows += [
                (part, f"{kind}num_attention_heads", attention.num_attention_heads),
                (part, f"{kind}num_key_value_heads", attention.num_key_value_heads),
                (part, f"{kind}head_dim", attention.head_dim),
            ]
    if block.attention is not None and block.attention.kind == "latent":
        latent: Any = block.attention
        names = ("kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "v_head_dim")
        rows += [(part, name, getattr(latent, name)) for name in names]
    for kind, ffn in (("", block.feed_forward), ("cross-attention ", block.cross_feed_forward)):
        if ffn is not None:
            rows.append((part, f"{kind}intermediate_size", ffn.intermediate_size))
            rows.append((part, f"{kind}FFN matrices", 3 if ffn.gated else 2))
    if block.feed_forward.kind == "experts":
        experts: Any = block.feed_forward
        routed = ("num_experts", "num_experts_per_tok", "shared_intermediate_size")
        rows += [(part, name, getattr(experts, name)) for name in routed]
    return rows


def shown(value: object) -> str:
    """Return a figure as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "—"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _rule(model: Model) -> str:
    summary = (type(model.token_rule).__doc__ or "").strip().splitlines()[0]
    return f"{model.token_rule.kind}: {summary}"


#: What is said of a published count where a record names none, by its status.
_WITHOUT_COUNT = {
    "approximate": "no exact count; a published size, among the sources, agrees to three digits",
    "from memory": "not compared; the record is from memory",
}


def _published(model: Model, total: int) -> list[str]:
    published = model.published_parameters
    if published is None:
        found = _WITHOUT_COUNT.get(model.status, "none found to compare with")
        return [f"published parameters: {found}"]
    verdict = "equal" if published.count == total else f"differs by {published.count - total:,}"
    if published.difference:
        items = ", ".join(f"{count:+,} {name}" for name, count in published.difference.items())
        verdict += f": {items}"
    return [f"published parameters: {published.count:,} ({verdict}); {published.source}"]


def _sources(model: Model) -> list[tuple[str, str]]:
    parts = [("model", model.source), ("vision", model.vision.source)]
    if model.second_vision:
        parts.append(("second vision", model.second_vision.source))
    parts += [
        ("connector", model.connector.source),
        ("decoder", model.decoder.source),
        ("token rule", model.token_rule.source),
    ]
    return [(part, source) for part, sources in parts for source in sources]
