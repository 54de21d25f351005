"""What an accuracy file says about the paper's claims, and its table."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple

LIMIT = 3.0
"""Points of exact match that count as comparable: the most that the paper says QSUN loses."""

# Student's t, two-sided 95 %, by degrees of freedom; beyond the last, the normal distribution's.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


class Loss(NamedTuple):
    """Points of exact match that a method has less than another, the mean over seeds and its 95 % interval."""

    mean: float
    low: float
    high: float

    def says(self) -> str:
        """holds: surely within the limit. fails: surely not. open: neither is sure."""
        return "holds" if self.high <= LIMIT else "fails" if self.low > LIMIT else "open"

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


class Claim(NamedTuple):
    """What is said of a method against another; `fails` is what the paper expects of the module tuned for another decoder."""

    text: str
    method: str
    against: str
    expected: str


CLAIMS = (
    Claim("prefill-only tuning is comparable to full tuning (SUN)", "prefill-only", "full", "holds"),
    Claim(
        "a quantized decoder that the prefill module is tuned with loses 1 to 3 % (QSUN)",
        "prefill-only-int4-tuned",
        "full",
        "holds",
    ),
    Claim("the same without tuning for the quantized decoder", "prefill-only-int4", "full", "holds"),
    Claim("QSUN is comparable to SUN", "prefill-only-int4-tuned", "prefill-only", "holds"),
    Claim("QSUN is comparable to full tuning served in int4", "prefill-only-int4-tuned", "full-int4", "holds"),
    Claim("LoRA is comparable to full tuning", "lora", "full", "holds"),
    Claim("a fully tuned prefill module before the base decoder fails", "full-prefill-base-decode", "full", "fails"),
)


def loss_of(by_seed: Sequence[float], against: Sequence[float]) -> Loss:
    """Points lost, from shares of the same seeds; the interval is Student's over their differences."""
    differences = [100 * (other - own) for own, other in zip(by_seed, against, strict=True)]
    middle = mean(differences)
    if len(differences) < 2:
        return Loss(middle, -math.inf, math.inf)
    t = _T[len(differences) - 2] if len(differences) - 2 < len(_T) else 1.96
    half = t * stdev(differences) / math.sqrt(len(differences))
    return Loss(middle, middle - half, middle + half)


def losses(document: Mapping[str, Any], claim: Claim) -> dict[str, Loss]:
    """Of each task, and "all": the mean over tasks of each seed."""
    shares = {(row["method"], row["task"]): row["exact_match_by_seed"] for row in document["rows"]}
    found = {}
    columns: list[tuple[Sequence[float], Sequence[float]]] = []
    for task in document["tasks"]:
        pair = shares[claim.method, task], shares[claim.against, task]
        columns.append(pair)
        found[task] = loss_of(*pair)
    seeds = min(len(own) for own, _ in columns)
    found["all"] = loss_of(
        [mean(own[i] for own, _ in columns) for i in range(seeds)],
        [mean(other[i] for _, other in columns) for i in range(seeds)],
    )
    return found


def judgement(document: Mapping[str, Any], claim: Claim) -> str:
    """supported, not supported, depends on the task, or not decided, and on what it rests, in a sentence."""
    found = losses(document, claim)
    kinds = {row["task"]: row["kind"] for row in document["rows"]}
    says = {task: loss.says() for task, loss in found.items() if task != "all"}
    wanted, unwanted = ("holds", "fails") if claim.expected == "holds" else ("fails", "holds")
    for_it = [task for task, said in says.items() if said == wanted]
    against_it = [task for task, said in says.items() if said == unwanted]
    overall = found["all"].says()
    if against_it and for_it:
        verdict = "depends on the task"
    elif overall == wanted and not against_it:
        verdict = "supported"
    elif overall == unwanted or len(against_it) == len(says):
        verdict = "not supported"
    else:
        verdict = "not decided"
    by_kind = {
        kind: mean(found[task].mean for task in says if kinds[task] == kind) for kind in dict.fromkeys(kinds.values())
    }
    parts = ", ".join(f"{loss:+.1f} where the task is {_KINDS[kind]}" for kind, loss in by_kind.items())
    named = (
        (f"; within {LIMIT:g}: {', '.join(t for t, s in says.items() if s == 'holds') or 'none'}")
        + (f"; surely not: {', '.join(t for t, s in says.items() if s == 'fails') or 'none'}")
        + (f"; open: {', '.join(t for t, s in says.items() if s == 'open') or 'none'}")
    )
    return f"{verdict}: loses {found['all']} points in the mean of all tasks ({parts}){named}"


_KINDS = {"understanding": "to understand prompts anew", "writing": "to write in a new way"}
