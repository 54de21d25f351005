"""The engine's own account of its steps: what the recording scheduler writes, read back as one object a step.

A schedule line is `["s", begin_s, done_s, requests, tokens, context, joined, chunks, finished, running, waiting,
preempted, free_blocks, longest, squares]`, an output line `["u", begin_s, done_s]`, and the first line `["h", {...}]`
holds what the engine resolved. Context, longest and squares are the sum, the largest and the sum of squares of what the
requests with one token each had computed before. A line `["l", at_s]` says when the step last scheduled was launched,
all but its sampling. Outputs come in the order of their schedules. Times are CLOCK_MONOTONIC seconds, which client and
engine share on one host.

With drafts the same are of the requests with drafts, and chunks are all others, those of one token too. An output line goes
on with `accepted_behind, num_drafts, num_draft_tokens, num_accepted_tokens_per_pos`: how many drafts were accepted of
requests that are in the next step, which was composed before that was known, and what vLLM counts of this step.
"""

import json
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

STEP_LOG_VARIABLE = "SUNSIM_STEP_LOG"
DRAFTS_AT = 3
"""Where an output line goes on with its drafts."""
HELD_S = 0.003
"""An output taken so soon after a launch was there before: what is left of a launch, its sampling, takes less."""
HELD_A_DRAFT_S = 0.0004
"""So much longer with each draft: then the drafter's launches are left as well. They took 3.1 to 3.6 ms with three."""
HELD_SHARE = 0.25
"""Or, where that is longer, so much of what was launched before, but at most twice as long in all: the host is slower at times."""


@dataclass(frozen=True, slots=True)
class Step:
    """One engine step that computed something.

    step_s: from the later of the previous step's end and this step's own scheduling to this step's end.
    idle_start: the engine had nothing else to run when this step was scheduled.
    launched_s: from `scheduled_s` until all but its sampling was launched.
    launch_s: from `scheduled_s` until the engine's thread was free again, so all that deciding and launching take; known of idle
        starts only.
    watts: readings of the card's power during it, if they were asked for.
    held_up: its output came late, because the engine's thread was still launching the step behind it.
    decode_requests: requests that computed one token each, or with drafts one more than their drafts.
    context_tokens: tokens these attend to, their own included and drafts not: the prompt plus all that was emitted before.
    longest_tokens: the most that one of them attends to; context_std_tokens: the standard deviation over them.
    joined: (scheduled, computed before) of each request whose first step this is.
    chunks: (tokens, context before) of each piece of a prompt computed in this step; with drafts of all that had none.
    num_drafts, num_draft_tokens, num_accepted_tokens_per_pos: as vLLM counts them when the output is out, so without those
        of requests that had ended by then.
    """

    scheduled_s: float
    schedule_s: float
    end_s: float
    step_s: float
    idle_start: bool
    requests: int
    tokens: int
    decode_requests: int
    context_tokens: int
    joined: tuple[tuple[int, int], ...]
    chunks: tuple[tuple[int, int], ...]
    finished: int
    running: int
    waiting: int
    preempted: int
    free_blocks: int
    longest_tokens: int = 0
    context_std_tokens: float = 0.0
    launched_s: float | None = None
    launch_s: float | None = None
    held_up: bool = False
    watts: tuple[float, ...] = ()
    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens_per_pos: tuple[int, ...] = ()


def entered_as_decodes(step: Step) -> Step:
    """The step with its chunks of one token, which an engine with drafts has, among its decodes.

    Without drafts they would be. With drafts a step that somebody enters has no CUDA graph of its whole; it takes as long
    as one that has.
    """
    entering = [before for tokens, before in step.chunks if tokens == 1]
    if not entering:
        return step
    requests, decodes = step.decode_requests + len(entering), step.decode_requests
    mean = (step.context_tokens - decodes) / max(decodes, 1)
    squares = decodes * (step.context_std_tokens**2 + mean**2) + sum(before**2 for before in entering)
    context_tokens = step.context_tokens + sum(entering) + len(entering)
    new_mean = (context_tokens - requests) / requests
    return replace(
        step,
        decode_requests=requests,
        context_tokens=context_tokens,
        longest_tokens=max(step.longest_tokens, max(entering) + 1),
        context_std_tokens=math.sqrt(max(0.0, squares / requests - new_mean**2)),
        chunks=tuple(chunk for chunk in step.chunks if chunk[0] > 1),
    )


class StepLogReader:
    """Turns log lines into steps; lines may come in any number of portions."""

    def __init__(self) -> None:
        self.header: dict[str, Any] = {}
        self.preemptions = 0
        self.empty_steps = 0
        self._open: deque[list[Any]] = deque()
        self._previous_end_s = float("-inf")
        self._launching: list[Any] | None = None
        self._launch_s: dict[int, float] = {}
        self._launched_s: dict[int, float] = {}
        self._launched: tuple[list[Any], float] | None = None

    def feed(self, lines: Iterable[str]) -> list[Step]:
        """The steps these lines complete, in order."""
        steps = []
        for line in lines:
            if not line.strip():
                continue
            record = json.loads(line)
            self._time_launch(record)
            if record[0] == "h":
                self.header = record[1]
            elif record[0] == "s":
                self._open.append(record)
                self.preemptions += record[11]
            elif record[0] == "l":
                self._launched = self._open[-1], record[1]
                self._launched_s[id(self._open[-1])] = record[1] - self._open[-1][1]
            elif record[0] == "u":
                if not self._open:
                    msg = "step log: an output without a schedule"
                    raise ValueError(msg)
                schedule = self._open.popleft()
                if self._open and len(record) > DRAFTS_AT:
                    self._open[0][5] += record[DRAFTS_AT]
                if schedule[4] == 0:
                    self.empty_steps += 1
                else:
                    steps.append(self._close(schedule, record))
        return steps

    def _time_launch(self, record: list[Any]) -> None:
        """What the engine does next after a launch is to schedule again, or to take the output of an empty step."""
        if record[0] == "l":
            return
        launched, self._launching = self._launching, None
        if launched is not None and record[0] in "su" and record[1] >= launched[2]:
            is_own_output = record[0] == "u" and self._open[0] is launched
            if not is_own_output:
                self._launch_s[id(launched)] = record[1] - launched[1]
        if record[0] == "s" and record[4] > 0 and not any(schedule[4] for schedule in self._open):
            self._launching = record

    def _holds_up(self, schedule: list[Any], output: list[Any]) -> bool:
        """Whether the launch of the step behind this one is why its output came no sooner."""
        if self._launched is None or self._launched[0] is schedule:
            return False
        launching, launched_s = self._launched
        left_s = HELD_S
        if drafts := self.header.get("num_speculative_tokens", 0):
            left_s += min(max(HELD_A_DRAFT_S * drafts, HELD_SHARE * (launched_s - launching[1])), HELD_S)
        return bool(output[1] - launched_s <= left_s)

    def _close(self, schedule: list[Any], output: list[Any]) -> Step:
        _, begin_s, done_s, requests, tokens, context, joined, chunks, *rest = schedule
        finished, running, waiting, preempted, free_blocks, longest, squares = rest
        end_s = output[1]
        decode_requests = requests - len(chunks)
        num_drafts, num_draft_tokens, accepted = output[DRAFTS_AT + 1 :] or (0, 0, ())
        mean, square = (total / max(decode_requests, 1) for total in (context, squares))
        step = Step(
            scheduled_s=begin_s,
            schedule_s=done_s - begin_s,
            end_s=end_s,
            step_s=end_s - max(self._previous_end_s, begin_s),
            idle_start=begin_s >= self._previous_end_s,
            requests=requests,
            tokens=tokens,
            decode_requests=decode_requests,
            context_tokens=context + decode_requests,
            joined=tuple((n, before) for n, before in joined),
            chunks=tuple((n, before) for n, before in chunks),
            finished=finished,
            running=running,
            waiting=waiting,
            preempted=preempted,
            free_blocks=free_blocks,
            longest_tokens=longest + bool(decode_requests),
            context_std_tokens=math.sqrt(max(0.0, square - mean**2)),
            launched_s=self._launched_s.pop(id(schedule), None),
            launch_s=self._launch_s.pop(id(schedule), None),
            held_up=self._holds_up(schedule, output),
            num_drafts=num_drafts,
            num_draft_tokens=num_draft_tokens,
            num_accepted_tokens_per_pos=tuple(accepted),
        )
        self._previous_end_s = end_s
        return step


class StepLog:
    """The growing file: each `drain` returns the steps written since the last one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = StepLogReader()
        self._offset = 0
        self._rest = b""

    @property
    def header(self) -> dict[str, Any]:
        """What the engine resolved at its start."""
        return self.reader.header

    def drain(self) -> list[Step]:
        """Complete lines only: the writer may be in the middle of one."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        return self.reader.feed((whole + newline).decode().splitlines())


@dataclass(slots=True)
class RequestStamps:
    """One request as client and engine saw it.

    submit_s, first_token_s and last_token_s are the client's; queued_s, scheduled_s, engine_first_token_s and
    engine_last_token_s the engine's. All are CLOCK_MONOTONIC seconds; None where the client saw only the end.
    kv_transfer_params: how another engine gets the request's KV, where the connector says so.
    cached_tokens: of the prompt, those that were not to be computed, as the engine had them (vLLM's num_cached_tokens).
    external_tokens: of these, those whose KV came from elsewhere (vLLM's num_external_cached_tokens); None where nobody
        asked for it.
    bursts: how often tokens came to the client, several at once where the engine drafts; steps whose outputs it takes
        together count once.
    """

    request_id: str
    kind: str
    prompt_tokens: int
    output_tokens: int
    submit_s: float
    first_token_s: float | None = None
    last_token_s: float | None = None
    queued_s: float | None = None
    scheduled_s: float | None = None
    engine_first_token_s: float | None = None
    engine_last_token_s: float | None = None
    kv_transfer_params: dict[str, Any] | None = None
    cached_tokens: int | None = None
    external_tokens: int | None = None
    bursts: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive decode-only steps of one batch size, `steps[begin:end]`."""

    begin: int
    end: int
    batch: int

    def settled(self, skip_first: int = 3, skip_last: int = 1) -> slice:
        """Its steps away from whoever joined or left; empty when the run is too short."""
        return slice(self.begin + skip_first, max(self.begin + skip_first, self.end - skip_last))


def decode_runs(steps: Sequence[Step]) -> list[Run]:
    """The steps cut where a request joins or leaves, a chunk is computed, or the engine was idle."""
    runs: list[Run] = []
    begin: int | None = None
    for i, step in enumerate(steps):
        cuts = bool(step.joined) or step.idle_start or (begin is not None and steps[begin].requests != step.requests)
        if begin is not None and (cuts or step.chunks):
            runs.append(Run(begin, i, steps[begin].requests))
            begin = None
        if begin is None and not step.chunks:
            begin = i
    if begin is not None:
        runs.append(Run(begin, len(steps), steps[begin].requests))
    return runs
