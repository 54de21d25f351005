"""Figures: that they are drawn, from equal data into equal bytes, whatever an arm lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from plots.latency_surface import plot_latency_surface
from plots.paper.left_out import rivals
from plots.paper.page import LOOKS, Page
from plots.plan import gpu_bars, over_time
from plots.style import PALETTE, ink, looks, pale, shades, time_unit
from plots.sweep import Mark, Row, plot_sweep
from plots.throughput import _workers, plot_throughput
from plots.tpot_ecdf import plot_tpot_ecdf
from plots.trace import plot_trace
from plots.worker_timeline import plot_worker_timeline
from sunsim.artist import Artist
from sunsim.pictures import draw
from sunsim.records import ArmResult
from sunsim.scenario import load_scenario
from sunsim.visible import visible
from sunsim.workload.traces.rows import TraceRows
from tests.metrics.synthetic import table, toy_arm, toy_summary, toy_worker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def arms() -> list[ArmResult]:
    """Two arms of a short stream."""
    return [
        toy_arm("isolated", shared=False, decode_workers=4, rate_rps=10.0, duration_s=20.0),
        toy_arm("sun", shared=True, decode_workers=2, rate_rps=10.0, duration_s=20.0),
    ]


def by_name(arms: list[ArmResult]) -> dict[str, pd.DataFrame]:
    """The rows of each."""
    return {str(arm.rows["arm"].iloc[0]): arm.rows for arm in arms}


@pytest.fixture(scope="module")
def summary(arms: list[ArmResult]) -> dict[str, Any]:
    return toy_summary(*arms, slo={"tpot_ms": 9.0}, warmup_s=2.0)


def same_bytes_twice(plot: Callable[[Path], None], folder: Path) -> None:
    """Draws twice."""
    first, second = folder / "first.png", folder / "second.png"
    plot(first)
    plot(second)
    assert first.read_bytes().startswith(PNG)
    assert first.read_bytes() == second.read_bytes()


def draw_all(folder: Path, rows: Mapping[str, pd.DataFrame], summary: Mapping[str, Any]) -> None:
    """All pictures of a run."""
    artist = Artist()
    draw(folder, rows, summary, artist)
    artist.end()


def test_throughput(summary: dict[str, Any], tmp_path: Path) -> None:
    same_bytes_twice(lambda path: plot_throughput(summary["arms"], path), tmp_path)


def test_tpot_of_many_few_and_no_requests(tmp_path: Path) -> None:
    many = np.random.default_rng(0).normal(9, 1, 500)
    tpot_ms = {"many": many, "one": np.array([9.0]), "none": np.array([np.nan])}
    same_bytes_twice(lambda path: plot_tpot_ecdf(tpot_ms, path, slo_ms=[12.0]), tmp_path)


def test_timeline(arms: list[ArmResult], tmp_path: Path) -> None:
    rows = {arm.rows["arm"].iloc[0]: arm.rows for arm in arms}
    places = {"isolated": 256, "sun": 16}
    same_bytes_twice(lambda path: plot_worker_timeline(rows, path, (2.0, 20.0), places), tmp_path)


def test_latency_surface(tmp_path: Path) -> None:
    decode = pd.DataFrame(
        {"batch": [1, 64, 1, 64], "context_per_request": [256, 256, 4096, 4096], "step_ms": [7, 8, 7, 18]}
    )
    prefill = pd.DataFrame({"new_tokens": [128, 8192], "step_ms": [14.0, 180.0]})
    same_bytes_twice(lambda path: plot_latency_surface(decode, decode, prefill, prefill, "test", path), tmp_path)


def test_every_axis_of_a_profile_has_its_unit(drawn: list[str], tmp_path: Path) -> None:
    decode = pd.DataFrame({"batch": [1, 64], "context_per_request": [256, 4096], "step_ms": [7, 18]})
    prefill = pd.DataFrame({"new_tokens": [128, 8192], "step_ms": [14.0, 180.0]})
    plot_latency_surface(decode, decode, prefill, prefill, "test", tmp_path / "profile.png")
    assert drawn.count("step time (ms)") == 2
    labels = ("batch (requests)", "context per request (tokens)", "new prompt in the step (tokens)")
    assert [drawn.count(label) for label in labels] == [1, 1, 1]


def test_a_run_draws_three(arms: list[ArmResult], summary: dict[str, Any], tmp_path: Path) -> None:
    draw_all(tmp_path, by_name(arms), summary)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["throughput.png", "tpot.png", "workers.png"]


def test_what_an_arm_lacks_is_left_out(tmp_path: Path) -> None:
    stamps = {"arrival_s": 1.0, "prefill_start_s": 1.0, "prefill_end_s": 2.0, "first_token_s": 2.0, "last_token_s": 2.0}
    rows = table({"prefill_worker": "p", **stamps}, {"prefill_worker": "p", **stamps, "arrival_s": 5.0})
    prefill_only = [ArmResult(rows, [toy_worker("p", "prefill")])]
    draw_all(tmp_path, by_name(prefill_only), toy_summary(*prefill_only))
    assert [path.name for path in tmp_path.iterdir()] == ["throughput.png"]


@pytest.mark.parametrize("name", ["n" * 100, "long name " * 10, "long-name-" * 10])
def test_long_names_leave_room(
    name: str, summary: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(fig: Figure, *_: object, **__: object) -> None:
        fig.draw_without_rendering()
        assert all(axes.get_position().width > 0.25 for axes in fig.axes)
        for legend in fig.legends:
            box = legend.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= fig.bbox.x1

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    first, second = summary["arms"].values()
    plot_throughput({name: first, f"{name[:-1]}2": second}, tmp_path / "throughput.png")
    tpot_ms = {f"{name[:-1]}{i}": np.arange(8.0, 20.0) for i in range(3)}
    plot_tpot_ecdf(tpot_ms, tmp_path / "tpot.png", slo_ms=[12.0])


def test_nothing_finished_draws_nothing_that_lies(tmp_path: Path) -> None:
    rows = table({"decode_worker": "d", "arrival_s": 1.0, "decode_scheduled_s": 2.0, "outcome": "unfinished"})
    stuck = [ArmResult(rows, [toy_worker("d", "decode")])]
    draw_all(tmp_path, by_name(stuck), toy_summary(*stuck))
    assert "tpot.png" not in {path.name for path in tmp_path.iterdir()}


def test_colours_repeat() -> None:
    assert looks([str(i) for i in range(9)])["8"].colour == PALETTE[0]


def test_an_arm_looks_the_same_in_every_picture_whatever_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, object]] = []

    def look(fig: Figure, *_: object, **__: object) -> None:
        lines = [line for axes in fig.axes for line in axes.get_lines() if np.size(np.asarray(line.get_xdata()))]
        seen.append((lines[-1].get_color(), {line.get_linestyle() for line in lines} - {"None"}))

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    some, none = np.arange(8.0, 20.0), np.array([np.nan])
    plot_tpot_ecdf({"first": none, "second": none, "third": some}, tmp_path / "tpot.png")
    rows = [Row("", {"y": {"third": [Mark(0, 1.0, 0.1), Mark(1, 2.0, 0.1)]}})]
    plot_sweep(rows, ["first", "second", "third"], "x", tmp_path / "sweep.png")
    failed: dict[str, Any] = {"gpus": None, "portrait": None, "curve": []}
    portrait = {"over_time": {"time_s": [0.0, 1.0], "kv": [0.1, 0.2]}}
    found = {"gpus": {"all": 1}, "portrait": portrait, "curve": [{}]}
    over_time({"first": failed, "second": failed, "third": found}, "kv", "KV", (0.0, 1.0))
    assert seen == [(looks("abc")["c"].colour, {looks("abc")["c"].dash})] * 3


def test_figures_of_the_paper_show_arms_as_a_run_does() -> None:
    file = Path(__file__).parents[1] / "scenarios" / "zipf3.yaml"
    arms = [arm.name for arm in load_scenario(file).arms]
    assert looks(arms).items() <= LOOKS.items()


def test_bars_have_the_colours_of_their_arms(
    summary: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[float, ...]] = set()

    def look(fig: Figure, *_: object, **__: object) -> None:
        seen.update(to_rgb(bar.get_facecolor()) for axes in fig.axes for bar in axes.patches)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    first, second = (to_rgb(PALETTE[i]) for i in range(2))
    plot_throughput(summary["arms"], tmp_path / "throughput.png")
    assert seen == {first, second}
    seen.clear()
    failed: dict[str, Any] = {"gpus": None, "portrait": None, "curve": []}
    gpu_bars({"first": failed, "second": {"gpus": {"decode": 2, "prefill": 1}, "portrait": {"": ""}, "curve": [{}]}})
    assert seen == {second, pale(PALETTE[1])}


NAMES = ("$_$", "H100 ($2-$3/h)", "_sun", "a\x1b[31m\nb\u202e")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of every figure that is written, as they are drawn; none may be read as a formula."""
    texts: list[str] = []

    def look(fig: Figure, *_: object, **__: object) -> None:
        fig.draw_without_rendering()
        found = [text for text in fig.findobj(Text) if text.get_visible()]
        assert not any(text.get_parse_math() for text in found)
        texts.extend(text.get_text().lstrip("\u200b") for text in found)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    return texts


@pytest.mark.parametrize("name", NAMES)
def test_names_are_drawn_as_they_are_written(
    name: str, drawn: list[str], arms: list[ArmResult], tmp_path: Path
) -> None:
    toys = [
        ArmResult(arm.rows.assign(arm=label), arm.workers) for arm, label in zip(arms, ("first", name), strict=True)
    ]
    for toy in toys:
        toy.rows["decode_worker"] = toy.rows["decode_worker"].str.replace("/.*/", f"/{name}/", regex=False)
    content = toy_summary(*toys, slo={"tpot_ms": 9.0}, warmup_s=2.0)
    draw_all(tmp_path, by_name(toys), content)
    written = visible(name)
    assert any(text.startswith(f"{written}\n") for text in drawn)  # the tick of throughput.png
    assert written in drawn  # the legend of tpot.png
    assert any(text.startswith(f"{written}\ndecoding (of ") for text in drawn)
    drawn.clear()
    plot_sweep([Row(name, {"y": {name: [Mark(0, 1.0, 0.1)]}})], [name], "x", tmp_path / "s.png", ticks=[name])
    assert drawn.count(written) == 3
    drawn.clear()
    tokens = np.array([20, 30, 40, 90])
    rows = TraceRows(arrival_s=np.arange(4.0), prompt_tokens=tokens, output_tokens=tokens, line=np.arange(4))
    plot_trace(rows, {name: 3, "m2": 1}, name, tmp_path / "t.png")
    assert drawn.count(written) == 2
    assert not any("mathdefault" in text for text in drawn)


@pytest.mark.parametrize("colour", [*PALETTE, *map(pale, PALETTE), *shades(PALETTE[1], 5)])
def test_what_is_written_on_a_colour_can_be_read(colour: str | tuple[float, float, float]) -> None:
    def luminance(of: str | tuple[float, float, float]) -> float:
        """As WCAG 2.2 defines it."""
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(of)]
        return float(np.dot((0.2126, 0.7152, 0.0722), linear))

    dark, light = sorted((luminance(colour), luminance(ink(colour))))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("length_s", "unit"), [(60, "s"), (239, "s"), (240, "min"), (14_399, "min"), (14_400, "h"), (86_400, "h")]
)
def test_a_time_axis_has_a_unit_that_fits(length_s: float, unit: str) -> None:
    assert time_unit(length_s)[0] == unit


def test_a_metric_has_one_scale_in_all_rows_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[float, float], str]] = []

    def look(fig: Figure, *_: object, **__: object) -> None:
        seen.extend((axes.get_ylim(), axes.get_yscale()) for axes in fig.axes)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    rows = [
        Row(
            str(high),
            {tag: {"sun": [Mark(0, 1.0, 0.0), Mark(1, high * most, 0.0)]} for tag, most in (("a", 1), ("b", 50))},
        )
        for high in (2.0, 9.0)
    ]
    plot_sweep(rows, ["sun"], "x", tmp_path / "sweep.png")
    first, second, third, fourth = seen
    assert first == third
    assert second == fourth
    assert first[0][0] == 0
    assert first[0][1] >= 9
    assert second[1] == "log"


@pytest.mark.parametrize("factor", [1.0, 100.0])
@pytest.mark.parametrize("slo_ms", [25.0, 400.0])
def test_labels_stand_at_the_dots_and_limits_are_lines_behind_them(
    factor: float, slo_ms: float, summary: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tails_ms = [20.0 * factor, 8.0 * factor]
    arms = {
        name: {**entry, "median_tpot_ms": 0.9 * tail, "p99_tpot_ms": tail}
        for (name, entry), tail in zip(summary["arms"].items(), tails_ms, strict=True)
    }
    lines: list[float] = []

    def look(fig: Figure, *_: object, **__: object) -> None:
        fig.draw_without_rendering()
        axes = fig.axes[1]
        limits = [line for line in axes.lines if line.get_linestyle() == ":"]
        lines[:] = [float(np.asarray(line.get_xdata())[0]) for line in limits]
        point = fig.dpi / 72
        for tail_ms, text in zip(tails_ms, axes.texts, strict=True):
            box, dot = text.get_window_extent(), axes.transData.transform((tail_ms, 0))[0]
            assert 5 * point < box.x0 - dot < 15 * point
            assert box.x1 <= fig.bbox.x1
            behind = text.get_bbox_patch()
            assert behind
            assert to_rgb(behind.get_facecolor()) == (1, 1, 1)
            assert all(line.get_zorder() < text.get_zorder() for line in limits)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    plot_throughput(arms, tmp_path / "throughput.png", [slo_ms * factor])
    assert lines == ([25.0 * factor] if slo_ms == 25 else [])


@pytest.mark.parametrize("longest", [16_000 / 2.09, 20_000 / 2.09, 16_422.0, 160_000 / 2.09])
def test_no_number_of_an_axis_runs_into_another(
    longest: float, summary: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is at the end of the left axis."""
    arms = {name: {**entry, "output_throughput_per_gpu": longest} for name, entry in summary["arms"].items()}

    def look(fig: Figure, *_: object, **__: object) -> None:
        fig.draw_without_rendering()
        shown = [
            tick.label1.get_window_extent()
            for axes in fig.axes
            for tick in axes.xaxis.get_major_ticks()
            if axes.get_xlim()[0] <= tick.get_loc() <= axes.get_xlim()[1]
        ]
        assert len(shown) >= 4
        for first, second in pairwise(sorted(shown, key=lambda box: box.x0)):
            assert second.x0 - first.x1 > 4 * fig.dpi / 72

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    plot_throughput(arms, tmp_path / "throughput.png")


def test_throughput_leads_with_all_gpus(summary: dict[str, Any], drawn: list[str], tmp_path: Path) -> None:
    plot_throughput(summary["arms"], tmp_path / "throughput.png")
    assert "Output per GPU, all GPUs counted" in drawn
    assert sum(text.startswith("per decode GPU ") for text in drawn) == 2


README_PX = 838
"""How wide a page of a repository shows a picture."""


def rivals_drawn(folder: Path) -> None:
    """The figure of the ways to serve, of two arms at two loads."""
    half = dict.fromkeys(("mean_interactivity_half_width_95", "output_throughput_per_gpu_half_width_95"), 1.0)
    rows = [
        {"arm": arm, "mean_interactivity": x, "output_throughput_per_gpu": 9.0 - x, "overloaded": x < 5, **half}
        for arm in ("sun", "lora-r16")
        for x in (4.0, 8.0)
    ]
    rivals(pd.DataFrame(rows), Page(folder / "rivals", "The same ten GPUs", ["Measured: steps. " * 30]))


def test_rivals_are_one_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panels: list[int] = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda fig, *_, **__: panels.append(len(fig.axes)))
    rivals_drawn(tmp_path)
    assert set(panels) == {1}


def test_no_text_is_shown_with_less_than_eight_points(
    arms: list[ArmResult], summary: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[float] = []

    def look(fig: Figure, *_: object, **__: object) -> None:
        shown = README_PX / (fig.get_figwidth() * 96)
        texts = (text for text in fig.findobj(Text) if text.get_visible() and text.get_text())
        sizes.append(min(float(text.get_fontsize()) * shown for text in texts))

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    draw_all(tmp_path, by_name(arms), summary)
    plot_sweep([Row("a", {"y": {"sun": [Mark(0, 1.0, 0.1)]}})], ["sun"], "x", tmp_path / "s.png", ticks=["one"])
    tokens = np.array([20, 30, 40, 90])
    rows = TraceRows(arrival_s=np.arange(4.0), prompt_tokens=tokens, output_tokens=tokens, line=np.arange(4))
    plot_trace(rows, {"m1": 3, "m2": 1}, "trace", tmp_path / "t.png")
    rivals_drawn(tmp_path)
    assert len(sizes) == 7
    assert min(sizes) >= 8


def test_gpus_that_do_both_are_no_decode_gpus() -> None:
    both = {"gpus": 4, "decode_gpus": 4, "overloaded": False, "workers": {"colocated/shared/0": {}}}
    apart = {"gpus": 4, "decode_gpus": 2, "overloaded": True, "workers": {"prefill/m1/0": {}, "decode/m1/0": {}}}
    assert _workers(both) == "4 GPUs"
    assert _workers(apart) == "2P2D, overloaded"
