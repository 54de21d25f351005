"""The picture of elastic pools: what it shows is what the rows and the sizes say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import StepPatch
from matplotlib.text import Text

from plots.elastic import plot_elastic
from plots.style import MISSES, PALETTE, mixed
from sunsim.artist import Artist
from sunsim.metrics.pools import add_pools
from sunsim.pictures import draw
from sunsim.records import ArmResult
from tests.metrics.synthetic import sizes, table, toy_summary, toy_worker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import Collection
    from matplotlib.figure import Figure

Look = Callable[["Figure"], None]


def arm(name: str, length_s: float, *, late: tuple[float, float] = (2.0, 2.0), models: int = 2) -> ArmResult:
    """Four hundred requests, evenly; the first tokens of those that arrive between these parts of the time are late."""
    rows = []
    for i in range(401):
        part = i / 400
        at_s = part * length_s
        first = at_s + (9.0 if late[0] <= part < late[1] else 0.5)
        stamps = {"decode_scheduled_s": first, "decode_first_token_s": first, "first_token_s": first}
        rows.append({"arrival_s": at_s, "decode_worker": "decode/shared/0", "last_token_s": first + 0.1} | stamps)
        rows[-1] |= {"model": f"m{i % models + 1}", "output_tokens": 5}
    workers = [toy_worker(f"decode/shared/{i}", "decode", gpus=2) for i in range(4)]
    frame = sizes((0, 1, 0, 0, 0), (length_s / 4, 1, 2, 0, 0), (length_s / 2, 3, 0, 0, 0)) if name != "fixed" else None
    return ArmResult(table(*rows, arm=name), workers, frame)


def plot(path: Path, *arms: ArmResult, slo: dict[str, Any] | None = None, **options: Any) -> None:
    """As a run draws it."""
    summary = toy_summary(*arms, slo=slo, **options)
    add_pools(summary, arms)
    by_name = {str(each.rows["arm"].iloc[0]): each for each in arms}
    found = {name: each.sizes for name, each in by_name.items() if each.sizes is not None}
    plot_elastic({name: each.rows for name, each in by_name.items()}, found, summary, path)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is written."""
    figures: list[Figure] = []

    def look(fig: Figure, *_: object, **__: object) -> None:
        fig.draw_without_rendering()
        figures.append(fig)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    return figures


def test_equal_data_give_equal_pictures(tmp_path: Path) -> None:
    for name in ("first.png", "second.png"):
        plot(tmp_path / name, arm("fixed", 60.0), arm("elastic", 60.0, late=(0.1, 0.2)), slo={"ttft_ms": 1000.0})
    assert (tmp_path / "first.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def areas(axes: Axes) -> list[Any]:
    """Steps as they are drawn."""
    return [patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)]


def test_steps_are_what_arms_hold_and_areas_what_arrives(tmp_path: Path, seen: list[Figure]) -> None:
    plot(tmp_path / "elastic.png", arm("fixed", 100.0), arm("elastic", 100.0))
    load, fixed, elastic = seen[0].axes
    for held in areas(fixed):
        assert (held.values.tolist(), held.edges.tolist()) == ([8], [0, 100])
    held, ready, base = areas(elastic)
    assert held.edges.tolist() == ready.edges.tolist() == [0, 25, 50, 100]
    assert (held.values.tolist(), ready.values.tolist(), base.values.tolist()) == ([2, 6, 6], [2, 2, 6], [8])
    assert [patch.get_facecolor()[:3] for patch in elastic.patches[:2]] == [mixed(PALETTE[1], 0.35), to_rgb(PALETTE[1])]
    below, above = ((area.values * np.diff(area.edges)).sum() for area in areas(load))
    assert (below, above) == (pytest.approx(201), pytest.approx(401))


def test_stretches_that_miss_are_marked(tmp_path: Path, seen: list[Figure]) -> None:
    """Stretches of 10 s with 40 requests: 4 late ones from 50 s to 51 s, all that come from 20 s to 40 s, none else."""
    late, some = arm("late", 100.0, late=(0.2, 0.4)), arm("some", 100.0, late=(0.5, 0.51))
    plot(tmp_path / "elastic.png", late, some, slo={"ttft_ms": 1000.0}, worst_window_s=10.0)
    boxes = [
        [[path.get_extents() for path in band.get_paths()] for band in axes.collections] for axes in seen[0].axes[1:]
    ]
    spans = [[[(box.x0, box.x1) for box in band] for band in bands] for bands in boxes]
    nothing: list[tuple[float, float]] = []
    assert spans[0] == [[(0, 100)], nothing, nothing, [(20, 40)]]
    assert spans[1] == [[(0, 100)], nothing, [(50, 60)], nothing]


def test_a_band_is_white_and_misses_look_as_in_the_legend_whatever_the_arm(tmp_path: Path, seen: list[Figure]) -> None:
    """Of the third, fourth and fifth stretch of 40 requests the first arm misses 2 %, a tenth and all; the second all of the third."""
    some = arm("some", 100.0)
    late = [*range(80, 81), *range(120, 124), *range(160, 200)]
    some.rows.loc[late, "first_token_s"] += 9.0
    arms = [some, arm("all", 100.0, late=(0.2, 0.3))]
    plot(tmp_path / "elastic.png", *arms, slo={"ttft_ms": 1000.0}, worst_window_s=10.0)
    bands = [list(axes.collections) for axes in seen[0].axes[1:]]
    assert [facing(band) for band, *_ in bands] == [(1.0, 1.0, 1.0)] * 2
    drawn = [[facing(band) for band in own if len(band.get_paths())] for _, *own in bands]
    assert drawn == [[mixed(MISSES, share) for share in (0.3, 0.6, 1.0)], [to_rgb(MISSES)]]
    (legend,) = seen[0].legends
    assert set(drawn[0]) <= {to_rgb(sign.get_facecolor()) for sign in legend.get_patches()}
    assert to_rgb(MISSES) not in map(to_rgb, PALETTE)


def facing(band: Collection) -> tuple[float, float, float]:
    """Its colour."""
    red, green, blue, _ = np.asarray(band.get_facecolor(), np.float64)[0].tolist()
    return red, green, blue


@pytest.mark.parametrize(("number", "pixels"), [(2, 705), (8, 1650), (16, 1800)])
def test_many_arms_are_no_higher_than_a_page_and_all_of_them_have_room(
    number: int, pixels: int, tmp_path: Path, seen: list[Figure]
) -> None:
    plot(tmp_path / "elastic.png", *(arm(f"a{i}", 600.0) for i in range(number)), slo={"ttft_ms": 1000.0})
    assert seen[0].bbox.height == pytest.approx(pixels)
    boxes = [axes.get_window_extent() for axes in seen[0].axes]
    assert min(box.height for box in boxes) > 50
    titles = [next(text for text in axes.findobj(Text) if ":" in text.get_text()) for axes in seen[0].axes[1:]]
    assert all(title.get_window_extent().y1 < above.y0 for title, above in zip(titles, boxes[:-1], strict=True))


@pytest.mark.parametrize(("length_s", "unit"), [(60.0, "s"), (1800.0, "min"), (86_400.0, "h")])
def test_a_minute_and_a_day_have_their_units(length_s: float, unit: str, tmp_path: Path, seen: list[Figure]) -> None:
    plot(tmp_path / "elastic.png", arm("elastic", length_s), slo={"ttft_ms": 1000.0}, warmup_s=length_s / 10)
    assert seen[0].axes[-1].get_xlabel() == f"time ({unit}); shaded: measured"


def test_eight_arms_and_long_names_leave_room(tmp_path: Path, seen: list[Figure]) -> None:
    arms = [arm(f"{'long name ' * 9}{i}", 600.0, models=40) for i in range(8)]
    plot(tmp_path / "elastic.png", *arms, slo={"ttft_ms": 1000.0})
    assert all(axes.get_position().width > 0.6 for axes in seen[0].axes)
    assert [axes.get_title(loc="left").startswith("long name") for axes in seen[0].axes] == [False, *[True] * 8]
    assert all(text.get_window_extent().x1 <= seen[0].bbox.x1 for text in seen[0].findobj(Text))
    (legend,) = seen[0].legends
    assert legend.get_window_extent().x1 <= seen[0].bbox.x1
    of_models = seen[0].axes[0].get_legend()
    assert of_models
    assert of_models.get_texts()[0].get_text() == "37 others"


def test_a_run_draws_it_of_elastic_pools_alone(tmp_path: Path) -> None:
    fixed = arm("fixed", 60.0)
    draw(tmp_path, {"fixed": fixed.rows}, toy_summary(fixed), Artist())
    assert not (tmp_path / "elastic.png").exists()


def test_a_clock_that_begins_late_and_an_empty_window(tmp_path: Path, seen: list[Figure]) -> None:
    """A trace's first request comes when its clock says, and one request alone leaves nothing to be measured."""
    late = arm("elastic", 600.0)
    stamps = late.rows.select_dtypes("float64").columns
    rows = late.rows.copy()
    rows[stamps] += 50_000.0
    plot(tmp_path / "late.png", ArmResult(rows, late.workers, late.sizes), slo={"ttft_ms": 1.0}, warmup_s=50_060.0)
    assert seen[0].axes[-1].get_xlim() == pytest.approx((50_000 / 60, 50_600 / 60))
    plot(tmp_path / "one.png", ArmResult(pd.DataFrame(rows.head(1)), late.workers, late.sizes), slo={"ttft_ms": 1.0})
