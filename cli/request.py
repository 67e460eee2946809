"""The question that most commands take as options, and how it becomes specs."""

from dataclasses import dataclass, fields
from typing import Annotated

from ..costmodel import Counting, InvalidInput, Model, Report, Workload, evaluate
from ..costmodel.flops import Convention
from ..costmodel.numeric import whole
from ..costmodel.tokens.base import Processor
from ..costmodel.workload import DEFAULT_TEXT_TOKENS, MOST_IMAGES, image_size
from ..presets import load_model
from .options import COUNTING, Text, Texts, flag, one_of, option
from .origins import SCHEDULE_FIELDS, origin_of

WORK, SCHEDULE = "Model and workload", "Schedule"
#: Fields that are whole numbers, with the least that each may be.
_COUNTS = {"frames": 1, "visual_tokens": 1, "text_tokens": 0, "new_tokens": 1, "batch": 1}


@dataclass(eq=False, repr=False)
class Request:
    """The shared options as they were typed; `report` answers them."""

    model: Annotated[
        Text, option(WORK, "--model", "Model preset; see `tokencost models list`.", "ID")
    ] = None
    config: Annotated[
        Text,
        option(
            WORK, "--config", "transformers config.json of a model, instead of --model.", "FILE"
        ),
    ] = None
    hf: Annotated[
        Text,
        option(
            WORK,
            "--hf",
            "Model on the Hugging Face Hub, whose config.json is downloaded, instead of --model.",
            "ORG/NAME[@REVISION]",
        ),
    ] = None
    images: Annotated[
        Text, option(WORK, "--images", "Images in the prompt (default: 1).", "INT")
    ] = None
    frames: Annotated[
        Text, option(WORK, "--frames", "Frames of one video, instead of images.", "INT")
    ] = None
    image_size: Annotated[
        Texts,
        option(
            WORK,
            "--image-size",
            "Image size in pixels; repeat it for images of different sizes (default: the model's).",
            "HEIGHTxWIDTH",
        ),
    ] = ()  # type: ignore[assignment]
    processor: Annotated[
        Texts,
        option(
            WORK,
            "--processor",
            "Image-processor setting that differs from the checkpoint's: limits=class, "
            "max_pixels=N, min_pixels=N, max_tiles=N or tiles=used; repeatable.",
            "KEY=VALUE",
        ),
    ] = ()  # type: ignore[assignment]
    visual_tokens: Annotated[
        Text,
        option(
            WORK,
            "--visual-tokens",
            "Dense visual tokens M, instead of those derived from the images.",
            "INT",
        ),
    ] = None
    text_tokens: Annotated[
        Text,
        option(
            WORK,
            "--text-tokens",
            f"Text tokens N: system prompt and question (default: {DEFAULT_TEXT_TOKENS}).",
            "INT",
        ),
    ] = None
    new_tokens: Annotated[
        Text,
        option(
            WORK,
            "--new-tokens",
            "Tokens generated; the prefill gives the first (default: 1).",
            "INT",
        ),
    ] = None
    batch: Annotated[
        Text, option(WORK, "--batch", "Equal requests in a batch (default: 1).", "INT")
    ] = None
    prune_layer: Annotated[
        Texts,
        option(
            SCHEDULE,
            "--prune-layer",
            "First layer (0-based) that sees the reduced sequence; repeatable, with --keep.",
            "LAYER",
        ),
    ] = ()  # type: ignore[assignment]
    keep: Annotated[
        Texts,
        option(
            SCHEDULE,
            "--keep",
            "Share of the visual tokens kept from that layer on, in (0, 1], such as 0.5, 1/3 or "
            "50%.",
            "RATIO",
        ),
    ] = ()  # type: ignore[assignment]
    tokens: Annotated[
        Text, option(SCHEDULE, "--tokens", "Visual tokens left between encoder and LLM.", "INT")
    ] = None
    tokens_at: Annotated[
        Text,
        option(
            SCHEDULE,
            "--tokens-at",
            "after-connector: the connector runs on all tokens; before-connector: on the kept "
            "ones (default: after-connector).",
            "PLACE",
        ),
    ] = None
    method: Annotated[
        Text, option(SCHEDULE, "--method", "Published method; see `tokencost methods list`.", "ID")
    ] = None
    budget: Annotated[
        Text,
        option(
            SCHEDULE,
            "--budget",
            "Visual tokens that --method may use, as the method counts them (default: its own "
            "published setting).",
            "INT",
        ),
    ] = None
    schedule: Annotated[
        Text,
        option(
            SCHEDULE,
            "--schedule",
            "A TOML or LightCompress file, or one line such as 'compress 64 | keep 0.5 @ 16'.",
            "FILE|TEXT",
        ),
    ] = None
    rounding: Annotated[
        Text,
        option(
            SCHEDULE,
            "--rounding",
            "How a share becomes whole tokens: floor, round, ceil or float-floor (default: floor).",
            "RULE",
        ),
    ] = None
    causal: Annotated[
        bool,
        option(COUNTING, "--causal", "Count only pairs whose key is not later than the query."),
    ] = False
    logits: Annotated[
        Text,
        option(COUNTING, "--logits", "Positions that the head prices (default: last).", "last|all"),
    ] = None
    encoder_layers: Annotated[
        Text,
        option(
            COUNTING,
            "--encoder-layers",
            "Encoder layers that run, or only those whose output is used (default: computed).",
            "computed|contributing",
        ),
    ] = None
    implementation: Annotated[
        Texts,
        option(
            COUNTING,
            "--implementation",
            "latent=absorbed, experts=all, adapters=merged or selection=released: how parts run "
            "that can run in more than one way; repeatable.",
            "KEY=VALUE",
        ),
    ] = ()  # type: ignore[assignment]

    def report(self) -> Report:
        """Answer the request.

        Raises:
            InvalidInput: An option that is wrong, named as it was typed.
        """
        origin = None
        try:
            model = self.priced_model()
            workload, counting = self._workload(model), self._counting(model)
            origin = origin_of(self, model, workload)
            if counting.selection != "ideal" and not (
                origin.schedule and origin.schedule.selection
            ):
                raise InvalidInput(
                    "--implementation",
                    f"selection={counting.selection}",
                    "changes nothing: the schedule names no selection rule",
                    "leave it out, or name a method",
                )
            return evaluate(model, workload, origin.schedule, counting)
        except InvalidInput as error:
            if origin and error.field.startswith(SCHEDULE_FIELDS):
                raise origin.complaint(error) from None
            raise self.renamed(error) from None

    def complaint(self, error: InvalidInput, report: Report) -> InvalidInput:
        """Return an error about an answered request's schedule in the words of where it is from."""
        if not error.field.startswith(SCHEDULE_FIELDS):
            return self.renamed(error)
        return origin_of(self, report.model, report.workload).complaint(error)

    def priced_model(self) -> Model:
        """Return the model that --model, --config or --hf names.

        Raises:
            InvalidInput: None of them or several, or a name or file that is wrong.
        """
        given = [flag(name) for name in ("model", "config", "hf") if getattr(self, name)]
        if len(given) > 1:
            problem = f"and {given[0]} both name a model"
            raise InvalidInput(given[1], None, problem, "give one of them")
        if self.config or self.hf:
            from ..presets.huggingface import download, read_file  # presets need neither

            return read_file(self.config) if self.config else download(str(self.hf))
        if self.model is None:
            hint = "see `tokencost models list`, or give --config or --hf"
            raise InvalidInput("--model", None, "is missing", hint)
        return load_model(self.model)

    def refuse(self, reason: str, way_out: str, *names: str) -> None:
        """Refuse options that would be taken and have no effect.

        Raises:
            InvalidInput: One of the options was given.
        """
        for name in names:
            if getattr(self, name) not in (None, False, ()):
                raise InvalidInput(flag(name), None, reason, way_out)

    def refuse_unused(self, chosen: tuple[Convention, ...]) -> None:
        """Refuse options that change `exact` alone when another convention is asked for.

        Raises:
            InvalidInput: Such an option was given.
        """
        if "exact" not in chosen:
            reason, way_out = "changes exact figures alone", "leave it out, or price exact too"
            self.refuse(reason, way_out, "causal", "logits", "encoder_layers", "implementation")

    def _workload(self, model: Model) -> Workload:
        sizes = tuple(image_size(text, "--image-size") for text in self.image_size)
        if self.frames is not None and (self.images is not None or len(sizes) > 1):
            what = "--images" if self.images is not None else "several sizes"
            problem = f"is one video, which does not go with {what}"
            raise InvalidInput("--frames", self.frames, problem, "give a video or images")
        if self.images is not None:
            count = whole(self.images, "--images", minimum=1, maximum=MOST_IMAGES)
            if len(sizes) not in (0, 1, count):
                raise InvalidInput(
                    "--images",
                    self.images,
                    f"does not agree with {len(sizes)} image sizes",
                    "give --image-size once, or once per image",
                )
            if len(sizes) < 2:
                sizes = (sizes or (model.token_rule.default_image,)) * count
        counts = {
            name: whole(getattr(self, name), flag(name), minimum=minimum)
            for name, minimum in _COUNTS.items()
            if getattr(self, name) is not None
        }
        processor: dict[str, str] = {}
        if self.processor:
            from .implementation import pairs

            processor = pairs(self.processor, "--processor", tuple(Processor.model_fields))
        return Workload(images=sizes, processor=processor, **counts)

    def _counting(self, model: Model) -> Counting:
        chosen = {
            name: one_of(getattr(self, name), flag(name), choices)
            for name, choices in (
                ("logits", ("last", "all")),
                ("encoder_layers", ("computed", "contributing")),
            )
            if getattr(self, name) is not None
        }
        if self.implementation:
            from .implementation import chosen_implementation

            chosen.update(chosen_implementation(self.implementation, model))
        return Counting(causal=self.causal, **chosen)

    def renamed(self, error: InvalidInput) -> InvalidInput:
        """Return an error that names a field by its option, if it has one."""
        table, _, key = error.field.partition(".")
        if table == "processor":  # a setting of the processor is a value of its option
            shown = f"{key}={error.value}"
            return InvalidInput("--processor", shown, error.problem, error.way_out)
        if error.field not in {field.name for field in fields(self)}:
            return error
        return InvalidInput(flag(error.field), error.value, error.problem, error.way_out)
