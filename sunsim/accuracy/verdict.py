"""What an accuracy file of the experiment says about the paper's claims."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple

from scipy.special import ndtri, stdtrit

from sunsim.accuracy.measured import MIN_SEEDS, too_few

LIMIT = 3.0
"""Points of exact match that count as comparable: the most that the paper says QSUN loses."""
LEARNED = 10.0
"""Points that full tuning must gain on a task before a loss there says anything."""

_UPPER = 0.975
"""Where a two-sided interval of 95 % ends."""
NORMAL = float(ndtri(_UPPER))
"""Standard deviations from the middle of such an interval to its ends, of a normal distribution."""


class Shares(NamedTuple):
    """Exact match of one method on one task.

    by_seed: shares, by the seed. requests: of all seeds together.
    """

    by_seed: Mapping[str, float]
    requests: int


class Loss(NamedTuple):
    """Points of exact match that a method has less than another.

    mean: over `seeds` seeds, not a number without any. half: of its 95 % interval, infinite with fewer than `MIN_SEEDS`.
    """

    mean: float
    half: float
    seeds: int

    def says(self) -> str:
        """holds: surely within the limit. fails: surely not. open: neither is sure."""
        if self.mean + self.half <= LIMIT:
            return "holds"
        return "fails" if self.mean - self.half > LIMIT else "open"

    def __str__(self) -> str:
        if not self.seeds:
            return "no seed in common"
        spread = too_few(self.seeds) or f"{self.mean - self.half:+.1f} to {self.mean + self.half:+.1f}"
        return f"{self.mean:+.1f} ({spread})"


class Claim(NamedTuple):
    """What is said of a method against another.

    expected: whether its loss is to be within the limit. paper: what the paper says of it, empty where the claim is ours.
    """

    text: str
    method: str
    against: str
    expected: str
    paper: str = ""


CLAIMS = (
    Claim(
        "SUN: prefill-only tuning is comparable to full tuning",
        "prefill-only",
        "full",
        "holds",
        "SUN: accuracy comparable to full fine-tuning",
    ),
    Claim(
        "QSUN: tuned with the int4 decoder, it loses at most 3 % of full tuning",
        "prefill-only-int4-tuned",
        "full",
        "holds",
        "QSUN: 1 to 3 % less than full fine-tuning",
    ),
    Claim("the same, not tuned with the int4 decoder", "prefill-only-int4", "full", "holds"),
    Claim("QSUN is comparable to SUN", "prefill-only-int4-tuned", "prefill-only", "holds"),
    Claim("full tuning itself, decoding in int4, is comparable to bf16", "full-int4", "full", "holds"),
    Claim("LoRA is comparable to full tuning", "lora", "full", "holds"),
    Claim(
        "a fully tuned prefill module before the base decoder fails",
        "full-prefill-base-decode",
        "full",
        "fails",
        "a fully tuned prefill module fails before the base decoder",
    ),
)


def loss_of(pairs: Sequence[tuple[Shares, Shares]]) -> Loss:
    """Points lost, the mean over tasks.

    The interval is the wider of two: Student's t over what each seed lost, which with few seeds can by chance be narrow,
    and that of so many requests, as if the two methods had answered different ones.

    Args:
        pairs: (the method's, the other's) of each task; seeds that all of them have count.
    """
    seeds = sorted(set.intersection(*(set(shares.by_seed) for pair in pairs for shares in pair)))
    lost = [100 * mean(other.by_seed[seed] - own.by_seed[seed] for own, other in pairs) for seed in seeds]
    if len(seeds) < MIN_SEEDS:
        return Loss(mean(lost) if lost else math.nan, math.inf, len(seeds))
    variance = sum(_variance(shares, seeds) for pair in pairs for shares in pair) / len(pairs) ** 2
    of_requests = 100 * NORMAL * math.sqrt(variance)
    return Loss(mean(lost), max(half_over_seeds(lost), of_requests), len(seeds))


def half_over_seeds(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean over seeds, Student's t: how far tunings spread is itself known from few."""
    return float(stdtrit(len(values) - 1, _UPPER)) * stdev(values) / math.sqrt(len(values))


def _variance(shares: Shares, seeds: Sequence[str]) -> float:
    """Of the share of the requests of these seeds; two more of each outcome are counted, so that none or all right is not certainty."""
    requests = shares.requests * len(seeds) / len(shares.by_seed)
    trials = requests + 4
    share = (mean(shares.by_seed[seed] for seed in seeds) * requests + 2) / trials
    return share * (1 - share) / trials


def shares_of(document: Mapping[str, Any]) -> dict[tuple[str, str], Shares]:
    """By method and task."""
    return {
        (row["method"], row["task"]): Shares(row["exact_match_by_seed"], row["requests"]) for row in document["rows"]
    }


def learned(document: Mapping[str, Any]) -> list[str]:
    """Tasks on which full tuning gains enough over the base model; a loss on another says nothing."""
    shares = shares_of(document)
    gains = {task: -loss_of([(shares["full", task], shares["base", task])]).mean for task in document["tasks"]}
    return [task for task, gain in gains.items() if gain >= LEARNED]


def losses(document: Mapping[str, Any], claim: Claim, tasks: Sequence[str]) -> dict[str, Loss]:
    """Of each task."""
    shares = shares_of(document)
    return {task: loss_of([(shares[claim.method, task], shares[claim.against, task])]) for task in tasks}


def verdict(document: Mapping[str, Any], claim: Claim) -> str:
    """supported, not supported, depends on the task, not decided, or not tested where full tuning gained too little.

    With fewer than `MIN_SEEDS` seeds of every task nothing is decided. Then, a claim that surely is wrong on some task, while
    others speak for it, depends on the task; else the mean over tasks decides.
    """
    tasks = learned(document)
    if not tasks:
        return "not tested"
    overall = together(document, claim, tasks)
    if overall.seeds < MIN_SEEDS:
        return "not decided"
    found = losses(document, claim, tasks).values()
    unwanted = "fails" if claim.expected == "holds" else "holds"
    if unwanted in {loss.says() for loss in found}:
        for_it = any((loss.mean <= LIMIT) == (claim.expected == "holds") for loss in found)
        return "depends on the task" if for_it else "not supported"
    if overall.says() == claim.expected:
        return "supported"
    return "not supported" if overall.says() == unwanted else "not decided"


def together(document: Mapping[str, Any], claim: Claim, tasks: Sequence[str]) -> Loss:
    """Of the mean over tasks."""
    shares = shares_of(document)
    return loss_of([(shares[claim.method, task], shares[claim.against, task]) for task in tasks])


def table(document: Mapping[str, Any]) -> str:
    """`cells` as Markdown."""
    heads, *rows = cells(document)
    ruled = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)


def cells(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Heads, and a line a claim: its verdict, points of exact match lost in the mean of all tasks and of each kind, and the
    tasks that surely lose more than the limit."""
    tasks = learned(document)
    kinds = {row["task"]: row["kind"] for row in document["rows"] if row["task"] in tasks and "kind" in row}
    groups = {"all tasks": tasks} | {
        kind: [task for task in tasks if kinds.get(task) == kind] for kind in dict.fromkeys(kinds.values())
    }
    lines: list[tuple[str, ...]] = [("claim", "verdict", *groups, f"surely more than {LIMIT:g}")]
    for claim in CLAIMS:
        means = [str(together(document, claim, group)) if group else "" for group in groups.values()]
        found = losses(document, claim, tasks)
        beyond = [f"{task} {loss}" for task, loss in found.items() if loss.says() == "fails"]
        named = "all" if beyond and len(beyond) == len(tasks) else ", ".join(beyond) or "none"
        lines.append((claim.text, verdict(document, claim), *means, named))
    return lines
