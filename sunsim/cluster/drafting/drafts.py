"""How a worker drafts."""

from dataclasses import dataclass

from sunsim.workload.acceptance import Acceptance


@dataclass(frozen=True, slots=True)
class Drafts:
    """Speculative decoding on a worker, under vLLM's names.

    Attributes:
        num_speculative_tokens: drafts of a decode in a step.
        acceptance: how many of them are accepted.
        lookahead: tokens for which a request has KV blocks beyond those that a step computes; vLLM's
            ``num_lookahead_tokens``: `num_speculative_tokens` where the drafter has a KV cache, else 0.
        by_batch: drafts in a step by the number of requests in the one before, from 0 to ``max_num_seqs``; None:
            always `num_speculative_tokens`.
        max_model_len: nobody has blocks for more tokens than these.
    """

    num_speculative_tokens: int
    acceptance: Acceptance
    lookahead: int
    by_batch: tuple[int, ...] | None
    max_model_len: int
