"""What others have published of drafts, beside the step times of the shipped profiles: ``python -m benchmarks.drafts.published``.

None of it is from the card, the model and the engine of a profile, so times are not compared, but ratios: tokens a second with
drafts over those without. The acceptance length is taken from the source where it says one; the profile gives the cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from scipy.optimize import brentq

from benchmarks.drafts.steps import PROFILES, RATES, cost, length, times_of
from benchmarks.show import show
from sunsim.report.text_table import TextTable

PROFILE = PROFILES["bf16"]


class Point(NamedTuple):
    """A published speed.

    Attributes:
        drafts: of each request in a step.
        speedup: tokens a second over those without drafts, at one request at a time.
        length: mean acceptance length that the same source says; None if it says none.
    """

    source: str
    drafter: str
    drafts: int
    speedup: float
    length: float | None = None


EAGLE_LENGTHS = {2: 1.89, 4: 2.08}
"""Of Llama-3-8B's EAGLE drafter, vLLM PR #16035, by number of drafts."""
OTHER_LENGTH = 7, 2.77
"""Number of drafts and acceptance length of an EAGLE-3 drafter of the same family on MT-bench at temperature 1 (its card)."""
SINGLE = (
    Point("vLLM #16035, Llama-3-8B", "EAGLE", 2, 175.5 / 128.6, 1.89),
    Point("vLLM #16035, Llama-3-8B", "EAGLE", 4, 165.7 / 128.6, 2.08),
    Point("vLLM #16937, Llama-3.1-8B, H100", "EAGLE", 2, 1.51),
    Point("vLLM #16937, Llama-3.1-8B, H100", "EAGLE", 4, 1.48),
    Point("vLLM #16937, Llama-3.1-8B, H100", "EAGLE", 7, 1.27),
)
SINGLE_CONTEXT = 500
"""Tokens of a request of MT-bench, about; a step of one request hardly depends on it."""
GLM_RATES = (0.80, 0.65, 0.52)
GLM = {32: 13.5 / 28.6, 64: 14.7 / 30.7, 128: 17.1 / 35.1}
"""By concurrency, median time per token of GLM-5.2 with three drafts over that without (llm-d, 22 July 2026; H200, mixture of
experts, prefill apart)."""
GLM_CONTEXTS = (1500, 4096)
GEMMA = {400: 2139.8 / 2711.7, 900: 1839 / 1987}
"""By context, tokens a second of Gemma-4-31B FP8 with three drafts over those without, 256 requests (vLLM #48944; H100 NVL)."""
GEMMA_BATCH = 256
FALLING = {2_000: 2.30, 10_000: 1.40, 20_000: 1.08}
"""By context, acceptance length of an EAGLE-3 drafter (speculators PR #684); its number of drafts is not said, three here."""


def rates_through(lengths: dict[int, float], most: int) -> tuple[float, ...]:
    """Cumulative acceptance rates that fall by the same factor from draft to draft and give one or two lengths.

    With a rate r of the first draft and a factor c the length of K drafts is ``1 + r (1 + c + ... + c^(K-1))``. Two lengths, of
    K and 2 K drafts, give both; of one length r is taken to be c: each draft has the same chance when those before it are
    accepted.

    Raises:
        ValueError: two lengths are not of a number of drafts and its double.
    """
    (first, short), *rest = sorted(lengths.items())
    if not rest:
        factor = brentq(lambda c: sum(c ** (i + 1) for i in range(first)) - (short - 1), 0.0, 1.0)
        return tuple(factor ** (i + 1) for i in range(most))
    ((second, long),) = rest
    if second != 2 * first:
        message = f"lengths are of {first} and {second} drafts, must be of a number and its double"
        raise ValueError(message)
    factor = ((long - short) / (short - 1)) ** (1 / first)
    rate = (short - 1) / sum(factor**i for i in range(first))
    return tuple(rate * factor**i for i in range(most))


def single() -> Iterator[tuple[str, ...]]:
    """A row a published speed of one request at a time: what the profile's cost makes of its acceptance."""
    times = times_of(PROFILE, SINGLE_CONTEXT)
    own, other = rates_through(EAGLE_LENGTHS, 7), rates_through(dict([OTHER_LENGTH]), 7)
    for point in SINGLE:
        found = cost(times, 1, SINGLE_CONTEXT, point.drafts)
        used = point.length or length(own, point.drafts)
        implied = used / point.speedup
        yield (
            f"{point.source}, K={point.drafts}",
            f"{used:.2f}{'' if point.length else ' (derived)'}",
            f"{point.speedup:.2f}x",
            f"{used / found.cost:.2f}x",
            f"{implied:.2f}",
            f"{found.cost:.2f}",
            "-" if point.length else f"{length(other, point.drafts) / found.cost:.2f}x",
        )


def glm() -> Iterator[tuple[str, ...]]:
    """A row a concurrency: time per token with three drafts over that without."""
    for batch, published in GLM.items():
        found = [cost(times_of(PROFILE, context), batch, context, 3) for context in GLM_CONTEXTS]
        ratios = [each.cost / length(GLM_RATES, 3) for each in found]
        yield (f"{batch}", f"{published:.2f}", *(f"{ratio:.2f}" for ratio in ratios))


def gemma() -> Iterator[tuple[str, ...]]:
    """A row a context: tokens a second with three drafts over those without, and the length from which on drafts pay."""
    for context, published in GEMMA.items():
        for name, profile in PROFILES.items():
            found = cost(times_of(profile, context), GEMMA_BATCH, context, 3)
            speedup = f"{found.speedup(RATES):.2f}x"
            yield (
                f"{context}",
                name,
                f"{published:.2f}x",
                speedup,
                f"{found.cost:.2f}",
                f"{published * found.cost:.2f}",
            )


def falling(batches: Sequence[int] = (1, 8, 16)) -> Iterator[tuple[str, ...]]:
    """A row a context: what the drafts of a drafter give that guesses worse the longer the text is."""
    for context, accepted in FALLING.items():
        found = [cost(times_of(PROFILE, context), batch, context, 3) for batch in batches]
        yield (f"{context:,}", f"{accepted:.2f}", *(f"{accepted / each.cost:.2f}x" for each in found))


def tables() -> Iterator[str | TextTable]:
    """What was published, and what the profile makes of it."""
    own, other = rates_through(EAGLE_LENGTHS, 7), rates_through(dict([OTHER_LENGTH]), 7)
    yield (
        f"Profile: {PROFILE}. Lengths that #16937 does not say are derived from those of #16035 (K=2 1.89, K=4 2.08), by rates "
        f"that fall by the same factor from draft to draft: {_shown(own)}. The last column takes the length of a drafter of "
        f"another kind, EAGLE-3, at K=7 ({OTHER_LENGTH[1]}): rates {_shown(other)}. Implied cost: published length over "
        "published speed-up."
    )
    yield TextTable(
        "One request at a time",
        (
            "",
            "length",
            "published\nspeed-up",
            "with the\nprofile",
            "implied\ncost",
            "profile's\ncost",
            "with EAGLE-3's\nlength",
        ),
        list(single()),
    )
    yield TextTable(
        f"GLM-5.2: time per token with three drafts over that without (rates {_shown(GLM_RATES)}, length "
        f"{length(GLM_RATES, 3):.2f})",
        ("requests", "published", *(f"profile,\n{context:,} tokens" for context in GLM_CONTEXTS)),
        list(glm()),
    )
    yield TextTable(
        f"Gemma-4-31B: {GEMMA_BATCH} requests, three drafts; with the profiles at rates {_shown(RATES[:3])}",
        ("context", "", "published\nspeed-up", "with the\nprofile", "profile's\ncost", "length for the\npublished"),
        list(gemma()),
        left=2,
    )
    yield TextTable(
        "A drafter whose acceptance falls with the context: speed-up with three drafts",
        ("context", "published\nlength", *(f"{n} request{'s' if n > 1 else ''}" for n in (1, 8, 16))),
        list(falling()),
    )


def _shown(rates: Sequence[float]) -> str:
    return "/".join(f"{rate:.2f}" for rate in rates)


def main() -> None:
    """Prints the tables."""
    show(tables())


if __name__ == "__main__":
    main()
