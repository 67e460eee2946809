"""Selection rules that a schedule or a method's data describes, term by term."""

from typing import Literal, Self

from pydantic import Field, model_validator

from ..errors import InvalidInput
from ..numeric import Spec
from ..schedule import Name
from .expressions import Expression

Per = Literal["prefill", "reduction", "step"]
Variant = Literal["ideal", "released", "both"]


class Term(Spec):
    """One product that choosing the tokens computes.

    MACs per sequence, by kind:

        linear       tokens · in_features · out_features
        scores       queries · keys · heads · size (a row of attention scores without values)
        layers       as many decoder layers of the model over so many tokens, in equal sequences
        transformer  layers of another model: 4nd² + 2n²d/sequences + 2ndm (3ndm if gated) each

    Attributes:
        name: What it computes.
        kind: One of the above.
        when: Whether the least that the rule needs, the released code, or both compute it.
        per: How often: once in a prefill, for every reduction in the LLM, in a decode forward.
        times: Repetitions.
        Others: Operands, as expressions.
    """

    name: Name
    kind: Literal["linear", "scores", "layers", "transformer"] = "linear"
    when: Variant = "both"
    per: Per = "prefill"
    times: Expression = "1"
    tokens: Expression | None = None
    in_features: Expression | None = None
    out_features: Expression | None = None
    queries: Expression | None = None
    keys: Expression | None = None
    heads: Expression | None = None
    size: Expression | None = None
    layers: Expression | None = None
    sequences: Expression = "1"
    hidden_size: Expression | None = None
    intermediate_size: Expression | None = None
    gated: bool = False

    @model_validator(mode="after")
    def _operands(self) -> Self:
        wanted = OPERANDS[self.kind]
        optional = {"name", "kind", "when", "per", "times", "sequences", "gated"}
        for name in type(self).model_fields:
            given = getattr(self, name) is not None
            if name in wanted and not given:
                problem = f"is missing from a term of kind {self.kind}"
                raise InvalidInput(name, None, problem, f"give {', '.join(wanted)}")
            if name not in wanted and name not in optional and given:
                problem = f"is no operand of a term of kind {self.kind}"
                raise InvalidInput(name, None, problem, f"give {', '.join(wanted)}")
        return self


OPERANDS = {
    "linear": ("tokens", "in_features", "out_features"),
    "scores": ("queries", "keys", "heads", "size"),
    "layers": ("tokens", "layers"),
    "transformer": ("tokens", "layers", "hidden_size", "intermediate_size"),
}


class Footprint(Spec):
    """What choosing needs besides products.

    Attributes:
        launches: Rounds that wait for one another: each is a kernel launch at least.
        attention_map: Entries of attention maps that exist at once, 16 bits each.
        per: Whether both hold once, or for every reduction in the LLM (rounds add up, maps do not).
    """

    launches: Expression = "1"
    attention_map: Expression = "0"
    per: Literal["prefill", "reduction"] = "prefill"


class Described(Spec):
    """A rule that chooses or merges tokens.

    Attributes:
        name: For the reader.
        computes: What it computes, in words.
        terms: Its products.
        ideal, released: Rounds and attention maps of the least that it needs, and of the released
            code; the latter is the former where nothing else is known.
        parameters: Weights that it adds to the model.
    """

    name: Name
    computes: str
    terms: tuple[Term, ...] = ()
    ideal: Footprint = Field(default_factory=Footprint)
    released: Footprint | None = None
    parameters: Expression = "0"
