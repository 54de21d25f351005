"""Which worker each router picks, on loads made by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

import pytest

from sunsim.cluster.router import Asked, PowerOfTwoChoices, Router, make_router
from sunsim.workload.streams import stream

KINDS = ["round-robin", "random", "least-requests", "least-tokens", "power-of-two-choices"]


@dataclass
class Worker:
    """A load."""

    num_requests: int = 0
    num_tokens: int = 0
    promised_tokens: int = 0


def router(kind: str, seed: int = 1, name: str = "router/decode/*") -> Router:
    return make_router(kind, partial(stream, seed, name))


def picks(made: Router, workers: list[Worker], times: int) -> list[int]:
    return [made.pick(workers) for _ in range(times)]


def test_round_robin_takes_each_in_turn_whatever_the_load() -> None:
    assert picks(router("round-robin"), [Worker(9, 9), Worker(), Worker(5)], 7) == [0, 1, 2, 0, 1, 2, 0]


def test_least_requests_looks_at_requests_only() -> None:
    assert router("least-requests").pick([Worker(3, 1), Worker(2, 900), Worker(4, 0)]) == 1


def test_least_tokens_looks_at_tokens_only() -> None:
    assert router("least-tokens").pick([Worker(1, 500), Worker(9, 400), Worker(2, 600)]) == 1


@pytest.mark.parametrize("kind", ["least-requests", "least-tokens"])
def test_ties_rotate(kind: str) -> None:
    assert picks(router(kind), [Worker() for _ in range(3)], 7) == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("kind", ["least-requests", "least-tokens"])
def test_ties_rotate_among_the_least_loaded_alone(kind: str) -> None:
    workers = [Worker(1, 1), Worker(7, 7), Worker(1, 1), Worker(1, 1)]
    assert picks(router(kind), workers, 6) == [0, 2, 3, 0, 2, 3]


@pytest.mark.parametrize("kind", ["least-requests", "least-tokens"])
def test_the_least_loaded_gets_the_next_as_loads_change(kind: str) -> None:
    workers, made = [Worker() for _ in range(4)], router(kind)
    for _ in range(40):
        chosen = workers[made.pick(workers)]
        chosen.num_requests += 1
        chosen.num_tokens += 10
    assert {worker.num_requests for worker in workers} == {10}


def test_power_of_two_picks_the_lesser_of_two() -> None:
    counts = Counter(picks(router("power-of-two-choices"), [Worker(3), Worker(1), Worker(2)], 3000))
    # Pairs are equally likely: the least loaded wins two of three, the second one, the most loaded none.
    assert counts[0] == 0
    assert counts[1] == pytest.approx(2000, abs=100)
    assert counts[2] == pytest.approx(1000, abs=100)


def test_power_of_two_compares_requests_and_favours_none_among_equals() -> None:
    counts = Counter(picks(router("power-of-two-choices"), [Worker(2, 9), Worker(2, 1), Worker(2, 5)], 3000))
    assert all(counts[i] == pytest.approx(1000, abs=100) for i in range(3))


def test_power_of_two_never_draws_the_same_worker_twice() -> None:
    made = PowerOfTwoChoices(stream(3, "draws"))
    assert set(picks(made, [Worker(1), Worker(0)], 200)) == {1}


def test_random_picks_all_equally_whatever_the_load() -> None:
    counts = Counter(picks(router("random"), [Worker(100), Worker(), Worker(3), Worker()], 4000))
    assert all(counts[i] == pytest.approx(1000, abs=110) for i in range(4))


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_worker_gets_everything(kind: str) -> None:
    assert picks(router(kind), [Worker(5, 5)], 5) == [0] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_picks_repeat_with_the_same_stream(kind: str) -> None:
    workers = [Worker() for _ in range(5)]
    assert picks(router(kind), workers, 50) == picks(router(kind), workers, 50)


@pytest.mark.parametrize("kind", ["random", "power-of-two-choices"])
def test_another_seed_or_pool_draws_otherwise(kind: str) -> None:
    workers = [Worker() for _ in range(5)]
    drawn = [picks(made, workers, 50) for made in (router(kind), router(kind, 2), router(kind, 1, "router/prefill/*"))]
    assert drawn[0] != drawn[1]
    assert drawn[0] != drawn[2]


def asked(session: int, *cached: int) -> Asked:
    return Asked(session, lambda index: cached[index])


def test_a_session_stays_where_it_began() -> None:
    workers, made = [Worker(3), Worker(1), Worker(2)], make_router("session-affinity", partial(stream, 1, "-"))
    assert made.pick(workers, asked(7)) == 1
    workers[1].num_requests = 99
    made.eased(1, workers[1])
    assert made.pick(workers, asked(8)) == 2
    assert made.pick(workers, asked(7)) == 1
    assert made.pick(workers) in (0, 2)


def affine(max_imbalance: int) -> Router:
    return make_router("prefix-affinity", partial(stream, 1, "-"), max_imbalance)


def test_the_longest_prefix_is_chosen_among_workers_that_are_not_much_more_loaded() -> None:
    workers = [Worker(5), Worker(3), Worker(2)]
    assert affine(3).pick(workers, asked(0, 64, 32, 0)) == 0
    assert affine(2).pick(workers, asked(0, 64, 32, 0)) == 1
    assert affine(0).pick(workers, asked(0, 64, 32, 0)) == 2


def test_among_equal_prefixes_the_least_loaded_then_in_turn() -> None:
    assert affine(9).pick([Worker(5), Worker(3), Worker(2)], asked(0, 32, 32, 16)) == 1
    made = affine(9)
    assert [made.pick([Worker() for _ in range(3)], asked(0, 16, 0, 16)) for _ in range(4)] == [0, 2, 0, 2]
    assert picks(affine(9), [Worker(1), Worker(), Worker()], 4) == [1, 2, 1, 2]
