"""Sessions for tests: rounds of one text, and the requests that they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sunsim.cluster.simulation import as_they_are, simulate_arm
from sunsim.records import ArmResult
from sunsim.scenario import Scenario
from sunsim.workload.requests import Requests
from sunsim.workload.sessions import UNKNOWN, Segments, Sessions
from tests.cluster.texts import Texts
from tests.cluster.worlds import TimesOn


class Round(NamedTuple):
    """One round: the index of its model, its new tokens, its output tokens, and the time before it in picoseconds."""

    model: int
    new: int
    output: int
    think_ps: int = 0


class Talk(NamedTuple):
    """A session that begins at a moment in picoseconds."""

    arrival_ps: int
    rounds: Sequence[Round]


def int32(column: list[int]) -> NDArray[np.int32]:
    return np.array(column, dtype=np.int32)


def int64(column: list[int]) -> NDArray[np.int64]:
    return np.array(column, dtype=np.int64)


def requests_of(models: tuple[str, ...], talks: Sequence[Talk], system: int = 0) -> Requests:
    """The rounds of talks, which are in order of arrival; all texts begin with the same `system` tokens."""
    texts = Texts()
    root = texts.add(UNKNOWN, system) if system else UNKNOWN
    columns: list[list[int]] = [[] for _ in range(5)]
    arrival, session, number, previous, prompts = columns
    for which, talk in enumerate(talks):
        after = root
        for i, each in enumerate(talk.rounds):
            previous.append(len(prompts) - 1 if i else UNKNOWN)
            prompts.append(texts.ask(after, each.new, each.output))
            after = texts.answer[-1]
            arrival.append(0 if i else talk.arrival_ps)
            session.append(which)
            number.append(i)
    rounds = [each for talk in talks for each in talk.rounds]
    return Requests(
        int64(arrival),
        int32([each.model for each in rounds]),
        int32(prompts),
        int32([each.output for each in rounds]),
        models,
        sessions=Sessions(
            session=int32(session),
            round=int32(number),
            previous=int32(previous),
            think_ps=int64([each.think_ps for each in rounds]),
            prompt=int32(texts.prompt),
            answer=int32(texts.answer),
            segments=Segments(int32(texts.parent), int64(texts.end)),
        ),
    )


def serve_talks(world: Scenario, talks: Sequence[Talk], times_on: TimesOn = as_they_are, system: int = 0) -> ArmResult:
    """Simulates the only arm of `world` over talks."""
    requests = requests_of(world.model_names, talks, system)
    return simulate_arm(world, world.arms[0], requests, times_on=times_on)
