"""The same as `tests.profiler.vllm_decisions` with prefix caching, for `tests.cluster.test_vllm_prefix_decisions`.

`python -m tests.profiler.vllm_prefix_decisions OUT.jsonl`; runs only beside vLLM. Prompts and outputs are texts that
begin alike, and the device samples what the text goes on with.
"""

import heapq
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.cluster.texts import Asked, Texts
from tests.profiler.vllm_cases import ARRIVED, RETURNING, Case, Times, Worker
from tests.profiler.vllm_decisions import Core, Device, make_core, record_all, run, serial

from vllm import SamplingParams  # isort: skip - a platform that it can run on is there only now
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_block_hash, get_request_block_hasher, init_none_hash
from vllm.v1.request import Request

from sunsim.workload.sessions import UNKNOWN

# Seeds of varied cases.
DRAWN = [3, 4, 10, 11, 12, 13, 16, 18, 20, 21, 23, 25, 26, 29, 31, 35, 36]
DRAWN += [60, 79, 123, 178, 192, 236, 246, 248, 255, 256, 369, 376, 382]


@dataclass(frozen=True)
class Talk:
    """A case, and the texts of its requests as `Texts.grown` takes them."""

    case: Case
    begun: list[int]
    asked: list[Asked]


class CachingDevice(Device):
    """Notes, for each row, who was admitted in its step and how many of its tokens were found."""

    def execute_model(self, scheduled: Any, *, non_block: bool) -> Any:
        """Launches a step."""
        rows = len(self.rows)
        future = super().execute_model(scheduled, non_block=non_block)
        if len(self.rows) > rows:
            admitted = [one.req_id for one in scheduled.scheduled_new_reqs]
            admitted += sorted(scheduled.scheduled_cached_reqs.resumed_req_ids)
            self.rows[-1].append(sorted([serial(name), self.found[serial(name)]] for name in admitted))
        return future

    def listen(self) -> None:
        """Looks on when the scheduler asks for cached blocks."""
        self.found: dict[int, int] = {}
        manager = self.core.scheduler.kv_cache_manager
        ask = manager.get_computed_blocks

        def asked(request: Any) -> Any:
            blocks, tokens = ask(request)
            self.found[serial(request.request_id)] = tokens
            return blocks, tokens

        manager.get_computed_blocks = asked


def record(talk: Talk, model: Path) -> dict[str, Any]:
    """As `vllm_decisions.record`.

    A row has, too, who was admitted in its step and how many tokens of each were found. `left` are the blocks that can be
    found in the end, the next to be used again first, each as one of the requests that have it and its place in that.
    """
    device = CachingDevice(talk.case.times, tokens_of(talk))
    core = make_core(talk.case.worker, device, model, caching=True)
    return run_texts(talk, core, device)


def tokens_of(talk: Talk) -> list[list[int]]:
    """All tokens of each request, prompt and answer."""
    texts = Texts.grown(talk.begun, talk.asked, [output for _, _, output, _ in talk.case.requests])
    return [texts.text(i) for i in range(len(talk.asked))]


def run_texts(talk: Talk, core: Core, device: CachingDevice) -> dict[str, Any]:
    """What `record` gives."""
    device.listen()
    init_none_hash(sha256)
    hasher = get_request_block_hasher(talk.case.worker.block_size, sha256)
    ran = run(talk.case, core, device, hasher)
    names: dict[bytes, list[int]] = {}
    for number, tokens in enumerate(device.texts):
        whole = Request("whole", tokens, SamplingParams(max_tokens=1), None, block_hasher=hasher)
        for place, block_hash in enumerate(whole.block_hashes):
            names.setdefault(bytes(block_hash), [number, place])
    free = core.scheduler.kv_cache_manager.block_pool.free_block_queue.get_all_free_blocks()
    left = [names[bytes(get_block_hash(block.block_hash))] for block in free if block.block_hash]
    return asdict(talk.case) | {"begun": talk.begun, "asked": talk.asked} | ran | {"left": left}


Round = tuple[int, Asked, int, int]
"""When, what is asked, output tokens, and whether the prompt's KV has arrived with it."""


def talk(name: str, worker: Worker, times: Times, begun: list[int], requests: list[Round]) -> Talk:
    """A case of requests in order of arrival."""
    asked = [what for _, what, _, _ in requests]
    texts = Texts.grown(begun, asked, [output for _, _, output, _ in requests])
    lengths = [texts.end[segment] for segment in texts.prompt]
    arrivals = [(at, prompt, output, kv) for prompt, (at, _, output, kv) in zip(lengths, requests, strict=True)]
    return Talk(Case(name, worker, times, arrivals), begun, asked)


@dataclass(frozen=True)
class Chats:
    """Random conversations, and what they begin with.

    Attributes:
        number, rounds: how many, of so many rounds at most.
        gap, think: at most so long from one's beginning to the next's, and from a round's arrival to the next's.
        begun: lengths of what the first prompts begin with.
        new, output: at most so many tokens.
        longest: of a prompt and its output.
        arrived: share of the prompts whose KV arrives with them.
    """

    number: int = 6
    rounds: int = 4
    gap: int = 100_000
    think: int = 300_000
    begun: tuple[int, ...] = (40,)
    new: int = 40
    output: int = 30
    longest: int = 250
    arrived: float = 0.0

    def requests(self, seed: int) -> list[Round]:
        """Half of the conversations begin with the one before."""
        draw = random.Random(seed)
        texts = Texts.grown(list(self.begun), [], [])
        coming: list[tuple[int, int, int, int]] = []
        now = 0
        for chat in range(self.number):
            now += draw.choice([0, draw.randint(0, self.gap)])
            root = draw.choice([*range(len(self.begun)), *range(len(self.begun)), UNKNOWN])
            heapq.heappush(coming, (now, chat, root, draw.randint(1, self.rounds)))
        requests: list[Round] = []
        while coming:
            now, chat, after, left = heapq.heappop(coming)
            begun = 0 if after == UNKNOWN else texts.end[after]
            output = draw.randint(1, self.output)
            new = min(draw.randint(0 if begun else 1, self.new), self.longest - output - begun)
            if new < 0 or begun + new == 0:
                continue
            texts.ask(after, new, output)
            requests.append((now, (after, new), output, int(draw.random() < self.arrived)))
            if left > 1:
                # Sometimes it forks: the same answer is followed by another question.
                on = texts.answer[-1] if draw.random() < 0.8 else texts.prompt[-1]
                heapq.heappush(coming, (now + draw.randint(0, self.think), chat, on, left - 1))
        return requests


def drawn(seed: int) -> Talk:
    """A random worker, scarce in every way that its requests can bear, and random conversations."""
    draw = random.Random(seed)
    block_size = draw.choice([1, 2, 4, 16, 16])
    connector = draw.choice([None, None, ARRIVED, RETURNING])
    longest = draw.choice([40, 150])
    chats = Chats(
        number=draw.randint(1, 10),
        rounds=draw.randint(1, 6),
        gap=draw.choice([0, 3_000, 200_000]),
        think=draw.choice([3_000, 100_000, 1_000_000]),
        begun=tuple(draw.randint(1, longest // 2) for _ in range(draw.randint(0, 2))),
        new=draw.choice([5, 40]),
        output=draw.choice([1, 5, 30]),
        longest=longest,
        arrived=draw.choice([0.5, 1.0]) if connector else 0.0,
    )
    seqs = draw.randint(1, 8)
    need = -(-longest // block_size)
    worker = Worker(
        max_num_seqs=seqs,
        max_num_batched_tokens=draw.randint(seqs, draw.choice([8, 64, 256])),
        num_gpu_blocks=1 + need + int(need * draw.choice([0.0, draw.random(), 3 * draw.random()])),
        block_size=block_size,
        connector=connector,
    )
    launches = [0, 500, 9_000, 40_000] if draw.random() < 0.5 else [0]
    times = Times(launch=draw.choice(launches), graph_launch=draw.choice(launches), lead=draw.choice(launches[:3]))
    return talk(f"drawn {seed}", worker, times, list(chats.begun), chats.requests(seed))


def talks() -> Iterator[Talk]:
    """All that is recorded."""
    roomy = Worker(max_num_seqs=8, max_num_batched_tokens=128, num_gpu_blocks=400)
    plain, slow_host = Times(), Times(launch=9_000, graph_launch=4_000, lead=3_000)
    for tokens in (16, 17, 32, 33, 100):
        again: list[Round] = [(at, (0, 0), 2, 0) for at in (0, 1_000_000, 1_000_000, 2_000_000)]
        yield talk(f"a prompt of {tokens} tokens again", roomy, plain, [tokens], again)
    at_once: list[Round] = [(0, (0, 0), 5, 0) for _ in range(3)]
    yield talk("equal prompts at once", roomy, plain, [64], at_once)
    yield talk("equal prompts at once, in chunks", replace(roomy, max_num_batched_tokens=40), plain, [100], at_once)
    # Of the copies that two computed beside each other one is lost before the other.
    copies = [*at_once, *[(900_000 + at, (UNKNOWN, 150), 3, 0) for at in (0, 0, 200_000)], (2_000_000, (0, 0), 5, 0)]
    tight = replace(roomy, num_gpu_blocks=24)
    yield talk("copies are lost one by one", replace(tight, max_num_batched_tokens=40), plain, [100], copies)
    for output in (1, 14, 15, 16, 17, 18, 33):
        rounds: list[Round] = [(0, (UNKNOWN, 15), output, 0), (9_000_000, (1, 20), 3, 0)]
        yield talk(f"the round after {output} tokens", roomy, plain, [], rounds)
        early: list[Round] = [(0, (UNKNOWN, 15), output, 0), (100_000, (1, 20), 3, 0)]
        yield talk(f"the round after {output} tokens, before they are out", roomy, plain, [], early)
    many = Chats(number=12)
    yield talk("conversations", roomy, plain, list(many.begun), many.requests(1))
    yield talk("conversations, launches shown", roomy, slow_host, list(many.begun), many.requests(1))
    yield talk("conversations in a small cache", replace(roomy, num_gpu_blocks=40), plain, [40], many.requests(2))
    yield talk("conversations in a tiny cache", tight, plain, [40], many.requests(3))
    long = Chats(number=14, output=90, gap=30_000, think=2_000_000, rounds=3)
    yield talk("preemption on an ordinary worker", replace(roomy, num_gpu_blocks=20), plain, [40], long.requests(4))
    given = replace(long, arrived=1.0)
    decoder = replace(roomy, num_gpu_blocks=20, connector=ARRIVED)
    yield talk("preemption of many where KV arrives", decoder, plain, [40], given.requests(4))
    returning = replace(decoder, connector=RETURNING)
    yield talk("preemption where KV arrives again", returning, plain, [40], given.requests(4))
    yield from map(drawn, DRAWN)


if __name__ == "__main__":
    record_all(sys.argv[1], lambda model: (record(one, model) for one in talks()))
