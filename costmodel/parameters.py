"""Parameter counts from the architecture, component by component."""

from __future__ import annotations

from .architecture.blocks import linear_parameters as linear_parameters
from .architecture.blocks import norm_parameters as norm_parameters
from .architecture.decoder import Decoder
from .architecture.model import Model
from .architecture.vision import VisionEncoder


def model_parameters(model: Model) -> dict[str, int]:
    """Return the stored parameters by component; their sum is the checkpoint's total.

    `decoder` includes the embedding and the final norm; a head that is tied to the embedding
    stores nothing of its own, unless the checkpoint repeats it. `other` is what a checkpoint
    stores and no visual prompt runs; it is left out where there is nothing.

    >>> from vlm_tokencost.presets import load_model
    >>> sum(model_parameters(load_model("llava-1.5-7b")).values())
    7063427072
    """
    decoder = model.decoder
    stored = not decoder.tie_word_embeddings or decoder.head_stored
    counts = {
        "vision": sum(vision_parameters(tower) for tower in model.towers),
        "connector": model.connector.parameters(decoder.hidden_size),
        "decoder": decoder_parameters(decoder),
        "head": decoder.head_parameters() if stored else 0,
    }
    if model.other_parameters:
        counts["other"] = sum(extra.count for extra in model.other_parameters)
    return counts


def layer_parameters(model: Model) -> dict[tuple[str, int | None], int]:
    """Return the same parameters by component and layer; None holds what is outside the layers.

    The layers of a second encoder are numbered behind those of the first.
    """
    components = model_parameters(model)
    found: dict[tuple[str, int | None], int] = {}
    for name, stacks in (("vision", model.towers), ("decoder", (model.decoder,))):
        each = [
            stack.layer_parameters(layer)
            for stack in stacks
            for layer in range(stack.num_hidden_layers)
        ]
        found[name, None] = components[name] - sum(each)
        found.update({(name, layer): count for layer, count in enumerate(each)})
    for name in ("connector", "head", "other"):
        if name in components:
            found[name, None] = components[name]
    return found


def vision_parameters(vision: VisionEncoder) -> int:
    """Return an encoder's parameters: patch convolution, positions, norms and all blocks."""
    layers = range(vision.num_hidden_layers)
    return vision.outside_parameters() + sum(vision.layer_parameters(layer) for layer in layers)


def decoder_parameters(decoder: Decoder) -> int:
    """Return the parameters of embedding, blocks and final norm."""
    layers = range(decoder.num_hidden_layers)
    return decoder.outside_parameters() + sum(decoder.layer_parameters(layer) for layer in layers)


def head_parameters(decoder: Decoder) -> int:
    """Return (hidden_size + 1 with a bias) · vocab_size: the head, stored or tied."""
    return decoder.head_parameters()
