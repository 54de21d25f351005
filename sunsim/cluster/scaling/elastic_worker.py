"""A worker that comes and goes, and what its autoscaler sees of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sunsim.cluster.engine import Engine
from sunsim.cluster.events import Clock
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.promises import Promises
from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.cluster.worker import Worker


@dataclass(frozen=True, slots=True)
class Look:
    """A worker's part of `sunsim.cluster.scaling.seen.Seen`, under the same names."""

    running: int
    kv_usage: float
    busy_ps: int
    requests: int
    prompt_tokens: int
    output_tokens: int
    prompt_tokens_in_flight: int


class ElasticWorker(Worker):
    """A worker that may be told to go.

    Attributes:
        going: it has been, and is to say when it has nothing left.
        on_idle: told then, with its slot.
    """

    # The arguments one by one: the compiler hands a starred tuple on as one.
    def __init__(
        self,
        env: Clock,
        name: str,
        slot: int,
        priority: int,
        engine: Engine,
        on_outcome: Callable[[Worker, Outcome], None],
        on_eased: Callable[[Worker], None],
        promises: Promises | None = None,
    ) -> None:
        super().__init__(env, name, slot, priority, engine, on_outcome, on_eased, promises)
        self.going = False
        self.on_idle: Callable[[int], None] = lambda _: None
        self._prompts: dict[Sequence, None] = {}  # of requests to be computed here
        self._came = [0, 0, 0]  # requests, prompt tokens, output tokens since the last look
        self._busy_ps = 0  # up to the last look

    def submit(self, sequence: Sequence) -> None:
        """As `Worker.submit`."""
        came, known = self._came, sequence.known_tokens
        came[0] += 1
        came[1] += known
        came[2] += sequence.outputs_left
        if sequence.computes_prompt:
            self._prompts[sequence] = None
        super().submit(sequence)

    def release(self, sequence: Sequence) -> None:
        """As `Worker.release`."""
        super().release(sequence)
        self._say_if_idle()

    def look(self) -> Look:
        """What there is to see now, when all that is due now has happened, and since the last look."""
        engine, now_ps = self.engine, self.env.now_ps
        engine.advance(now_ps + 1)
        self._prompts = {each: None for each in self._prompts if each.first_ps == UNSET or each.first_ps > now_ps}
        (requests, prompt_tokens, output_tokens), self._came = self._came, [0, 0, 0]
        busy_ps, self._busy_ps = engine.busy_ps - self._busy_ps, engine.busy_ps
        return Look(
            running=len(engine.running),
            kv_usage=1 - engine.free_blocks / (engine.config.num_gpu_blocks - 1),
            busy_ps=busy_ps,
            requests=requests,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            prompt_tokens_in_flight=sum(each.prompt_tokens - each.cached_tokens for each in self._prompts),
        )

    def go(self) -> None:
        """It gets no more requests, and is to say when it has none left."""
        self.going = True
        self._say_if_idle()

    def restart(self) -> None:
        """Its process starts anew: nothing is in its cache, and what it did before is not looked at any more."""
        self.look()
        self.engine.forget()

    def _wake(self) -> None:
        super()._wake()
        self._say_if_idle()

    def _say_if_idle(self) -> None:
        if self.going and not self.num_requests and not self.engine.pins:
            self.going = False
            self.on_idle(self.slot)
