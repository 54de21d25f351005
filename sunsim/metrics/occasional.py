"""Metrics that a summary has only where the scenario has what they are of: sessions, elastic pools, admission."""

from sunsim.metrics.metric import ARRIVED, Metric, count, share

SESSIONS = [
    count("sessions", "sessions", "", "Sessions that began inside the window."),
    *(
        Metric(
            f"{stat}_session_duration_s",
            f"session {stat}",
            "s",
            "Last token of a session's last round - arrival of its first. Over the sessions that began inside the window and "
            "of which no round that came was cut off; what a stop kept from coming is not in it.",
        )
        for stat in ("mean", "median", "p99")
    ),
    share(
        "steady_share",
        "rounds that came",
        "",
        "Requests that arrived inside the window over all rounds of the sessions that began inside. In the long run it is "
        "100 %; below, more sessions begin than end while it is measured, and the load still grows.",
    ),
    share(
        "cached_share",
        "cached",
        "",
        f"Share of the prompt tokens that the worker which computed the prompt found in its prefix cache. {ARRIVED}",
    ),
    share(
        "recomputed_share",
        "computed again",
        "",
        "Of the tokens of each prompt that the round before it had in its prompt or answer, the share that was "
        f"computed once more: neither found in the prefix cache nor pulled from a decode worker. {ARRIVED}",
        short="computed\nagain",
    ),
    Metric("moved_gb", "KV moved", "GB", "KV that crossed the link, both ways, over the whole run; 1 GB = 10^9 bytes."),
    count(
        "prefix_cache_queries",
        "prefix cache queries",
        "tok",
        "Tokens that were looked up in prefix caches, over the whole run: those of a request when a worker first admits it. "
        "vLLM looks, and counts, again in every step that a request at the head of the queue waits for blocks.",
    ),
    count(
        "prefix_cache_hits",
        "prefix cache hits",
        "tok",
        "Of these, the tokens that were found.",
    ),
    Metric("rounds", "by round", "", "Requests, TTFT and shares of each round of the sessions."),
    count("round", "round", "", "Of a session, from 0."),
]
"""There only where requests are rounds of sessions."""

HELD = "Held: ready, starting, draining or kept warm."

POOLS = [
    Metric(
        "gpu_hours",
        "GPU-hours",
        "",
        f"GPUs held, over the window's time. {HELD} Every arm has it, so that fixed and elastic ones compare.",
        short="GPU-\nhours",
    ),
    Metric("mean_gpus", "mean GPUs", "", "GPUs held, mean over the window's time.", short="mean\nGPUs"),
    count("peak_gpus", "most GPUs", "", "GPUs held, the most at once inside the window.", short="most\nGPUs"),
    share(
        "starting_share", "starting", "", "Of the GPU time, that of workers which were ordered and do not serve yet."
    ),
    share(
        "draining_share",
        "draining",
        "",
        "Of the GPU time, that of workers which take nothing new and finish what they have.",
    ),
    share("warm_share", "warm", "", "Of the GPU time, that of workers which are kept started and take no requests."),
    Metric("pools", "pools", "", "The same of each stage, and of each model's own pools, and how these changed."),
    Metric("elastic", "elastic", "", "Whether its size may change."),
    count(
        "grown",
        "grown",
        "",
        "Times inside the window that workers were added: ordered, or taken back while they drained.",
    ),
    count("shrunk", "shrunk", "", "Times inside the window that workers were told to go."),
    Metric(
        "mean_wait_while_starting_ms",
        "wait while starting",
        "ms",
        "Part of the wait for this pool in which one of its workers was starting: of prefill the queue, of decode the time from the "
        "end of prefill (else from the arrival) until it takes the request. Mean over the requests that arrived inside the "
        "window and passed it.",
        short="wait while\nstarting",
    ),
]
"""There only where a pool of the scenario is elastic. `decode_gpus` and `gpus` of an elastic arm are what it held in the mean."""

SHED = count(
    "shed",
    "shed",
    "",
    "Requests that admission refused, over the whole run. They count as missed SLOs, and have no latency.",
)
"""There only where an arm has admission."""
