"""The options of `explain`: what is known of a figure's circumstances, and what is left open."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from ..costmodel import Counting, InvalidInput, Model, Report, Workload
from ..costmodel.numeric import whole
from ..presets import load_model
from .options import Text, Texts, option
from .origins import SCHEDULE_FIELDS, origin_of
from .request import WORK, Request

if TYPE_CHECKING:
    from ..costmodel.explaining import Printed
    from ..costmodel.explaining.counts import Count
    from ..costmodel.explaining.lines import Setting

#: Models of the literature's tables, tried where none is named; the number is their rank.
COMMON_MODELS = {
    "llava-1.5-7b": 0,
    "llava-1.5-13b": 1,
    "llava-next-vicuna-7b": 1,
    "llava-next-vicuna-13b": 2,
    "llava-onevision-7b": 2,
    "llava-video-7b": 2,
    "qwen2.5-vl-7b": 2,
    "video-llava-7b": 2,
}
_SCHEDULE = ("prune_layer", "keep", "method", "budget", "schedule", "rounding")
#: Options that are about one model.
_OF_A_MODEL = ("images", "frames", "image_size", "processor", "visual_tokens", "implementation")


@dataclass(eq=False, repr=False)
class Doubtful(Request):
    """The shared options; what they leave open is tried."""

    tokens: Annotated[
        Texts,
        option(
            WORK,
            "--tokens",
            "Visual tokens in the LLM to try, instead of the counts that are known; repeatable.",
            "INT",
        ),
    ] = ()  # type: ignore[assignment]
    text_tokens: Annotated[
        Text,
        option(WORK, "--text-tokens", "Text tokens N, instead of lengths that are tried.", "INT"),
    ] = None
    tokens_at: Text = field(init=False, default=None)
    new_tokens: Text = field(init=False, default=None)
    causal: bool = field(init=False, default=False)
    logits: Text = field(init=False, default=None)

    @property
    def scheduled(self) -> bool:
        """Whether a schedule is asked for."""
        return any(getattr(self, name) not in (None, ()) for name in _SCHEDULE)

    def refuse_kind(self, printed: Printed) -> None:
        """Refuse a share or a factor that nothing is a share or a factor of.

        Raises:
            InvalidInput: No schedule is asked for.
        """
        if printed.kind == "amount" or self.scheduled:
            return
        what = "a share of the dense cost" if printed.kind == "share" else "a factor"
        way_out = "add --prune-layer and --keep, --method or --schedule"
        raise InvalidInput("VALUE", printed.text, f"is {what}, which needs a schedule", way_out)

    def settings(self) -> list[Setting]:
        """Return what is to be searched: one model, or the common ones.

        Raises:
            InvalidInput: An option that is wrong, named as it was typed.
        """
        if self.model or self.config or self.hf:
            return [self._setting(self.priced_model(), 0)]
        reason, way_out = "is about a model, of which none is named", "add --model"
        self.refuse(reason, way_out, *_SCHEDULE, *_OF_A_MODEL)
        return [self._setting(load_model(name), rank) for name, rank in COMMON_MODELS.items()]

    def _setting(self, model: Model, rank: int) -> Setting:
        from ..costmodel.explaining.lines import Setting

        asked = copy.copy(self)
        tokens = tuple(whole(one, "--tokens", minimum=1) for one in self.tokens)
        if tokens:
            reason = "cannot go with --tokens, which gives counts to try"
            self.refuse(reason, "leave one of them out", "visual_tokens")
        asked.tokens = None  # type: ignore[assignment]  # not a compression here
        try:
            workload, counting = asked._workload(model), asked._counting(model)
        except InvalidInput as error:
            raise self.renamed(error) from None

        def ask(count: Count, text: int) -> Report:
            changed: dict[str, object] = {"text_tokens": text}
            if count.images:
                changed["images"] = count.images
            if count.given is not None:
                changed["visual_tokens"] = count.given
            return asked._answer(model, workload.model_copy(update=changed), counting)

        given = ("images", "frames", "image_size", "visual_tokens", "processor")
        return Setting(
            model,
            ask,
            scheduled=self.scheduled,
            tokens=tokens,
            given=any(getattr(self, name) not in (None, ()) for name in given),
            text=None if self.text_tokens is None else workload.text_tokens,
            batch=None if self.batch is None else workload.batch,
            rank=rank,
            alone=bool(self.model or self.config or self.hf),
        )

    def _answer(self, model: Model, workload: Workload, counting: Counting) -> Report:
        """Answer one try.

        Raises:
            InvalidInput: A schedule that does not fit, in the words of where it was given.
        """
        from ..costmodel.explaining import answer

        origin = None
        try:
            origin = origin_of(self, model, workload)
            return answer(model, workload, origin.schedule, counting)
        except InvalidInput as error:
            if origin and error.field.startswith(SCHEDULE_FIELDS):
                raise origin.complaint(error) from None
            raise self.renamed(error) from None
