"""The language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import StrictBool, model_validator

from ..kinds import lazily
from ..numeric import Converted, Count, Positive
from .blocks import Transformer, norm_parameters

if TYPE_CHECKING:
    from .sliding import SlidingWindow
else:
    SlidingWindow = Any


class Decoder(Transformer):
    """The language model.

    Attributes:
        vocab_size: Rows of the head, padding included.
        embedding_rows: Rows of the embedding; None is vocab_size.
        tie_word_embeddings: Whether the head reuses the embedding's weights.
        head_stored: Whether a checkpoint stores a tied head a second time.
        head_bias: Whether the head has a bias (parameters only).
        position_embeddings: Learned positions; 0 with rotary ones.
        sliding_window: Layers whose attention and cache reach back a limited number of tokens.
        bidirectional: Tokens that attend to later ones too: those of each image ("images"), or
            the whole prompt ("prefix"); None is causal attention. Changes `--causal` alone.
        encoder_layers: How many of the first layers are the LLM's own encoder (T5); the rest
            attend to its output by cross-attention and generate.
    """

    vocab_size: Positive
    embedding_rows: Positive | None = None
    tie_word_embeddings: StrictBool
    head_stored: StrictBool = False
    head_bias: StrictBool = False
    position_embeddings: Count = 0
    sliding_window: Annotated[
        SlidingWindow | None, Converted(lazily(".architecture.sliding:SlidingWindow"))
    ] = None
    bidirectional: Literal["images", "prefix"] | None = None
    encoder_layers: Count = 0

    @model_validator(mode="after")
    def _layers_fit(self) -> Decoder:
        if self.encoder_layers:
            if self.encoder_layers >= self.num_hidden_layers:
                raise ValueError(
                    f"encoder_layers {self.encoder_layers} leaves no layer that generates"
                )
            generating = self.blocks[self.encoder_layers :]
            if any(block.cross_attention is None for block in generating):
                raise ValueError("encoder_layers without cross-attention in every later layer")
        if self.sliding_window and max(self.sliding_window.layers, default=0) >= (
            self.num_hidden_layers
        ):
            raise ValueError("sliding_window.layers names a layer beyond the last")
        return self

    @property
    def crosses(self) -> bool:
        """Whether visual tokens are keys of cross-attention instead of tokens of the sequence."""
        return not self.encoder_layers and any(block.cross_attention for block in self.blocks)

    def window(self, layer: int) -> int | None:
        """Return how many tokens a layer's attention reaches back, itself included."""
        sliding = self.sliding_window
        return sliding.size if sliding is not None and layer in sliding.layers else None

    def outside_parameters(self) -> int:
        """Return the parameters of embedding, positions and final norm."""
        rows = (self.embedding_rows or self.vocab_size) + self.position_embeddings
        return rows * self.hidden_size + norm_parameters(self.norm, self.hidden_size) + self.extra

    def head_parameters(self) -> int:
        """Return the head's matrix and bias, stored or tied."""
        return (self.hidden_size + self.head_bias) * self.vocab_size
