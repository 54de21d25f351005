"""Your server against the profile: what a client's record of a real server comes down to, and what may be the reason."""

from sunsim.report.format import count, counted, number, percent
from sunsim.validation.figures import Figure, change_percent
from sunsim.validation.limit import Limit
from sunsim.validation.worker import Validated

PACE = ("slower", "faster")
COMPARED = {
    "TPOT": ("mean_tpot_ms", "ms", PACE),
    "TTFT": ("mean_ttft_ms", "ms", PACE),
    "output": ("output_throughput", "tok/s", ("higher", "lower")),
}

FEW_TOGETHER = 0.01
"""Share of tokens in a common chunk that goes unmentioned: a client that is busy takes two at once now and then."""

RARELY_FULL = 0.01
"""Share of the time with as many requests under way as the client allows that goes unmentioned."""

OUTSIDE_NOTE = "Measured TTFT and E2EL have HTTP, tokenizing and the client's own time in them; the profile has not."

SLOWER = (
    "TPOT is longer than by the profile: another card, host or vLLM version, other weights (--quantization), a card that is "
    "shared or held back, or options such as --enforce-eager, LoRA or another --kv-cache-dtype."
)
FASTER = (
    "TPOT is shorter than by the profile: another card, quantized weights or KV, or several cards "
    "(--tensor-parallel-size, --data-parallel-size)."
)
LATER = (
    "TTFT is longer than by the profile and TPOT is not: HTTP, tokenizing or a client that is late, or fewer places than "
    "taken here (--max-num-seqs, --num-gpu-blocks)."
)
SOONER = (
    "TTFT is shorter than by the profile: prefix caching, which `vllm serve` has on unless told "
    "--no-enable-prefix-caching, computes nothing twice; random prompts share their --random-prefix-len only, but a "
    "stream that is sent again is all in the cache."
)


def sentences(result: Validated) -> list[str]:
    """How fast the server is against the profile, what the figures do not tell, and where it is far off what may be why.

    Args:
        result: of a run that a client recorded.
    """
    return [_pace(result), *_limits(result), *_reasons(result)]


def _pace(result: Validated) -> str:
    parts = [
        f"{name} {_compared(longer, words)} ({number(figure.actual)} {unit}, by the profile {number(figure.simulated)})"
        for name, (tag, unit, words) in COMPARED.items()
        if (figure := result.figure(tag)) and (longer := _longer(figure)) is not None
    ]
    return f"Your server ({result.name}) against profile {result.profile.name}: {', '.join(parts)}."


def _compared(change: float, words: tuple[str, str]) -> str:
    return "the same" if abs(change) < 0.05 else f"{abs(change):.1f} % {words[change < 0]}"


def _longer(figure: Figure) -> float | None:
    """Actual against simulated, in percent: a server that is 10 % slower is 10 here, and its simulation 9 % too fast."""
    return change_percent(figure.actual, figure.simulated)


def _limits(result: Validated) -> list[str]:
    client = result.run.client
    assert client
    said = [OUTSIDE_NOTE]
    if client.limit and (how := _loop(client.limit)):
        said.append(how)
    if client.failed:
        everybody = client.failed + len(result.run.served)
        said.append(
            f"{counted(client.failed, 'request')} of {count(everybody)} failed: left out, with whatever the server did "
            "about it."
        )
    if client.drafts:
        said.append("The server decoded speculatively, which is not simulated: TPOT and ITL do not compare.")
    elif client.together > FEW_TOGETHER:
        said.append(
            f"{percent(client.together, 1)} of the output tokens came in a chunk with others: ITL is between chunks."
        )
    return said


def _loop(limit: Limit) -> str | None:
    """How a limit of requests under way is simulated; None where it held nobody back."""
    if limit.closed:
        return (
            f"Simulated as a closed loop of {counted(limit.concurrency, 'client')}: after the first, a request is sent when "
            f"another has ended, {number(limit.gap_s * 1000)} ms later (the client's own time, its median), so that the "
            "output compares too."
        )
    if limit.full < RARELY_FULL:
        return None
    return (
        f"The limit of {counted(limit.concurrency, 'request')} under way was reached for {percent(limit.full, 1)} of the "
        "time. When requests would have come without it is not told, so they are simulated when they were sent, which the "
        "server's own speed has delayed: TPOT is compared at the server's rate of requests, and the output tells little."
    )


def _reasons(result: Validated) -> list[str]:
    """What may make the server other than the profile, where a target is missed."""
    tpot, ttft = (_missed(result, COMPARED[name][0]) for name in ("TPOT", "TTFT"))
    reasons = {SLOWER: tpot > 0, FASTER: tpot < 0, LATER: ttft > 0 and tpot <= 0, SOONER: ttft < 0}
    return [reason for reason, holds in reasons.items() if holds]


def _missed(result: Validated, tag: str) -> float:
    """How much longer the server takes, in percent, if the target is missed; else 0."""
    figure = result.figure(tag)
    return (_longer(figure) or 0.0) if figure and figure.holds is False else 0.0
