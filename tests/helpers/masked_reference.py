"""Pruned runs at full length: dropped tokens stay, hidden by an attention mask per layer.

The model's own layers run on the sequence and the position ids that its own forward pass makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Traced(NamedTuple):
    """A run at full length.

    Attributes:
        entering: States that enter each layer, [B, n, d].
        maps: Each layer's attention, [B, h, n, n], if it is eager.
        final: States behind the final norm.
    """

    entering: list[Tensor]
    maps: list[Tensor | None]
    final: Tensor


class Reference:
    """A model's own sequence, and what its layers make of it under masks.

    Attributes:
        states: What enters layer 0, [B, n + new, d].
        ids: Position ids, [B, n + new] or [3, B, n + new].
        visual: Which tokens are visual, [B, n].
        length: n, tokens of the prompt.
        axes: Whether position ids are those in time, row and column.
        marks: Whether a token of the vocabulary stands before and after each image.
    """

    def __init__(self, model: Any, inputs: Mapping[str, Any], new: Tensor) -> None:
        """Run the whole model once on a prompt, and append the tokens `new` [B, steps]."""
        import torch

        self.model, self.decoder, seen = model, model.base_model.language_model, {}

        def keep(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            seen.update(kwargs)

        hook = self.decoder.register_forward_pre_hook(keep, with_kwargs=True)
        with torch.no_grad():
            model(**inputs)
            appended = model.get_input_embeddings()(new)
        hook.remove()
        prompt = inputs["input_ids"]
        self.visual = prompt == model.config.image_token_id
        self.length = prompt.shape[1]
        self.states = torch.cat([seen["inputs_embeds"], appended], dim=1)
        ids = torch.arange(self.length).expand(prompt.shape)
        self.marks = model.config.model_type.startswith(("internvl", "qwen"))
        self.axes = "mm_token_type_ids" in inputs
        if self.axes:
            ids = seen["position_ids"][-3:]
        behind = ids.max() + 1 + torch.arange(new.shape[1])
        self.ids = torch.cat([ids, behind.expand(*ids.shape[:-1], -1)], dim=-1)

    def run(self, kept: Mapping[int, Tensor], renumbers: bool) -> Traced:
        """Hide from each of some layers on all prompt tokens but those at `kept` [B, k].

        With `renumbers`, those that are left count as 0, 1, … from there on, new ones included;
        ids in three axes stay.
        """
        import torch

        shown = torch.ones(self.states.shape[:2], dtype=torch.bool)
        states, ids = self.states, self.ids
        entering, maps = [], []
        with torch.no_grad():
            for index, layer in enumerate(self.decoder.layers):
                if index in kept:
                    shown = shown.clone()
                    shown[:, : self.length] = False
                    shown.scatter_(1, kept[index], True)
                    if renumbers and not self.axes:
                        ids = (shown.cumsum(1) - 1).clamp(min=0)
                entering.append(states)
                states, weights = run_layer(self.decoder, layer, states, ids, shown)
                maps.append(weights)
            return Traced(entering, maps, self.decoder.norm(states))


def run_layer(
    decoder: Any, layer: Any, states: Tensor, ids: Tensor, shown: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Run a layer on states that may look back at tokens `shown` [B, n]; also its attention map."""
    import torch

    length = states.shape[1]
    back = torch.ones(length, length, dtype=torch.bool).tril()
    hidden = ~(back & shown[:, None, None, :])
    mask = torch.zeros(hidden.shape, dtype=states.dtype)
    mask = mask.masked_fill(hidden, torch.finfo(states.dtype).min)
    weights: list[Tensor | None] = []
    hook = layer.self_attn.register_forward_hook(lambda module, args, out: weights.append(out[1]))
    tables = decoder.rotary_emb(states, ids)
    states = layer(states, attention_mask=mask, position_embeddings=tables)
    hook.remove()
    return states, weights[0]


def rows_at(states: Tensor, places: Tensor) -> Tensor:
    """Return of states [B, n, d] those at places [B, k]."""
    return states.gather(1, places[..., None].expand(-1, -1, states.shape[-1]))


def relative_error(made: Tensor, expected: Tensor) -> float:
    """Return the largest difference as a share of the largest expected amount."""
    assert made.shape == expected.shape
    return float((made - expected).abs().max() / expected.abs().max())


def rated(reference: Reference, weights: Tensor, sequence: int) -> list[float]:
    """Return what each token receives from SparseVLM's raters by a full attention map.

    They are the text tokens whose relevance, softmax over text of the products with the visual
    tokens that enter layer 0, mean over those, exceeds the mean, and that stand behind the images.
    """
    import torch

    visual = torch.where(reference.visual[sequence])[0]
    # Tokens that mark an image's ends are no text.
    marks = reference.marks
    near = {place + off for place in visual.tolist() for off in ((-1, 0, 1) if marks else (0,))}
    text = [place for place in range(reference.length) if place not in near]
    states = reference.states[sequence]
    relevance = (states[visual] @ states[text].T).softmax(dim=1).mean(dim=0)
    raters = torch.tensor(text)[relevance > relevance.mean()]
    # Text before the images sees none of them.
    raters = raters[raters > visual[-1]]
    assert 0 < len(raters) < len(text) == 20
    scores: list[float] = weights[sequence][:, raters].mean(dim=(0, 1)).tolist()
    return scores
