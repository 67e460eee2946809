"""The Q-Former of BLIP-2 and InstructBLIP."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import model_validator

from ..architecture.blocks import (
    ATTENTIONS,
    FEED_FORWARDS,
    Attention,
    FeedForward,
    Norm,
    Place,
    Tokens,
    norm_parameters,
)
from ..architecture.variants import CrossAttention
from ..errors import InvalidInput
from ..numeric import Converted, Count, Positive
from ..operators import Operator
from ..tokens.base import Size
from .base import Flow, Stage


class QFormerStage(Stage):
    """num_queries tokens per image from a post-norm transformer that reads the encoder's tokens.

    With Q queries, N instruction tokens (0 where the Q-Former reads none), n encoder tokens of
    d_e features, d = h·d_h and intermediate size m, MACs per image:

        every layer             4·(Q + N)·d² + 2·(Q + N)²·d + 2·(Q + N)·d·m
        layers 0, c, 2c, … too  2·Q·d² + 2·n·d_e·d + 2·Q·n·d

    The instruction joins the queries in self-attention; cross-attention is the queries' alone, and
    text has a feed-forward network of its own, which runs in the last layer too, where nothing
    uses it. The Q-Former's own tokenizer (BERT's) splits the instruction; N stands for its count.
    Sources: BLIP-2 (arXiv 2301.12597), InstructBLIP (arXiv 2305.06500), transformers 5.23
    modeling_blip_2.py and modeling_instructblip.py.

    Attributes:
        num_queries: Learned queries Q.
        attention: Self-attention of every layer.
        cross_attention: Attention to the encoder's tokens, of `source_size` features.
        cross_attention_frequency: c: layers 0, c, 2c, … have cross-attention.
        feed_forward: Feed-forward network of the queries, and where text joins them of the text.
        norm: The kind of all its norms: one behind the embeddings, and one behind each attention
            (the cross-attention's are its `norms`) and each feed-forward network.
        vocab_size: Rows of the word embedding; 0 where no instruction is read.
        position_embeddings: Stored positions of the instruction.
    """

    per_token = False

    kind: Literal["q-former"] = "q-former"
    hidden_size: Positive
    num_hidden_layers: Positive
    num_queries: Positive
    attention: Annotated[Attention, Converted(ATTENTIONS.build)]
    cross_attention: CrossAttention
    cross_attention_frequency: Positive
    feed_forward: Annotated[FeedForward, Converted(FEED_FORWARDS.build)]
    norm: Norm
    vocab_size: Count = 0
    position_embeddings: Count = 0

    @model_validator(mode="after")
    def _positions_have_words(self) -> Self:
        if self.position_embeddings and not self.vocab_size:
            raise InvalidInput(
                "position_embeddings",
                None,
                "without vocab_size is of no use: no instruction is read",
                "add vocab_size, or leave it out",
            )
        return self

    @property
    def text(self) -> str:
        """The stage in words, for tables."""
        reads = "the image and the instruction" if self.reads_text else "the image"
        return (
            f"q-former: {self.num_queries} queries of {self.hidden_size}, "
            f"{self.num_hidden_layers} layers, reads {reads}"
        )

    @property
    def reads_text(self) -> bool:
        """Whether there are words to read."""
        return bool(self.vocab_size)

    def grid(self, grid: Size) -> Size:
        """Return the queries as one row."""
        return 1, self.num_queries

    def leaving(self, width: int) -> int:
        """Return hidden_size."""
        source = self.cross_attention.source_size or self.hidden_size
        if width != source:
            raise ValueError(f"takes {source} features but gets {width}")
        return self.hidden_size

    def operators(self, name: str, flow: Flow) -> Iterator[Operator]:
        """Yield every layer's attentions and feed-forward networks."""
        queries = self.num_queries * flow.crops
        text = flow.text_tokens * flow.crops * self.reads_text
        length = self.num_queries + flow.text_tokens * self.reads_text
        tokens = Tokens(
            query=queries + text,
            key=queries + text,
            ffn=queries,
            keys_read=queries + text,
            pairs=length**2 * flow.crops,
        )
        crossing = Tokens(
            query=queries,
            key=0,
            ffn=0,
            keys_read=0,
            pairs=0,
            cross_projected=flow.tokens,
            cross_keys=flow.tokens,
            cross_pairs=self.num_queries * flow.tokens,
        )
        place, hidden = Place("connector", ()), self.hidden_size
        for layer in range(self.num_hidden_layers):
            found = [*self.attention.operators(place, hidden, tokens)]
            if layer % self.cross_attention_frequency == 0:
                found += self.cross_attention.operators(place, hidden, crossing)
            found += self.feed_forward.operators(place, hidden, queries)
            if text:
                for operator in self.feed_forward.operators(place, hidden, text):
                    found.append(operator._replace(name=f"text {operator.name}"))
            for operator in found:
                yield operator._replace(
                    part="connector", name=f"{name} layer {layer} {operator.name}"
                )

    def parameters(self) -> int:
        """Return queries, embeddings, layers and norms."""
        hidden, networks = self.hidden_size, 2 if self.vocab_size else 1
        norm = norm_parameters(self.norm, hidden)
        layer = self.attention.parameters(hidden, self.norm) + norm
        layer += networks * (self.feed_forward.parameters(hidden) + norm)
        crossing = math.ceil(self.num_hidden_layers / self.cross_attention_frequency)
        total = (self.num_queries + self.vocab_size + self.position_embeddings) * hidden + norm
        total += self.num_hidden_layers * layer
        return total + crossing * self.cross_attention.parameters(hidden, self.norm)
