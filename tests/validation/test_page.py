"""The page of many runs: it leads to each of them, and stays small enough to be sent."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from sunsim.report.html import to_html
from sunsim.validation.files import _draw
from sunsim.validation.report import page
from sunsim.validation.result import Validation
from sunsim.validation.worker import Validated, check_run
from sunsim.validation.worker_run import read_run
from tests.validation.runs import (
    columns_of,
    meta,
    outcome,
    profile_document,
    slower,
    stream,
    write_profile,
    write_table,
)

RUNS, MOST_BYTES = 12, 1_000_000


def saturated(folder: Path) -> Validated:
    """A run in which requests wait, so that each figure has all its panels, and each request differs from its simulation."""
    requests = stream(1500, 150.0, output_tokens=100)
    served = outcome(requests, profile_document(), meta(), folder)
    unlike = slower(served, 1.2 + np.random.default_rng(0).random(1500))
    run = read_run(write_table(folder / "run.parquet", columns_of(unlike), meta()))
    return check_run(run, write_profile(folder / "p.json"))


def test_a_page_of_twelve_runs_leads_to_each_and_is_small(tmp_path: Path) -> None:
    checked = saturated(tmp_path)
    drawn = _draw(tmp_path, checked)
    assert len(drawn) == 3
    results = [replace(checked, name=f"run {i}") for i in range(RUNS)]
    text = to_html(page(Validation(results), {result.name: drawn for result in results}))
    assert len(text.encode()) < MOST_BYTES
    links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', text)
    assert [title for _, title in links] == [result.name for result in results]
    assert all(f'<h2 id="{place}">{title}</h2>' in text for place, title in links)
    assert "<nav>" not in to_html(page(Validation(results[:1]), {results[0].name: drawn}))
