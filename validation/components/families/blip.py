"""BLIP-2 and InstructBLIP: a Q-Former, and an LLM that may be T5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ....costmodel.plan import TokenPlan
from ..parts import Parts, tokens_of

if TYPE_CHECKING:
    from torch import Tensor


class Blip(Parts):
    """The Q-Former of InstructBLIP gets as many instruction tokens as the LLM gets text tokens."""

    places: ClassVar[Mapping[str, str]] = {
        "vision_model": "vision",
        "qformer": "connector",
        "language_projection": "connector",
        "language_model": "decoder",
        "language_model.lm_head": "head",
    }
    head_path: ClassVar[str] = "language_model.lm_head"

    def __init__(self, model: Any) -> None:
        """Start without anything encoded."""
        super().__init__(model)
        self.encoded: Tensor | None = None

    @property
    def encodes(self) -> bool:
        """Whether the LLM has an encoder of its own."""
        return bool(self.model.language_model.config.is_encoder_decoder)

    @property
    def decoder(self) -> Any:
        """The LLM without its head; of T5 the decoder."""
        language = self.model.language_model
        if self.encodes:
            return language.decoder
        return getattr(language, "model", language)

    def see(self, plan: TokenPlan) -> int:
        """Run encoder, Q-Former and projection, without masks, which would hide nothing."""
        model, text = self.model, {}
        if model.config.model_type == "instructblip":
            text = {"input_ids": self.zeros(len(plan.images), plan.text_tokens)}
        pixels = self.pixels(plan.visual_input.crops)
        states = model.vision_model(pixel_values=pixels).last_hidden_state
        queries = model.query_tokens.expand(len(pixels), -1, -1)
        found = model.qformer(query_embeds=queries, encoder_hidden_states=states, **text)
        # instruction tokens leave the Q-Former behind the queries, and go no further
        return tokens_of(model.language_projection(found[0][:, : queries.shape[1]]))

    def new_cache(self) -> Any:
        """Return an empty cache, of two kinds for T5."""
        from transformers import DynamicCache, EncoderDecoderCache

        if self.encodes:
            return EncoderDecoderCache(DynamicCache(), DynamicCache())
        return super().new_cache()

    def begin(self, visual: int, plan: TokenPlan) -> None:
        """Run the LLM; of T5 the encoder on all tokens, then the decoder on its start token."""
        if not self.encodes:
            super().begin(visual, plan)
            return
        language = self.model.language_model
        tokens = visual + plan.structural_tokens + plan.text_tokens
        states = self.empty(1, tokens, language.config.d_model)
        self.encoded = language.encoder(inputs_embeds=states).last_hidden_state
        self.decode()

    def read(self, tokens: int) -> Tensor:
        """Run the LLM on so many further tokens."""
        if not self.encodes:
            return super().read(tokens)
        found: Tensor = self.decoder(
            inputs_embeds=self.empty(1, tokens, self.decoder.config.d_model),
            encoder_hidden_states=self.encoded,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        return found
