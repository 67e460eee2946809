"""Models of full depth and small width: real forward passes in seconds, every part in place."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from ..costmodel import InvalidInput, Model
from ..costmodel.architecture import Attention, Connector, Decoder, VisionEncoder
from ..costmodel.connectors import Stage
from ..costmodel.connectors.linear import LinearStage
from ..costmodel.connectors.merge import Merge
from ..costmodel.connectors.norm import NormStage
from ..costmodel.numeric import Spec, whole

AnySpec = TypeVar("AnySpec", bound=Spec)

#: Both prime, so that they equal no width or number of heads.
VOCABULARY, ENCODER_HEADS = 1_009, 5
#: A rotary head in two or three axes needs a size that 4 divides.
_STEP = 4


def reduced(model: Model, width: int = 64) -> Model:
    """Return the model with small widths; layers, tokens and structure stay.

    Kept: layers, patches, windows, token rule, gating, biases, norms, the connector's stages, tied
    embeddings and query heads per key/value head. Small: hidden and intermediate sizes, heads,
    head sizes, vocabulary. Sizes that differ in the model differ here, and no two that mean
    different things are equal, so that a mix-up shows in a count.

    Args:
        model: A model of any size.
        width: Least hidden size of the decoder; its heads may ask for more.

    Raises:
        InvalidInput: A width that is no whole number of at least 16, or a connector with a width
            of its own.
    """
    width = whole(width, "width", minimum=16)
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
    ratio = full.feed_forward.intermediate_size / full.hidden_size
    return resized(
        full,
        hidden_size=hidden,
        attention=_heads(attention, heads, key_heads, head_dim),
        feed_forward=resized(full.feed_forward, intermediate_size=_up(hidden * ratio)),
        vocab_size=VOCABULARY,
    )


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
    return resized(
        full,
        hidden_size=hidden,
        attention=_heads(full.attention, heads, heads, head_dim),
        feed_forward=resized(full.feed_forward, intermediate_size=3 * hidden),
    )


def _connector(model: Model, vision: VisionEncoder, decoder: Decoder) -> Connector:
    """Return the same stages; a matrix keeps its width or goes to the decoder's, as in full."""
    stages = model.connector.stages
    # A patch merger (norm before merge) has a square first matrix, also where its width happens
    # to be the decoder's; the last matrix always ends in the decoder's.
    last = max(index for index, stage in enumerate(stages) if isinstance(stage, LinearStage))
    square_first = isinstance(stages[0], NormStage)
    full, small = model.vision.hidden_size, vision.hidden_size
    small_stages: list[Stage] = []
    for index, stage in enumerate(stages):
        if isinstance(stage, Merge):
            full, small = full * stage.size**2, small * stage.size**2
            small_stages.append(stage)
        elif isinstance(stage, NormStage):
            small_stages.append(resized(stage, width=small))
        elif not isinstance(stage, LinearStage):
            raise InvalidInput(
                f"connector.stages.{index}.kind",
                stage.kind,
                "cannot be made small",
                "use another model: this one cannot be reduced",
            )
        else:
            out = stage.out_features
            if index == last or (out == model.decoder.hidden_size and not square_first):
                after = decoder.hidden_size
            elif out == full:
                after = small
            else:
                raise InvalidInput(
                    f"connector.stages.{index}.out_features",
                    out,
                    "is neither the width before it nor the decoder's",
                    "use another model: this one cannot be reduced",
                )
            small_stages.append(resized(stage, in_features=small, out_features=after))
            full, small = out, after
    return resized(model.connector, stages=tuple(small_stages))


def _heads(full: Attention, heads: int, key_heads: int, head_dim: int) -> Attention:
    return resized(
        full, num_attention_heads=heads, num_key_value_heads=key_heads, head_dim=head_dim
    )


def resized(spec: AnySpec, **changes: Any) -> AnySpec:
    """Return a spec with some fields changed, and checked as any spec is."""
    fields = {name: getattr(spec, name) for name in type(spec).model_fields}
    return type(spec)(**{**fields, **changes})


def _up(size: float) -> int:
    return math.ceil(size / _STEP) * _STEP
