"""`tokencost models`: which models are known, and everything that is known of one."""

from __future__ import annotations

import fnmatch
from typing import Annotated, Any

import typer

from ...costmodel import InvalidInput, Model, Workload, kv_bytes_per_token, model_parameters, plan
from ...costmodel.architecture import LinearStage, Merge, NormStage, Transformer
from ...costmodel.errors import closest
from ...costmodel.version import __version__
from ...presets import list_models, load_model
from ..document import Column, Document, Table
from ..export import deliver
from ..options import Sink, shares
from ..summary import SCHEMA_VERSION
from ..units import percent

app = typer.Typer(
    help="List the models that are known, and show their figures.", add_completion=False
)


@app.command("list")
@shares(Sink)
def list_command(
    sink: Sink,
    pattern: Annotated[
        str, typer.Argument(help="Part of an id, or a pattern such as 'llava*7b'.")
    ] = "",
) -> None:
    """List the models that are known, with status and default cost drivers.

    Example: tokencost models list 'llava*'
    """
    deliver(sink, lambda: _listing(pattern))


@app.command("show")
@shares(Sink)
def show_command(
    sink: Sink, model: Annotated[str, typer.Argument(metavar="ID", help="Model id.")]
) -> None:
    """Show a model: architecture, token rule, parameters, sources, verification.

    Example: tokencost models show qwen2.5-vl-7b
    """
    deliver(sink, lambda: _card(load_model(model)))


def _listing(pattern: str) -> Document:
    known = list_models()
    glob = pattern.lower() if any(sign in pattern for sign in "*?[") else f"*{pattern.lower()}*"
    found = [model_id for model_id in known if fnmatch.fnmatchcase(model_id.lower(), glob)]
    if not found:
        close = closest(pattern, known)
        hint = f"did you mean {close}?" if close else "see `tokencost models list` for all of them"
        raise InvalidInput("PATTERN", pattern, "matches no model", hint)
    rows = [_summary(load_model(model_id)) for model_id in found]
    return Document(
        title=f"{len(rows)} of {len(known)} models",
        facts=(),
        tables=(
            Table(
                "",
                (
                    Column("id", "left"),
                    Column("configuration", "left"),
                    Column("parameters"),
                    Column("default\nimage"),
                    Column("visual\ntokens"),
                ),
                tuple(
                    (
                        row["id"],
                        row["status"],
                        f"{row['parameters']:,}",
                        row["default_image"].replace("x", "×"),
                        f"{row['visual_tokens']:,}",
                    )
                    for row in rows
                ),
            ),
        ),
        notes=("configuration: how well it was checked; sources: `tokencost models show ID`",),
        sentence="",
        payload=rows,
        records=tuple(rows),
    )


def _summary(model: Model) -> dict[str, Any]:
    dense = plan(model, Workload())
    height, width = model.token_rule.default_image
    return {
        "id": model.id,
        "family": model.family,
        "status": model.status,
        "parameters": sum(model_parameters(model).values()),
        "default_image": f"{height}x{width}",
        "visual_tokens": dense.dense_visual_tokens,
    }


def _card(model: Model) -> Document:
    parameters = model_parameters(model)
    total = sum(parameters.values())
    dense = plan(model, Workload())
    figures = _figures(model)
    height, width = model.token_rule.default_image
    published = model.published_parameters
    notes = [f"source [{part}]: {source}" for part, source in _sources(model)]
    if published:
        verdict = "equal" if published.count == total else f"differs by {published.count - total:,}"
        notes.append(f"published parameters: {published.count:,} ({verdict}); {published.source}")
    return Document(
        title=f"{model.id}: {model.family}",
        facts=(
            ("Hub id", model.hf_id),
            ("model type", model.model_type),
            ("configuration", model.status),
            ("unverified", ", ".join(model.unverified) or "none"),
            ("token rule", _rule(model)),
            (
                "default",
                f"{height}×{width}: {dense.encoder_tokens[0]:,} encoder tokens, "
                f"{dense.connector_tokens:,} connector tokens, "
                f"{dense.dense_visual_tokens:,} visual tokens, "
                f"{dense.structural_tokens} structural tokens",
            ),
            ("KV cache", f"{kv_bytes_per_token(model.decoder):,} bytes per token at 16 bit"),
        ),
        tables=(
            Table(
                "Architecture",
                (Column("part", "left"), Column("figure", "left"), Column("value")),
                tuple((part, name, _shown(value)) for part, name, value in figures),
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
            **model.model_dump(mode="json"),
            "unverified": list(model.unverified),
            "parameters": {**parameters, "total": total},
            "default_tokens": {
                "encoder": dense.encoder_tokens[0],
                "connector": dense.connector_tokens,
                "visual": dense.dense_visual_tokens,
                "structural": dense.structural_tokens,
            },
            "kv_cache_bytes_per_token": {"bits": 16, "bytes": kv_bytes_per_token(model.decoder)},
        },
        records=tuple(
            {"model": model.id, "part": part, "figure": name, "value": value}
            for part, name, value in figures
        ),
    )


def _figures(model: Model) -> list[tuple[str, str, Any]]:
    """Return the architecture as (part, figure, value), names as in transformers' configs."""
    vision, decoder = model.vision, model.decoder
    patch = vision.patch_embedding
    windows = vision.windows
    rows = [("vision", "tower", vision.name), *_stack("vision", vision)]
    rows += [
        ("vision", "contributing_layers", vision.contributing_layers),
        ("vision", "patch_size", patch.patch_size),
        ("vision", "temporal_patch_size", patch.temporal_patch_size),
        ("vision", "class_token", vision.class_token),
        ("vision", "window (patches)", f"{windows.size}x{windows.size}" if windows else None),
        (
            "vision",
            "full-attention layers",
            " ".join(map(str, windows.full_attention_layers)) if windows else "all",
        ),
        ("connector", "kind", model.connector.name),
    ]
    for index, stage in enumerate(model.connector.stages):
        if isinstance(stage, Merge):
            text = f"concatenate {stage.size}x{stage.size} patches"
        elif isinstance(stage, NormStage):
            text = f"{stage.norm} norm of {stage.width}"
        else:
            assert isinstance(stage, LinearStage)
            text = f"linear {stage.in_features} to {stage.out_features}"
        rows.append(("connector", f"stage {index}", text))
    rows += [
        ("connector", "learned separator", model.connector.newline),
        *_stack("decoder", decoder),
        ("decoder", "vocab_size", decoder.vocab_size),
        ("decoder", "tie_word_embeddings", decoder.tie_word_embeddings),
    ]
    return rows


def _stack(part: str, stack: Transformer) -> list[tuple[str, str, Any]]:
    attention, ffn = stack.attention, stack.feed_forward
    return [
        (part, "num_hidden_layers", stack.num_hidden_layers),
        (part, "hidden_size", stack.hidden_size),
        (part, "num_attention_heads", attention.num_attention_heads),
        (part, "num_key_value_heads", attention.num_key_value_heads),
        (part, "head_dim", attention.head_dim),
        (part, "intermediate_size", ffn.intermediate_size),
        (part, "FFN matrices", 3 if ffn.gated else 2),
    ]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "—"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _rule(model: Model) -> str:
    summary = (type(model.token_rule).__doc__ or "").strip().splitlines()[0]
    return f"{model.token_rule.kind}: {summary}"


def _sources(model: Model) -> list[tuple[str, str]]:
    parts = (
        ("model", model.source),
        ("vision", model.vision.source),
        ("connector", model.connector.source),
        ("decoder", model.decoder.source),
        ("token rule", model.token_rule.source),
    )
    return [(part, source) for part, sources in parts for source in sources]
