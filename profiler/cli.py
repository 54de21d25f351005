"""`python -m profiler`: runs where the GPU and vLLM are."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from profiler import shapes
from profiler.measure import Order, measure
from profiler.profile_file import OtherSetupError
from profiler.progress import Progress

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


class Variant(StrEnum):
    """Weights: as published, or 4-bit AWQ."""

    bf16 = "bf16"
    awq = "awq"


@app.callback()
def main() -> None:
    """Measure step times on a real engine."""


@app.command("measure")
def measure_command(
    model: Annotated[str, typer.Option(help=f"One of {', '.join(shapes.model_names())}, or a config.json.")],
    out: Annotated[Path, typer.Option(help="Profile to write; one already there is completed.")],
    variant: Annotated[Variant, typer.Option()] = Variant.bf16,
    weights: Annotated[Path | None, typer.Option(help="Directory of weights; random ones without it.")] = None,
    gpu_name: Annotated[str, typer.Option(help="Name of the card in profile paths.")] = "h100-80gb",
    quick: Annotated[bool, typer.Option("--quick", help="A few seconds of everything: a smoke test.")] = False,
    budget_s: Annotated[float | None, typer.Option(help="Seconds after which no further phase begins.")] = None,
    log_dir: Annotated[Path | None, typer.Option(help="Keep the engine's log and all recorded steps here.")] = None,
) -> None:
    """Measure one model variant on this machine's GPU in one engine start."""
    progress = Progress()
    try:
        order = Order(
            model=model,
            variant=variant.value,
            out=out,
            gpu_name=gpu_name,
            weights=weights,
            quick=quick,
            budget_s=budget_s,
            log_dir=log_dir,
        )
        profile = asyncio.run(measure(order, progress))
    except (OtherSetupError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    progress.say(f"{out}: {len(profile['decode_points'])} decode points")
    failed = [name for name, outcome in profile["phases"].items() if str(outcome).startswith("failed")]
    if failed:
        typer.echo(f"failed: {', '.join(failed)}", err=True)
        raise typer.Exit(1)
