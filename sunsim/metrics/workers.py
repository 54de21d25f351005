"""What each worker did inside the window, derived from the rows of the requests it served."""

from typing import Any

import numpy as np

from sunsim.metrics.intervals import Level, covered_s
from sunsim.metrics.rows import Floats, Requests, Window
from sunsim.metrics.serving import output_rate, per
from sunsim.records import WorkerRecord


def worker_entry(
    worker: WorkerRecord, requests: Requests, window: Window, *, sent_back_in_s: float | None = None
) -> dict[str, Any]:
    """The summary entry of one worker: what it is, how busy it was, how full its places and KV blocks were.

    Rows hold a request's first pass only, so what later passes held is not in them, nor which blocks requests share: KV
    occupancy is None where it would be wrong, and prefill is at least as busy as its steps were over the run.

    Args:
        worker: what the simulation says of it.
        requests: those that it served.
        window: the measured interval.
        sent_back_in_s: the run's length if decode sent requests back to prefill in it.
    """
    entry: dict[str, Any] = {
        "stage": worker.role.counted_as,
        "model": worker.role.serves,
        "gpus": worker.gpus,
        "max_num_seqs": worker.max_num_seqs,
        "num_gpu_blocks": worker.num_gpu_blocks,
        "requests": len(requests),
        "steps": worker.steps,
        "outside_measured": dict(sorted(worker.outside_measured.items())),
        "preemptions": worker.preemptions,
    }
    if worker.role.decodes:
        entry |= _decode(worker, requests, window)
        held = None if worker.preemptions or worker.prefix_cache_queries else decode_kv(worker, requests)
    else:
        entry["utilisation"] = _prefill_busy(worker, requests, window, sent_back_in_s)
        first_passes = not worker.preemptions and sent_back_in_s is None
        held = prefill_kv(worker, requests) if first_passes and not worker.prefix_cache_queries else None
    return entry | _kv(held, worker, window)


def running(requests: Requests) -> Level:
    """Requests decoding at once: from their first scheduled step to their last token."""
    return Level.count(requests.decode_scheduled_s, requests.emitting_until_s)


def places(requests: Requests) -> Level:
    """Places held at once: a request holds one from the start of its transfer on."""
    return Level.count(_admitted_s(requests), requests.emitting_until_s)


def decode_kv(worker: WorkerRecord, requests: Requests) -> Level:
    """KV blocks held on a decode worker: the prompt's on admission, growing evenly to prompt + output."""
    low = np.ceil(requests.prompt_tokens / worker.block_size)
    high = np.ceil((requests.prompt_tokens + requests.output_tokens) / worker.block_size)
    return Level.of(_admitted_s(requests), requests.decode_first_token_s, requests.emitting_until_s, low, high)


def prefill_kv(worker: WorkerRecord, requests: Requests) -> Level:
    """KV blocks held on a prefill worker: the prompt's, pinned until the decode worker has pulled them.

    What finished without a transfer, as one-token outputs do where prefill emits the first token, held them only
    for its prefill.
    """
    blocks = np.ceil(requests.prompt_tokens / worker.block_size)
    never_pulled = np.isnan(requests.transfer_end_s) & requests.finished
    end_s = np.where(never_pulled, requests.prefill_end_s, requests.transfer_end_s)
    return Level.of(requests.prefill_start_s, np.full(len(requests), np.nan), end_s, blocks, blocks)


def _prefill_busy(
    worker: WorkerRecord, requests: Requests, window: Window, sent_back_in_s: float | None
) -> float | None:
    busy = per(covered_s(requests.prefill_start_s, requests.prefill_end_s, window), window.length_s)
    if busy is None or not sent_back_in_s:
        return busy
    return max(busy, min(worker.busy_s / sent_back_in_s, 1.0))


def _decode(worker: WorkerRecord, requests: Requests, window: Window) -> dict[str, Any]:
    keys = ("utilisation", "mean_batch", "peak_batch", "mean_batch_share", "peak_places", "output_throughput_window")
    if not window.length_s:
        return dict.fromkeys(keys)
    batch = running(requests)
    mean_batch = batch.mean(window)
    busy_s = covered_s(requests.decode_scheduled_s, requests.emitting_until_s, window)
    figures = (
        busy_s / window.length_s,
        mean_batch,
        batch.peak(window),
        mean_batch / worker.max_num_seqs,
        places(requests).peak(window),
        output_rate(requests, window),
    )
    return dict(zip(keys, figures, strict=True))


def _kv(held: Level | None, worker: WorkerRecord, window: Window) -> dict[str, Any]:
    if held is None or not window.length_s or not worker.num_gpu_blocks:
        return {"mean_kv_occupancy": None, "peak_kv_occupancy": None}
    return {
        "mean_kv_occupancy": held.mean(window) / worker.num_gpu_blocks,
        "peak_kv_occupancy": held.peak(window) / worker.num_gpu_blocks,
    }


def _admitted_s(requests: Requests) -> Floats:
    return np.where(np.isnan(requests.transfer_start_s), requests.decode_scheduled_s, requests.transfer_start_s)
