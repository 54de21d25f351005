"""Token velocities: how many tokens a second a worker, or its link, gets through at most (TokenScale, arXiv:2512.03416).

An autoscaler sets the tokens that come against them, and `sunsim plan` names them beside a pool's size.
"""

from bisect import bisect_right

from sunsim.clock import PS_PER_S
from sunsim.latency.steps import Chunk, DecodeSteps, StepTimes
from sunsim.latency.transfer import LinkTimes


def prefill_velocity(times: StepTimes, max_num_batched_tokens: int) -> float:
    """Prompt tokens a second: ``B / T(B)`` of one prompt that fills a step of an idle worker (llm-d's ``R_peak``).

    Args:
        times: of the worker's steps.
        max_num_batched_tokens: ``B``.
    """
    step_ps, _ = times.chunked_step(0, 0, [Chunk(max_num_batched_tokens, 0)])
    return max_num_batched_tokens * PS_PER_S / (times.lead_ps(max_num_batched_tokens) + step_ps)


def transfer_velocity(link: LinkTimes, kv_bytes_per_token: int) -> float:
    """Tokens a second whose KV a worker's link moves when it is never idle: bandwidth over bytes a token.

    Args:
        link: as it is where it is used best, with the largest transfers that it has times of.
        kv_bytes_per_token: on all GPUs of a worker.
    """
    size = link.bytes_[-1]
    return size * PS_PER_S / (link.posting_ps[-1] + link.moving_ps[-1]) / kv_bytes_per_token


def decode_batch(
    times: DecodeSteps,
    mean_prompt: float,
    mean_output: float,
    max_num_seqs: int,
    num_gpu_blocks: int,
    block_size: int,
    tpot_limit_s: float | None,
) -> int:
    """The largest batch that a decode worker has places and KV blocks for and decodes within the limit; 1 at least.

    Requests stand on average in the middle of their output. One block is vLLM's own.

    Args:
        times: of the worker's steps, or, where these emit several, of a token.
        mean_prompt, mean_output: tokens of a request.
        tpot_limit_s: on a step of the batch; None: places and KV blocks alone bound it.
    """
    room = (num_gpu_blocks - 1) * block_size / (mean_prompt + mean_output / 2)
    most = max(1, min(max_num_seqs, int(room)))
    if tpot_limit_s is None:
        return most
    step_s = lambda batch: decode_step_s(times, batch, mean_prompt, mean_output)
    return max(1, bisect_right(range(1, most + 1), tpot_limit_s, key=step_s))


def decode_step_s(times: DecodeSteps, batch: int, mean_prompt: float, mean_output: float) -> float:
    """Seconds that a decode step of so many requests takes, which stand on average in the middle of their output; or a token."""
    tokens = round(batch * (mean_prompt + mean_output / 2))
    line = times.decode_line(batch, tokens)
    return (line.base_ps + line.slope_ps * tokens) / PS_PER_S


def decode_velocity(times: DecodeSteps, batch: int, mean_prompt: float, mean_output: float) -> float:
    """Tokens a second of finished requests, prompts included, whose KV a decode worker frees with so large a batch.

    ``batch * (prompt + output) / (output * step time)``: every request stays for its output's steps.

    Args:
        times: of the worker's steps, or, where these emit several, of a token.
        batch: its `decode_batch`, for the most that it frees.
        mean_prompt, mean_output: tokens of a request.
    """
    step_s = decode_step_s(times, batch, mean_prompt, mean_output)
    return batch * (mean_prompt + mean_output) / (mean_output * step_s)
