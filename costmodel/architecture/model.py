"""A vision–language model: encoders, connector, decoder, and where each figure is from."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ..errors import InvalidInput
from ..kinds import lazily_all, optional
from ..numeric import Converted, Spec
from ..tokens.base import RULES, Geometry, Rule
from .blocks import Sources
from .connector import Connector
from .decoder import Decoder
from .fitting import check
from .vision import TOWERS, VisionEncoder

if TYPE_CHECKING:
    from .variants import ExtraParameters
else:
    ExtraParameters = Any

#: How well a record's figures were checked; see CONTRIBUTING.md for what each level asks.
Status = Literal["verified", "approximate", "partial", "from memory"]


class Differences(dict[str, int]):
    """Parameters by name: a dict, for JSON's sake, that nobody changes."""

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("specs are frozen; build another one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        """Agree with equality, in which the order does not count."""
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type["Differences"], tuple[dict[str, int]]]:
        """Copy and pickle without changing an empty one."""
        return type(self), (dict(self),)


def _differences(value: object) -> Differences:
    """Return the table as it was given: texts and whole numbers, of which none is a text."""
    if not isinstance(value, Mapping):
        raise InvalidInput("", None, "is not a table of keys", "give name = parameters")
    for name, count in value.items():
        if not isinstance(name, str):
            raise InvalidInput("", name, "is not a name", "give names that are texts")
        if type(count) is not int:
            raise InvalidInput(name, count, "is not a whole number", "give published − computed")
    return Differences(value)


def _identifier(value: object) -> str:
    """Return a name that can be typed and printed."""
    if not isinstance(value, str):
        raise InvalidInput("", value, "is not a text", "give a text")
    if not value.strip() or not value.isprintable():
        raise InvalidInput("", value, "is empty or not printable", "give a name to ask for it by")
    return value


class PublishedParameters(Spec):
    """A published parameter count, to check the record against.

    Attributes:
        count: The count.
        source: Where it was published.
        difference: Why it differs from the spec's, item by item: name → published − computed.
    """

    count: int = Field(strict=True, gt=0)
    source: str
    difference: Annotated[dict[str, int], Converted(_differences)] = Differences()


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

    >>> from vlm_tokencost.presets import load_model
    >>> model = load_model("llava-1.5-7b")
    >>> model.decoder.num_hidden_layers, model.status
    (32, 'verified')
    """

    id: Annotated[str, Converted(_identifier)]
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
        tuple[ExtraParameters, ...], Converted(lazily_all(".architecture.variants:ExtraParameters"))
    ] = ()
    published_parameters: PublishedParameters | None = None
    source: Sources

    def __str__(self) -> str:
        """Return name, size and how well the figures were checked."""
        from ..brief import model_line  # commands print cards

        return model_line(self)

    def _repr_html_(self) -> str:
        """Return the model as notebooks show it."""
        from ..notebook import model_html

        return model_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return every field for JSON; `Model(**model.to_dict())` is the model."""
        return self.model_dump(mode="json")

    @property
    def towers(self) -> tuple[VisionEncoder, ...]:
        """The encoders, in the order in which layers are numbered."""
        return (self.vision,) if self.second_vision is None else (self.vision, self.second_vision)

    @property
    def uncertainty(self) -> tuple[str, ...]:
        """What a reader must be told of the figures: those unverified, those defaulted."""
        told = [f"unverified figures: {', '.join(self.unverified)}"] if self.unverified else []
        if self.defaulted:
            told.append(
                f"not in the file, defaults of the model type unless said otherwise: "
                f"{', '.join(self.defaulted)}"
            )
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
    def _parts_fit(self) -> Self:
        check(self)
        return self
