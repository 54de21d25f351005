"""The verb `compare`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from sunsim.compare.folders import read_folders
from sunsim.compare.report import comparison, comparison_report
from sunsim.metrics import to_json
from sunsim.report.terminal import say


def compare(paths: Sequence[Path], *, as_json: bool) -> None:
    """Prints what differs between folders of runs, or of plans.

    Raises:
        InputError: as `read_folders`.
    """
    folders = read_folders(paths)
    if as_json:
        sys.stdout.write(to_json(comparison(folders)))
    else:
        say(comparison_report(folders).blocks)
