"""What a world knows of the sessions that its requests are rounds of."""

from array import array
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunsim.cluster.append import RULES, IsLocal, Slack, rule_of, slack_of
from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.pool import Pool
from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.cluster.worker import Worker
from sunsim.roles import Module
from sunsim.scenario import Arm, Scenario
from sunsim.scenario import Pool as Loaded
from sunsim.workload.requests import Requests
from sunsim.workload.sessions import Sessions
from sunsim.workload.texts import history_tokens


def keys_of(block: Loaded, arm: Arm, requests: Requests) -> BlockKeys | None:
    """By which a pool's workers find blocks again; None if they do not, or nothing is known to be in common."""
    if requests.sessions is None or not block.block.enable_prefix_caching:
        return None
    one_module = arm.prefill is not None and arm.prefill.module is Module.SHARED
    return BlockKeys(requests.sessions, block.profile.block_size, None if one_module else requests.model.tolist())


class Rounds:
    """Where sessions' rounds have been, and what was found and moved for them.

    Attributes:
        session: of each request.
        cached, moved, pulled: tokens by request, see `sunsim.records.SESSION_COLUMNS`.
        history_from: slot of the decode worker that a request's history is pulled from to prefill.

    Args:
        arrival_ps: of the requests, as far as they are known; read when they are.
        local: whether its decode worker computes its prompt, by request; written elsewhere.
    """

    def __init__(
        self,
        requests: Requests,
        sessions: Sessions,
        scenario: Scenario,
        arm: Arm,
        arrival_ps: NDArray[np.int64],
        local: bytearray,
        now_ps: Callable[[], int],
    ) -> None:
        number = len(requests)
        self._outputs = requests.output_tokens.data
        self.session = sessions.session.data
        self.cached = array("q", [0]) * number
        self.moved = array("q", [0]) * number
        self.pulled = array("q", [0]) * number
        self.local = local
        self.history_from: dict[int, int] = {}
        self._keeps_history = arm.keeps_history
        self._computes_on_decode = arm.prefill is None
        self._arrival_ps = arrival_ps
        self._now_ps = now_ps
        self._decode_slot: dict[int, int] = {}  # that had the last round, by session
        rule = rule_of(arm)
        self._slack = slack_of(scenario) if rule == "slack" else None
        self._is_local: IsLocal | None = None
        if rule:
            self._is_local = self._slack.is_local if self._slack else RULES[rule]

    def goes_to(self, sequence: Sequence, worker: Worker) -> None:
        """A request goes to a decode worker."""
        self._decode_slot[self.session[sequence.request]] = worker.slot

    def appends_at(self, sequence: Sequence, decode: Pool) -> Worker | None:
        """The decode worker that is to compute a request's prompt; None if a prefill worker is."""
        if not self._is_local:
            return None
        worker = self._before(sequence, decode)
        if worker is None or not decode.serves(worker.slot, sequence.model):
            return None
        if not self._is_local(sequence, worker, self._now_ps()):
            return None
        return worker

    def has_history(self, sequence: Sequence, decode: Pool) -> Worker | None:
        """The decode worker that a request for prefill is to have its history pulled from; None if it is computed."""
        worker = self._before(sequence, decode) if self._keeps_history else None
        if worker:
            self.history_from[sequence.request] = worker.slot
        return worker

    def on_prefill(self, outcome: Outcome, in_decode: list[Sequence | None], *, emits: bool) -> None:
        """Notes what a decision of a prefill worker brought.

        Args:
            in_decode: requests that have been in decode; those here are sent back.
            emits: first tokens come from here.
        """
        for sequence in outcome.entered:
            if in_decode[sequence.request] is None:
                self.cached[sequence.request] = sequence.cached_tokens
        if self._slack and emits:
            self._waited(self._slack, [each for each in outcome.finished if in_decode[each.request] is None])

    def on_decode(self, worker: Worker, outcome: Outcome, emitted: int) -> None:
        """Notes what a decision of a decode worker brought; prefill has emitted so many tokens of a request."""
        for sequence in outcome.entered:
            if self._computes_on_decode or self.local[sequence.request]:
                self.cached[sequence.request] = sequence.cached_tokens
        if slack := self._slack:
            for sequence in outcome.finished:
                i = sequence.request
                tokens = self._outputs[i] - (0 if self.local[i] else emitted)
                slack.decoded(worker.slot, sequence, tokens, self._now_ps())
            if not emitted:
                self._waited(slack, [each for each in outcome.entered if not self.local[each.request]])

    def _before(self, sequence: Sequence, decode: Pool) -> Worker | None:
        """The decode worker that had the session's last round; None if there was none."""
        slot = self._decode_slot.get(self.session[sequence.request])
        return None if slot is None else decode.workers[slot]

    def _waited(self, slack: Slack, sequences: list[Sequence]) -> None:
        now_ps = self._now_ps()
        for sequence in sequences:
            slack.waited(sequence.model, now_ps - int(self._arrival_ps[sequence.request]), now_ps)


def session_columns(
    sessions: Sessions, rounds: Rounds, came: slice | NDArray[np.intp], *, remote: bool
) -> pd.DataFrame:
    """`records.SESSION_COLUMNS` of the requests that have come.

    Args:
        remote: there are prefill workers.
    """
    local = np.frombuffer(rounds.local, dtype=np.int8)[came]
    appended = np.where(local | remote, local, UNSET)
    columns = {
        "session": sessions.session[came].astype(np.int64),
        "round": sessions.round[came].astype(np.int64),
        "history_tokens": history_tokens(sessions)[came],
        "cached_tokens": np.frombuffer(rounds.cached, dtype=np.int64)[came],
        "moved_tokens": np.frombuffer(rounds.moved, dtype=np.int64)[came],
        "pulled_tokens": np.frombuffer(rounds.pulled, dtype=np.int64)[came],
        "appended": pd.Categorical.from_codes(appended, pd.Index(["remote", "local"], dtype="str")),
    }
    return pd.DataFrame(columns, copy=False)
