"""`training`: a schedule that is active while a model is trained."""

from pydantic import StrictBool

from ..numeric import Spec
from .layers import Share


class Training(Spec):
    """How a training step relates to a prefill.

    Attributes:
        recompute: Whether the backward pass computes the LLM's forward pass again.
        fixed_share: Share of the dense training time that no visual token changes.
        frozen_encoder: Whether the encoder has a forward pass alone, as LLaVA trains.
    """

    recompute: StrictBool = False
    fixed_share: Share | None = None
    frozen_encoder: StrictBool = True
