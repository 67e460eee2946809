"""A claim that is typed as options: its conditions, its figures, and whether they fit."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, get_args

from ..costmodel import InvalidInput, plan
from ..costmodel.flops import CONVENTIONS
from ..costmodel.numeric import whole
from ..presets.claim import QUANTITIES, Claim, Scope
from .claim_figures import CLAIMED, Figure
from .claim_words import RELATIVE
from .options import COUNTING, Text, Texts, flag, one_of, option
from .origins import SCHEDULE_FIELDS, Origin, origin_of
from .request import SCHEDULE, WORK, Request


@dataclass(eq=False, repr=False)
class Conditions(Request):
    """The shared options that a claim's request and schedule are typed with, and its own."""

    model: Annotated[
        Text,
        option(
            WORK,
            "--model",
            "Model of what is claimed, or of the published claims to check: our id, or there as "
            "the source names it.",
            "ID",
        ),
    ] = None
    method: Annotated[
        Text,
        option(
            SCHEDULE,
            "--method",
            "Method of what is claimed, or of the published claims to check: our id, or there as "
            "the source names it.",
            "ID",
        ),
    ] = None
    text_tokens: Annotated[
        Text,
        option(WORK, "--text-tokens", "Text tokens, if the source says (default: unknown).", "INT"),
    ] = None
    new_tokens: Annotated[
        Text,
        option(
            WORK, "--new-tokens", "Tokens generated, if the source says (default: unknown).", "INT"
        ),
    ] = None
    batch: Annotated[
        Text,
        option(WORK, "--batch", "Requests in a batch, if the source says (default: 1).", "INT"),
    ] = None
    config: Text = field(init=False, default=None)
    hf: Text = field(init=False, default=None)
    processor: Texts = field(init=False, default=())  # type: ignore[arg-type]
    causal: bool = field(init=False, default=False)
    logits: Text = field(init=False, default=None)
    encoder_layers: Text = field(init=False, default=None)
    implementation: Texts = field(init=False, default=())  # type: ignore[arg-type]
    scope: Annotated[
        Text,
        option(CLAIMED, "--scope", f"What it is of: {', '.join(get_args(Scope)[1:])}.", "NAME"),
    ] = None
    device: Annotated[
        Text,
        option(CLAIMED, "--device", "Device that it was measured on: id or alias.", "ID"),
    ] = None
    attention: Annotated[
        Text, option(CLAIMED, "--attention", "Attention that ran.", "eager|fused")
    ] = None
    runtime: Annotated[
        Text, option(CLAIMED, "--runtime", "How the model was run.", "eager|graph")
    ] = None
    convention: Annotated[
        Text,
        option(COUNTING, "--convention", "survey, gated or exact, if the source says.", "NAME"),
    ] = None

    def typed(self) -> list[str]:
        """Return the options that were typed and that no filter has."""
        return [
            flag(one.name)
            for one in fields(self)
            if one.init
            and one.name not in ("model", "method")
            and getattr(self, one.name) not in (None, False, ())
        ]

    def claims(self, figures: list[Figure]) -> list[Claim]:
        """Return a claim for each figure; all of them share the conditions.

        Raises:
            InvalidInput: No model, a schedule that does not fit it, a figure that needs a
                schedule and has none, or an option that is wrong.
        """
        shared = self._shared()
        if not self._has_schedule():
            for figure in figures:
                if QUANTITIES[figure.quantity] in RELATIVE:
                    way_out = "give --method, --schedule, --tokens or --prune-layer and --keep"
                    problem = "compares with the dense model, and no schedule is given"
                    raise InvalidInput(figure.option, None, problem, way_out)
        return [
            Claim(
                id=figure.option.removeprefix("--"),
                quantity=figure.quantity,
                value=figure.value,
                unit=figure.unit,
                hedge=figure.hedge,
                source="given on the command line",
                **shared,
            )
            for figure in figures
        ]

    def _has_schedule(self) -> bool:
        names = ("method", "schedule", "tokens", "prune_layer")
        return any(getattr(self, name) for name in names)

    def _shared(self) -> dict[str, Any]:
        choices = {
            "scope": get_args(Scope)[1:],
            "attention": ("eager", "fused"),
            "runtime": ("eager", "graph"),
            "convention": CONVENTIONS,
        }
        for name, known in choices.items():
            if getattr(self, name) is not None:
                one_of(getattr(self, name), flag(name), known)
        counts = ("visual_tokens", "text_tokens", "new_tokens", "batch", "frames")
        return {
            **self._priced(),
            **{name: getattr(self, name) for name in choices if getattr(self, name) is not None},
            **{
                name: whole(getattr(self, name), flag(name))
                for name in counts
                if getattr(self, name) is not None
            },
            "device": _device(self.device),
        }

    def _priced(self) -> dict[str, Any]:
        """Return model, images and schedule, which fit each other."""
        origin: Origin | None = None
        if self.model is None:
            raise InvalidInput("--model", None, "is missing", "see `tokencost models list`")
        try:
            model = self.priced_model()
            workload = self._workload(model)
            origin = origin_of(self, model, workload)
            plan(model, workload, origin.schedule)
        except InvalidInput as error:
            if origin and error.field.startswith(SCHEDULE_FIELDS):
                raise origin.complaint(error) from None
            raise self.renamed(error) from None
        found: dict[str, Any] = {
            "model": self.model,
            "images": tuple(f"{height}x{width}" for height, width in workload.images),
        }
        if self.method:
            from ..presets import load_method

            method = load_method(self.method)
            found |= {"method": method.title, "applies": method.id}
            if self.budget is not None:
                found["budget"] = whole(self.budget, "--budget", minimum=1)
        elif origin.schedule is not None:
            from ..presets.language import schedule_text_form

            found |= {"method": "own schedule", "schedule": schedule_text_form(origin.schedule)}
        else:
            found |= {"method": "dense model", "dense": True}
        return found


def _device(name: str | None) -> str:
    """Return a device's id; a file keeps its name."""
    if name is None:
        return ""
    from ..presets.device import is_file, load_device

    device = load_device(name, "--device")
    return name if is_file(name) else device.id
