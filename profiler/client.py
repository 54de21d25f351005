"""The client of a replay: submits each request of a stream at its moment, and waits for all."""

import asyncio
from functools import partial

from profiler.engine import Engine
from profiler.recording import RequestStamps
from profiler.request_ids import Kind
from profiler.rounds import Texts
from profiler.streams import Role, Stream

# A prompt that a colocated worker gets is like one for a prefill worker: none of its KV has arrived.
KINDS: dict[Role, Kind] = {"decode": "decode", "prefill": "prefill", "colocated": "prefill"}

LEAD_S = 0.25


class Client:
    """Submits in callbacks of timers, not in tasks that sleep: those would wait once more behind the tokens of all others.

    Each timer is set for a moment, not for a time after the last, so that lateness does not add up. `start_s` is the
    stream's start on the clock of the stamps.
    """

    def __init__(self, engine: Engine, stream: Stream, group: asyncio.TaskGroup) -> None:
        self._engine, self._stream, self._group = engine, stream, group
        self._kind = KINDS[stream.role]
        # Made before the start: that takes as long as steps.
        self._texts = Texts(stream.rounds, stream.prompt_tokens, engine.vocabulary) if stream.rounds else None
        for tokens in set(stream.prompt_tokens):
            engine.prompt(tokens)
        self._loop = asyncio.get_running_loop()
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self.tasks: dict[int, asyncio.Task[RequestStamps]] = {}
        self.all_submitted = asyncio.Event()
        # The loop's clock is CLOCK_MONOTONIC, as are the stamps.
        self.start_s = self._loop.time() + LEAD_S
        for i, arrival_s in enumerate(stream.arrival_s):
            if arrival_s is not None:
                self._submit_at(self.start_s + arrival_s, i)

    def stop(self) -> None:
        """Nothing is submitted any more."""
        for timer in self._timers.values():
            timer.cancel()

    def _submit_at(self, due_s: float, i: int) -> None:
        self._timers[i] = self._loop.call_at(due_s, self._submit, i)

    def _submit(self, i: int) -> None:
        del self._timers[i]
        output_tokens = self._stream.output_tokens[i]
        if self._texts:
            answer = partial(self._texts.answer, i)
            request = self._engine.request(self._kind, self._texts.prompt(i), output_tokens, on_tokens=answer)
        else:
            request = self._engine.request(self._kind, self._stream.prompt_tokens[i], output_tokens, streamed=True)
        self.tasks[i] = task = self._group.create_task(request)
        if self._stream.rounds and (following := self._stream.rounds.next(i)) is not None:
            task.add_done_callback(partial(self._follow, following))
        if len(self.tasks) == len(self._stream):
            self.all_submitted.set()

    def _follow(self, i: int, before: asyncio.Task[RequestStamps]) -> None:
        """The round before has ended."""
        if before.cancelled() or before.exception():
            return
        rounds, ended_s = self._stream.rounds, before.result().last_token_s
        assert rounds is not None
        assert self._texts is not None
        assert ended_s is not None
        self._texts.follow(i)
        self._submit_at(ended_s + rounds.think_s[i], i)


async def serve(engine: Engine, stream: Stream) -> tuple[float, list[RequestStamps]]:
    """Plays a stream; its start and the requests' stamps, in its order."""
    # A request that fails ends them all: the engine is gone, or not the one to compare with.
    async with asyncio.timeout(2 * stream.expected_s() + 60), asyncio.TaskGroup() as group:
        client = Client(engine, stream, group)
        try:
            await client.all_submitted.wait()
        finally:
            client.stop()
    return client.start_s, [client.tasks[i].result() for i in range(len(stream))]
