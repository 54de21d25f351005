"""What the plans of a worker's decodes add up to, step by step."""

import numpy as np

from sunsim.cluster.drafting.plan import Ints, Plan

CAPACITY = 1024


class Timeline:
    """By the number of the step: how much the context of all grows in it, and how many KV blocks they take in it."""

    __slots__ = ("_grows", "_origin", "_takes")

    def __init__(self) -> None:
        self._origin = 0  # the step that the arrays begin with
        self._grows: Ints = np.zeros(CAPACITY, np.int64)
        self._takes: Ints = np.zeros(CAPACITY, np.int64)

    def add(self, plan: Plan, now: int) -> None:
        """Adds a plan; nobody asks for steps before `now` any more."""
        if plan.gone + 2 - self._origin > self._grows.size:
            begin, size = now - self._origin, max(CAPACITY, 2 * (plan.gone + 2 - now))
            self._grows = _from(self._grows, begin, size)
            self._takes = _from(self._takes, begin, size)
            self._origin = now
        i = plan.first - self._origin
        self._grows[i : i + plan.bursts.size] += plan.bursts
        self._takes[i : i + plan.more.size] += plan.more

    def remove(self, plan: Plan, step: int) -> None:
        """Nothing of a plan happens from `step` on."""
        i, done = step - self._origin, step - plan.first
        bursts, more = plan.bursts[done:], plan.more[done:]
        self._grows[i : i + bursts.size] -= bursts
        self._takes[i : i + more.size] -= more

    def growth(self, begin: int, end: int) -> int:
        """Tokens by which the context grows in the steps from `begin` until before `end`."""
        i, j = begin - self._origin, end - self._origin
        return int(self._grows[i] if j == i + 1 else np.add.reduce(self._grows[i:j]))

    def grows(self, begin: int, end: int) -> Ints:
        """Tokens by which the context grows in each of these steps; int64[end - begin]."""
        return self._grows[begin - self._origin : end - self._origin]

    def takes(self, step: int, n: int) -> Ints:
        """KV blocks that are taken at each of the `n` steps from `step` on; int64[n]."""
        i = step - self._origin
        return self._takes[i : i + n]


def _from(old: Ints, begin: int, size: int) -> Ints:
    """What was there from `begin` on, and then zeros."""
    new = np.zeros(size, np.int64)
    rest = old[begin:]
    new[: rest.size] = rest
    return new
