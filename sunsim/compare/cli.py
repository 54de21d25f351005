"""The command line of `sunsim compare`."""

# Verbs import what they need when they run, as in sunsim.cli.
# ruff: noqa: PLC0415

import sys
from pathlib import Path
from typing import Annotated

import typer

from sunsim.errors import InputError


def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of results, of runs or of plans.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every figure that differs.")] = False,
) -> None:
    """Say what differs between the results of runs, or of plans: in the input, and in the outcome."""
    from sunsim.compare.folders import read_folders
    from sunsim.compare.report import comparison, comparison_report
    from sunsim.metrics import to_json
    from sunsim.report.terminal import say

    found = read_folders(folders)
    try:
        content, report = comparison(found), comparison_report(found)
    except KeyError as error:
        message = f"a folder lacks {error}, must be of this version of sunsim: give the command of each again"
        raise InputError(message, "compare") from error
    if as_json:
        sys.stdout.write(to_json(content))
    else:
        say(report.blocks)
