"""The command line of `sunsim compare`."""

# Verbs import what they need when they run, as in sunsim.cli.
# ruff: noqa: PLC0415

from pathlib import Path
from typing import Annotated

import typer


def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of results, of runs or of plans.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every figure that differs.")] = False,
) -> None:
    """Say what differs between the results of runs, or of plans: in the input, and in the outcome."""
    from sunsim.compare.run import compare as compare_folders

    compare_folders(folders, as_json=as_json)
