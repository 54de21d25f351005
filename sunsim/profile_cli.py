"""The command line of `sunsim profiles`."""

# Verbs import what they need when they run, as in sunsim.cli.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sunsim.visible import visible

profiles_app = typer.Typer(invoke_without_command=True)


@profiles_app.callback()
def profiles(context: typer.Context) -> None:
    """List the measured profiles; `profiles show` shows one, `profiles estimate` makes one of what was not measured."""
    if context.invoked_subcommand is not None:
        return
    from sunsim.latency.profile import list_drafts, list_profiles, profiles_root
    from sunsim.profiles import named_profile, profiles_report
    from sunsim.report.terminal import say

    names = [*list_profiles(), *list_drafts()]
    if not names:
        typer.echo(visible(f"no profile under {profiles_root()}"), err=True)
        return
    say(profiles_report(map(named_profile, names)).blocks)


@profiles_app.command("show")
def show_profile(
    name: Annotated[str, typer.Argument(help="Name of a profile, or a .json file.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.png", help="Where to, NAME.png here if not given.", show_default=False),
    ] = None,
) -> None:
    """Say what a profile's step model has learned from traffic and how far it is off there, and draw its step times."""
    from sunsim.profiles import draw_profile, named_profile, profile_report
    from sunsim.report.terminal import say

    profile = named_profile(name)
    path = out or Path(f"{Path(profile.name).name.removesuffix('.json')}.png")
    draw_profile(profile, path)
    say(profile_report(profile, path).blocks)


@profiles_app.command("estimate")
def estimate_profile(
    source: Annotated[
        str, typer.Option("--from", metavar="NAME|FILE", help="Measured profile to scale.", show_default=False)
    ],
    gpu: Annotated[
        str | None,
        typer.Option("--gpu", metavar="CARD", help="Card, if another than the source's.", show_default=False),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="CONFIG.json", help="Model, if another than the source's.", show_default=False),
    ] = None,
    tensor_parallel_size: Annotated[
        int | None,
        typer.Option("--tensor-parallel-size", metavar="N", help="GPUs that share the model.", show_default=False),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant", metavar="bf16|awq|fp8", help="Of the weights, if not the source's.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE.json",
            help="Where to, CARD-MODEL-VARIANT.json here if not given.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Estimate the profile of a card, model or variant that was not measured, and say how far off such estimates are."""
    from sunsim.estimate.estimate import estimate
    from sunsim.profiles import estimate_report, named_profile
    from sunsim.report.terminal import say

    made = estimate(named_profile(source), gpu, model, tensor_parallel_size, variant, out)
    say(estimate_report(made).blocks)
