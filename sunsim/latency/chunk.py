"""How many prompt tokens a step may compute beside decodes that are promised their next token within a limit."""

from sunsim.latency.steps import Chunk, StepTimes


def largest_chunk(
    times: StepTimes,
    batch: int,
    context_tokens: int,
    prompt_tokens: int,
    block_size: int,
    most_tokens: int,
    limit_ps: int,
) -> tuple[int, int]:
    """The largest chunk, in whole KV blocks, up to which every step with one ends within the limit; 0 if none does.

    The chunk is the last of its prompt, which attends to most, and is a prompt of its own where it is longer than that.

    Args:
        times: of the worker's steps.
        batch: decodes in the step, and `context_tokens` in all.
        prompt_tokens: of the prompt that the chunk is of.
        most_tokens: that there is room for in a step beside its decodes.
        limit_ps: on the step.

    Returns:
        Tokens, and what a step with the smallest chunk takes, in picoseconds.
    """

    def step_ps(tokens: int) -> int:
        chunk = Chunk(tokens, max(0, prompt_tokens - tokens))
        return times.chunked_step(batch, context_tokens, [chunk])[0]

    smallest_ps = step_ps(block_size)
    tokens = 0
    while tokens + block_size <= most_tokens and step_ps(tokens + block_size) <= limit_ps:
        tokens += block_size
    return tokens, smallest_ps
