"""`validate` for folders of live clusters."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sunsim.latency.transfer import load_transfers, measured_link
from sunsim.report.blocks import plain, say
from sunsim.validation.live.compare import PER_GPU, compare_folder, repeats
from sunsim.validation.live.tables import link_table, live_tables, live_verdict, transfers_text
from sunsim.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sunsim.report.blocks import Block
    from sunsim.validation.fidelity import Errors
    from sunsim.validation.live.compare import LivePoint, LiveRepeat
    from sunsim.validation.live.folder import LiveFolder

SCHEMA_VERSION = 1

WIDTH = 120

KEPT_ERRORS = (PER_GPU, "mean_tpot_ms", "mean_ttft_ms")


def validate_live(folders: Sequence[LiveFolder], *, as_json: bool) -> None:
    """Simulate what each folder's clusters were sent, and print how the two compare.

    Raises:
        InputError: a run and its profile do not match.
    """
    compared = [compared_folder(folder) for folder in folders]
    if as_json:
        sys.stdout.write(json.dumps(_document(compared), indent=2, allow_nan=False) + "\n")
        return
    say(_blocks(compared))


def live_text(compared: Sequence[ComparedFolder]) -> str:
    """The same, as wide as documents show it."""
    return plain(_blocks(compared), WIDTH)


def _blocks(compared: Sequence[ComparedFolder]) -> list[Block]:
    blocks: list[Block] = []
    for each in compared:
        blocks += each.blocks()
    return blocks


@dataclass(frozen=True, slots=True)
class ComparedFolder:
    """A folder of live runs against their simulation."""

    folder: LiveFolder
    points: list[LivePoint]
    repeated: list[LiveRepeat]

    def blocks(self) -> list[Block]:
        """Heading, the link if it was measured, arms, gains and floor, and the sentence that they come down to."""
        tables = live_tables(self.points, self.repeated)
        return [heading(self.folder), *self._link(), *tables, live_verdict(self.points)]

    def _link(self) -> list[Block]:
        if self.folder.link is None:
            return []
        data = load_transfers(self.folder.link).data
        texts = [
            transfers_text(run.name, run.transfers, measured_link(data))
            for run in self.folder.runs
            if run.transfers is not None
        ]
        return [link_table(data), *texts]


def compared_folder(folder: LiveFolder) -> ComparedFolder:
    """Simulates every run of a folder.

    Raises:
        InputError: a run and its profile do not match.
    """
    return ComparedFolder(folder, compare_folder(folder), repeats(folder))


def live_errors(compared: Sequence[ComparedFolder]) -> Errors:
    """Errors in percent of every arm's output and mean latencies, by ``folder/run``."""
    return {
        f"{each.folder.name}/{arm.run}": {tag: arm.error_percent[tag] for tag in KEPT_ERRORS}
        for each in compared
        for point in each.points
        for arm in point.arms
    }


def heading(folder: LiveFolder) -> str:
    """What ran on what, and what simulates it."""
    meta, plan = folder.runs[0].meta, folder.plan
    origin = f"host {plan.profile_host}" if plan.profile_host else "the same host"
    return (
        f"{folder.name}: {meta.model} {meta.variant} on {meta.card}, host {plan.host}, {(meta.date or '')[:10]}; "
        f"profile from {origin}"
    )


def _document(compared: Sequence[ComparedFolder]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "sunsim_version": __version__,
        "clusters": [
            {
                "name": each.folder.name,
                "host": each.folder.plan.host,
                "verdict": live_verdict(each.points),
                "points": [asdict(point) for point in each.points],
                "noise_floor": [asdict(repeat) for repeat in each.repeated],
            }
            for each in compared
        ],
    }
