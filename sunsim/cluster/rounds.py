"""What a world knows of the sessions that its requests are rounds of."""

from array import array
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunsim.cluster.append import IsLocal, Slack, always, bounded, rule_of, slack_of
from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.pool import Pool
from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.cluster.worker import Worker
from sunsim.roles import Module
from sunsim.scenario import Arm, Scenario
from sunsim.scenario import Pool as Loaded
from sunsim.workload.requests import Requests
from sunsim.workload.sessions import Sessions


def keys_of(block: Loaded, arm: Arm, requests: Requests) -> BlockKeys | None:
    """By which a pool's workers find blocks again; None if they do not, or nothing is known to be in common."""
    if requests.sessions is None or not block.block.enable_prefix_caching:
        return None
    one_module = arm.prefill is not None and arm.prefill.module is Module.SHARED
    return BlockKeys(requests.sessions, block.profile.block_size, None if one_module else requests.model.tolist())


class Rounds:
    """Where sessions' rounds have been, and what was found and moved for them.

    Attributes:
        cached, moved: tokens by request, see `sunsim.records.SESSION_COLUMNS`.
        local: whether its decode worker computes its prompt, by request.
        history_from: slot of the decode worker that a request's history is pulled from to prefill, by request.
    """

    def __init__(self, sessions: Sessions, scenario: Scenario, arm: Arm, now_ps: Callable[[], int]) -> None:
        number = len(sessions.session)
        self.session = sessions.session.data
        self.cached = array("q", [0]) * number
        self.moved = array("q", [0]) * number
        self.local = bytearray(number)
        self.history_from: dict[int, int] = {}
        self.keeps_history = arm.keeps_history
        self.slack: Slack | None = None
        self._decode_slot: dict[int, int] = {}
        self._is_local: IsLocal | None = None
        rule = rule_of(arm)
        if rule == "slack":
            self.slack = slack_of(scenario, now_ps)
            self._is_local = self.slack.is_local
        elif rule:
            self._is_local = always if rule == "always" else bounded

    def goes_to(self, sequence: Sequence, worker: Worker) -> None:
        """A request goes to a decode worker."""
        self._decode_slot[self.session[sequence.request]] = worker.slot

    def before(self, i: int, decode: Pool) -> Worker | None:
        """The decode worker that had the session's last round; None if there was none."""
        slot = self._decode_slot.get(self.session[i])
        return None if slot is None else decode.workers[slot]

    def local_worker(self, sequence: Sequence, decode: Pool) -> Worker | None:
        """The decode worker that is to compute a request's prompt; None if a prefill worker is."""
        if self._is_local is None:
            return None
        worker = self.before(sequence.request, decode)
        if worker is None or not decode.serves(worker.slot, sequence.model) or not self._is_local(sequence, worker):
            return None
        self.local[sequence.request] = 1
        return worker

    def take_history(self, sequence: Sequence, decode: Pool) -> int:
        """Of a request for prefill, the tokens whose KV the decode worker of the round before has."""
        worker = self.before(sequence.request, decode) if self.keeps_history else None
        if worker is None:
            return 0
        self.history_from[sequence.request] = worker.slot
        return worker.cached_tokens(sequence)


def session_columns(sessions: Sessions, rounds: Rounds, came: slice | NDArray[np.intp], *, remote: bool) -> pd.DataFrame:
    """`records.SESSION_COLUMNS` of the requests that have come.

    Args:
        remote: there are prefill workers.
    """
    local = np.frombuffer(rounds.local, dtype=np.int8)[came]
    appended = np.where(local | remote, local, UNSET)
    columns = {
        "session": sessions.session[came].astype(np.int64),
        "round": sessions.round[came].astype(np.int64),
        "cached_tokens": np.frombuffer(rounds.cached, dtype=np.int64)[came],
        "moved_tokens": np.frombuffer(rounds.moved, dtype=np.int64)[came],
        "appended": pd.Categorical.from_codes(appended, pd.Index(["remote", "local"], dtype="str")),
    }
    return pd.DataFrame(columns, copy=False)
