"""CLIP's text tower with random weights, for rules that compare patches with the question.

The tower is that of CLIP ViT-L/14: 12 causal layers of width 768, up to 77 positions, and a
projection to the 768 numbers in which patches and text meet. The prompt's own ids belong to the
LLM's vocabulary, so that a random question of the wanted length stands in for them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...costmodel import InvalidInput
from .common import unit

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

#: Positions of the tower, and the width of the space in which patches and text meet.
POSITIONS, JOINT = 77, 768
_VOCABULARY, _BEGIN, _END = 49_408, 49_406, 49_407
_LAYERS, _HEADS, _INNER = 12, 12, 3_072
_SEED = 0


def questions(batch: int, tokens: int, where: device) -> Tensor:
    """Return random ids [B, tokens] of questions, with marks of beginning and end.

    The same on every device; every request asks something else.

    Raises:
        InvalidInput: There is no token to ask with.
    """
    import torch

    if tokens < 1:
        raise InvalidInput("--text-tokens", tokens, "leaves no question", "give at least 1")
    drawn = torch.Generator().manual_seed(_SEED)
    ids = torch.randint(1, _BEGIN, (batch, tokens), generator=drawn)
    ids[:, 0] = _BEGIN
    ids[:, -1] = _END
    return ids.to(where)


def pooled(ids: Tensor, number: dtype) -> Tensor:
    """Return the projected end tokens [B, s, 768] of questions [B, n] in segments of 77.

    s = ⌈n/77⌉, the last segment filled up with zeros, which no token before them sees. Of a
    segment without the mark of the end the highest id is taken, as transformers does for this
    tower. With n = 77·s padded tokens 12·(4n·768² + 2n²·768/s + 2n·768·3,072) + s·768² MACs per
    question.

    Args:
        ids: [B, n].
        number: Number format of the tower.
    """
    import torch

    batch, tokens = ids.shape
    segments = -(-tokens // POSITIONS)
    filled = torch.nn.functional.pad(ids, (0, segments * POSITIONS - tokens))
    rows = filled.reshape(batch * segments, POSITIONS)
    embedded: Tensor = tower(str(ids.device), number)(input_ids=rows).text_embeds
    return embedded.reshape(batch, segments, JOINT)


def token_by_token(ids: Tensor, number: dtype) -> Tensor:
    """Return the projected tokens [B, n, 768] of questions [B, n] of at most 77 tokens.

    12·(4n·768² + 2n²·768 + 2n·768·3,072) + n·768² MACs per question.

    Raises:
        InvalidInput: The tower has fewer positions.
    """
    from torch.nn.functional import linear

    if ids.shape[1] > POSITIONS:
        problem = f"exceeds the {POSITIONS} positions of CLIP's text tower"
        raise InvalidInput("tokens", ids.shape[1], problem, "leave the others out")
    whole = tower(str(ids.device), number)
    states = whole.text_model(input_ids=ids).last_hidden_state
    return linear(states, whole.text_projection.weight)


def project(patches: Tensor) -> Tensor:
    """Return patches [B, P, d_e] in the joint space, [B, P, 768]; P·d_e·768 MACs per sequence."""
    from torch.nn.functional import linear

    width = int(patches.shape[-1])
    return linear(patches, patch_projection(width, str(patches.device), patches.dtype))


@lru_cache(maxsize=2)
def tower(where: str, number: dtype) -> Any:
    """Return transformers' text tower of CLIP ViT-L/14, projection included, on a device."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    untyped: Any = CLIPTextConfig  # transformers' configs take more than their signatures say
    config = untyped(
        vocab_size=_VOCABULARY,
        hidden_size=JOINT,
        intermediate_size=_INNER,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        max_position_embeddings=POSITIONS,
        projection_dim=JOINT,
        eos_token_id=2,  # as published for this tower: its pooled token has the highest id
        attn_implementation="eager",
    )
    with torch.device("meta"):
        module: Any = CLIPTextModelWithProjection(config)
    module.train(False)
    module.requires_grad_(False)
    if where == "meta":
        return module.to(number)
    draw = _Drawn()
    for path, parameter in list(module.named_parameters()):
        owner, _, name = path.rpartition(".")
        mean, deviation = 0.0, 0.1
        if parameter.ndim == 2:
            # Embeddings are looked up, and so are as large as what they are added to.
            deviation = 1.0 if "embedding" in owner else parameter.shape[1] ** -0.5
        elif name == "weight":
            mean = 1.0  # of a norm
        made = draw.normal(tuple(parameter.shape), mean, deviation).to(where, number)
        fixed = torch.nn.Parameter(made, requires_grad=False)
        module.get_submodule(owner).register_parameter(name, fixed)
    places = torch.arange(POSITIONS, device=where)[None]
    module.text_model.embeddings.register_buffer("position_ids", places, persistent=False)
    return module


@lru_cache(maxsize=4)
def patch_projection(width: int, where: str, number: dtype) -> Tensor:
    """Return the matrix [768, width] that brings patches into the joint space."""
    import torch

    if where == "meta":
        return torch.empty(JOINT, width, dtype=number, device="meta")
    return _Drawn().normal((JOINT, width), 0.0, width**-0.5).to(where, number)


class _Drawn:
    """Random numbers from numpy: what torch draws would be part of a trace."""

    def __init__(self) -> None:
        import numpy

        self._source = numpy.random.default_rng(_SEED)

    def normal(self, shape: tuple[int, ...], mean: float, deviation: float) -> Tensor:
        import torch

        numbers = self._source.standard_normal(shape, dtype="float32")
        numbers *= deviation
        numbers += mean
        return torch.from_numpy(numbers)


def cosines(rows: Tensor, others: Tensor) -> Tensor:
    """Return the cosines [B, n, m] of rows [B, n, d] with others [B, m, d]; n·m·d MACs."""
    return unit(rows) @ unit(others).mT
