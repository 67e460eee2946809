"""`tokencost train`: a training step with a schedule active, and the GPU hours that it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from ...costmodel import InvalidInput
from ...costmodel.primitives.training import Training
from ...costmodel.training import training_of
from ..document import Document
from ..export import deliver
from ..options import ConventionOption, Sink, Text, conventions, option, shares
from ..request import Request
from ..training_rows import Hours
from ..training_tables import document

TRAINING = "Training"
app = typer.Typer(add_completion=False)


@app.command()
@shares(Request, Sink)
def train(
    request: Request,
    sink: Sink,
    convention: ConventionOption = None,
    fixed_share: Annotated[
        Text,
        option(
            TRAINING,
            "--fixed-share",
            "Share of the dense training time that no visual token changes, in [0, 1].",
            "SHARE",
        ),
    ] = None,
    dense_hours: Annotated[
        Text,
        option(TRAINING, "--dense-hours", "GPU hours of the dense training.", "HOURS"),
    ] = None,
    scheduled_hours: Annotated[
        Text,
        option(
            TRAINING,
            "--scheduled-hours",
            "GPU hours with the schedule, to find the fixed share that explains them.",
            "HOURS",
        ),
    ] = None,
    recompute: Annotated[
        bool,
        option(
            TRAINING, "--recompute", "The backward pass computes the LLM's layers a second time."
        ),
    ] = False,
    train_encoder: Annotated[
        bool, option(TRAINING, "--train-encoder", "Train the encoder too, instead of freezing it.")
    ] = False,
) -> None:
    """Price a training step with a schedule active: forward, backward, GPU hours.

    Example: tokencost train --model llava-1.5-7b --method pyramiddrop --fixed-share 0.55
    """
    chosen = conventions(convention)
    request.refuse_unused(chosen)
    if train_encoder and "exact" not in chosen:
        hint = "leave it out, or price exact too"
        raise InvalidInput("--train-encoder", None, "changes exact figures alone", hint)
    request.refuse("is of generating, not of training", "leave it out", "new_tokens")
    if request.logits is not None and request.logits != "all":
        problem = "leaves positions out, but the loss needs all"
        raise InvalidInput("--logits", request.logits, problem, "leave it out")
    hours = Hours.typed(fixed_share, dense_hours, scheduled_hours)
    asked = replace(request, logits="all")

    def answer() -> Document:
        report = asked.report()
        stated = training_of(report.schedule)
        training = Training(
            recompute=recompute or stated.recompute,
            frozen_encoder=stated.frozen_encoder and not train_encoder,
            fixed_share=stated.fixed_share if hours.fixed_share is None else hours.fixed_share,
        )
        if hours.dense is not None and hours.scheduled is None and training.fixed_share is None:
            hint = "add --fixed-share SHARE, or --scheduled-hours HOURS to find it"
            raise InvalidInput("--dense-hours", dense_hours, "needs a fixed share", hint)
        found = document(report, training, hours, chosen)
        if hours.scheduled is None or report.schedule is None:
            return found
        figures = found.payload["conventions"].items()
        unexplained = [
            name
            for name, one in figures
            if (one or {}).get("hours") and one["hours"]["explaining_fixed_share"] is None
        ]
        if not unexplained:
            return found
        note = f"no fixed share in [0, 1] explains the hours by {', '.join(unexplained)}"
        return found._replace(notes=(*found.notes, note))

    deliver(sink, answer, request.schedule, request.config)
