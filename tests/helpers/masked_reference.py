"""Pruned runs at full length: dropped tokens stay, hidden by an attention mask per layer.

The model's own layers run on the sequence and the position ids that its own forward pass makes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Traced(NamedTuple):
    """A run at full length.

    Attributes:
        entering: States that enter each layer, [B, n, d].
        maps: Each layer's attention, [B, h, n, n], if it is eager; None in cross-attention.
        final: States behind the final norm.
    """

    entering: list[Tensor]
    maps: list[Tensor | None]
    final: Tensor


class Sight(NamedTuple):
    """What tokens may look at besides those before them.

    Attributes:
        shown: Which tokens anyone looks at, [B, n].
        blocks: Tokens of one block look at each other, [B, n]; −1 for none.
        prefix: Whether blocks reach beyond a layer's window.
    """

    shown: Tensor
    blocks: Tensor
    prefix: bool = False

    def mask(self, window: int | None, states: Tensor) -> Tensor:
        """Return the mask [B, 1, n, n] of a layer; a window counts the tokens that are shown."""
        import torch

        length = states.shape[1]
        seen = torch.ones(length, length, dtype=torch.bool).tril()[None]
        rank = self.shown.cumsum(1)
        near = torch.ones_like(seen)
        if window is not None:
            near = rank[:, :, None] - rank[:, None, :] < window
        together = (self.blocks[:, :, None] == self.blocks[:, None, :]) & (self.blocks >= 0)[
            ..., None
        ]
        seen = (seen & near) | together if self.prefix else (seen | together) & near
        hidden = ~(seen & self.shown[:, None, :])[:, None]
        mask = torch.zeros(hidden.shape, dtype=states.dtype)
        return mask.masked_fill(hidden, torch.finfo(states.dtype).min)


class Reference:
    """A model's own sequence, and what its layers make of it under masks.

    Attributes:
        states: What enters layer 0, [B, n + new, d].
        ids: Position ids, [B, n + new] or [3, B, n + new].
        visual: Which tokens are visual, [B, n].
        text: Which tokens are text, [B, n].
        length: n, tokens of the prompt.
        axes: Whether position ids are those in time, row and column.
        blocks: Which run of visual tokens a token belongs to, [B, n + new]; −1 for none. In
            PaliGemma the whole prompt is one.
        added: What is added behind the first layers, each [B, n + new, d].
        crossed: What the cross-attention layers get of the images.
        leave_out: Layers that are not run.
    """

    leave_out: tuple[int, ...] = ()

    def __init__(
        self, model: Any, inputs: Mapping[str, Any], new: Tensor, specials: Collection[int]
    ) -> None:
        """Run the whole model once on a prompt, and append the tokens `new` [B, steps]."""
        import torch

        base, seen = model.base_model, {}
        self.model = model
        self.decoder = base.language_model if hasattr(base, "language_model") else base.text_model
        self.kind = model.config.model_type

        def keep(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            seen.update(kwargs)

        hook = self.decoder.register_forward_pre_hook(keep, with_kwargs=True)
        with torch.no_grad():
            model(**inputs)
            appended = model.get_input_embeddings()(new)
        hook.remove()
        prompt = inputs["input_ids"]
        steps = new.shape[1]
        self.visual = prompt == model.config.image_token_id
        self.text = ~torch.isin(prompt, torch.tensor(sorted(specials)))
        self.length = prompt.shape[1]
        embedded = seen.get("inputs_embeds")
        if embedded is None:  # Llama-3.2-Vision embeds inside its decoder
            embedded = model.get_input_embeddings()(prompt).detach()
        self.states = torch.cat([embedded, appended], dim=1)
        ids = torch.arange(self.length).expand(prompt.shape) + (self.kind == "paligemma")
        self.axes = "mm_token_type_ids" in inputs
        if self.axes:
            ids = seen["position_ids"][-3:]
        behind = ids.max() + 1 + torch.arange(steps)
        self.ids = torch.cat([ids, behind.expand(*ids.shape[:-1], -1)], dim=-1)
        self.blocks = torch.full(self.states.shape[:2], -1)
        if self.kind == "paligemma":
            self.blocks[:, : self.length] = 0
        elif self.kind == "gemma3":
            begins = self.visual & ~self.visual.roll(1, dims=1)
            self.blocks[:, : self.length] = torch.where(self.visual, begins.cumsum(1), -1)
        self.added = []
        for features in seen.get("deepstack_visual_embeds") or ():
            dense = torch.zeros_like(self.states)
            dense[:, : self.length][self.visual] = features
            self.added.append(dense)
        self.crossed = _crossed(seen, steps)

    def logits(self, final: Tensor) -> Tensor:
        """Return the head's output; Gemma 2 bounds it by tanh."""
        logits: Tensor = self.model.lm_head(final)
        bound = getattr(self.decoder.config, "final_logit_softcapping", None)
        return logits if bound is None else (logits / bound).tanh() * bound

    def run(
        self,
        kept: Mapping[int, Tensor],
        renumbers: bool,
        keys: Mapping[int, Tensor] | None = None,
    ) -> Traced:
        """Hide from each of some layers on all prompt tokens but those at `kept` [B, k].

        With `renumbers`, those that are left count as 0, 1, … from there on, new ones included;
        ids in three axes stay. Likewise all keys of cross-attention but those at `keys` [B, k].
        """
        import torch

        shown = torch.ones(self.states.shape[:2], dtype=torch.bool)
        states, ids, crossed = self.states, self.ids, self.crossed
        entering, maps = [], []
        with torch.no_grad():
            for index in range(len(self.decoder.layers)):
                if index in kept:
                    shown = shown.clone()
                    shown[:, : self.length] = False
                    shown.scatter_(1, kept[index], True)
                    if renumbers and not self.axes:
                        ids = (shown.cumsum(1) - 1).clamp(min=0) + (self.kind == "paligemma")
                if keys is not None and index in keys:
                    crossed = _hidden(self.crossed, keys[index])
                entering.append(states)
                if index in self.leave_out:
                    maps.append(None)
                    continue
                sight = Sight(shown, self.blocks, self.kind == "paligemma")
                states, weights = run_layer(self.decoder, index, states, ids, sight, crossed)
                if index < len(self.added):
                    states = states + self.added[index]
                maps.append(weights)
            return Traced(entering, maps, self.decoder.norm(states))


def run_layer(
    decoder: Any,
    index: int,
    states: Tensor,
    ids: Tensor,
    sight: Sight,
    crossed: Mapping[str, Any] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Run a layer on states that look at what `sight` says; also its attention map."""
    layer, kinds = decoder.layers[index], getattr(decoder.config, "layer_types", None)
    kind = kinds[index] if kinds else "full_attention"
    window = decoder.config.sliding_window if kind == "sliding_attention" else None
    by_kind = isinstance(decoder.config.rope_parameters.get(kind), dict)  # Gemma 3's alone
    tables = decoder.rotary_emb(states, ids, *([kind] if by_kind else []))
    weights: list[Tensor | None] = []
    rest: dict[str, Any] = {}
    if hasattr(layer, "cross_attn"):
        assert crossed is not None
        rest, weights = dict(crossed), [None]
    else:
        hook = layer.self_attn.register_forward_hook(
            lambda module, args, out: weights.append(out[1])
        )
    states = layer(
        states, attention_mask=sight.mask(window, states), position_embeddings=tables, **rest
    )
    if not rest:
        hook.remove()
    return states, weights[0]


def _crossed(seen: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return what cross-attention layers get; new tokens look where the last one does."""
    import torch

    if seen.get("cross_attention_states") is None:
        return {}
    given = {"cross_attention_states": seen["cross_attention_states"]}
    for name in ("cross_attention_mask", "full_text_row_masked_out_mask"):
        mask = seen[name]
        given[name] = torch.cat([mask, mask[:, :, -1:].expand(-1, -1, steps, -1)], dim=2)
    return given


def _hidden(crossed: Mapping[str, Any], keys: Tensor) -> dict[str, Any]:
    """Return the same with all keys hidden but those at `keys` [B, k]."""
    import torch

    mask = crossed["cross_attention_mask"]
    shown = torch.zeros(len(mask), mask.shape[-1], dtype=torch.bool).scatter(1, keys, True)
    lowest = torch.finfo(mask.dtype).min
    return {**crossed, "cross_attention_mask": mask.masked_fill(~shown[:, None, None], lowest)}


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
    text = torch.where(reference.text[sequence])[0].tolist()
    states = reference.states[sequence]
    relevance = (states[visual] @ states[text].T).softmax(dim=1).mean(dim=0)
    raters = torch.tensor(text)[relevance > relevance.mean()]
    # Text before the images sees none of them.
    raters = raters[raters > visual[-1]]
    assert 0 < len(raters) < len(text) == 20
    scores: list[float] = weights[sequence][:, raters].mean(dim=(0, 1)).tolist()
    return scores
