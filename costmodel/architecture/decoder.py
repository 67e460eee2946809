"""The language model."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import StrictBool, model_validator

from ..errors import InvalidInput
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
    def _layers_fit(self) -> "Decoder":
        last = self.num_hidden_layers - 1
        if self.sliding_window and max(self.sliding_window.layers) > last:
            raise InvalidInput(
                "sliding_window.layers",
                max(self.sliding_window.layers),
                f"names a layer beyond the last, {last}",
                f"name layers from 0 to {last}",
            )
        if self.head_stored and not self.tie_word_embeddings:
            raise InvalidInput(
                "head_stored",
                True,
                "says that a tied head is stored again, but tie_word_embeddings is false",
                "leave it out: an untied head is stored anyway",
            )
        self._sources_fit()
        if self.encoder_layers:
            self._encoder_fits()
        if self.bidirectional == "images" and self.crosses:
            raise InvalidInput(
                "bidirectional",
                "images",
                "is given, but this decoder reads images by cross-attention",
                "leave it out",
            )
        return self

    def _sources_fit(self) -> None:
        """Check that all cross-attention reads one sequence."""
        sources = {
            variant.cross_attention.source_size or self.hidden_size
            for variant in self.variants
            if variant.cross_attention is not None
        }
        if len(sources) > 1:
            raise InvalidInput(
                "variants",
                None,
                f"attend to sequences of {' and '.join(map(str, sorted(sources)))} features",
                "give all cross_attention the same source_size",
            )
        if self.encoder_layers and sources - {self.hidden_size}:
            raise InvalidInput(
                "variants",
                None,
                f"attend to {sources.pop()} features, but the LLM's own encoder hands on "
                f"{self.hidden_size}",
                "leave cross_attention.source_size out",
            )

    def _encoder_fits(self) -> None:
        """Check the layers of an encoder–decoder: the later ones read the encoder's output."""
        if self.encoder_layers >= self.num_hidden_layers:
            raise InvalidInput(
                "encoder_layers",
                self.encoder_layers,
                f"leaves no layer that generates, of num_hidden_layers {self.num_hidden_layers}",
                "give fewer",
            )
        for layer, block in enumerate(self.blocks):
            inside = layer < self.encoder_layers
            if inside == (block.cross_attention is not None):
                problem = "has" if inside else "is without"
                raise InvalidInput(
                    "encoder_layers",
                    self.encoder_layers,
                    f"does not fit the variants: layer {layer} {problem} cross-attention",
                    "give cross_attention to the layers behind the encoder, and to no other",
                )

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
        """Return (hidden_size + 1 with a bias) · vocab_size: the head, stored or tied."""
        return (self.hidden_size + self.head_bias) * self.vocab_size
