"""Schedule → what visual tokens do in each decoder layer, and what the cache keeps of them."""

from __future__ import annotations

from .architecture.model import Model
from .encoder import attends_jointly
from .errors import InvalidInput
from .primitives.activity import Activity
from .schedule import Schedule, kept_tokens
from .tokenplan import TokenPlan, layouts


def acting(
    model: Model, planned: TokenPlan, schedule: Schedule, visual: tuple[int, ...]
) -> TokenPlan:
    """Return the plan with its layer rules, cache and stream; `visual` is what the stages leave.

    Raises:
        InvalidInput: A primitive that the model has no place for.
    """
    entering, depth = planned.entering_visual_tokens, len(visual)
    activity = Activity.uniform(visual)
    for index, rule in enumerate(schedule.layers):
        try:
            allowed = rule.activity(entering, depth, schedule.rounding)
        except InvalidInput as error:
            field = f"layers.{index}.{error.field}".rstrip(".")
            raise InvalidInput(field, error.value, error.problem, error.way_out) from None
        activity = activity.limited(allowed)
    if not activity.is_uniform or schedule.cache or schedule.stream or schedule.channels:
        _refuse_misfits(model, planned, schedule)
    stored = read = present = None
    bank = 0
    if schedule.stream is not None:
        present, bank = activity.key, schedule.stream.bank
        share = schedule.stream.computed
        query, key, ffn = (
            tuple(kept_tokens(share, count, "ceil") for count in counts)
            for counts in (activity.query, activity.key, activity.ffn)
        )
        activity = Activity(query, key, ffn, activity.pairs)
    if schedule.cache is not None:
        exposed = activity.key if present is None else present
        stored, read = schedule.cache.lengths(exposed, entering, schedule.rounding)
    return planned.with_activity(activity, stored, read, bank, present)


def _refuse_misfits(model: Model, planned: TokenPlan, schedule: Schedule) -> None:
    """Refuse primitives on decoders whose layers have another meaning of keys and cache.

    Raises:
        InvalidInput: The first primitive that does not fit.
    """
    decoder = model.decoder
    obstacle = None
    if decoder.crosses:
        obstacle = "attends to visual tokens by cross-attention"
    elif decoder.encoder_layers:
        obstacle = "is an encoder–decoder"
    channels = schedule.channels
    in_llm = channels is not None and (channels.key, channels.value, channels.ffn) != (1, 1, 1)
    for name in ("layers", "cache", "channels", "stream"):
        if obstacle and getattr(schedule, name) and (name != "channels" or in_llm):
            problem = f"does not fit {model.id}, whose LLM {obstacle}"
            hint = "use `stages` or `compress`"
            if name == "channels":
                hint = "leave `key`, `value` and `ffn` out"
            raise InvalidInput(name, None, problem, hint)
    windows = any(layout.window is not None for layout in layouts(model))
    for name in ("cache", "stream"):
        if windows and getattr(schedule, name):
            problem = f"does not fit {model.id}, whose layers have sliding windows"
            raise InvalidInput(name, None, problem, "use `stages` or `compress`")
    _refuse_connectors(model, planned, schedule)
    narrow = channels is not None and (channels.key, channels.value) != (1, 1)
    if windows and narrow:
        problem = f"does not fit {model.id}, whose layers have sliding windows"
        raise InvalidInput("channels", None, problem, "leave `key` and `value` out")
    latent = any(block.attention and block.attention.kind == "latent" for block in decoder.blocks)
    if latent and narrow:
        problem = f"does not fit {model.id}, which caches latents instead of keys and values"
        raise InvalidInput("channels", None, problem, "leave `key` and `value` out")
    if latent and schedule.cache is not None and schedule.cache.rescan:
        problem = f"does not fit {model.id}, which caches latents instead of keys and values"
        raise InvalidInput("cache.rescan", None, problem, "leave it out")


def _refuse_connectors(model: Model, planned: TokenPlan, schedule: Schedule) -> None:
    """Refuse a stream where new tokens are not simply a part of all that are encoded.

    Raises:
        InvalidInput: A stream behind whole crops, a convolution or two encoders.
    """
    if schedule.stream is None:
        return
    problem = None
    if model.second_vision is not None:
        problem = "which has two encoders"
    elif not model.vision.patchwise:
        problem = f"whose encoder ({model.vision.name}) is a convolutional network"
    elif attends_jointly(model.vision, planned.visual_input):
        problem = f"whose encoder ({model.vision.name}) attends over several crops together"
    elif not model.connector.per_token:
        problem = f"whose connector ({model.connector.name}) takes whole crops"
    if problem:
        problem = f"does not fit {model.id}, {problem}"
        raise InvalidInput("stream", None, problem, "use `stages` or `compress`")
