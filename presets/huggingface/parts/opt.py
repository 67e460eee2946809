"""OPT."""

from __future__ import annotations

from ....costmodel.architecture.blocks import FeedForward
from ....costmodel.architecture.decoder import Decoder
from ..fields import Fields
from . import shared

#: Rows of the position table before the first position.
_OFFSET = 2


def opt(fields: Fields, tied: bool) -> Decoder:
    """Return OPT: learned positions, LayerNorms, biases everywhere, two matrices."""
    heads, bias = shared.read_heads(fields, own_head_dim=False), fields.flag("enable_bias")
    if heads.num_key_value_heads != heads.num_attention_heads:
        groups = heads.num_key_value_heads
        raise fields.refusal("num_key_value_heads", groups, "is no field of OPT", "leave it out")
    fields.only("do_layer_norm_before", True, "norms behind the branches leave out the last one")
    fields.only("_remove_final_layer_norm", False, "the last norm is counted")
    fields.only("layer_norm_elementwise_affine", True, "norms are counted with their weights")
    width = fields.positive_or_none("word_embed_proj_dim")
    if width not in (None, heads.hidden_size):
        problem = f"is not hidden_size {heads.hidden_size}: a projection would follow the embedding"
        raise fields.refusal("word_embed_proj_dim", width, problem, "only equal sizes can be read")
    return shared.decoder(
        fields,
        heads,
        heads.attention(bias=bias, output_bias=bias),
        FeedForward(intermediate_size=fields.positive("ffn_dim"), gated=False, bias=bias),
        norm="layer",
        position_embeddings=fields.positive("max_position_embeddings") + _OFFSET,
        tie_word_embeddings=tied,
    )
