"""What a model is: architecture figures, each part with the source it was read from."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from .numeric import Count, Positive, Spec
from .tokens import TokenRule

#: How well a record's figures were checked; see CONTRIBUTING.md for what each level asks.
Status = Literal["verified", "approximate", "partial", "from memory"]
Sources = Annotated[tuple[str, ...], Field(min_length=1)]


class Attention(Spec):
    """Self-attention of one block: MHA when both head counts agree, else GQA.

    Attributes:
        num_attention_heads: Query heads h.
        num_key_value_heads: Key/value heads h_kv; divides h.
        head_dim: Head size d_h; h·d_h need not be the hidden size.
        qkv_bias, output_bias: Whether the projections have biases (parameters only).
        qk_norm: Whether queries and keys are normalised per head (parameters only).
    """

    num_attention_heads: Positive
    num_key_value_heads: Positive
    head_dim: Positive
    qkv_bias: StrictBool
    output_bias: StrictBool
    qk_norm: StrictBool = False

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_key_value_heads {self.num_key_value_heads} does not divide "
                f"num_attention_heads {self.num_attention_heads}"
            )
        return self


class FeedForward(Spec):
    """Feed-forward network: two matrices, or three when gated (gate, up, down)."""

    intermediate_size: Positive
    gated: StrictBool
    bias: StrictBool


Norm = Literal["layer", "rms"]


class Transformer(Spec):
    """A stack of equal pre-norm blocks: attention and feed-forward of one hidden size.

    Attributes:
        model_type: transformers' name of the part, from which validation builds it.
    """

    model_type: str
    hidden_size: Positive
    num_hidden_layers: Positive
    attention: Attention
    feed_forward: FeedForward
    norm: Norm
    source: Sources


class PatchEmbedding(Spec):
    """Patch convolution: kernel and stride patch_size², over `temporal_patch_size` frames."""

    patch_size: Positive
    temporal_patch_size: Positive = 1
    num_channels: Positive = 3
    bias: StrictBool


class Windows(Spec):
    """Windowed attention of the encoder.

    Attributes:
        size: Side of a window in patches; right and bottom windows may be smaller.
        full_attention_layers: Layers that attend over the whole image instead.
    """

    size: Positive
    full_attention_layers: tuple[Count, ...]


class VisionEncoder(Transformer):
    """A vision transformer.

    Attributes:
        name: The tower's usual name.
        contributing_layers: Layers whose output the connector uses; the rest are computed in vain.
        class_token: Whether a class token joins the patches inside the encoder.
        position_embeddings: Learned positions; 0 with rotary ones.
        embedding_norm, final_norm: Norms before the first and after the last block.
        layer_scale: Whether each residual branch has a learned scale of hidden_size.
        windows: Windowed attention, or None for full attention over each image or crop.
    """

    name: str
    contributing_layers: Positive
    patch_embedding: PatchEmbedding
    class_token: StrictBool
    position_embeddings: Count
    embedding_norm: StrictBool
    final_norm: StrictBool
    layer_scale: StrictBool
    windows: Windows | None = None

    @model_validator(mode="after")
    def _layers_exist(self) -> Self:
        if self.contributing_layers > self.num_hidden_layers:
            raise ValueError(
                f"contributing_layers {self.contributing_layers} exceeds "
                f"num_hidden_layers {self.num_hidden_layers}"
            )
        if self.windows and max(self.windows.full_attention_layers, default=0) >= (
            self.num_hidden_layers
        ):
            raise ValueError(
                f"windows.full_attention_layers {self.windows.full_attention_layers} "
                f"names a layer beyond the last, {self.num_hidden_layers - 1}"
            )
        if self.windows and self.class_token:
            raise ValueError("a class_token beside windows is not understood")
        return self


class Merge(Spec):
    """Concatenate size×size neighbouring patches (patch merger, pixel shuffle): no FLOPs."""

    kind: Literal["merge"] = "merge"
    size: Positive


class NormStage(Spec):
    """A norm over `width` features: parameters only."""

    kind: Literal["norm"] = "norm"
    norm: Norm
    width: Positive


class LinearStage(Spec):
    """A linear layer, with the activation that follows it (activations count 0)."""

    kind: Literal["linear"] = "linear"
    in_features: Positive
    out_features: Positive
    bias: StrictBool


ConnectorStage = Annotated[Merge | NormStage | LinearStage, Field(discriminator="kind")]


class Connector(Spec):
    """What stands between encoder and LLM, as the stages that a token passes in turn.

    An MLP is two linear stages; a patch merger or pixel shuffle puts a merge before them.

    Attributes:
        newline: Whether a learned separator of the LLM's width ends image rows (parameters only).
    """

    name: str
    stages: tuple[ConnectorStage, ...]
    newline: StrictBool = False
    source: Sources

    @property
    def merge_size(self) -> int:
        """Side of the square of encoder tokens that becomes one connector token."""
        side = 1
        for stage in self.stages:
            side *= stage.size if isinstance(stage, Merge) else 1
        return side


class Decoder(Transformer):
    """The language model.

    Attributes:
        vocab_size: Rows of the embedding and of the head, padding included.
        tie_word_embeddings: Whether the head reuses the embedding's weights.
    """

    vocab_size: Positive
    tie_word_embeddings: StrictBool


class PublishedParameters(Spec):
    """A published parameter count, to check the record against."""

    count: int = Field(strict=True, gt=0)
    source: str


class Model(Spec):
    """A vision–language model: encoder, connector, decoder and the rule that counts its tokens.

    Attributes:
        id, family, hf_id, model_type: Names: ours, the family's, the Hub's and transformers'.
        status: How well the figures were checked.
        token_rule: How images become visual tokens.
        unverified: Fields (dotted) that could not be checked against a source.
        published_parameters: The published count, where one was found.
    """

    id: str
    family: str
    hf_id: str
    model_type: str
    status: Status
    unverified: tuple[str, ...] = ()
    vision: VisionEncoder
    connector: Connector
    decoder: Decoder
    token_rule: TokenRule
    published_parameters: PublishedParameters | None = None
    source: Sources

    @model_validator(mode="after")
    def _widths_meet(self) -> Self:
        width = self.vision.hidden_size
        for index, stage in enumerate(self.connector.stages):
            where = f"connector.stages.{index}"
            if isinstance(stage, Merge):
                width *= stage.size**2
            elif isinstance(stage, NormStage) and stage.width != width:
                raise ValueError(f"{where} normalises {stage.width} features but gets {width}")
            elif isinstance(stage, LinearStage):
                if stage.in_features != width:
                    raise ValueError(f"{where} takes {stage.in_features} features but gets {width}")
                width = stage.out_features
        if width != self.decoder.hidden_size:
            raise ValueError(
                f"the connector ends in {width} features but decoder.hidden_size is "
                f"{self.decoder.hidden_size}"
            )
        return self
