"""How right answers are: exact match and token accuracy with intervals, rows of an accuracy file, a table of them.

Exact match: the share of requests whose greedy answer is the wanted response, token for token, its end included.
Token accuracy: the share of the wanted responses' tokens that stand in their place in the greedy answer, so that what
follows a first wrong token counts as it comes out, and not as it would after the right one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sunsim.accuracy.measured import MIN_SEEDS
from sunsim.accuracy.verdict import NORMAL, half_over_seeds

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Judged:
    """What one pair of modules has answered, a number a request.

    exact: whether the answer is right. matched: tokens in their place. wanted: tokens of the response.
    """

    exact: NDArray[np.bool_]
    matched: NDArray[np.int64]
    wanted: NDArray[np.int64]


def judged(
    answers: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], stop_token_ids: Sequence[int] = ()
) -> Judged:
    """Answers beside the responses that were wanted; an answer may end with any of the tokens that end one."""

    def ended(tokens: Sequence[int]) -> list[int]:
        return [*tokens[:-1], stop_token_ids[0] if tokens[-1] in stop_token_ids else tokens[-1]]

    pairs = [(ended(answer), ended(response)) for answer, response in zip(answers, responses, strict=True)]
    return Judged(
        exact=np.array([a == r for a, r in pairs], bool),
        matched=np.array([sum(x == y for x, y in zip(a, r, strict=False)) for a, r in pairs], np.int64),
        wanted=np.array([len(r) for _, r in pairs], np.int64),
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927), within 0 to 1 also where all or none succeed."""
    from scipy.stats import binomtest  # noqa: PLC0415 - takes a second, of every command

    found = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def of_ratios(runs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[float, float]:
    """The 95 % interval of the mean over runs of a ratio of sums, that of their requests (Cochran 1977, Sampling Techniques, 6.4).

    Args:
        runs: of each, (numerators, denominators), a number a request.
    """
    ratios = [float(over.sum() / under.sum()) for over, under in runs]
    variances = [
        float(((over - ratio * under) ** 2).sum()) / float(under.sum()) ** 2
        for ratio, (over, under) in zip(ratios, runs, strict=True)
    ]
    middle, half = fmean(ratios), NORMAL * math.sqrt(sum(variances)) / len(runs)
    return max(0.0, middle - half), min(1.0, middle + half)


def with_seeds(of_requests: tuple[float, float], shares: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a mean share over seeds: at each end the wider of that of its requests and Student's t over seeds.

    With few seeds Student's may by chance be narrow. With fewer than `MIN_SEEDS` it is that of the requests alone.
    """
    if len(shares) < MIN_SEEDS:
        return of_requests
    middle, half = fmean(shares), half_over_seeds(shares)
    return max(0.0, min(of_requests[0], middle - half)), min(1.0, max(of_requests[1], middle + half))


def row(method: str, task: str, runs: Mapping[str, Judged]) -> dict[str, Any]:
    """One row of an accuracy file.

    Intervals are those of `with_seeds`; of requests, Wilson's for exact match, which is not certain where all or none are
    right, and `of_ratios` for token accuracy.

    Args:
        method: as the file names it.
        task: its name.
        runs: by the seed.
    """
    tokens = [(run.matched, run.wanted) for run in runs.values()]
    shares = {seed: float(run.exact.mean()) for seed, run in runs.items()}
    of_tokens = [float(over.sum() / under.sum()) for over, under in tokens]
    requests = sum(len(run.exact) for run in runs.values())
    low, high = with_seeds(wilson(sum(int(run.exact.sum()) for run in runs.values()), requests), list(shares.values()))
    token_low, token_high = with_seeds(of_ratios(tokens), of_tokens)
    return {
        "method": method,
        "task": task,
        "exact_match": fmean(shares.values()),
        "low": low,
        "high": high,
        "token_accuracy": fmean(of_tokens),
        "token_accuracy_low": token_low,
        "token_accuracy_high": token_high,
        "requests": requests,
        "seeds": len(runs),
        "exact_match_by_seed": shares,
    }


def seeds_of(rows: Sequence[dict[str, Any]]) -> int:
    """Tunings of each method and task, the least where they differ; base models are not tuned."""
    return min((r["seeds"] for r in rows if r["method"].split("-")[0] != "base"), default=1)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line a method, a column a task, exact match in percent with its interval and token accuracy."""
    tasks = list(dict.fromkeys(r["task"] for r in rows))
    methods = list(dict.fromkeys(r["method"] for r in rows))
    cells = {(r["method"], r["task"]): r for r in rows}
    lines = ["| method | " + " | ".join(tasks) + " |", "|---|" + "---|" * len(tasks)]
    for method in methods:
        shown = [_cell(cells[method, task]) if (method, task) in cells else "" for task in tasks]
        lines.append(f"| {method} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _cell(found: dict[str, Any]) -> str:
    exact, low, high = (100 * found[name] for name in ("exact_match", "low", "high"))
    return f"{exact:.1f} % ({low:.1f} to {high:.1f}), tokens {100 * found['token_accuracy']:.1f} %"
