"""One arm of a scenario, live: requests come at their times, are routed, served, and handed from stage to stage.

Of sessions a later round comes when the one before has been answered and thought about. Its prompt begins with what was
said, and goes through all stages again (remote) or straight to the decode worker that had that round (local).
"""

import asyncio
import itertools
import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from profiler.client import LEAD_S
from profiler.cluster.handle import WorkerError, WorkerHandle
from profiler.cluster.messages import Broken, Done, LoadReport, Serve
from profiler.cluster.stage import Stage
from profiler.request_ids import Kind
from profiler.rounds import Rounds, Texts, rounds_of
from sunsim.clock import to_s
from sunsim.cluster.append import rule_of
from sunsim.scenario import Arm, Scenario
from sunsim.validation.cluster_run import AGAIN
from sunsim.workload.requests import Requests

# What a prefill worker with NixlConnector is told: keep the KV until somebody has fetched it.
KEEP_KV = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}

DRAIN_TIMEOUT_S = 120.0
MOST_NAMED = 8
SILENCE_S = 45.0
"""So long no worker may say nothing while it has requests: longer than NixlConnector keeps KV that nobody fetches."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What is to be played; `name` is also the name of its files."""

    name: str
    scenario: Scenario
    arm: Arm
    requests: Requests

    @property
    def is_again(self) -> bool:
        """Whether it is another one's repetition."""
        return self.name.endswith(AGAIN)

    @property
    def gpus(self) -> int:
        """Workers of all stages."""
        return self.arm.gpus

    @property
    def rounds(self) -> Rounds | None:
        """Which requests are rounds of which sessions; raises ValueError if they are none that can be run live."""
        return rounds_of(self.requests.sessions) if self.requests.sessions else None

    @property
    def last_s(self) -> float:
        """When the last request comes, of sessions if nothing is held up."""
        arrival_s = to_s(self.requests.arrival_ps).tolist()
        rounds = self.rounds
        return max(rounds.expected_s(arrival_s, self.requests.output_tokens.tolist()) if rounds else arrival_s)


class Play:
    """A run on as many workers as it has, prefill first.

    Args:
        vocabulary: how many token ids the model has.

    Attributes:
        rounds: which requests are rounds of which sessions; None where they are none.
        start_s: of the requests' times, on the monotonic clock.
        router_cpu_share: processor time of the router's process over the run's duration.
    """

    def __init__(self, run: Run, workers: list[WorkerHandle], vocabulary: int) -> None:
        self.run = run
        self.rounds = run.rounds
        self._texts = Texts(self.rounds, run.requests.prompt_tokens.tolist(), vocabulary) if self.rounds else None
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self.start_s = 0.0
        self.router_cpu_share = 0.0
        self.stages: dict[str, Stage] = {}
        self._left = len(run.requests)
        self._heard_s = 0.0
        self._all_done = asyncio.Event()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number = next(_numbers)
        free = iter(workers)
        for name, block in run.arm.pools().items():
            own = [next(free) for _ in range(block.gpus)]
            self.stages[name] = Stage(block, run.scenario, own, number)
            for slot, worker in enumerate(own):
                worker.on_message = partial(self._take, name, slot)
        self._workers = workers

    async def serve(self, most_s: float = math.inf) -> None:
        """From the first request to the last token.

        most_s: seconds that it may take; it may not take far longer than expected either.

        Raises WorkerError if a worker fails or a request comes to no end, and TimeoutError if it takes too long.
        """
        for stage in self.stages.values():
            await stage.begin()
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        self.start_s = began_s + LEAD_S
        most_s = min(most_s, 2 * self.run.last_s + DRAIN_TIMEOUT_S)
        try:
            async with asyncio.timeout(most_s), asyncio.TaskGroup() as group:
                group.create_task(self._submit())
                group.create_task(self._all_served())
        except TimeoutError as error:
            msg = f"{self._left} of {len(self.run.requests)} requests have come to no end in {most_s:.0f} s"
            raise TimeoutError(msg) from error
        finally:
            # What comes late must neither be handed on nor bring a next round: the workers are somebody else's soon.
            for worker in self._workers:
                worker.ignore()
            for timer in self._timers.values():
                timer.cancel()
        self.router_cpu_share = (time.process_time() - began_cpu_s) / (time.monotonic() - began_s)
        for stage in self.stages.values():
            await stage.end()

    async def _all_served(self) -> None:
        finished = asyncio.create_task(self._all_done.wait())
        fatal: set[asyncio.Future[None]] = {self._lost, *(worker.failed for worker in self._workers)}
        either: set[asyncio.Future[Any]] = {finished, *fatal}
        try:
            while not any(each.done() for each in either):
                await asyncio.wait(either, timeout=SILENCE_S / 9, return_when=asyncio.FIRST_COMPLETED)
                self._check_silence()
            for each in fatal:
                if each.done():
                    each.result()
        finally:
            finished.cancel()

    def _check_silence(self) -> None:
        unfinished = {
            f"{index} at {name}": visit.sent_s
            for name, stage in self.stages.items()
            for index, visit in stage.visits.items()
            if visit.known_s is None
        }
        if unfinished and time.monotonic() - max(self._heard_s, *unfinished.values()) > SILENCE_S:
            named = ", ".join(list(unfinished)[:MOST_NAMED])
            msg = f"no word for {SILENCE_S:.0f} s of {len(unfinished)} requests: {named}"
            raise WorkerError(msg)

    async def _submit(self) -> None:
        loop = asyncio.get_running_loop()
        due = asyncio.Event()
        for index, arrival_ps in enumerate(self.run.requests.arrival_ps.tolist()):
            if self.rounds and self.rounds.previous(index) is not None:
                continue
            due.clear()
            # Its clock is the monotonic one; a timer each, set for a moment, so that lateness does not add up.
            at_s = self.start_s + to_s(arrival_ps)
            if at_s > loop.time():
                loop.call_at(at_s, due.set)
                await due.wait()
            self._arrive(index)

    def _arrive(self, index: int) -> None:
        output_tokens = int(self.run.requests.output_tokens[index])
        before = self.rounds.previous(index) if self.rounds else None
        if before is not None and rule_of(self.run.arm) == "always":
            slot = self.stages["decode"].visits[before].slot
            self._send("decode", index, "prefill", output_tokens, None, slot)
        elif "prefill" in self.stages:
            self._send("prefill", index, "prefill", 1, KEEP_KV if "decode" in self.stages else None)
        else:
            self._send("decode", index, "decode", output_tokens, None)

    def _send(
        self, stage: str, index: int, kind: Kind, output_tokens: int, kv: dict[str, Any] | None, slot: int | None = None
    ) -> None:
        requests = self.run.requests
        prompt = self._texts.prompt(index) if self._texts else None
        order = Serve(index, kind, int(requests.prompt_tokens[index]), output_tokens, kv, prompt)
        session = self.rounds.session[index] if self.rounds else None
        self.stages[stage].send(int(requests.model[index]), order, session=session, slot=slot)

    def _follow(self, done: Done) -> None:
        """The next round of the session comes when this one has been thought about."""
        if not self.rounds or not self._texts or (following := self.rounds.next(done.index)) is None:
            return
        assert done.stamps.last_token_s is not None
        self._texts.answer(done.index, done.answer)
        self._texts.follow(following)
        # The workers' clocks are the loop's.
        due_s = done.stamps.last_token_s + self.rounds.think_s[following]
        self._timers[following] = asyncio.get_running_loop().call_at(due_s, self._arrive, following)

    def _give_up(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_exception(WorkerError(reason))
            # Nobody may wait for it any more.
            self._lost.exception()

    def _hand_over(self, prefilled: Done) -> None:
        kv = prefilled.stamps.kv_transfer_params
        if kv is None:
            # The decode worker would prefill it again without a word.
            self._give_up(f"request {prefilled.index}: prefill does not say where its KV is")
            return
        self._send("decode", prefilled.index, "decode", int(self.run.requests.output_tokens[prefilled.index]), kv)

    def _take(self, stage: str, slot: int, message: Any) -> None:
        self._heard_s = time.monotonic()
        if isinstance(message, Broken) and self.stages[stage].is_own(message.run):
            self._give_up(f"request {message.index} at {stage}: {message.reason}")
        elif isinstance(message, LoadReport):
            self.stages[stage].heard(slot, message)
        elif isinstance(message, Done) and self.stages[stage].done(message):
            if stage == "prefill" and "decode" in self.stages:
                self._hand_over(message)
                return
            self._follow(message)
            self._left -= 1
            if not self._left:
                self._all_done.set()
