"""Which requests go to a decode worker as a whole, prompt and all, because prefill is behind."""

from itertools import islice

from sunsim.clock import to_ps
from sunsim.cluster.pool import Pool
from sunsim.cluster.predict import predicted_wait_ps
from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.cluster.worker import Worker
from sunsim.latency.velocity import prefill_velocity
from sunsim.scenario import Arm


class Converting:
    """TokenScale's convertible decoders (arXiv:2512.03416).

    A request converts if the tokens that the least loaded prefill worker has would take it longer than the threshold, at
    the rate of a full step. It goes to the convertible worker with the fewest requests, of those that have a place and
    blocks for it and whose own prompts would take no longer than the threshold, at the rate of a full chunk. The last
    condition is assumed: without it a burst would only wait elsewhere.

    Args:
        arm: with both stages and a `sunsim.scenario.pools.Convertible`; its pools are `prefill` and `decode`.
    """

    def __init__(self, arm: Arm, prefill: Pool, decode: Pool) -> None:
        assert arm.prefill
        assert arm.decode
        block = arm.decode.convertible
        assert block
        assert block.threshold_s
        assert block.num_gpu_blocks
        assert isinstance(block.max_chunk_tokens, int)
        self._prefill, self._decode = prefill, decode
        self._number = block.workers
        self._threshold_ps = to_ps(block.threshold_s)
        self._prefill_tokens_s = prefill_velocity(arm.prefill.times, arm.prefill.max_num_batched_tokens)
        self._decode_tokens_s = prefill_velocity(arm.times_with_prompts, block.max_chunk_tokens)
        self._most_tokens = (block.num_gpu_blocks - 1) * arm.decode.profile.block_size
        self._most_requests = arm.decode.max_num_seqs
        self._computing: list[list[Sequence]] = [[] for _ in decode.workers]  # whose prompts these may still compute

    def worker_for(self, sequence: Sequence, now_ps: int) -> Worker | None:
        """The worker that is to take a request that has come now; None if prefill is."""
        _, loads = self._prefill.serving(sequence.model)
        least = min([load.num_tokens for load in loads])
        if predicted_wait_ps(least, self._prefill_tokens_s) <= self._threshold_ps:
            return None
        prompt = sequence.prompt_tokens
        best, fewest = UNSET, self._most_requests
        for slot, load in islice(zip(*self._decode.serving(sequence.model), strict=True), self._number):
            if load.num_requests >= fewest or load.num_tokens + prompt > self._most_tokens:
                continue
            wait_ps = predicted_wait_ps(self._computing_tokens(slot, now_ps), self._decode_tokens_s)
            if wait_ps <= self._threshold_ps:
                best, fewest = slot, load.num_requests
        if best == UNSET:
            return None
        self._computing[best].append(sequence)
        return self._decode.workers[best]

    def _computing_tokens(self, slot: int, now_ps: int) -> int:
        """Prompt tokens of the requests that have gone to a worker and have no token yet."""
        own = [each for each in self._computing[slot] if each.first_ps == UNSET or each.first_ps >= now_ps]
        self._computing[slot] = own
        return sum([each.prompt_tokens for each in own])
