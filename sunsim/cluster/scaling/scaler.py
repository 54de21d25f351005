"""What drives an elastic group of workers in simulated time: it looks, decides, orders, and lets go."""

from collections.abc import Callable, Sequence
from functools import partial

from sunsim.clock import to_ps, to_s
from sunsim.cluster.events import RESIZE, STARTED, Alarm, Clock
from sunsim.cluster.scaling.calm import Calm
from sunsim.cluster.scaling.elastic_worker import ElasticWorker
from sunsim.cluster.scaling.seen import Policy, Seen
from sunsim.cluster.scaling.slots import Slots
from sunsim.scenario.scaling import Bounds, Scaling

Size = tuple[int, int, int, int, int]
"""From when on, in picoseconds, and how many workers were ready, starting, draining and warm then."""


class Scaler:
    """Has a group of workers grow and shrink, at whole multiples of its interval, until nothing more can happen.

    Attributes:
        slots: which worker is in which state.
        sizes: one for each moment at which some number has changed, and one of the start.

    Args:
        workers: those of the group, in order of their slots.
        policy: says how many should serve.
        initial: workers that are ready at the start.
        serve: told which slots take requests from now on.
    """

    def __init__(
        self,
        env: Clock,
        scaling: Scaling,
        bounds: Bounds,
        workers: Sequence[ElasticWorker],
        policy: Policy,
        initial: int,
        serve: Callable[[Sequence[int]], None],
    ) -> None:
        self.sizes: list[Size] = []
        self._env = env
        self._bounds = bounds
        self._workers = {worker.slot: worker for worker in workers}
        self._policy = policy
        self._serve = serve
        self._interval_ps = to_ps(scaling.interval_s)
        self._start_ps = to_ps(scaling.start_s)
        self._calm = Calm(scaling, initial)
        self.slots = Slots(list(self._workers), initial, scaling.warm_workers)
        self._looked_ps = env.now_ps
        self._held = self.slots.held
        self._starts: dict[int, Alarm] = {}
        self._serving: list[int] = []
        for worker in workers:
            worker.on_idle = self._drained
        self._alarm = Alarm(env, RESIZE, self._decide)
        self._alarm.set(self._interval_ps)
        self._changed()

    def _decide(self) -> None:
        env = self._env
        if env.only_resizes:  # no request is here, and none can come any more
            for alarm in self._starts.values():
                alarm.set(None)
            return
        wanted = self._policy.wanted(self._look())
        self._resize(self._calm.follow(env.now_ps, min(max(wanted, self._bounds.min), self._bounds.max)))
        self._held = self.slots.held
        self._alarm.set(env.now_ps + self._interval_ps)

    def _look(self) -> Seen:
        now_ps, slots = self._env.now_ps, self.slots
        # Workers are ordered only right after a look: nothing has happened to those that were off then.
        looks = {slot: self._workers[slot].look() for slot in self._held}
        ready = [looks[slot] for slot in slots.ready]
        interval_s, self._looked_ps = to_s(now_ps - self._looked_ps), now_ps
        return Seen(
            now_s=to_s(now_ps),
            interval_s=interval_s,
            running=sum(look.running for look in ready),
            kv_usage=tuple(look.kv_usage for look in ready),
            busy_s=tuple(to_s(look.busy_ps) for look in ready),
            requests=sum(look.requests for look in looks.values()),
            prompt_tokens=sum(look.prompt_tokens for look in looks.values()),
            output_tokens=sum(look.output_tokens for look in looks.values()),
            prompt_tokens_in_flight=sum(look.prompt_tokens_in_flight for look in ready),
        )

    def _resize(self, serving: int) -> None:
        slots, workers = self.slots, self._workers
        ordered, going = slots.resize(serving, lambda slot: workers[slot].num_requests)
        for slot in [slot for slot in self._starts if slot not in slots.starting]:
            self._starts.pop(slot).set(None)
        for slot in ordered:
            workers[slot].restart()
            self._starts[slot] = alarm = Alarm(self._env, STARTED, partial(self._started, slot))
            alarm.set(self._env.now_ps + self._start_ps)
        self._changed()
        for slot in going:
            workers[slot].go()

    def _started(self, slot: int) -> None:
        del self._starts[slot]
        self.slots.started(slot)
        self._changed()

    def _drained(self, slot: int) -> None:
        self.slots.drained(slot)
        self._changed()

    def _changed(self) -> None:
        """Notes the sizes, and says who serves, if that has changed."""
        slots = self.slots
        if slots.ready != self._serving:
            self._serving = list(slots.ready)
            for slot in slots.ready:
                self._workers[slot].going = False
            self._serve(slots.ready)
        size = (self._env.now_ps, *slots.sizes)
        if self.sizes and self.sizes[-1][0] == size[0]:
            self.sizes.pop()
        if not self.sizes or self.sizes[-1][1:] != size[1:]:
            self.sizes.append(size)
