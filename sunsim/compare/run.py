"""The verb `compare`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from sunsim.compare.folders import read_folders
from sunsim.compare.report import comparison, comparison_report
from sunsim.errors import InputError
from sunsim.metrics import to_json
from sunsim.report.terminal import say


def compare(paths: Sequence[Path], *, as_json: bool) -> None:
    """Prints what differs between folders of runs, or of plans.

    Raises:
        InputError: as `read_folders`, or a folder was written by a version that left something else.
    """
    folders = read_folders(paths)
    try:
        content, report = comparison(folders), comparison_report(folders)
    except KeyError as error:
        message = f"a folder lacks {error}, must be of this version of sunsim: give the command of each again"
        raise InputError(message, "compare") from error
    if as_json:
        sys.stdout.write(to_json(content))
    else:
        say(report.blocks)
