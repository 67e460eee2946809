"""T5: an encoder and a decoder."""

from __future__ import annotations

from ....costmodel.architecture.blocks import Attention, FeedForward
from ....costmodel.architecture.decoder import Decoder
from ....costmodel.architecture.variants import CrossAttention, ExtraParameters, Variant
from ..fields import Fields


def t5(fields: Fields, tied: bool) -> Decoder:
    """Return T5; transformers ties the head to the embedding whatever the file says."""
    hidden, heads, head_dim = (fields.positive(name) for name in ("d_model", "num_heads", "d_kv"))
    encoder = fields.depth("num_layers")
    generating = encoder
    if fields.value("num_decoder_layers") is not None:
        generating = fields.depth("num_decoder_layers")
    kind = fields.value("feed_forward_proj")
    words = kind.split("-") if isinstance(kind, str) else []
    if len(words) != 1 and not (len(words) == 2 and words[0] == "gated"):
        way_out = "give the name of an activation, or gated- and that"
        raise fields.refusal("feed_forward_proj", kind, "is not understood", way_out)
    fields.only("is_gated_act", len(words) == 2, "it differs from feed_forward_proj")
    fields.ignore("relative_attention_max_distance", "n_positions", "output_past")
    if fields.value("tie_word_embeddings") is False:
        remark = "T5's head is counted as tied, as transformers builds it, against the file's word"
        fields.notes.remarks[remark] = None
    biases = fields.positive("relative_attention_num_buckets") * heads
    cross = CrossAttention(
        num_attention_heads=heads, num_key_value_heads=heads, head_dim=head_dim, norms=1
    )
    return Decoder(
        model_type=fields.model_type,
        hidden_size=hidden,
        num_hidden_layers=encoder + generating,
        encoder_layers=encoder,
        attention=Attention(
            num_attention_heads=heads,
            num_key_value_heads=heads,
            head_dim=head_dim,
            qkv_bias=False,
            output_bias=False,
        ),
        feed_forward=FeedForward(
            intermediate_size=fields.positive("d_ff"),
            gated=len(words) == 2,
            bias=False,
        ),
        norm="rms",
        variants=(
            Variant(
                layers=tuple(range(encoder, encoder + generating)),
                cross_attention=cross,
                norms=2,
            ),
        ),
        extra_parameters=(
            ExtraParameters(name="relative position biases of both stacks", count=2 * biases),
            ExtraParameters(name="last norm of the encoder", count=hidden),
        ),
        vocab_size=fields.positive("vocab_size"),
        tie_word_embeddings=True,
        source=fields.sources(),
    )
