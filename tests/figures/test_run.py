"""`sunsim figures`: what it leaves, that it is the same twice, and that it is what a fresh simulation gives."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from sunsim.cli import app
from sunsim.figures import run
from sunsim.figures.registry import CLAIM_SWEEPS, FIGURES
from sunsim.figures.sweeps import plans
from sunsim.points.point import simulate_point
from sunsim.program import BAD_INPUT
from sunsim.scenario import load_scenario
from tests.figures.small import BANDWIDTHS, SHORT, short_figures

ENDINGS = (".png", ".pdf", ".csv")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the short figures."""
    out = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "FIGURES", short_figures())
        assert run.figures((), out, 1)
    return out


def test_every_figure_is_there_with_its_data_and_caption(made: Path) -> None:
    for figure in short_figures():
        for ending in ENDINGS:
            assert (made / figure.name).with_suffix(ending).stat().st_size
    captions = (made / "figures.md").read_text()
    for figure in short_figures():
        assert f"## {figure.title}" in captions
    for heading in ("Measured: ", "Simulated: ", "Our choice: "):
        assert heading in captions


def test_the_same_bytes_twice(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "FIGURES", short_figures())
    (tmp_path / "again").mkdir()
    (made / "points").rename(tmp_path / "again" / "points")
    assert run.figures((), tmp_path / "again", 1)
    (tmp_path / "again" / "points").rename(made / "points")
    files = sorted(path.relative_to(made) for path in made.rglob("*.*") if path.is_file())
    for name in files:
        assert (
            (made / name).read_bytes() == (tmp_path / "again" / name).read_bytes() if "points" not in name.parts else 1
        )


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_the_data_are_what_a_fresh_simulation_gives(made: Path, bandwidth: int) -> None:
    data = pd.read_csv(made / "transfer.csv").set_index(["bandwidth_gbit_s", "arm"])
    settings = (*SHORT.overrides, f"transfer.bandwidth_gbit_s={bandwidth}")
    runs = [simulate_point(load_scenario(SHORT.path, settings, seed)) for seed in (1, 2)]
    for arms in zip(*runs, strict=True):
        row = data.loc[(bandwidth, arms[0]["arm"])]
        for metric in ("mean_ttft_ms", "mean_tpot_ms", "output_throughput_window", "output_throughput_per_gpu"):
            assert row[metric] == pytest.approx(sum(arm[metric] for arm in arms) / 2, rel=1e-5)


def test_an_unknown_name_is_refused_in_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["figures", "--only", "figure-1", "--out", str(tmp_path)])
    assert result.exit_code == BAD_INPUT
    names = ", ".join(figure.name for figure in FIGURES)
    assert result.stderr == f"--only: 'figure-1' is no figure, must be one of: {names}\n"


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.txt").touch()
    result = CliRunner().invoke(app, ["figures", "--only", "roofline", "--out", str(tmp_path)])
    assert result.exit_code == BAD_INPUT
    assert result.stderr.count("\n") == 1


def test_every_sweep_loads_and_has_seeds() -> None:
    sweeps = [*CLAIM_SWEEPS, *(sweep for figure in FIGURES for sweep in figure.sweeps)]
    assert all(len(plan.seeds) > 1 for plan in plans(sweeps).values())


def test_names_are_their_own() -> None:
    names = [figure.name for figure in FIGURES]
    assert len(set(names)) == len(names)
