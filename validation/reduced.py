"""Models of full depth and small width: real forward passes in seconds, every part in place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

from ..costmodel import InvalidInput, Model
from ..costmodel.architecture import Connector, Decoder, FeedForward, Transformer, VisionEncoder
from ..costmodel.connectors import Stage
from ..costmodel.connectors.linear import LinearStage
from ..costmodel.connectors.merge import Merge
from ..costmodel.connectors.norm import NormStage
from ..costmodel.connectors.pool import PoolStage
from ..costmodel.numeric import Spec, whole

if TYPE_CHECKING:
    from ..costmodel.architecture.variants import ExtraParameters

AnySpec = TypeVar("AnySpec", bound=Spec)

#: Both prime, so that they equal no width or number of heads.
VOCABULARY, ENCODER_HEADS = 1_009, 5
#: A rotary head in two or three axes needs a size that 4 divides.
_STEP = 4


def reduced(model: Model, width: int = 64) -> Model:
    """Return the model with small widths; layers, tokens and structure stay.

    Kept: layers, patches, windows, token rule, gating, biases, norms, the connector's stages, tied
    embeddings, query heads per key/value head, layers with cross-attention and experts per token.
    Small: hidden and intermediate sizes, heads, head sizes, vocabulary, the number of experts.
    Sizes that differ in the model differ here, and no two that mean different things are equal, so
    that a mix-up shows in a count.

    Args:
        model: A model of any size.
        width: Least hidden size of the decoder; its heads may ask for more.

    Raises:
        InvalidInput: A width that is no whole number of at least 16, a connector with a width
            of its own, or a part that no driven model has.
    """
    width = whole(width, "width", minimum=16)
    _check_parts(model)
    decoder = _decoder(model, width)
    vision = _vision(model, width, decoder)
    return resized(
        model,
        id=f"{model.id} (reduced)",
        status="approximate",
        published_parameters=None,
        vision=vision,
        connector=_connector(model, vision, decoder),
        decoder=decoder,
    )


def _check_parts(model: Model) -> None:
    decoder, vision = model.decoder, model.vision
    missing: dict[str, bool] = {
        "vision.kind": vision.kind != "transformer",
        "second_vision": model.second_vision is not None,
        "decoder.attention.kind": decoder.attention.kind != "heads",
        "decoder.adapter": decoder.adapter is not None,
        "decoder.encoder_layers": decoder.encoder_layers > 0,
        "decoder.position_embeddings": decoder.position_embeddings > 0,
    }
    for stack, name in ((vision, "vision"), (decoder, "decoder")):
        other = [(v.attention, v.feed_forward, v.cross_feed_forward) for v in stack.variants]
        missing[f"{name}.variants"] = any(part for parts in other for part in parts)
    for field, there in missing.items():
        if there:
            raise InvalidInput(field, None, "cannot be made small", "use another model")


def _decoder(model: Model, width: int) -> Decoder:
    full = model.decoder
    attention = full.attention
    group = attention.num_attention_heads // attention.num_key_value_heads
    key_heads = min(attention.num_key_value_heads, 4 if group == 1 else 2)
    heads = group * key_heads
    head_dim = max(8, _up(width / heads))
    while group > 1 and (head_dim == heads or key_heads * head_dim == heads):
        head_dim += _STEP
    hidden = heads * head_dim
    if full.hidden_size != attention.num_attention_heads * attention.head_dim:
        hidden += _STEP * heads
    rows = full.embedding_rows
    return resized(
        full,
        hidden_size=hidden,
        attention=_heads(attention, heads, key_heads, head_dim),
        feed_forward=_feed_forward(full, hidden),
        variants=tuple(
            resized(
                variant,
                cross_attention=variant.cross_attention
                and _heads(variant.cross_attention, heads, key_heads, head_dim),
            )
            for variant in full.variants
        ),
        vocab_size=VOCABULARY,
        embedding_rows=rows and VOCABULARY + rows - full.vocab_size,
    )


def _feed_forward(full: Decoder, hidden: int) -> FeedForward:
    """Return the network of the same ratio; experts are few, and each token takes as many."""
    network: Any = full.feed_forward
    ratio = network.intermediate_size / full.hidden_size
    changes: dict[str, Any] = {"intermediate_size": _up(hidden * ratio)}
    if network.kind == "experts":
        shared = network.shared_intermediate_size / full.hidden_size
        changes["num_experts"] = min(network.num_experts, 2 * network.num_experts_per_tok + 1)
        changes["shared_intermediate_size"] = _up(hidden * shared)
        while changes["intermediate_size"] == hidden:
            changes["intermediate_size"] += _STEP
    small: FeedForward = resized(network, **changes)
    return small


def _vision(model: Model, width: int, decoder: Decoder) -> VisionEncoder:
    full, merge = model.vision, model.connector.merge_size
    patch = full.patch_embedding
    text = decoder.attention
    taken = {
        patch.num_channels * patch.temporal_patch_size * patch.patch_size**2,
        decoder.hidden_size,
        decoder.feed_forward.intermediate_size,
        text.head_dim,
        text.num_attention_heads,
        text.num_attention_heads * text.head_dim,
        text.num_key_value_heads * text.head_dim,
    }
    heads = min(full.attention.num_attention_heads, ENCODER_HEADS)
    head_dim = max(8, _up(width * 3 / 4 / heads))
    # Three times the hidden size is a whole FFN ratio, and unlike the 4 or 16 of a merge.
    while taken & {head_dim, heads * head_dim, 3 * heads * head_dim, merge**2 * heads * head_dim}:
        head_dim += _STEP
    hidden = heads * head_dim
    layers = full.features // full.hidden_size  # whose states stand side by side
    return resized(
        full,
        hidden_size=hidden,
        attention=_heads(full.attention, heads, heads, head_dim),
        feed_forward=resized(full.feed_forward, intermediate_size=3 * hidden),
        output_features=full.output_features and layers * hidden,
        extra_parameters=scaled_parameters(full, full.hidden_size, hidden),
    )


def scaled_parameters(stack: Transformer, full: int, small: int) -> tuple[ExtraParameters, ...]:
    """Return a stack's further parameters: those that are multiples of `full`, at `small`."""
    return tuple(
        resized(extra, count=extra.count // full * small) if extra.count % full == 0 else extra
        for extra in stack.extra_parameters
    )


def _connector(model: Model, vision: VisionEncoder, decoder: Decoder) -> Connector:
    """Return the same stages; a matrix keeps its width or goes to the decoder's, as in full."""
    connector = model.connector
    # A patch merger (norm before merge) has a square first matrix, also where its width happens
    # to be the decoder's; so have DeepStack's.
    square = isinstance(connector.stages[0], NormStage)
    widths = (model.vision.features, vision.features)
    deepstack = connector.deepstack
    if deepstack is not None:
        own = _stages("connector.deepstack", deepstack.stages, widths, model, decoder, square=True)
        deepstack = resized(deepstack, stages=own)
    stages = _stages("connector", connector.stages, widths, model, decoder, square)
    return resized(connector, stages=stages, deepstack=deepstack)


def _stages(
    where: str,
    stages: tuple[Stage, ...],
    widths: tuple[int, int],
    model: Model,
    decoder: Decoder,
    square: bool,
) -> tuple[Stage, ...]:
    # The last matrix always ends in the decoder's width.
    last = max(index for index, stage in enumerate(stages) if isinstance(stage, LinearStage))
    full, small = widths
    small_stages: list[Stage] = []
    for index, stage in enumerate(stages):
        if isinstance(stage, Merge):
            full, small = full * stage.size**2, small * stage.size**2
            small_stages.append(stage)
        elif isinstance(stage, PoolStage):
            small_stages.append(stage)
        elif isinstance(stage, NormStage):
            small_stages.append(resized(stage, width=small))
        elif isinstance(stage, LinearStage):
            out = stage.out_features
            if index == last or (out == model.decoder.hidden_size and not square):
                after = decoder.hidden_size
            elif out == full:
                after = small
            else:
                raise InvalidInput(
                    f"{where}.stages.{index}.out_features",
                    out,
                    "is neither the width before it nor the decoder's",
                    "use another model: this one cannot be reduced",
                )
            small_stages.append(resized(stage, in_features=small, out_features=after))
            full, small = out, after
        else:
            raise InvalidInput(
                f"{where}.stages.{index}.kind",
                stage.kind,
                "cannot be made small",
                "use another model: this one cannot be reduced",
            )
    return tuple(small_stages)


def _heads(full: AnySpec, heads: int, key_heads: int, head_dim: int) -> AnySpec:
    return resized(
        full, num_attention_heads=heads, num_key_value_heads=key_heads, head_dim=head_dim
    )


def resized(spec: AnySpec, **changes: Any) -> AnySpec:
    """Return a spec with some fields changed, and checked as any spec is."""
    fields = {name: getattr(spec, name) for name in type(spec).model_fields}
    return type(spec)(**{**fields, **changes})


def _up(size: float) -> int:
    return math.ceil(size / _STEP) * _STEP
