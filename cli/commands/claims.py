"""`tokencost claims`: published figures, recomputed or bounded, with a verdict on each."""

from __future__ import annotations

from typing import Annotated

import typer

from ..claim_figures import Figures
from ..claim_typed import Conditions
from ..export import deliver
from ..options import OUTPUT, Sink, Text, option, shares

app = typer.Typer(
    help="Audit published speed-ups, costs and savings: recompute each, or bound it.",
    add_completion=False,
)

CHOICE = "Which claims"
MethodOption = Annotated[
    Text, option(CHOICE, "--method", "Of this method: our id, or as the source names it.", "ID")
]
ModelOption = Annotated[
    Text, option(CHOICE, "--model", "Of this model: our id, or as the source names it.", "ID")
]
QuantityOption = Annotated[
    Text, option(CHOICE, "--quantity", "Of this quantity, such as flops or speed-up.", "NAME")
]
VerificationOption = Annotated[
    Text,
    option(
        CHOICE,
        "--verification",
        "How the figure was seen: source, secondary, abstract, survey, memory or calculated.",
        "NAME",
    ),
]
FileOption = Annotated[
    Text, option(CHOICE, "--file", "Claims of this TOML file, instead of published ones.", "FILE")
]
VerdictOption = Annotated[
    Text,
    option(
        OUTPUT, "--verdict", "Show these verdicts alone, such as impossible,inconsistent.", "NAMES"
    ),
]


@app.command("list")
@shares(Sink)
def list_command(
    sink: Sink,
    method: MethodOption = None,
    model: ModelOption = None,
    quantity: QuantityOption = None,
    verification: VerificationOption = None,
) -> None:
    """List the published figures that are known, as their sources print them.

    Example: tokencost claims list --method fastv --quantity flops-ratio
    """
    from ..claim_list import listing

    deliver(sink, lambda: listing(method, model, quantity, verification))


@app.command("show")
@shares(Sink)
def show_command(
    sink: Sink, claim: Annotated[str, typer.Argument(metavar="ID", help="Claim id.")]
) -> None:
    """Show all that is known about a claim: conditions, relations to others, verdict.

    Example: tokencost claims show SV001
    """
    from ..claim_check import shown

    deliver(sink, lambda: shown(claim))


@app.command("check")
@shares(Conditions, Figures, Sink)
def check_command(
    conditions: Conditions,
    figures: Figures,
    sink: Sink,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Claim ids, or patterns such as 'SV00*'."),
    ] = None,
    quantity: QuantityOption = None,
    verification: VerificationOption = None,
    every: Annotated[bool, option(CHOICE, "--all", "All published claims.")] = False,
    file: FileOption = None,
    verdict: VerdictOption = None,
) -> None:
    """Recompute claims from model and schedule, or bound them, and give each a verdict.

    Without a figure, --model and --method choose among published claims; with one, they are what
    it is claimed of, as in --model llava-1.5-7b --method visionzip --budget 64 --speedup 7.8.

    Example: tokencost claims check --method visionzip --quantity speed-up
    """
    from ..claim_check import Choice, check

    choice = Choice(tuple(ids or ()), quantity, verification, every, file)
    check(sink, choice, conditions, figures, verdict)


@app.command("report")
def report_command(
    output: Annotated[
        Text, option(OUTPUT, "--output", "Report to write; .html, .md or .pdf.", "FILE")
    ] = None,
    method: MethodOption = None,
    model: ModelOption = None,
    file: FileOption = None,
) -> None:
    """Write a report of all verdicts by method, with counts, tables and figures.

    Example: tokencost claims report --output report.html
    """
    from ..claims_report import write

    write(output, method, model, file)
    typer.echo(f"wrote {output}", err=True)
