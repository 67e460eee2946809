"""`input`: what of the images or frames reaches the encoder."""

from typing import Self

from pydantic import model_validator

from ..errors import InvalidInput
from ..numeric import Positive, Ratio, Spec


class Input(Spec):
    """What is left of the input before the encoder.

    Attributes:
        frames: Share of the video's frames, or of the prompt's images.
        crops: The most crops of an image; frames of a video stay as they are.
        patches: Share of the patches of every crop that pass the encoder; survivors lie evenly.
    """

    frames: Ratio | None = None
    patches: Ratio | None = None
    crops: Positive | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.frames is None and self.patches is None and self.crops is None:
            raise InvalidInput("", None, "gives no amount", "give frames, patches or crops")
        return self
