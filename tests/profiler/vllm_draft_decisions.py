"""The same as `tests.profiler.vllm_decisions` with speculative decoding, for `tests.cluster.test_vllm_draft_decisions`.

`python -m tests.profiler.vllm_draft_decisions OUT.jsonl`; runs only beside vLLM. vLLM makes its configuration from a
drafter's config.json of one layer, as a real engine is started; its scheduler is as it comes. The device accepts drafts as
`sunsim.workload.acceptance` draws them.
"""

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiler.start import write_model
from sunsim.workload.acceptance import Acceptance, Rates
from tests.accepted import accepted
from tests.profiler.vllm_cases import ARRIVED, RETURNING, Arrival, Times, Worker, arrivals
from tests.profiler.vllm_decisions import MODEL, Core, Device, make_core, record_all, run, serial

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import SchedulerOutput

# Seeds of short and varied cases.
DRAWN = [14, 16, 46, 49, 52, 54, 83, 125, 163, 187, 188, 195, 217, 292, 307, 335, 338, 383, 398, 528, 530, 543]


@dataclass(frozen=True)
class Speculation:
    """How a worker drafts, under vLLM's names; `seed` is that of the accepted drafts."""

    num_speculative_tokens: int
    synthetic_acceptance_rates: list[float]
    method: str = "eagle"
    num_speculative_tokens_per_batch_size: list[tuple[int, int, int]] | None = None
    seed: int = 0

    def acceptance(self) -> Acceptance:
        """What the device accepts, of a single model."""
        return Acceptance(self.seed, [[Rates(0, tuple(self.synthetic_acceptance_rates))]])

    def config(self, drafter: Path) -> dict[str, Any]:
        """vLLM's ``speculative_config``."""
        config: dict[str, Any] = {"method": self.method, "num_speculative_tokens": self.num_speculative_tokens}
        if self.method == "eagle":
            rates = {"synthetic_acceptance_rates": self.synthetic_acceptance_rates}
            config |= {"model": str(drafter), "rejection_sample_method": "synthetic"} | rates
        else:
            config |= {"prompt_lookup_min": 2, "prompt_lookup_max": 4}
        if self.num_speculative_tokens_per_batch_size:
            config["num_speculative_tokens_per_batch_size"] = self.num_speculative_tokens_per_batch_size
        return config


@dataclass(frozen=True)
class DraftTimes(Times):
    """A step takes so much more for each draft in it."""

    draft: int = 40


@dataclass(frozen=True)
class Case:
    name: str
    worker: Worker
    speculation: Speculation
    times: DraftTimes
    requests: list[Arrival]


class DraftingDevice(Device):
    """Counts what it has really made of each request, which the scheduler hears of a step later."""

    def __init__(self, case: Case, texts: list[list[int]]) -> None:
        super().__init__(case.times, texts)
        self.case = case
        self.acceptance = case.speculation.acceptance()
        self.made = [0] * len(case.requests)
        self.draft_steps = [0] * len(case.requests)
        self.counted: list[list[int]] = [[0, 0, 0] for _ in case.requests]
        self._decoding: set[int] = set()
        self._drafts = 0

    def _step(self, scheduled: "SchedulerOutput") -> tuple[int, int]:
        times = self.case.times
        self._decoding -= {serial(one.req_id) for one in scheduled.scheduled_new_reqs}  # the preempted, too
        decodes = context = drafts = chunks = chunk_tokens = 0
        for name, count in scheduled.num_scheduled_tokens.items():
            number = serial(name)
            if number in self._decoding:
                decodes += 1
                context += self.case.requests[number][1] + self.made[number]
                drafts += count - 1
            else:
                chunks += 1
                chunk_tokens += count
        work = times.decode * decodes + times.context * context + times.draft * drafts + times.token * chunk_tokens
        # With none but requests that enter with one token it is launched as decodes are with nothing in flight.
        self.enter_alone = not decodes and chunk_tokens == chunks
        return times.base + work, 0 if self.enter_alone else chunk_tokens

    def _sample(self, name: str, scheduled: "SchedulerOutput") -> list[int]:
        if self.core.scheduler.requests[name].is_prefill_chunk:
            return []
        number, drafts = serial(name), len(scheduled.scheduled_spec_decode_tokens.get(name, ()))
        made = 1
        known = self.case.requests[number][1] + self.made[number]
        if drafts:
            made += int(accepted(self.acceptance, number, 0, self.draft_steps[number], known, 1, drafts)[0])
            self.draft_steps[number] += 1
        self.made[number] += made
        self._decoding.add(number)
        return (self.texts[number][known:] + [1] * made)[:made]  # what its end cuts off is not in its text

    def listen(self) -> None:
        """Looks on when the scheduler counts a request's drafts."""

        def count(
            stats: None,
            num_draft_tokens: int,
            num_accepted_tokens: int,
            num_invalid_spec_tokens: dict[str, int] | None,
            request_id: str,
        ) -> None:
            assert stats is None
            assert not num_invalid_spec_tokens
            counted = self.counted[serial(request_id)]
            for at, more in enumerate((1, num_draft_tokens, num_accepted_tokens)):
                counted[at] += more

        self.core.scheduler.make_spec_decoding_stats = count


def record(case: Case, model: Path, drafter: Path) -> dict[str, Any]:
    """As `vllm_decisions.record`; a request has, too, its steps with drafts, the drafts in them and those accepted.

    A decode's tokens in a step are one more than its drafts.
    """
    device = DraftingDevice(case, [[1] * (prompt + output) for _, prompt, output, _ in case.requests])
    core = make_core(case.worker, device, model, speculative_config=case.speculation.config(drafter))
    check(core, case)
    device.listen()
    return asdict(case) | with_counts(run(case, core, device), device)  # type: ignore[arg-type]


def with_counts(ran: dict[str, Any], device: DraftingDevice) -> dict[str, Any]:
    """The same with what was drafted for each request behind its stamps."""
    return ran | {
        "stamps": [[*stamps, *counted] for stamps, counted in zip(ran["stamps"], device.counted, strict=True)]
    }


def check(core: Core, case: Case) -> None:
    """vLLM settled on what is to be recorded."""
    scheduler, speculation = core.scheduler, case.speculation
    assert scheduler.num_spec_tokens == speculation.num_speculative_tokens
    assert scheduler.num_lookahead_tokens == (
        speculation.num_speculative_tokens if speculation.method == "eagle" else 0
    )
    assert scheduler.max_num_scheduled_tokens == case.worker.max_num_batched_tokens
    assert bool(scheduler.dynamic_sd_lookup) == bool(speculation.num_speculative_tokens_per_batch_size)


def drawn(seed: int) -> Case:
    """A random worker, scarce in every way that its requests can bear, random drafts and random requests."""
    draw = random.Random(seed)
    block_size = draw.choice([1, 2, 4, 16, 16])
    longest_prompt, longest_output = draw.choice([5, 40, 100]), draw.choice([3, 15, 40])
    seqs, most = draw.randint(1, 8), draw.randint(1, 5)
    connector = draw.choice([None, ARRIVED, ARRIVED, RETURNING])
    rates = sorted((draw.choice([0.0, draw.random(), draw.random(), 1.0]) for _ in range(most)), reverse=True)
    method = draw.choice(["eagle", "eagle", "ngram_gpu"])
    by_batch = None
    if draw.random() < 0.5:
        bounds = sorted(draw.sample(range(1, 10), draw.randint(1, 3)))
        by_batch = [
            (begin, end, draw.randint(0, most + 1))
            for begin, end in zip([1, *(b + 1 for b in bounds)], bounds, strict=False)
        ]
    speculation = Speculation(most, rates, method, by_batch, seed)
    need = -(-(longest_prompt + longest_output + 3 * most) // block_size)
    worker = Worker(
        max_num_seqs=seqs,
        max_num_batched_tokens=draw.randint(seqs * (most + 1), 16 * seqs * (most + 1)),
        num_gpu_blocks=1 + need + int(need * draw.choice([0.0, draw.random(), 4 * draw.random()])),
        block_size=block_size,
        connector=connector,
    )
    launches = [0, 500, 9_000, 40_000] if draw.random() < 0.5 else [0]
    times = DraftTimes(
        base=draw.choice([100, 10_000]),
        token=draw.choice([0, 50, 997]),
        launch=draw.choice(launches),
        graph_launch=draw.choice(launches),
        lead=draw.choice(launches[:3]),
    )
    gap = draw.choice([0, 3_000, 30_000, 200_000])
    arrived = draw.choice([0.5, 1.0, 1.0]) if connector else 0.0
    requests = arrivals(seed, draw.randint(1, 25), gap, (1, longest_prompt), (1, longest_output), arrived)
    return Case(f"drawn {seed}", worker, speculation, times, requests)


def cases() -> Iterator[Case]:
    """All that is recorded."""
    roomy = Worker(max_num_seqs=8, max_num_batched_tokens=128, num_gpu_blocks=400)
    decoder = replace(roomy, connector=ARRIVED)
    three = Speculation(3, [0.75, 0.55, 0.40])
    plain, slow_host = DraftTimes(), DraftTimes(launch=9_000, graph_launch=4_000, lead=3_000)
    decodes = arrivals(3, 16, 60_000, (1, 300), (1, 40), 1.0)
    yield Case("decodes wait for places", replace(decoder, max_num_seqs=4), three, plain, decodes)
    yield Case("decodes wait for places, launches shown", replace(decoder, max_num_seqs=4), three, slow_host, decodes)
    mixed = arrivals(2, 14, 60_000, (1, 300), (1, 40))
    yield Case("chunks beside decodes", roomy, three, plain, mixed)
    yield Case("chunks beside decodes, launches shown", roomy, three, slow_host, mixed)
    scanty = replace(decoder, max_num_batched_tokens=36)
    yield Case("chunks of what decodes leave", scanty, three, plain, arrivals(6, 14, 60_000, (1, 90), (1, 30), 0.5))
    all_accepted, none_accepted = replace(three, synthetic_acceptance_rates=[1.0] * 3), Speculation(2, [0.0, 0.0])
    burst = [(at, 40, output, 1) for at in (0, 0, 50_000) for output in (1, 2, 3, 4, 5, 9, 10)]
    yield Case("ends at every place of a burst", decoder, all_accepted, plain, burst)
    yield Case("nothing accepted", decoder, none_accepted, plain, burst)
    by_batch = [(1, 2, 3), (4, 5, 1), (6, 64, 0)]
    few_or_many = replace(three, num_speculative_tokens_per_batch_size=by_batch)
    yield Case("drafts by batch", decoder, few_or_many, plain, decodes)
    yield Case("drafts by batch beside chunks", roomy, few_or_many, slow_host, mixed)
    long = arrivals(4, 12, 30_000, (20, 100), (10, 60))
    tight = replace(roomy, num_gpu_blocks=24)
    yield Case("preemption on an ordinary worker", tight, three, plain, long)
    yield Case("preemption on an ordinary worker, drafts by batch", tight, few_or_many, slow_host, long)
    given = [(at, prompt, output, 1) for at, prompt, output, _ in long]
    yield Case("preemption of many where KV arrives", replace(tight, connector=ARRIVED), three, plain, given)
    yield Case("preemption where KV arrives again", replace(tight, connector=RETURNING), three, slow_host, given)
    n_gram = replace(three, method="ngram_gpu")
    yield Case("no lookahead", tight, n_gram, plain, long)
    yield from map(drawn, DRAWN)


def write_drafter(model: Path) -> Path:
    """Gives the directory of a drafter's config.json, below that of the target's."""
    drafter = json.loads(MODEL.read_text()) | {"num_hidden_layers": 1, "architectures": ["EagleLlamaForCausalLM"]}
    return write_model(model / "drafter", drafter)


def record_cases(model: Path) -> Iterator[dict[str, Any]]:
    """`model` is the directory of the target's config.json."""
    folder = write_drafter(model)
    return (record(case, model, folder) for case in cases())


if __name__ == "__main__":
    record_all(sys.argv[1], record_cases)
