"""PrefillShare's shape: what is found in caches, latency and output by the number of sessions.

``python -m benchmarks.sessions.prefillshare [FIGURE.png] [--profile NAME]`` serves the sessions of
``scenarios/prefillshare.yaml`` with its arms, but so many at a time, and prints tables. A profile replaces the scenario's.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.on_all_cores import simulate_all
from benchmarks.show import show
from plots.prefillshare import plot_prefillshare
from sunsim.clock import to_ps
from sunsim.cluster.simulation import simulate_arm
from sunsim.report.text_table import TextTable
from sunsim.roles import Module
from sunsim.scenario import Arm, Scenario, build_requests, load_scenario
from sunsim.scenario.blocks import StopAtTime
from sunsim.workload.blocks import Constant, Conversations, FixedTokens
from sunsim.workload.requests import COLUMNS, Requests
from sunsim.workload.sessions import COLUMNS as SESSION_COLUMNS
from sunsim.workload.sessions import UNKNOWN

SCENARIO = Path(__file__).parents[2] / "scenarios" / "prefillshare.yaml"
SESSIONS = (16, 32, 64, 96, 128, 160, 192, 256, 384, 512, 640)
"""At a time."""
EACH = 5
"""Sessions of a client, more than it comes to."""
WARM_UP_S, END_S = 40.0, 90.0
"""Requests that end in between are counted; then all is stopped."""
RAMP_S = 10.0
"""In which the clients begin, one after the other."""
BASELINE, GAINING = "own-pools", ("prefillshare", "both-shared")
NOTE = (
    "Four models take turns on one context; {gpus} GPUs of {profile}; {rounds} rounds a session, {prompt:,.0f} prompt tokens "
    "in the mean, of which {shared:,} are the same in all sessions. So many sessions at a time; when one ends the next begins."
)
KNEE_NOTE = (
    "Closed: sessions whose contexts fill the KV blocks of all prefill workers, each context held by every model's worker "
    "(own) or by one (shared); before: the share that is found if everything said before stays; after: if only what all "
    "sessions share does. Simulated: sessions at which the found share is midway between those two, on a line between the "
    "numbers tried. Published (2602.12029, A100, setting not known): ~89 % found, the baseline's falling beyond ~40 sessions; "
    "p95 latency up to 3.9x lower, throughput up to 3.6x."
)


class Point(NamedTuple):
    """What an arm does with so many sessions at a time.

    Attributes:
        cached_share: of prompt tokens, found by the worker that computed the prompt.
        p95_s: from a request's arrival to its last token.
        output_tokens_s: that came out a second.
        outside: share of all steps that are beyond what the profile measured.
    """

    sessions: int
    arm: str
    cached_share: float
    p95_s: float
    output_tokens_s: float
    outside: float


class Knee(NamedTuple):
    """Where an arm's prefill caches no longer hold what its sessions come back to: closed form.

    Attributes:
        before, after: share of prompt tokens that is found when all is held, and when only what all sessions share is.
        sessions: at which the caches are full.
    """

    before: float
    after: float
    sessions: float


def closed_loop(requests: Requests, clients: int) -> Requests:
    """Sessions one after the other, so many at a time; client k of n begins k/n of the way through its first session.

    Args:
        requests: of sessions that all have the same number of rounds, as many for each client.
    """
    sessions = requests.sessions
    assert sessions
    rounds = int(sessions.round.max()) + 1
    client = (sessions.session % clients).astype(np.int64)
    turn = sessions.round + rounds * (sessions.session // clients) - rounds * client // clients
    kept = np.flatnonzero(turn >= 0)
    client, turn = client[kept], turn[kept]
    order = np.lexsort((turn, client))
    previous = np.full(kept.size, UNKNOWN, np.int32)
    previous[order[1:]] = order[:-1]
    previous[turn == 0] = UNKNOWN
    columns = {name: getattr(requests, name)[kept] for name in COLUMNS}
    columns["arrival_ps"] = np.where(turn == 0, to_ps(RAMP_S * client / clients), 0)
    of_sessions = {name: getattr(sessions, name)[kept] for name in SESSION_COLUMNS} | {"previous": previous}
    return Requests(**columns, models=requests.models, sessions=replace(sessions, **of_sessions))


@cache
def _scenario(profile: str | None) -> Scenario:
    found = load_scenario(SCENARIO)
    if profile:
        pools = [f"arms.{arm.name}.{stage}" for arm in found.arms for stage in arm.pools()]
        found = load_scenario(SCENARIO, [f"{pool}.profile={profile}" for pool in pools])
    return found.changed(stop=StopAtTime(limit_s=END_S))


def drawn(scenario: Scenario, sessions: int) -> Requests:
    """So many of its sessions."""
    workload = scenario.workload
    assert isinstance(workload, Conversations)
    arrivals = Constant(rate_rps=sessions / workload.duration_s)
    return build_requests(scenario.changed(workload=workload.model_copy(update={"arrivals": arrivals})))


def measured(task: tuple[int, int, str | None]) -> Point:
    """Simulates an arm of the scenario: so many sessions at a time, which arm, and with which profile."""
    sessions, number, profile = task
    scenario = _scenario(profile)
    arm = scenario.arms[number]
    requests = closed_loop(drawn(scenario, EACH * sessions), sessions)
    result = simulate_arm(scenario, arm, requests)
    outside = sum(sum(worker.outside_measured.values()) for worker in result.workers)
    return Point(sessions, arm.name, *figures(result.rows), outside / sum(worker.steps for worker in result.workers))


def figures(rows: pd.DataFrame) -> tuple[float, float, float]:
    """`Point`'s first three, of the requests that end while it is measured."""
    ended = rows[rows["last_token_s"].between(WARM_UP_S, END_S)]
    latency_s = ended["last_token_s"] - ended["arrival_s"]
    cached_share = ended["cached_tokens"].sum() / ended["prompt_tokens"].sum()
    return cached_share, float(latency_s.quantile(0.95)), ended["output_tokens"].sum() / (END_S - WARM_UP_S)


def knee(scenario: Scenario, arm: Arm) -> Knee:
    """Closed form, of sessions of one length in which the models take turns; answers are computed again by prefill."""
    workload, prefill = scenario.workload, arm.prefill
    assert isinstance(workload, Conversations)
    assert isinstance(workload.user, FixedTokens)
    assert isinstance(workload.output, FixedTokens)
    assert prefill
    block, shared = prefill.profile.block_size, workload.system_prompt_tokens
    round_ = np.arange(workload.rounds.max or 1)
    prompt = shared + workload.user.tokens * (round_ + 1) + workload.output.tokens * round_
    copies = 1 if prefill.module is Module.SHARED else len(scenario.model_names)
    found = np.where(round_ < copies, shared, prompt[round_ - copies]) // block * block
    room = sum(prefill.roles.values()) * prefill.num_gpu_blocks * block
    # What all sessions share is held once by each worker.
    own = room - sum(prefill.roles.values()) * shared
    return Knee(
        float(found.sum() / prompt.sum()),
        float(shared // block * block / prompt.mean()),
        float(own / (copies * (prompt.mean() - shared))),
    )


def crossing(points: Sequence[Point], share: float) -> float | None:
    """Sessions at which the found share falls to `share`, on a line between points; None if it does not."""
    for above, below in pairwise(points):
        if above.cached_share > share >= below.cached_share:
            part = (above.cached_share - share) / (above.cached_share - below.cached_share)
            return above.sessions + part * (below.sessions - above.sessions)
    return None


def tables(scenario: Scenario, points: Sequence[Point]) -> Iterator[str | TextTable]:
    """A table a figure, and one of where caches are full."""
    by_arm = {arm.name: [point for point in points if point.arm == arm.name] for arm in scenario.arms}
    yield _setting(scenario)
    shown: dict[str, Callable[[Point], str]] = {
        "Prompt tokens found in the prefill worker's cache, %": lambda point: f"{100 * point.cached_share:.1f}",
        "p95 from arrival to last token, s": lambda point: f"{point.p95_s:.2f}",
        "Output tokens a second": lambda point: f"{point.output_tokens_s:,.0f}",
    }
    for title, cell in shown.items():
        lines = zip(*by_arm.values(), strict=True)
        yield TextTable(title, ("sessions", *by_arm), [(str(line[0].sessions), *map(cell, line)) for line in lines])
    yield KNEE_NOTE
    headers = ("arm", "found before,\nclosed, %", "found after,\nclosed, %", "full at,\nclosed", "simulated")
    yield TextTable("", headers, [_knee_row(knee(scenario, arm), arm.name, by_arm[arm.name]) for arm in scenario.arms])
    yield from _gains(by_arm)
    most = 100 * max(point.outside for point in points)
    yield f"At most {most:.1f} % of an arm's steps are beyond what the profile measured."


def _setting(scenario: Scenario) -> str:
    requests = drawn(scenario, 1)
    workload, prefill = scenario.workload, scenario.arms[0].prefill
    assert isinstance(workload, Conversations)
    assert prefill
    return NOTE.format(
        gpus=scenario.arms[0].gpus,
        profile=prefill.profile_name,
        rounds=len(requests),
        prompt=requests.prompt_tokens.mean(),
        shared=workload.system_prompt_tokens,
    )


def _knee_row(closed: Knee, arm: str, points: Sequence[Point]) -> tuple[str, ...]:
    found = crossing(points, (closed.before + closed.after) / 2)
    shares = (f"{100 * closed.before:.1f}", f"{100 * closed.after:.1f}")
    return (arm, *shares, f"{closed.sessions:.0f}", f"above {SESSIONS[-1]}" if found is None else f"{found:.0f}")


def _gains(by_arm: Mapping[str, Sequence[Point]]) -> Iterator[str]:
    for name in GAINING:
        pairs = list(zip(by_arm[BASELINE], by_arm[name], strict=True))
        latency, at = max((base.p95_s / point.p95_s, base.sessions) for base, point in pairs)
        output, output_at = max((point.output_tokens_s / base.output_tokens_s, base.sessions) for base, point in pairs)
        yield (
            f"Most that {name} gains over {BASELINE}: {latency:.1f}x lower p95 ({at} sessions), {output:.1f}x output "
            f"({output_at} sessions)."
        )


def main() -> None:
    """Prints the tables; draws the figure if a file is named."""
    parser = ArgumentParser()
    parser.add_argument("figure", type=Path, nargs="?")
    parser.add_argument("--profile")
    given = parser.parse_args()
    scenario = _scenario(given.profile)
    arms = range(len(scenario.arms))
    tasks = [(sessions, number, given.profile) for sessions in reversed(SESSIONS) for number in arms]
    points = sorted(simulate_all(tasks, measured).values())
    if given.figure:
        full_at = {arm.name: knee(scenario, arm).sessions for arm in scenario.arms}
        plot_prefillshare(pd.DataFrame(points), full_at, given.figure)
    show(tables(scenario, points))


if __name__ == "__main__":
    main()
