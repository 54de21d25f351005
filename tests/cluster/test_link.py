"""KV transfers: who shares with whom, and when the last byte is there."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.cluster.events import Clock
from sunsim.cluster.link import KVLink
from sunsim.latency.transfer import steady_link
from tests.cluster.plain_link import PlainLink

GBIT_S = 8.0
PS_PER_BYTE = 1000  # at 8 Gbit/s


@dataclass(frozen=True)
class Move:
    """A transfer: when it starts, between whom, and how much it moves."""

    start_ps: int
    source: str
    target: str
    num_bytes: int


def ends(
    moves: list[Move], latency_ps: int = 0, kind: type[KVLink | PlainLink] = KVLink, env: Clock | None = None
) -> list[int]:
    """When each transfer is done."""
    env = env or Clock()
    link = kind(env, replace(steady_link(GBIT_S, 0), latency_ps=latency_ps))
    done: dict[int, int] = {}

    def finish(index: int) -> None:
        assert index not in done
        done[index] = env.now_ps

    for index, move in sorted(enumerate(moves), key=lambda item: item[1].start_ps):
        if move.start_ps > env.now_ps:
            env.run(until=move.start_ps)
        link.start(move.source, move.target, move.num_bytes, lambda index=index: finish(index))  # type: ignore[misc]
    env.run()
    return [done[index] for index in range(len(moves))]


def test_a_transfer_alone_has_the_whole_bandwidth() -> None:
    assert ends([Move(0, "p", "d", 100)]) == [100_000]


def test_latency_comes_before_the_first_byte() -> None:
    assert ends([Move(7, "p", "d", 100)], latency_ps=500) == [100_507]


def test_a_transfer_that_has_not_begun_takes_no_bandwidth() -> None:
    # The second begins when the first is half done: at 50,500, 50 bytes to go at half the pace.
    assert ends([Move(0, "p", "d1", 100), Move(50_000, "p", "d2", 100)], latency_ps=500) == [150_500, 200_500]


@pytest.mark.parametrize(
    ("one", "other"), [(("p", "d1"), ("p", "d2")), (("p1", "d"), ("p2", "d")), (("p", "d"), ("p", "d"))]
)
def test_two_that_share_an_end_get_half_each(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert ends([Move(0, *one, 100), Move(0, *other, 100)]) == [200_000, 200_000]


def test_transfers_without_a_common_end_do_not_slow_each_other() -> None:
    assert ends([Move(0, "p1", "d1", 100), Move(0, "p2", "d2", 100)]) == [100_000, 100_000]


def test_the_two_directions_of_a_worker_are_apart() -> None:
    assert ends([Move(0, "a", "b", 100), Move(0, "b", "a", 100)]) == [100_000, 100_000]


def test_one_that_starts_in_the_middle_slows_the_other_from_then_on() -> None:
    assert ends([Move(0, "p", "d1", 100), Move(50_000, "p", "d2", 100)]) == [150_000, 200_000]


def test_one_that_ends_frees_its_share() -> None:
    assert ends([Move(0, "p", "d1", 100), Move(0, "p", "d2", 50)]) == [150_000, 100_000]


def test_the_fuller_end_sets_the_pace() -> None:
    # Three at the source, two at the target: a third each until the first two are through at 300,000.
    moves = [Move(0, "p", "d", 100), Move(0, "p", "e", 100), Move(0, "p", "f", 200), Move(0, "q", "d", 200)]
    # q gets half of d until p has left it at 300,000 (150 bytes), then all of it.
    assert ends(moves) == [300_000, 300_000, 400_000, 350_000]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=8))
def test_a_busy_source_moves_all_bytes_at_its_bandwidth(sizes: list[int]) -> None:
    done = ends([Move(0, "p", f"d{i}", size) for i, size in enumerate(sizes)])
    total_ps = sum(sizes) * PS_PER_BYTE
    assert total_ps <= max(done) <= total_ps + len(sizes) ** 2  # each change of pace rounds up to a picosecond
    assert sorted(range(len(sizes)), key=lambda i: (done[i], sizes[i])) == sorted(
        range(len(sizes)), key=lambda i: sizes[i]
    )


moves = st.builds(Move, st.integers(0, 3 * 10**6), st.sampled_from("pqr"), st.sampled_from("def"), st.integers(1, 2000))


@given(st.lists(moves, min_size=1, max_size=12), st.sampled_from([0, 1, 40_000]))
@settings(deadline=None)
def test_no_end_is_ever_faster_than_its_bandwidth(drawn: list[Move], latency_ps: int) -> None:
    done = ends(drawn, latency_ps)
    for move, end in zip(drawn, done, strict=True):
        assert end >= move.start_ps + latency_ps + move.num_bytes * PS_PER_BYTE
    for name in "pqrdef":
        mine = [(move, end) for move, end in zip(drawn, done, strict=True) if name in (move.source, move.target)]
        for opening in {move.start_ps for move, _ in mine}:
            for close in {end for _, end in mine}:
                within = [move for move, end in mine if move.start_ps >= opening and end <= close]
                moved_ps = sum(move.num_bytes for move in within) * PS_PER_BYTE
                assert not within or moved_ps <= close - opening - latency_ps + 1


@given(st.lists(moves, min_size=1, max_size=12))
@settings(deadline=None)
def test_a_transfer_is_no_slower_than_if_every_other_shared_its_ends(drawn: list[Move]) -> None:
    total_ps = sum(move.num_bytes for move in drawn) * PS_PER_BYTE
    for move, end in zip(drawn, ends(drawn), strict=True):
        assert end <= move.start_ps + len(drawn) * move.num_bytes * PS_PER_BYTE + len(drawn) ** 2
        assert end <= max(other.start_ps for other in drawn) + 2 * total_ps + len(drawn) ** 2


@given(st.lists(moves, min_size=1, max_size=40), st.sampled_from([0, 1, 40_000]))
@settings(deadline=None)
def test_looking_at_the_next_to_end_is_as_good_as_looking_at_all(drawn: list[Move], latency_ps: int) -> None:
    both = zip(ends(drawn, latency_ps), ends(drawn, latency_ps, PlainLink), strict=True)
    # Two of one pair whose ends are less than a millionth of a picosecond apart may come in either order.
    assert all(abs(end - plain) <= 1 for end, plain in both)


def test_a_long_queue_on_a_link_ends_to_the_picosecond_as_one_by_one() -> None:
    rng = random.Random(1)
    drawn = [
        Move(rng.randrange(10**9), rng.choice("pq"), rng.choice("de"), 131_072 * rng.randint(1, 900))
        for _ in range(700)
    ]
    assert ends(drawn) == ends(drawn, kind=PlainLink)


def test_work_does_not_grow_with_the_transfers_that_are_under_way() -> None:
    def alarms(number: int) -> int:
        env = Clock()
        ends([Move(i, "pq"[i % 2], "de"[i // 2 % 2], 1000 + i) for i in range(number)], env=env)
        return next(env.tickets)

    assert alarms(4000) < 5 * alarms(1000)
