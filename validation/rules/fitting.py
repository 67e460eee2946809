"""Whether a rule can act where a reduction asks for it."""

from __future__ import annotations

from ...costmodel import InvalidInput
from ..adapters import Adapter
from ..reduction import Reduction
from .base import Rule


def check_rule(rule: Rule, reduction: Reduction, adapter: Adapter, text_tokens: int) -> None:
    """Refuse a rule without what it looks at, or where it would not be asked.

    Raises:
        InvalidInput: Images outside the sequence, no text token, another place than the rule's.
    """
    name = reduction.selection
    if rule.ranks_in_sequence and adapter.crosses:
        raise InvalidInput(
            "selection",
            name,
            "ranks tokens of the LLM's own sequence, which "
            f"{adapter.model.config.model_type} keeps images out of",
            "choose another rule, or leave it out",
        )
    if rule.rates_by_text and not text_tokens:
        raise InvalidInput("selection", name, "rates by text tokens", "give at least 1 of them")
    if reduction.learned and adapter.crosses:
        problem = "join the sequence, which this model keeps images out of"
        raise InvalidInput("compress.learned", reduction.learned, problem, "leave them out")
    if rule.watches_layer_before and reduction.active is not None:
        problem = "looks at the layer before, of which tokens do a part or none"
        raise InvalidInput("selection", name, problem, "leave out `layers`, or the rule")
    at = reduction.compressed[1] if reduction.compressed else None
    joins = adapter.connector_joins_neighbours
    if rule.connects_what_is_left and at == "after-connector" and not joins:
        problem = "chooses before the connector, which here takes tokens one by one"
        raise InvalidInput("selection", name, problem, "compress before-connector")
    asked = {
        "before-connector": ["before_connector"],
        "instead-of-connector": ["instead_of_connector"],
        "after-connector": ["compress", "after_connector"],
    }
    hooks = asked[at] if at else []
    if reduction.visual and min(reduction.visual) < (reduction.entering or 0):
        hooks = [*hooks, "stage"]
    if reduction.merged or reduction.staged:
        hooks = [*hooks, "in_encoder", "stage"]
    own = {hook for hook in hooks if getattr(type(rule), hook) is not getattr(Rule, hook)}
    if type(rule) is not Rule and hooks and not own:
        problem = "chooses at another place than the one where this schedule reduces"
        raise InvalidInput("selection", name, problem, "reduce where the method does")
