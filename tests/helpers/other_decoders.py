"""LLaVA-1.5-7B with decoders of other kinds, small enough to work out by hand."""

from vlm_tokencost.costmodel import Model
from vlm_tokencost.presets import load_model

HEADS = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "qkv_bias": False,
    "output_bias": False,
}
CROSS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
FFN = {"intermediate_size": 96, "gated": True, "bias": False}
HIDDEN, VOCABULARY = 48, 1000


def with_decoder(**changes) -> Model:
    """Return LLaVA-1.5-7B whose decoder has 6 layers of hidden size 48, changed as asked."""
    llava = load_model("llava-1.5-7b")
    decoder = {
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "num_hidden_layers": 6,
        "attention": HEADS,
        "feed_forward": FFN,
        "norm": "rms",
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": False,
        "source": ["made up for tests"],
        **changes,
    }
    linear = {"kind": "linear", "in_features": 1024, "out_features": HIDDEN, "bias": True}
    connector = {"name": "linear", "stages": [linear], "source": ["made up for tests"]}
    return type(llava)(**{**dict(llava), "id": "small", "decoder": decoder, "connector": connector})
