"""A vision–language model: encoders, connector, decoder, and where each figure is from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ..kinds import lazily, optional
from ..numeric import Converted, Spec
from ..tokens.base import RULES, Geometry, Rule
from .blocks import Sources
from .connector import Connector
from .decoder import Decoder
from .vision import TOWERS, VisionEncoder

if TYPE_CHECKING:
    from .variants import ExtraParameters
else:
    ExtraParameters = Any

#: How well a record's figures were checked; see CONTRIBUTING.md for what each level asks.
Status = Literal["verified", "approximate", "partial", "from memory"]


class PublishedParameters(Spec):
    """A published parameter count, to check the record against.

    Attributes:
        count: The count.
        source: Where it was published.
        difference: Why it differs from the spec's, item by item: name → published − computed.
    """

    count: int = Field(strict=True, gt=0)
    source: str
    difference: dict[str, int] = Field(default_factory=dict)


class Model(Spec):
    """A vision–language model: encoder, connector, decoder and the rule that counts its tokens.

    Attributes:
        id, family, hf_id, model_type: Names: ours, the family's, the Hub's and transformers'.
        status: How well the figures were checked.
        token_rule: How images become visual tokens.
        second_vision: A second encoder, whose features join those of the first.
        other_parameters: Parts that a checkpoint stores and no visual prompt runs.
        unverified: Fields (dotted) that could not be checked against a source.
        defaulted: Fields that a config.json left to its model type's defaults.
        published_parameters: The published count, where one was found.
    """

    id: str
    family: str
    hf_id: str
    model_type: str
    status: Status
    unverified: tuple[str, ...] = ()
    defaulted: tuple[str, ...] = ()
    vision: Annotated[VisionEncoder, Converted(TOWERS.build)]
    second_vision: Annotated[VisionEncoder | None, Converted(optional(TOWERS))] = None
    connector: Connector
    decoder: Decoder
    token_rule: Annotated[Rule, Converted(RULES.build)]
    other_parameters: Annotated[
        tuple[ExtraParameters, ...], Converted(lazily(".architecture.variants:ExtraParameters"))
    ] = ()
    published_parameters: PublishedParameters | None = None
    source: Sources

    @property
    def towers(self) -> tuple[VisionEncoder, ...]:
        """The encoders, in the order in which layers are numbered."""
        return (self.vision,) if self.second_vision is None else (self.vision, self.second_vision)

    @property
    def uncertainty(self) -> tuple[str, ...]:
        """What a reader must be told of the figures: those unverified, those defaulted."""
        told = [f"unverified figures: {', '.join(self.unverified)}"] if self.unverified else []
        if self.defaulted:
            told.append(f"defaults of the model type, not in the file: {', '.join(self.defaulted)}")
        return tuple(told)

    @property
    def geometry(self) -> Geometry:
        """What the token rule needs to know of encoder and connector."""
        vision, connector = self.vision, self.connector
        return Geometry(
            patch_size=vision.patch_embedding.patch_size,
            merge_size=connector.merge_size,
            connected=lambda crop: connector.connected(vision.output_grid(crop)),
        )

    @model_validator(mode="after")
    def _widths_meet(self) -> Self:
        width = self._handed_on()
        for index, stage in enumerate(self.connector.stages):
            try:
                width = stage.leaving(width)
            except ValueError as error:
                raise ValueError(f"connector.stages.{index} {error}") from None
        reached = self._connected_to()
        if width != reached:
            raise ValueError(
                f"the connector ends in {width} features but {self._target()} is {reached}"
            )
        return self

    def _handed_on(self) -> int:
        """Features that reach the connector: of both encoders, where they are joined."""
        second = self.second_vision
        joined = second is not None and not any(
            stage.kind == "patch-mining" for stage in self.connector.stages
        )
        return self.vision.features + (second.features if joined and second else 0)

    def _connected_to(self) -> int:
        if not self.decoder.crosses:
            return self.decoder.hidden_size
        cross = [block.cross_attention for block in self.decoder.blocks if block.cross_attention]
        return cross[0].source_size or self.decoder.hidden_size

    def _target(self) -> str:
        return "decoder.hidden_size" if not self.decoder.crosses else "cross_attention.source_size"
