"""The command line of `sunsim export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sunsim.visible import visible


def export(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Results of run or plan, or a scenario's file.", show_default=False),
    ],
    arm: Annotated[str, typer.Option("--arm", metavar="NAME", help="The arm to deploy.", show_default=False)],
    target: Annotated[
        Literal["vllm", "llm-d", "dynamo"], typer.Option("--to", help="What shall serve it.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder of the files, results/FOLDER-ARM-TARGET if not given.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write an arm as commands or manifests that deploy it: a vllm serve line a worker, llm-d values, Dynamo graphs."""
    from sunsim.export.export import export as export_arm  # noqa: PLC0415 - as in sunsim.cli

    typer.echo(visible(export_arm(folder, arm, target, out)))
