"""The verb `figures`: from the shipped scenarios to pictures, their data, captions, and the claims."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from plots.paper.page import Page
from sunsim.errors import InputError
from sunsim.figures.captions import choices, swept
from sunsim.figures.claims import elsewhere, findings
from sunsim.figures.claims_accuracy import shipped
from sunsim.figures.claims_files import claims_report, to_json
from sunsim.figures.figure import Figure
from sunsim.figures.registry import CLAIM_SWEEPS, CLAIMS, FIGURES
from sunsim.figures.sweeps import frame, plans, simulate
from sunsim.folder import Results, read_manifest
from sunsim.points.local import cores
from sunsim.points.store import POINTS, Store
from sunsim.report.blocks import Block, Report, Section
from sunsim.report.blocks import Figure as Picture
from sunsim.report.markdown import section, to_markdown
from sunsim.report.terminal import say
from sunsim.sweep.grid import Grid

CAPTIONS = "figures.md"


def figures(only: Sequence[str], out: Path, jobs: int | None) -> bool:
    """Simulates what is not kept yet, and writes each figure as PNG, PDF, CSV and a caption.

    Args:
        only: names of figures; none for all, with the claims.
        out: the folder; simulated points are kept in it, so that the same command goes on where it was stopped.
        jobs: processes; None for all cores.

    Returns:
        Whether every point could be simulated; if not, nothing is drawn.

    Raises:
        InputError: there is no figure of a name, or the folder cannot be used.
        KeyboardInterrupt: stopped by the user; says how to go on.
    """
    chosen = _chosen(only)
    results = Results(out, "figures", (POINTS,))
    store = Store(results.folder)
    sweeps = dict.fromkeys(sweep for each in chosen for sweep in each.sweeps)
    if any(each.name == CLAIMS for each in chosen):
        sweeps |= dict.fromkeys(CLAIM_SWEEPS)
    planned = plans(sweeps)
    try:
        whole = simulate(planned, store, jobs or cores())
    except KeyboardInterrupt:
        message = "interrupted: what is simulated is kept, the same command goes on from there"
        raise KeyboardInterrupt(message) from None
    if not whole:
        return False
    frames = {name: frame(plan, store) for name, plan in planned.items()}
    told: list[Block | None] = []
    with results.writing(adding=bool(only)) as folder:
        for each in chosen:
            _write(each, folder, planned, frames)
            if each.name == CLAIMS:
                told += _write_claims(folder, planned, frames).blocks
        _write_captions(folder, results.folder if only else None)
    say([*told, f"{out}/: {', '.join(each.name for each in chosen)}; captions in {CAPTIONS}"])
    return True


def _chosen(only: Sequence[str]) -> list[Figure]:
    names = [each.name for each in FIGURES]
    for name in only:
        if name not in names:
            message = f"'{name}' is no figure, must be one of: {', '.join(names)}"
            raise InputError(message, "--only")
    return [each for each in FIGURES if not only or each.name in only]


def _write(each: Figure, out: Path, planned: Mapping[str, Grid], frames: Mapping[str, pd.DataFrame]) -> None:
    table = each.table(frames)
    caption = each.caption(each.seen(table), [planned[sweep.name] for sweep in each.sweeps])
    stem = out / each.name
    table.to_csv(stem.with_suffix(".csv"), index=False, float_format="%.6g", lineterminator="\n")
    each.plot(table, Page(stem, each.title, caption.paragraphs()))
    picture = Picture(each.title, file=f"{each.name}.png")
    text = section(Section(each.title, [picture, *caption.paragraphs()]))
    _page(out, each).parent.mkdir(exist_ok=True)
    _page(out, each).write_text(f"{text}\nData: [{each.name}.csv]({each.name}.csv).\n", encoding="utf-8")


def _write_claims(out: Path, planned: Mapping[str, Grid], frames: Mapping[str, pd.DataFrame]) -> Report:
    found, accuracy = findings(frames), shipped()
    grid = planned[CLAIM_SWEEPS[0].name]
    settings = choices(grid.scenario, swept(grid))
    (out / "claims.json").write_text(to_json(found, settings, accuracy), encoding="utf-8")
    report = claims_report(found, settings, elsewhere(frames), accuracy)
    (out / "claims.md").write_text(to_markdown(report), encoding="utf-8")
    return report


def _page(out: Path, each: Figure) -> Path:
    return out / "captions" / f"{each.name}.md"


def _write_captions(folder: Path, earlier: Path | None) -> None:
    """All captions in the order of the paper, those of earlier calls too where they are as they were written."""
    manifest = read_manifest(earlier) if earlier else None
    whole = set(manifest.files) - set(manifest.broken(earlier)) if earlier and manifest else set()
    texts = []
    for each in FIGURES:
        path = _page(folder, each)
        if not path.is_file() and earlier and path.relative_to(folder).as_posix() in whole:
            path = _page(earlier, each)
        if path.is_file():
            texts.append(path.read_text(encoding="utf-8"))
    (folder / CAPTIONS).write_text("\n".join(texts), encoding="utf-8")
