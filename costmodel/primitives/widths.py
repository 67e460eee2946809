"""`channels` and `bits`: how wide and how precise what is kept is."""

from fractions import Fraction

from ..numeric import Positive, Ratio, Spec

_ALL = Fraction(1)


class Channels(Spec):
    """Shares of widths that are kept.

    Attributes:
        key, value: Of the head size in the cached keys and values of visual tokens, which decode
            forwards then score and sum; prefills compute them in full.
        ffn: Of the decoder's intermediate size, in every layer.
        encoder_ffn: Of the encoder's intermediate size, in every layer.
    """

    key: Ratio = _ALL
    value: Ratio = _ALL
    ffn: Ratio = _ALL
    encoder_ffn: Ratio = _ALL


class Bits(Spec):
    """Bits of a value; they change bytes, never FLOPs.

    Attributes:
        weights, activations: Of the LLM's weights and activations.
        kv: Of cached keys and values.
    """

    weights: Positive = 16
    activations: Positive = 16
    kv: Positive = 16
