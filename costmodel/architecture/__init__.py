"""What a model is: architecture figures, each part with the source it was read from."""

from .blocks import Attention as Attention
from .blocks import FeedForward as FeedForward
from .blocks import Norm as Norm
from .blocks import Transformer as Transformer
from .connector import Connector as Connector
from .decoder import Decoder as Decoder
from .model import Model as Model
from .model import PublishedParameters as PublishedParameters
from .model import Status as Status
from .vision import PatchEmbedding as PatchEmbedding
from .vision import VisionEncoder as VisionEncoder
from .vision import Windows as Windows
