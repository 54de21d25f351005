"""Every metric that a summary may hold: its tag, header, unit, definition and the form in which it is written.

Rates and means over the window's time are None where it is too short for them: empty, or shorter than a request takes.
Tables and documents take headers and units from here, and tests hold `summary.json` to it. Counts, duration and the throughputs
with drain are vLLM's (`bench serve`), over the whole run. Latencies and goodput are defined as vLLM's for each
request, but taken over the requests that arrived inside the window, where vLLM takes the whole run. Interactivity and
the rest are ours. Of vLLM's ITL there is the mean, where tokens are drafted: rows hold a request's first and last token, not
the gaps between, and without drafts these are as many as the tokens but one, so that TPOT says the same.
"""

from sunsim.metrics.metric import ARRIVED, Metric, count, share
from sunsim.metrics.occasional import ACCURACY, CONVERTED, DRAFTS, POOLS, SESSIONS, SHED

STATISTICS = ("mean", "median", "std", "p90", "p95", "p99")
QUANTILES = {"median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

CUT_OFF = "What requests cut off by the stop emitted is estimated, at the median TPOT of those that finished."
FIRST_PASS = "A preempted request counts throughout, from first to last."

LATENCIES = {
    "ttft": ("TTFT", "Time to first token: first token - arrival at the router."),
    "tpot": ("TPOT", "Time per output token: (last - first token) / (output tokens - 1); none for one-token outputs."),
    "e2el": ("E2EL", "End-to-end latency: last token - arrival."),
}
STAGES = {
    "prefill_queue": ("prefill queue", "Start of prefill - arrival."),
    "prefill": ("prefill", "End of prefill - start of prefill."),
    "transfer_wait": ("wait for transfer", "Start of the KV transfer - end of prefill: a place on the decode worker."),
    "transfer": ("transfer", "End of the KV transfer - its start."),
    "decode_wait": ("decode wait", "First decode step scheduled - KV there (without prefill: - arrival)."),
}


def _latencies() -> list[Metric]:
    """Six statistics of each latency, three of each stage's time; quantiles are exact, linear between samples."""
    found = [
        Metric(f"{stat}_{key}_ms", f"{header} {stat}", f"{definition} {ARRIVED}", unit="ms")
        for key, (header, definition) in LATENCIES.items()
        for stat in STATISTICS
    ]
    return found + [
        Metric(
            f"{stat}_{key}_ms", f"{header} {stat}", f"{definition} Over the requests that arrived inside.", unit="ms"
        )
        for key, (header, definition) in STAGES.items()
        for stat in ("mean", "median", "p99")
    ]


_SERVING = [
    count("requests", "requests", "Requests that arrived, over the whole run."),
    count("window_requests", "in window", "Requests that arrived inside the window."),
    count("completed", "completed", "Requests that finished, over the whole run."),
    count("unfinished", "unfinished", "Requests that the stop cut off, over the whole run."),
    count("preemptions", "preemptions", "Times that a request lost its place for want of KV blocks."),
    Metric("duration", "duration", "First arrival to last token (or to the stop): the drain is included.", unit="s"),
    count("total_input_tokens", "input tokens", "Prompt tokens of the finished requests.", unit="tok"),
    count("total_output_tokens", "output tokens", "Output tokens of the finished requests.", unit="tok"),
    Metric("request_throughput", "requests (with drain)", "completed / duration.", unit="req/s"),
    Metric("output_throughput", "output (with drain)", "total_output_tokens / duration.", unit="tok/s"),
    Metric(
        "total_token_throughput",
        "all tokens (with drain)",
        "(total_input_tokens + total_output_tokens) / duration.",
        unit="tok/s",
    ),
    Metric(
        "output_throughput_window",
        "output",
        "Output tokens emitted inside the window / its length; a request's tokens are taken as evenly spaced "
        f"from its first to its last. {CUT_OFF} None where none of those tells a TPOT. The headline figure.",
        unit="tok/s",
    ),
    Metric(
        "request_goodput",
        "goodput",
        "Requests that were completed inside the window, whenever they arrived, and met every limit of their model / the window's length, "
        "as the output counts tokens; a queue that only grows adds nothing. A one-token output meets any TPOT. None "
        "without an SLO.",
        unit="req/s",
    ),
    share(
        "slo_attainment",
        "SLO met",
        "Share of the requests that arrived inside the window that met every limit of their model.",
        short="SLO\nmet",
    ),
    share(
        "worst_window_slo_attainment",
        "SLO met, worst window",
        "The lowest slo_attainment of any window of slo.worst_window_s by arrival: one begins at every arrival, one ends "
        "with the measuring. A window of fewer than 20 requests goes on until it has 20. At most slo_attainment itself, "
        "and equal to it where measuring takes no longer or there are no 20. None without an SLO or slo.worst_window_s.",
    ),
    Metric("worst_window_start_s", "worst window from", "Where that window begins.", unit="s"),
    Metric("mean_interactivity", "interactivity mean", f"1 / TPOT. {ARRIVED}", unit="tok/s/user"),
    Metric(
        "median_interactivity", "interactivity median", f"1 / TPOT. {ARRIVED}", unit="tok/s/user", short="interactivity"
    ),
    Metric(
        "overloaded",
        "overloaded",
        "Its queue for the first token (of prefill or of decode) still grows when measuring ends, so TTFT and E2EL "
        "depend on the run's length.",
    ),
    Metric(
        "decode_wait_in_tpot",
        "decode wait in TPOT",
        "First tokens come from prefill, so the wait for decode is part of TPOT; if overloaded, TPOT depends on the "
        "run's length too.",
    ),
]

_ARM = [
    count(
        "decode_gpus",
        "decode GPUs",
        "GPUs of the decode workers; of an elastic arm those held in the mean.",
        short="decode\nGPUs",
    ),
    count("gpus", "all GPUs", "GPUs of all workers; of an elastic arm those held in the mean.", short="all\nGPUs"),
    Metric(
        "output_throughput_per_decode_gpu",
        "output per decode GPU",
        "output_throughput_window / decode_gpus.",
        unit="tok/s",
        short="per decode\nGPU",
    ),
    Metric(
        "output_throughput_per_gpu", "output per GPU", "output_throughput_window / gpus.", unit="tok/s", short="per GPU"
    ),
    Metric(
        "energy_j_per_output_token",
        "energy per output token",
        "Sum of the workers' mean_power_w / output_throughput_window: the GPUs alone, those that idle too. There only where "
        "a profile has power; None for an arm with a worker whose power is not known.",
        unit="J/tok",
        short="energy",
    ),
    share("mean_decode_batch_share", "decode batch", "Mean of mean_batch / max_num_seqs over the decode workers."),
    count("steps", "steps", "Steps of all workers, over the whole run."),
    Metric("outside_measured", "outside", "Steps outside the profile's measured range, by stage and reason."),
    Metric("outside_measured_share", "outside share", "Of each stage's steps, the share outside."),
    Metric("limiting", "limit", "The stage that requests wait for most, its busiest worker and the mean wait there."),
    Metric("prefill_headroom", "prefill headroom", "The busiest prefill worker, and those busy above 70 %."),
    Metric("models", "models", "The same figures for each model, also for those that got no request."),
    Metric("workers", "workers", "What each worker did."),
]

_WORKER = [
    Metric("stage", "stage", "prefill or decode."),
    Metric("model", "model", "The model it serves, * for all."),
    count("max_num_seqs", "places", "Requests that may run at once."),
    count("num_gpu_blocks", "KV blocks", "KV blocks that it has."),
    share(
        "utilisation",
        "busy",
        "Share of the window with at least one request in prefill, or decoding. From the rows, which hold first passes "
        "only: where decode sent preempted requests back, prefill is at least the share of the whole run (drain "
        f"included) that its steps took. {CUT_OFF}",
    ),
    Metric("mean_batch", "batch mean", f"Decoding requests, mean over the window's time. {FIRST_PASS} {CUT_OFF}"),
    count("peak_batch", "batch peak", f"Most requests decoding at once in the window. {FIRST_PASS} {CUT_OFF}"),
    share("mean_batch_share", "batch / places", "mean_batch / max_num_seqs."),
    count("peak_places", "places peak", f"Most places held at once: decoding, or their KV is on its way. {FIRST_PASS}"),
    share(
        "mean_kv_occupancy",
        "KV mean",
        "Share of KV blocks held, mean over the window's time; derived from the rows: blocks for the prompt from "
        "the transfer (or first step) on, growing evenly with the output; on prefill workers until pulled. None where "
        "the worker preempted, or prefill got back what decode preempted: rows hold a request's first pass only; and where it "
        "has a prefix cache, whose blocks requests share. Blocks for drafted tokens are not in it. "
        f"{CUT_OFF}",
    ),
    Metric(
        "mean_power_w",
        "power",
        "Mean power of its GPUs over the window: while it is busy what the profile measured at the mean batch, or at the mean "
        "number of prompt tokens of its steps, its idle power otherwise. There only where a profile has power; None of "
        "workers that both prefill and decode, and of those of elastic pools, which draw nothing while they are off: the arm's "
        "energy has what their pool was held for.",
        unit="W",
    ),
    share("peak_kv_occupancy", "KV peak", "The highest such share inside the window."),
]

REGISTRY = {
    metric.tag: metric
    for metric in [*_SERVING, *_ARM, *_WORKER, ACCURACY, *SESSIONS, *POOLS, SHED, CONVERTED, *DRAFTS, *_latencies()]
}
