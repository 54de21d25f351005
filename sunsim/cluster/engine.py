"""One vLLM worker: its scheduler, without a clock of its own.

The worker takes steps back to back, and scheduling runs one step ahead: step ``k + 1`` is composed when the output of
step ``k - 1`` is out, which is when step ``k`` starts, or later if the launch of step ``k`` takes longer. If nothing was
in flight before step ``k``, step ``k + 1`` is composed as soon as step ``k`` is launched. An output with no step behind it
is followed by a pause before anything is composed. `Pipeline` keeps these times.

Between two changes of the batch nothing has to be decided and the time of every step is known, so the engine leaps:
`Engine.next_wake` says when the next decision falls due and `Engine.wake` takes it. Steps in between cost nothing,
tokens never do. ``tests/cluster/stepwise.py`` does the same step by step and token by token; both must agree in every
decision and every picosecond.

What steps consist of is `Scheduler`'s. Where decodes emit several tokens a step, `sunsim.cluster.drafting` has its place.
"""

from collections.abc import Iterable

from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.composed import Composed
from sunsim.cluster.drafting.counts import DraftCounts
from sunsim.cluster.drafting.pipeline import BurstPipeline
from sunsim.cluster.drafting.scheduler import BurstScheduler
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.outcome import NOBODY, Outcome
from sunsim.cluster.pipeline import Pipeline
from sunsim.cluster.scheduler import Scheduler
from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.latency.steps import Outside, StepTimes, takes_drafts


class Engine:
    """A worker. Drive it with `submit`, `loaded`, `release`, and call `wake` at each `next_wake`.

    A call at time ``t`` comes after the wakes due before ``t``, and before the wake due at ``t``.

    Args:
        config: the worker's options.
        times: of steps and of their launches.
        stalls: pairs of a moment and the time by which the step on the GPU at that moment gets longer, both in
            picoseconds, in rising order of the moments; there may be no end to them.
        keys: by which blocks are found again, if the worker caches prefixes; without, it does not.
    """

    def __init__(
        self,
        config: EngineConfig,
        times: StepTimes,
        stalls: Iterable[tuple[int, int]] = (),
        keys: BlockKeys | None = None,
    ) -> None:
        self.config = config
        if config.drafts:
            assert takes_drafts(times)
            drafting = BurstScheduler(config, times, config.drafts, keys)
            self._scheduler: Scheduler = drafting
            self._pipeline: Pipeline = BurstPipeline(times, stalls, drafting.bursts)
        else:
            self._scheduler = Scheduler(config, times, keys)
            self._pipeline = Pipeline(times, stalls)
        scheduler = self._scheduler
        self.waiting = scheduler.waiting
        self.running = scheduler.running
        self.blocks = scheduler.blocks
        self._steady = scheduler.steady
        self._pause_ps = times.pause_ps
        self._take_in_ps = times.take_in_ps
        self._k = 0  # the last step composed
        self._beginning: list[Sequence] = []  # their first token is in step k
        self._moving = 0  # transfers begun, and not there
        self._seen: list[
            tuple[int, Sequence]
        ] = []  # KV that is there, and the step before which the scheduler hears of it
        self._pulled_ps = UNSET  # step k was launched then, after transfers were begun

    @property
    def steps(self) -> int:
        """Steps that computed something."""
        return self._k - self._pipeline.rests

    @property
    def due_ps(self) -> int:
        """When the output of the last step but one is out, and the next step is composed."""
        return self._pipeline.due_ps

    @property
    def busy_ps(self) -> int:
        """The time of these steps on the GPU, stalls included, in picoseconds."""
        return self._pipeline.busy_ps

    @property
    def outside(self) -> dict[Outside, int]:
        """Steps outside the range of the measurements, by what took them out."""
        return self._pipeline.outside

    @property
    def preemptions(self) -> int:
        """Times that a request lost its place here for want of KV blocks."""
        return self._scheduler.preemptions

    @property
    def queries(self) -> int:
        """Tokens that were looked for in the prefix cache; none without one."""
        return self.blocks.queries if self._scheduler.caches else 0

    @property
    def hits(self) -> int:
        """Of these, the ones found."""
        return self.blocks.hits

    @property
    def num_tokens(self) -> int:
        """Tokens of the requests here, generated ones included, as the scheduler last counted them."""
        return self._scheduler.num_tokens(self._k)

    def count_drafts(self) -> DraftCounts | None:
        """What the drafts of all steps composed came to, if the worker drafts; sequences here count theirs, too, then."""
        return self._scheduler.count_drafts(self._k)

    @property
    def free_blocks(self) -> int:
        """KV blocks that nobody holds; what is cached in them does not matter."""
        return self.blocks.unused

    @property
    def pins(self) -> bool:
        """Whether it holds KV of a finished request that has not been fetched."""
        return self.blocks.pinned > 0

    def cached_tokens(self, sequence: Sequence) -> int:
        """Of a request that may be elsewhere, the tokens that would be found here if it were admitted now."""
        return self.blocks.cached_tokens(sequence)

    def forget(self) -> None:
        """Nothing of what it has computed is found again; it must have no requests."""
        self.blocks.forget()

    def submit(self, now_ps: int, sequence: Sequence, *, first: bool = False) -> None:
        """A request arrives; `first` puts it at the head of the queue."""
        self.advance(now_ps)
        self._scheduler.submit(sequence, first=first)

    def loaded(self, now_ps: int, sequence: Sequence) -> None:
        """The KV of a request that `wake` named in `Outcome.loads` is here."""
        self.advance(now_ps)
        self._moving -= 1
        scheduler, pipeline = self._scheduler, self._pipeline
        scheduler.decide = True
        host = sequence.pulling.host if sequence.pulling else None
        if not host:
            scheduler.ready.append(sequence)
        elif not pipeline.in_flight:
            if pipeline.due_ps <= now_ps:
                self._rest(now_ps + host.admit_ps)
            else:
                self._hear_of_all()
            scheduler.ready.append(sequence)
        else:
            looked_ps = self._pulled_ps
            if looked_ps == UNSET:
                looked_ps = pipeline.decided_ps + host.launched_ps(self._steady.batch)
            # Step k's launch has seen it, or that of the next one; that step's output says so.
            self._seen.append((self._k + (2 if now_ps <= looked_ps else 3), sequence))

    def _hear_of_all(self) -> None:
        self._scheduler.ready += [sequence for _, sequence in self._seen]
        self._seen.clear()

    def _rest(self, until_ps: int) -> None:
        """An empty step, by whose end the scheduler has heard of all KV that is there."""
        self._hear_of_all()
        self._pulled_ps = UNSET
        self._pipeline.rest(until_ps)
        self._k += 1

    def release(self, now_ps: int, sequence: Sequence) -> None:
        """A finished request's pinned KV blocks come free."""
        self.advance(now_ps)
        self.blocks.unpin(sequence)
        if self.waiting or self._scheduler.ready:
            self._scheduler.decide = True

    def next_wake(self) -> int | None:
        """When the next decision that can change anything falls due; None if not before something arrives."""
        scheduler, steady, k = self._scheduler, self._steady, self._k
        if scheduler.decide or scheduler.finishing or scheduler.partial or (scheduler.may_find and steady.batch):
            return self._pipeline.due_ps
        if not steady.batch:
            return None
        n = steady.next_end - k
        if (lasting := self.blocks.lasting(k + 1, n + 1)) <= n:
            if not lasting:
                return self._pipeline.due_ps
            # The decision that finds no block for a step falls due when the output of the last but one is out.
            n = lasting - 1
        return self._pipeline.out_after_ps(steady, k + 1, n)

    def advance(self, now_ps: int) -> None:
        """Composes the steps that were due before `now_ps`; nothing changes in them but decodes that end."""
        pipeline = self._pipeline
        if pipeline.due_ps >= now_ps:
            return
        self._beginning.clear()  # no launch here holds their token up
        self._pulled_ps = UNSET
        scheduler, steady, k = self._scheduler, self._steady, self._k
        while pipeline.due_ps < now_ps:
            if steady.next_end <= k:
                scheduler.drop_ended(k)
            if steady.batch:
                n = pipeline.leap(steady, k + 1, 1 if scheduler.finishing else steady.next_end - k, now_ps)
                self.blocks.grow_over(k + 1, n)
                k += n
            else:
                pipeline.rest(0 if scheduler.finishing else now_ps)
                k += 1
        self._k = k

    def wake(self, now_ps: int) -> Outcome:
        """Takes the decision due at `now_ps`: requests end, the next step is composed."""
        if self._pipeline.due_ps < now_ps:
            self.advance(now_ps)
        outcome = Outcome()
        scheduler = self._scheduler
        if scheduler.finishing:
            scheduler.finish(now_ps, outcome)
            if self._pause_ps and not self._pipeline.in_flight:
                self.blocks.release_later()
                self._rest(now_ps + self._pause_ps)
                if self.waiting or scheduler.ready:
                    scheduler.decide = True  # there are places now, and blocks
                return outcome
        self._compose(now_ps, outcome)
        return outcome

    def _compose(self, now_ps: int, outcome: Outcome) -> None:
        """Composes step k + 1 and makes it step k."""
        scheduler, steady, step = self._scheduler, self._steady, self._k + 1
        if steady.next_end < step:
            scheduler.drop_ended(self._k)
        enough = self.blocks.decide(step)
        self._pulled_ps = UNSET
        if self._seen:
            scheduler.ready += [sequence for heard, sequence in self._seen if heard <= step]
            self._seen = [each for each in self._seen if each[0] > step]
        if not enough or self.waiting or scheduler.ready or scheduler.partial:
            composed = scheduler.compose(now_ps, step, outcome, enough=enough)
            if composed.taken_in or outcome.loads:
                self._hold(composed, outcome.loads)
            self._launch(step, composed)
        else:
            scheduler.decide = False
            self._pipeline.launch_decodes(steady, step)
            if self._beginning:
                self._stamp_beginning(NOBODY)
        if self._seen or self.blocks.later:
            scheduler.decide = True
        self._k = step

    def _hold(self, composed: Composed, loads: list[Sequence]) -> None:
        """Before it launches a step, the host begins transfers and takes in prompts that have come by others."""
        pipeline, host, decodes, lead_ps = self._pipeline, None, 0, 0
        if loads and loads[0].pulling and (host := loads[0].pulling.host):
            if pipeline.in_flight and not composed.chunks:
                decodes = self._steady.batch
            lead_ps = host.launched_ps(decodes) if decodes else host.begin_ps
        busy_ps = lead_ps + self._take_in_ps(composed.taken_in)
        for sequence in loads:
            if sequence.pulling:
                posts_ps = sequence.pulling.posts_ps(sequence.moved_tokens, beside=self._moving > 0)
                sequence.post_ps = posts_ps + lead_ps
                busy_ps += posts_ps
                lead_ps = 0
            self._moving += 1
        if busy_ps:
            pipeline.hold(busy_ps, launched=decodes > 0)
        if host:
            self._pulled_ps = pipeline.due_ps

    def _launch(self, step: int, composed: Composed) -> None:
        """Launches step k + 1 as composed and stamps the requests in it."""
        steady, pipeline = self._steady, self._pipeline
        if composed.chunks:
            decodes = steady.batch - composed.ends_prompts
            context = steady.context(step) - composed.ends_prompts_tokens
            start_ps = pipeline.launch(step, decodes, context, composed.chunks)
        else:
            start_ps = pipeline.launch_decodes(steady, step)
        for sequence in composed.entering:
            sequence.started_ps = start_ps
        self._stamp_beginning(composed.emitting)

    def _stamp_beginning(self, emitting: list[Sequence]) -> None:
        """Stamps first tokens: those of step k, which the launch may have held up, and those of step k + 1."""
        if self._beginning:
            for sequence in self._beginning:
                sequence.first_ps = self._pipeline.due_ps
            self._beginning = []
        for sequence in emitting:
            if sequence.first_ps == UNSET:
                sequence.first_ps = self._pipeline.out_ps
                self._beginning.append(sequence)
