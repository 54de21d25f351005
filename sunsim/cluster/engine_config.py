"""What a worker was started with, for the engine and for its step-by-step twin."""

from dataclasses import dataclass

from sunsim.cluster.drafting.drafts import Drafts


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """A worker's options, under vLLM's names.

    Attributes:
        recompute: a preempted request is prefilled again on this worker; otherwise its prompt's KV comes back the way
            it came and only what was generated is computed again.
        one_model_a_step: a step never mixes prompts of different models.
        pin_finished: a finished request keeps its KV blocks until `Engine.release`.
        defer_block_free: a preempted request's blocks come free with the next decision, as vLLM does it on workers
            that receive KV through a connector.
        enable_prefix_caching: blocks of finished and running requests are found again by prompts that begin alike.
        reuse_answers: blocks with tokens after the prompt are found again, too; False where another module would have to
            make their KV.
        max_prefill_chunk_tokens: the most prompt tokens that are computed in a step beside decodes, or while KV of others is
            on its way; None: as many as there is room for. Who computes no prompt then waits behind none, and the
            prompt under way is the first to be preempted.
        drafts: how decodes emit several tokens a step; None: they emit one. With them a step has room for all decodes
            with their drafts.
        use_eagle: a drafter has KV of its own in the same blocks. Of what is found in the prefix cache the last block is
            computed again, for the hidden states that the drafter needs.
    """

    max_num_seqs: int
    max_num_batched_tokens: int
    num_gpu_blocks: int
    block_size: int = 16
    recompute: bool = True
    one_model_a_step: bool = False
    pin_finished: bool = False
    defer_block_free: bool = False
    enable_prefix_caching: bool = False
    reuse_answers: bool = True
    max_prefill_chunk_tokens: int | None = None
    drafts: Drafts | None = None
    use_eagle: bool = False
