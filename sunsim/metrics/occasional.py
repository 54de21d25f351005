"""Metrics that a summary has only where the scenario has what they are of: sessions, elastic pools, admission, drafts."""

from sunsim.metrics.metric import ARRIVED, Metric, count, share

SESSIONS = [
    count("sessions", "sessions", "Sessions that began inside the window."),
    *(
        Metric(
            f"{stat}_session_duration_s",
            f"session {stat}",
            "Last token of a session's last round - arrival of its first. Over the sessions that began inside the window and "
            "of which no round that came was cut off; what a stop kept from coming is not in it.",
            unit="s",
        )
        for stat in ("mean", "median", "p99")
    ),
    share(
        "steady_share",
        "rounds that came",
        "Requests that arrived inside the window over all rounds of the sessions that began inside. In the long run it is "
        "100 %; below, more sessions begin than end while it is measured, and the load still grows.",
    ),
    share(
        "cached_share",
        "cached",
        f"Share of the prompt tokens that the worker which computed the prompt found in its prefix cache. {ARRIVED}",
    ),
    share(
        "recomputed_share",
        "computed again",
        "Of the tokens of each prompt that the round before it had in its prompt or answer, the share that was "
        f"computed once more: neither found in the prefix cache nor pulled from a decode worker. {ARRIVED}",
        short="computed\nagain",
    ),
    Metric(
        "moved_gb", "KV moved", "KV that crossed the link, both ways, over the whole run; 1 GB = 10^9 bytes.", unit="GB"
    ),
    count(
        "prefix_cache_queries",
        "prefix cache queries",
        "Tokens that were looked up in prefix caches, over the whole run: those of a request when a worker first admits it. "
        "vLLM looks, and counts, again in every step that a request at the head of the queue waits for blocks.",
        unit="tok",
    ),
    count("prefix_cache_hits", "prefix cache hits", "Of these, the tokens that were found.", unit="tok"),
    Metric("rounds", "by round", "Requests, TTFT and shares of each round of the sessions."),
    count("round", "round", "Of a session, from 0."),
]
"""There only where requests are rounds of sessions."""

HELD = "Held: ready, starting, draining or kept warm."

POOLS = [
    Metric(
        "gpu_hours",
        "GPU-hours",
        f"GPUs held, over the window's time. {HELD} Every arm has it, so that fixed and elastic ones compare.",
        short="GPU-\nhours",
    ),
    Metric("mean_gpus", "mean GPUs", "GPUs held, mean over the window's time.", short="mean\nGPUs"),
    count("peak_gpus", "most GPUs", "GPUs held, the most at once inside the window.", short="most\nGPUs"),
    share("starting_share", "starting", "Of the GPU time, that of workers which were ordered and do not serve yet."),
    share(
        "draining_share",
        "draining",
        "Of the GPU time, that of workers which take nothing new and finish what they have.",
    ),
    share("warm_share", "warm", "Of the GPU time, that of workers which are kept started and take no requests."),
    Metric("pools", "pools", "The same of each stage, and of each model's own pools, and how these changed."),
    Metric("elastic", "elastic", "Whether its size may change."),
    count(
        "grown", "grown", "Times inside the window that workers were added: ordered, or taken back while they drained."
    ),
    count("shrunk", "shrunk", "Times inside the window that workers were told to go."),
    Metric(
        "mean_wait_while_starting_ms",
        "wait while starting",
        "Part of the wait for this pool in which one of its workers was starting: of prefill the queue, of decode the time from the "
        "end of prefill (else from the arrival) until it takes the request. Mean over the requests that arrived inside the "
        "window and passed it.",
        unit="ms",
        short="wait while\nstarting",
    ),
    share(
        "kv_target",
        "KV target",
        "Share of KV blocks in use to which its policy brings a worker; there only where the policy goes by that share.",
    ),
    Metric(
        "same_way",
        "same way",
        "Of an arm with an elastic pool: the first arm without one that has the same stages, policies, profiles, admission "
        "and convertible workers; None where there is none.",
    ),
]
"""There only where a pool of the scenario is elastic. `decode_gpus` and `gpus` of an elastic arm are what it held in the mean."""

SHED = count(
    "shed",
    "shed",
    "Requests that admission refused, over the whole run. They count as missed SLOs, and have no latency.",
)
"""There only where an arm has admission."""

CONVERTED = Metric(
    "converted",
    "converted",
    "Of the requests that arrived inside the window, and none refused: how many a decode worker took as a whole (`requests`), "
    "the 99th percentile of their TPOT (`p99_tpot_ms`), and with a limit the shares of them, and of the others, that did not "
    "keep the TPOT limit (`missed_tpot_share`, `others_missed_tpot_share`).",
)
"""There only of an arm with convertible decode workers."""

ACCURACY = Metric(
    "accuracy",
    "exact match",
    "Of models tuned and served as the arm's are, as the accuracy file that it names has them: the `method` there, the `file`, "
    "the share of requests answered exactly (`exact_match`), the mean over `tasks`, the ends of its 95 % interval (`low`, "
    "`high`), and the `requests` of all; None where it is not known.",
)
"""There only where an arm of the scenario names an accuracy file."""

DRAFTS = [
    count(
        "num_drafts",
        "drafts",
        "Steps of requests in which drafted tokens were checked, over the whole run; a step that computes a request after its "
        "end, as scheduling runs ahead, counts for nothing. vLLM's num_drafts.",
    ),
    count("num_draft_tokens", "drafted", "Tokens drafted in them. vLLM's num_draft_tokens.", unit="tok"),
    count(
        "num_accepted_tokens",
        "accepted",
        "Of these, the accepted ones, also where a request's end cut them off. vLLM's num_accepted_tokens.",
        unit="tok",
    ),
    Metric(
        "mean_acceptance_length",
        "acceptance length",
        "1 + num_accepted_tokens / num_drafts: tokens that a step with drafts gives a request. vLLM's.",
        unit="tok",
        short="acceptance\nlength",
    ),
    share("draft_acceptance_rate", "accepted", "num_accepted_tokens / num_draft_tokens. vLLM's."),
    Metric(
        "acceptance_rate_per_pos",
        "accepted by position",
        "Share of the drafts whose first token, first two tokens and so on were accepted: drafts in which a position was "
        "accepted / num_drafts. vLLM's.",
        short="by\nposition",
    ),
    Metric(
        "mean_itl_ms",
        "ITL mean",
        "Inter-token latency: the gap between bursts, which are the tokens that come out in one step. Mean over all gaps of the "
        "requests that arrived inside the window and finished; vLLM's.",
        unit="ms",
    ),
    *(
        Metric(
            f"{stat}_request_itl_ms",
            f"request ITL {stat}",
            "(last - first token) / (bursts - 1) of each request, its mean gap between bursts; rows do not hold every gap, so "
            f"this is not vLLM's {stat}_itl_ms. {ARRIVED}",
            unit="ms",
            short=f"request\nITL {stat}",
        )
        for stat in ("median", "p99")
    ),
    Metric(
        "without_drafts",
        "without drafts",
        "Of an arm that drafts: the first arm that is the same but for its drafts; None where there is none.",
    ),
]
"""There only where workers of any arm draft tokens: all arms have them then, those without drafts too."""
