"""`validate` for folders of live clusters."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from sunsim import __version__
from sunsim.report.terminal import console
from sunsim.report.text_table import show_table
from sunsim.validation.live.compare import compare_folder
from sunsim.validation.live.tables import live_tables, live_verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sunsim.validation.live.compare import LivePoint
    from sunsim.validation.live.folder import LiveFolder

SCHEMA_VERSION = 1


def validate_live(folders: Sequence[LiveFolder], *, as_json: bool) -> None:
    """Simulate what each folder's clusters were sent, and print how the two compare.

    Raises:
        InputError: a run and its profile do not match.
    """
    compared = [(folder, compare_folder(folder)) for folder in folders]
    if as_json:
        sys.stdout.write(json.dumps(_document(compared), indent=2, allow_nan=False) + "\n")
        return
    target = console()
    for folder, points in compared:
        target.print(Text(heading(folder)))
        for table in live_tables(points):
            target.print()
            show_table(table, target, narrow=True)
        target.print()
        target.print(Text(live_verdict(points)), soft_wrap=True)


def heading(folder: LiveFolder) -> str:
    """What ran on what, and what simulates it."""
    meta, plan = folder.runs[0].meta, folder.plan
    origin = f"host {plan.profile_host}" if plan.profile_host else "the same host"
    return (
        f"{folder.name}: {meta.model} {meta.variant} on {meta.card}, host {plan.host}, {(meta.date or '')[:10]}; "
        f"profile from {origin}"
    )


def _document(compared: Sequence[tuple[LiveFolder, Sequence[LivePoint]]]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "sunsim_version": __version__,
        "clusters": [
            {
                "name": folder.name,
                "host": folder.plan.host,
                "verdict": live_verdict(points),
                "points": [asdict(point) for point in points],
            }
            for folder, points in compared
        ],
    }
