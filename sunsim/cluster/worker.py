"""A worker in simulated time: an engine, woken when a decision falls due."""

from __future__ import annotations

from collections.abc import Callable

from sunsim.clock import to_s
from sunsim.cluster.engine import Engine
from sunsim.cluster.events import Alarm, Clock
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.promises import Promises
from sunsim.cluster.sequence import Sequence
from sunsim.records import WorkerRecord
from sunsim.roles import Role


class Worker:
    """One GPU of a pool.

    Attributes:
        slot: its number in its pool.
        num_requests: requests given to this worker and not finished, including any sent back for their prompt's KV.

    Args:
        priority: of its wakes among all that happens at one moment.
        on_outcome: told what each decision brought.
        on_eased: told before that, because the worker's load may have fallen.
        promises: of the requests here, if something is known of their outputs.
    """

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
        self.env = env
        self.name = name
        self.slot = slot
        self.engine = engine
        self.num_requests = 0
        self._on_outcome = on_outcome
        self._on_eased = on_eased
        self._promises = promises
        self._alarm = Alarm(env, priority, self._wake)

    @property
    def num_tokens(self) -> int:
        """Tokens of the requests here, generated ones included, as the scheduler counts them now."""
        self.engine.advance(self.env.now_ps)
        return self.engine.num_tokens

    @property
    def promised_tokens(self) -> int:
        """Tokens that the requests here will have, by what is known of their outputs."""
        assert self._promises
        return self._promises.tokens(self.num_requests, self.num_tokens)

    def cached_tokens(self, sequence: Sequence) -> int:
        """Of a request that may be elsewhere, the tokens that this worker would find in its cache now."""
        self.engine.advance(self.env.now_ps)
        return self.engine.cached_tokens(sequence)

    def submit(self, sequence: Sequence) -> None:
        """A request comes to this worker."""
        self.num_requests += 1
        if self._promises:
            self._promises.add(sequence)
        self.engine.submit(self.env.now_ps, sequence)
        self._set_alarm()

    def resubmit(self, sequence: Sequence) -> None:
        """A request that was sent back for its prompt's KV returns, to the head of the queue."""
        self.engine.submit(self.env.now_ps, sequence, first=True)
        self._set_alarm()

    def loaded(self, sequence: Sequence) -> None:
        """The KV of a request is here."""
        self.engine.loaded(self.env.now_ps, sequence)
        self._set_alarm()

    def release(self, sequence: Sequence) -> None:
        """The KV of a finished request has been fetched."""
        self.engine.release(self.env.now_ps, sequence)
        self._set_alarm()

    def record(self, role: Role, gpus: int) -> WorkerRecord:
        """What the worker, on so many GPUs, has done so far, steps that no decision was due for included.

        Requests under way then know what was drafted for them, too.
        """
        engine = self.engine
        engine.advance(self.env.now_ps)
        drafts = engine.count_drafts()
        return WorkerRecord(
            name=self.name,
            role=role,
            gpus=gpus,
            max_num_seqs=engine.config.max_num_seqs,
            num_gpu_blocks=engine.config.num_gpu_blocks,
            block_size=engine.config.block_size,
            steps=engine.steps,
            busy_s=to_s(engine.busy_ps),
            outside_measured={kind: n for kind, n in engine.outside.items() if n},
            preemptions=engine.preemptions,
            prefix_cache_queries=engine.queries,
            prefix_cache_hits=engine.hits,
            num_drafts=drafts.num_drafts if drafts else 0,
            num_draft_tokens=drafts.num_draft_tokens if drafts else 0,
            num_accepted_tokens_per_pos=tuple(drafts.num_accepted_tokens_per_pos) if drafts else (),
        )

    def _wake(self) -> None:
        outcome = self.engine.wake(self.env.now_ps)
        self.num_requests -= len(outcome.finished)
        if self._promises:
            self._promises.drop(outcome.finished)
        if outcome.finished or outcome.evicted:
            self._on_eased(self)
        self._set_alarm()
        self._on_outcome(self, outcome)

    def _set_alarm(self) -> None:
        self._alarm.set(self.engine.next_wake())
