"""Ends a simulation as soon as it is certain that too many requests miss their SLO."""

from collections.abc import Sequence

import numpy as np

from sunsim.clock import PS_PER_MS, PS_PER_S, to_s
from sunsim.cluster.events import LOOK, Alarm
from sunsim.cluster.sequence import UNSET
from sunsim.cluster.world import World
from sunsim.metrics.rows import Window
from sunsim.metrics.slo import LIMITS, limits_of
from sunsim.plan.windows import Allowance, Stretches
from sunsim.scenario.slo import Slo
from sunsim.workload.requests import Requests

EVERY_PS = PS_PER_S // 2
DOUBT_PS = 10_000
"""What is late by less may be in time in a result's rows, whose seconds are no finer when a run lasts months."""


class SureMissError(Exception):
    """More requests of a model have missed their SLO than are allowed to, in all or in a window.

    Attributes:
        at_s: simulated time of the finding.
        model: index of the model.
        late: of each limit, by its key, how many of each model have missed it so far. Some may have missed several.
        missed: of each model, how many have missed any.
    """

    def __init__(self, at_s: float, model: int, late: dict[str, list[int]], missed: list[int]) -> None:
        super().__init__(at_s, model)
        self.at_s = at_s
        self.model = model
        self.late = late
        self.missed = missed


class Watch:
    """Looks at the requests twice a simulated second, and touches nothing.

    It counts a miss only when nothing that is still to come can undo it: a request is through and was too slow, or its
    first token, or its last, is not out and already late. So a run that is ended early is one that would have missed. How long a
    token's way from a decode worker to its client was depends on all that decoded there, so it gets the benefit of the
    doubt.
    """

    def __init__(
        self,
        requests: Requests,
        window: Window,
        slo: Slo,
        allowed: Sequence[int],
        stretches: Stretches | None = None,
    ) -> None:
        """`allowed`: of each model, how many requests may miss; `stretches`: what may in every window as well."""
        self._requests = requests
        self._inside = window.holds(to_s(requests.arrival_ps))
        of_model = [limits_of(slo.limits, name) for name in requests.models]
        self._ttft_ps, self._tpot_ps, self._e2el_ps = (
            [limits.get(key, np.inf) * PS_PER_MS for limits in of_model] for key in LIMITS
        )
        # A view, because its items come as Python's own integers.
        self._arrival_ps = requests.arrival_ps.data
        self._allowed = allowed
        self._open: list[int] = []
        self._seen = 0
        models = len(requests.models)
        self._late = {key: [0] * models for key in LIMITS}
        self._missed = [0] * models
        self._allowances: list[Allowance] = []
        self._place = np.zeros(len(requests), np.int64)
        if stretches:
            for model in range(models):
                own = np.flatnonzero(self._inside & (requests.model == model))
                self._place[own] = np.arange(len(own))
                self._allowances.append(Allowance(to_s(requests.arrival_ps[own]), window, stretches))

    def __call__(self, world: World) -> None:
        """Begins to watch this world."""
        self._world = world
        self._course = world.course
        seqs = world.decode.workers[0].engine.config.max_num_seqs if world.decode else 1
        # Who ends at a moment and who begins at it are both in the batch of that moment.
        out_ps = self._course.decode_out_ps(np.array([1, 2 * seqs]))
        self._least_out_ps, self._most_out_ps = (int(ps) for ps in out_ps)
        self._alarm = Alarm(world.env, LOOK, self._look)
        self._look_after(self._arrival_ps[0])

    def _look(self) -> None:
        """Counts what is new, and goes on while there is something to come.

        Raises:
            SureMissError: too many have missed.
        """
        env = self._world.env
        arrived = int(np.searchsorted(self._requests.arrival_ps, env.now_ps))
        self._open += (self._seen + np.flatnonzero(self._inside[self._seen : arrived])).tolist()
        self._seen = arrived
        self._open = [i for i in self._open if not self._settled(i, env.now_ps)]
        for model, missed in enumerate(self._missed):
            if missed > self._allowed[model] or (self._allowances and self._allowances[model].spent):
                raise SureMissError(to_s(env.now_ps), model, self._late, self._missed)
        if self._open and env.entries:
            self._look_after(env.now_ps)
        elif self._seen < len(self._arrival_ps):
            self._look_after(self._arrival_ps[self._seen])

    def _look_after(self, ps: int) -> None:
        """Looks next at the first whole half second after `ps`."""
        self._alarm.set((ps // EVERY_PS + 1) * EVERY_PS)

    def _settled(self, i: int, now_ps: int) -> bool:
        """Whether it is certain if request `i` meets its SLO; counted if it doesn't."""
        journeys, course, requests = self._world.journeys, self._course, self._requests
        arrival_ps, model = self._arrival_ps[i], int(requests.model[i])
        outputs = int(requests.output_tokens[i]) if course.has_decode else 1
        prefilled_ps = journeys.prefill_end_ps[i]
        emitted = course.emitted_before_decode if course.local is None or not course.local[i] else 0
        by_prefill = bool(emitted) or not course.has_decode
        decodes = course.has_decode and outputs > emitted
        last_ps = journeys.last_ps[i] if decodes else prefilled_ps
        if last_ps == UNSET:
            if by_prefill:
                has_first = prefilled_ps != UNSET
            else:
                sequence = journeys.decode[i]
                has_first = sequence is not None and sequence.first_ps != UNSET
            # A token that is not out yet comes now at the earliest.
            waited_ps = now_ps - arrival_ps - DOUBT_PS
            no_first, no_last = not has_first and waited_ps > self._ttft_ps[model], waited_ps > self._e2el_ps[model]
            if no_first or no_last:
                self._count(i, no_first, False, no_last)
            return no_first or no_last
        earliest_ps = latest_ps = prefilled_ps + course.prefill_out_ps
        last_out_ps = last_ps + self._least_out_ps if decodes else earliest_ps
        if not by_prefill:
            first_ps = journeys.first_ps[i]
            earliest_ps, latest_ps = first_ps + self._least_out_ps, first_ps + self._most_out_ps
        ttft = earliest_ps - arrival_ps > self._ttft_ps[model] + DOUBT_PS
        # Outputs of one token meet any TPOT.
        tpot = outputs > 1 and last_out_ps - latest_ps > self._tpot_ps[model] * (outputs - 1) + DOUBT_PS
        e2el = last_out_ps - arrival_ps > self._e2el_ps[model] + DOUBT_PS
        self._count(i, ttft, tpot, e2el)
        return True

    def _count(self, i: int, *late: bool) -> None:
        """`late`: whether request `i` has missed each of `LIMITS`."""
        model = int(self._requests.model[i])
        for key, one in zip(LIMITS, late, strict=True):
            self._late[key][model] += one
        self._missed[model] += any(late)
        if self._allowances and any(late):
            self._allowances[model].miss(int(self._place[i]))
