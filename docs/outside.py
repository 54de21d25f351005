"""What others have measured, beside its simulation: the table and its sums, for ``python -m docs.refresh outside``.

Nothing of it has had any influence on the model. Where the measurements are from, and under which licence, is said
beside them (`POINTS`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import sunsim
from docs.fidelity_tables import WIDTH
from sunsim.clock import PS_PER_MS, to_ps
from sunsim.cluster.engine import Engine
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.pool import Pool
from sunsim.latency.profile import profiles_root
from sunsim.report.blocks import Block
from sunsim.report.format import ABSENT, count, number, percent, together
from sunsim.report.terminal import plain
from sunsim.report.text_table import TextTable
from sunsim.result import Result
from sunsim.scenario import Scenario

Ints = NDArray[np.int64]

POINTS = profiles_root() / "h100-80gb" / "outside" / "qwen3-8b-bf16.csv"
PROFILE = "h100-80gb/qwen3-8b-bf16"

CACHE_TOKENS = 377_024
"""That the server's KV cache holds, as it said."""
BLOCK_TOKENS = 16
SERVER = {
    "max_model_len": 16_384,
    "num_gpu_blocks": CACHE_TOKENS // BLOCK_TOKENS,
    # Not given to the server, so vLLM's own for `vllm serve` on a card of 70 GiB or more that is no A100
    # (`EngineArgs.get_batch_defaults`).
    "max_num_seqs": 1024,
    "max_num_batched_tokens": 8192,
}
REPEATS = 3
"""Runs of a point, each with a seed of its own, the same ones at every point."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run: output tokens per second, drain included; the median of all gaps between tokens; the slow TTFT."""

    output_throughput: float
    itl_median_ms: float
    ttft_p95_ms: float


HEADERS = {"output_throughput": "output\ntok/s", "itl_median_ms": "ITL median\nms", "ttft_p95_ms": "TTFT p95\nms"}
"""Of `Figures`, which are named as in the file."""
COUNTS = ("input_len", "output_len", "concurrency", "num_prompts")


@dataclass(frozen=True, slots=True)
class Point:
    """So many requests of one length, so many at a time, and what came out."""

    workload: str
    input_len: int
    output_len: int
    concurrency: int
    num_prompts: int
    actual: Figures

    @property
    def repeated_tokens(self) -> int:
        """KV of all that was sent, by all runs of the point."""
        return REPEATS * self.num_prompts * (self.input_len + self.output_len)


@dataclass(frozen=True, slots=True)
class Compared:
    """A point and its simulation.

    Attributes:
        known: the share of prompts whose KV the server may have had from before.
        outside: of the simulated steps, the share outside the profile's measured range.
        reason: what took most of them out, as `sunsim.latency.steps.Outside`; empty if nothing did.
    """

    point: Point
    simulated: Figures
    known: float
    outside: float
    reason: str

    def error_percent(self, figure: str) -> float:
        """Simulated against actual."""
        actual, simulated = (float(getattr(each, figure)) for each in (self.point.actual, self.simulated))
        return (simulated / actual - 1) * 100


def read_points(path: Path = POINTS) -> list[Point]:
    """The measurements, in their order."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return [_point(row) for row in rows]


def _point(row: dict[str, str]) -> Point:
    input_len, output_len, concurrency, num_prompts = (int(row[name]) for name in COUNTS)
    actual = Figures(*(float(row[name]) for name in HEADERS))
    return Point(row["workload"], input_len, output_len, concurrency, num_prompts, actual)


def known_share(point: Point, before: Point | None) -> float:
    """The share of a point's prompts that the point before had sent too, and whose KV may still have been there.

    `vllm bench serve` draws the same first prompts for one seed, however many are asked for, and vLLM keeps their KV
    (prefix caching) while its cache has room. Where the point before filled it, none is counted.
    """
    if before is None or before.workload != point.workload or before.repeated_tokens > CACHE_TOKENS:
        return 0.0
    return min(1.0, before.num_prompts / point.num_prompts)


def compare(points: Sequence[Point]) -> list[Compared]:
    """Simulates each point, in the order in which they were measured."""
    befores = [None, *points[:-1]]
    return [_compare(point, known_share(point, before)) for point, before in zip(points, befores, strict=True)]


def _compare(point: Point, known: float) -> Compared:
    result, moments_ps = stepped(scenario_of(point))
    rows, (arm,) = result.requests, result.summary["arms"].values()
    ttft_ms = (rows["first_token_s"] - rows["arrival_s"]) * 1000
    figures = (arm["output_throughput"], median_itl_ms(rows, moments_ps), float(np.percentile(ttft_ms, 95)))
    reasons = arm["outside_measured"]["decode"]
    reason = max(reasons, key=reasons.get, default="")
    return Compared(point, Figures(*figures), known, arm["outside_measured_share"]["decode"], reason)


def scenario_of(point: Point, profile: str = PROFILE) -> Scenario:
    """One colocated worker with the server's options and all requests of one length, the first of them at once.

    Args:
        profile: of the worker, by name or file.
    """
    worker = {"profile": profile, "policy": "isolated", "workers": 1, **SERVER}
    document = {
        "name": point.workload,
        "models": {"count": 1},
        "workload": {
            "kind": "synthetic",
            "requests": point.num_prompts,
            "arrivals": {"kind": "closed", "concurrency": point.concurrency},
            "lengths": {"kind": "fixed", "prompt_tokens": point.input_len, "output_tokens": point.output_len},
        },
        "arms": [{"name": "server", "colocated": worker}],
    }
    return sunsim.load(document)


def stepped(scenario: Scenario) -> tuple[Result, Ints]:
    """A result, and the moments in picoseconds at which its one worker decided, in rising order.

    While a request runs these are the moments at which a step was out.

    Results hold a request's first and last token only, since an engine leaps over steps in which nothing is decided.
    """
    moments_ps: list[int] = []

    class Stepping(Engine):
        """Wakes at every step, and notes when."""

        def next_wake(self) -> int | None:
            return None if super().next_wake() is None else self.due_ps

        def wake(self, now_ps: int) -> Outcome:
            moments_ps.append(now_ps)
            return super().wake(now_ps)

    with mock.patch.object(Pool, "engine", Stepping):
        result = sunsim.simulate(scenario)
    return result, np.unique(moments_ps)


def median_itl_ms(rows: pd.DataFrame, moments_ps: Ints) -> float:
    """The median of all gaps between a request's tokens, as they come out of the engine.

    A running request has a token in each step, so its gaps are those between one worker's steps from its first token on.
    Preempted requests, whose gaps are not known, are left out.

    Args:
        rows: requests of one worker.
        moments_ps: int[steps], when each of its steps was out, in rising order.
    """
    rows = rows[(rows["preemptions"] == 0) & (rows["output_tokens"] > 1)]
    first = np.searchsorted(moments_ps, to_ps(rows["decode_first_token_s"].to_numpy()))
    size = len(moments_ps)
    begun = np.bincount(first, minlength=size) - np.bincount(first + rows["output_tokens"] - 1, minlength=size)
    gaps_ps, times = np.diff(moments_ps), np.cumsum(begun)[:-1]
    order = np.argsort(gaps_ps)
    so_far = np.cumsum(times[order])
    return float(gaps_ps[order][np.searchsorted(so_far, so_far[-1] / 2)]) / PS_PER_MS


def outside_text(compared: Sequence[Compared]) -> str:
    """Every point, and how far off the points of a kind are."""
    return plain([*_outside(compared)], WIDTH)


def _outside(compared: Sequence[Compared]) -> Iterator[Block]:
    yield (
        "Errors are simulated against actual, in %. Known: the share of prompts that had been sent before and whose KV "
        "the server may have had. Outside: the share of simulated steps outside the profile's measured range, and what "
        "of them mostly is."
    )
    headers = ["at a\ntime", "requests"]
    for header in HEADERS.values():
        headers += [f"{header}\nactual", "simu-\nlated", "%"]
    rows: list[tuple[str, ...]] = []
    for workload, of_workload in together((each.point.workload, each) for each in compared).items():
        rows += [(workload,), *map(_row, of_workload)]
    yield TextTable("", (*headers, "known", "outside", ""), rows)
    yield _sums(compared)


def _row(each: Compared) -> tuple[str, ...]:
    point = each.point
    cells = [count(point.concurrency), count(point.num_prompts)]
    for figure in HEADERS:
        cells += [number(getattr(point.actual, figure)), number(getattr(each.simulated, figure))]
        cells.append(f"{each.error_percent(figure):+.1f}")
    return (*cells, percent(each.known) if each.known else ABSENT, percent(each.outside), each.reason)


def _sums(compared: Sequence[Compared]) -> TextTable:
    """Mean errors, by workload and by what is known of the points."""
    rows: list[tuple[str, ...]] = []
    for workload, of_workload in together((each.point.workload, each) for each in compared).items():
        rows.append(_sum(workload, of_workload))
    unmeasured = [each for each in compared if each.reason == "batch"]
    known = [each for each in compared if each.known]
    rest = [each for each in compared if each not in unmeasured and each not in known]
    kinds = {"batches larger than measured": unmeasured, "prompts known": known, "neither": rest, "all": compared}
    rows += [_sum(kind, those) for kind, those in kinds.items() if those]
    titles = tuple(header.split("\n")[0] for header in HEADERS.values())
    return TextTable("Mean size of the errors, %", ("", "points", *titles), rows)


def _sum(name: str, those: Sequence[Compared]) -> tuple[str, ...]:
    sizes = (float(np.mean([abs(each.error_percent(figure)) for each in those])) for figure in HEADERS)
    return (name, count(len(those)), *(f"{size:.1f}" for size in sizes))


def outside() -> dict[str, str]:
    """The block of the page."""
    return {"outside": outside_text(compare(read_points()))}
