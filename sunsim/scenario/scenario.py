"""A loaded scenario: what its document says, with every name looked up. All of sunsim works with this."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sunsim.latency.attention import LengthMix
from sunsim.latency.profile import Profile, find_profile
from sunsim.latency.transfer import LinkTimes, MeasuredTransfers, load_transfers, measured_link, steady_link
from sunsim.scenario.arms import Arm, resolve_arm
from sunsim.scenario.blocks import (
    Document,
    Measure,
    Planning,
    StopAtTime,
    StopWhenFinished,
    Sweep,
    Transfer,
)
from sunsim.scenario.slo import Slo
from sunsim.workload.blocks import Conversations, Synthetic, Trace
from sunsim.workload.conversations import session_mix, turn_shares
from sunsim.workload.lengths import length_mix
from sunsim.workload.traces.select import Selection
from sunsim.workload.traces.use import TokenLimit, trace_of

LOOKED_UP = ("arms", "transfers", "link", "limits", "trace", "mix")
APART = {"name", "seed", "slo", "measure", "stop", "first_token", "sweep", "plan"}
"""Blocks on which none of these rests."""


@dataclass(frozen=True)
class Scenario:
    """What is simulated: a completed document, and what its names stand for, each looked up once.

    That happens when it is first asked for, so that a file that has gone is the fault of whoever needs it. A scenario
    goes to other processes as its document, and two of the same document are equal.
    """

    document: Document

    def __reduce__(self) -> tuple[type[Scenario], tuple[Document]]:
        return Scenario, (self.document,)

    @property
    def name(self) -> str:
        return self.document.name

    @property
    def seed(self) -> int:
        return self.document.seed

    @cached_property
    def model_names(self) -> tuple[str, ...]:
        """In the order of the file; a request's model index points into it."""
        return self.document.model_names

    @cached_property
    def model_shares(self) -> tuple[float, ...]:
        """Expected share of the requests of each model; they add up to 1."""
        return self.document.model_shares

    @cached_property
    def served_shares(self) -> tuple[float, ...]:
        """Share of the requests of each model: those that a trace names, else as expected."""
        if isinstance(self.workload, Conversations):
            return turn_shares(self.workload, self.model_shares)
        if self.trace is None or self.trace.rows.model is None:
            return self.model_shares
        counts = np.bincount(self.trace.rows.model, minlength=len(self.model_names))
        return tuple((counts / counts.sum()).tolist())

    @property
    def workload(self) -> Synthetic | Conversations | Trace:
        return self.document.workload

    @property
    def slo(self) -> Slo:
        return self.document.slo

    @property
    def measure(self) -> Measure:
        return self.document.measure

    @property
    def stop(self) -> StopWhenFinished | StopAtTime:
        return self.document.stop

    @property
    def transfer(self) -> Transfer:
        """The link as the document states it."""
        return self.document.transfer

    @property
    def first_token(self) -> Literal["decode", "prefill"]:
        """The stage that emits a request's first token, of an arm with both."""
        return self.document.first_token

    @property
    def sweep(self) -> Sweep | None:
        return self.document.sweep

    @property
    def plan(self) -> Planning | None:
        return self.document.plan

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The ways to serve the requests, with their profiles."""
        return tuple(
            resolve_arm(block, self.model_names, lambda: self.served_shares, lambda: self.mix)
            for block in self.document.arms
        )

    @cached_property
    def transfers(self) -> MeasuredTransfers | None:
        """The measured link; None where the document states a bandwidth and a latency."""
        measured = self.transfer.measured
        return load_transfers(find_profile(measured, Path())) if measured else None

    @cached_property
    def link(self) -> LinkTimes:
        """How long moving KV takes."""
        stated, found = self.transfer, self.transfers
        return measured_link(found.data) if found else steady_link(stated.bandwidth_gbit_s, stated.latency_ms)

    @cached_property
    def limits(self) -> tuple[TokenLimit, ...]:
        """On a request's tokens, of every pool, in the order of the file."""
        pools = [(f"arms.{arm.name}.{stage}", pool) for arm in self.arms for stage, pool in arm.pools().items()]
        return tuple(limit for place, pool in pools for limit in pool.limits(place))

    @cached_property
    def trace(self) -> Selection | None:
        """The requests of its trace; None if they are drawn.

        Raises:
            InputError: see `trace_of`.
        """
        workload = self.workload
        return trace_of(workload, self.model_names, self.limits) if isinstance(workload, Trace) else None

    @cached_property
    def mix(self) -> LengthMix:
        """The lengths that meet in batches; of drawn requests the same for all seeds."""
        if isinstance(self.workload, Synthetic):
            return length_mix(self.workload.lengths)
        if isinstance(self.workload, Conversations):
            return session_mix(self.workload, self.limits)
        assert self.trace
        return self.trace.mix

    @property
    def profiles(self) -> dict[str, Profile]:
        """Those of all pools, by the name that the document has for them, or, of some with drafts, their own."""
        found = {
            name: each for arm in self.arms for pool in arm.pools().values() for name, each in pool.profiles.items()
        }
        return dict(sorted(found.items()))

    def changed(self, **blocks: Any) -> Scenario:
        """A scenario with other blocks, or another name or seed; they are taken as they are, complete and right.

        What has been looked up and does not rest on these blocks stays.
        """
        made = Scenario(self.document.model_copy(update=blocks))
        if blocks.keys() <= APART:
            made.__dict__.update({name: found for name, found in self.__dict__.items() if name in LOOKED_UP})
        return made

    def with_arms(self, arms: Iterable[Arm]) -> Scenario:
        """A scenario with these arms, which may be other scenarios'."""
        return self.changed(arms=tuple(arm.block for arm in arms))
