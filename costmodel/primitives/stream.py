"""`stream`: one step of a sliding window over a video."""

from fractions import Fraction

from ..numeric import Count, Ratio, Spec
from .layers import Share


class Stream(Spec):
    """One step of a window whose M visual tokens are the request's.

    Of a step's tokens only new and refreshed ones pass encoder and LLM; attention reads the whole
    window and the bank. The dense model computes the whole window anew.

    Attributes:
        stride: Share of the window that is new in each step.
        refresh: Share of the rest that is computed anew.
        bank: Tokens kept from before the window, which attention reads and the cache stores.
    """

    stride: Ratio
    refresh: Share = Fraction(0)
    bank: Count = 0

    @property
    def computed(self) -> Fraction:
        """Share of the window that is computed: S + ρ·(1 − S)."""
        return self.stride + self.refresh * (1 - self.stride)
