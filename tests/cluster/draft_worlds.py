"""Workers that draft, for tests: step times to add up by hand, and random small clusters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from sunsim.latency.steps import Chunk, DecodeLine, DraftStepTimes, Outside, WorkerTimes, takes_drafts
from sunsim.scenario.pools import ADAPTIVE
from tests.cluster.drawn import BLOCK_SIZE, LONGEST_OUTPUT, LONGEST_PROMPT, PROFILE, Drawn, clusters, elastic
from tests.cluster.worlds import Host, Hosted, Steps, TimesOn
from tests.synthetic import write_family


@dataclass(frozen=True)
class DraftSteps(Steps):
    """As `Steps`; a step takes `draft` more for each draft in it."""

    draft: int = 0

    def decode_line_k(self, batch: int, context_tokens: int, k: int) -> DecodeLine:
        base, slope, limit, outside = self.decode_line(batch, context_tokens)
        return DecodeLine(base + self.draft * batch * k, slope, limit, outside)

    def chunked_step_k(
        self, batch: int, context_tokens: int, chunks: list[Chunk], k: int
    ) -> tuple[int, Outside | None]:
        step_ps, outside = self.chunked_step(batch, context_tokens, chunks)
        return step_ps + self.draft * batch * k, outside


@dataclass(frozen=True)
class DraftHosted(Hosted):
    """As `Hosted`, of a worker that drafts."""

    times: DraftStepTimes

    def decode_line_k(self, batch: int, context_tokens: int, k: int) -> DecodeLine:
        return self.times.decode_line_k(batch, context_tokens, k)

    def chunked_step_k(
        self, batch: int, context_tokens: int, chunks: list[Chunk], k: int
    ) -> tuple[int, Outside | None]:
        return self.times.chunked_step_k(batch, context_tokens, chunks, k)


def over(host: Host) -> TimesOn:
    """The times of the same steps on this host, with drafts or without."""

    def hosted(times: WorkerTimes) -> WorkerTimes:
        return DraftHosted(times, host) if takes_drafts(times) else host.over(times)

    return hosted


def speculation(models: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Any `speculative_config` of up to three drafts, with everything that a scenario may say of them."""
    return st.integers(1, 3).flatmap(lambda most: _speculation(models, most))


@st.composite
def _speculation(draw: st.DrawFn, models: list[str], most: int) -> dict[str, Any]:
    rate = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0.0, 1.0)
    rates = st.lists(rate, min_size=most, max_size=most).map(lambda some: sorted(some, reverse=True))
    block = st.fixed_dictionaries({"synthetic_acceptance_rates": rates}) | st.fixed_dictionaries(
        {"synthetic_acceptance_length": st.floats(1.0, most + 1.0)}
    )
    contexts = draw(st.sets(st.integers(1, LONGEST_PROMPT + LONGEST_OUTPUT), max_size=2).map(sorted))
    ends = draw(st.sets(st.integers(1, 5), max_size=3).map(sorted))
    ranges = [[begin + 1, end, draw(st.integers(0, most))] for begin, end in pairwise([0, *ends])]
    return draw(block) | {
        "method": draw(st.sampled_from(["eagle", "ngram_gpu"])),
        "num_speculative_tokens": most,
        "num_speculative_tokens_per_batch_size": ranges or None,
        "acceptance": draw(st.sampled_from(["drawn", "expected"])),
        "models": {name: draw(block) for name in models if draw(st.booleans())},
        "contexts": [draw(block) | {"from_tokens": tokens} for tokens in contexts],
    }


@st.composite
def drafting_clusters(draw: st.DrawFn, *, some_elastic: bool = False) -> Drawn:
    """Any cluster that can have drafts and whose last stage has them; some are elastic there."""
    drawn = draw(clusters(("decode", "both", "colocated")))
    stage = "colocated" if "colocated" in drawn.pools else "decode"
    drawn = with_drafts(drawn, stage, draw(speculation(drawn.models)))
    if some_elastic and draw(st.booleans()):
        pool = draw(elastic(drawn.pools[stage], stage))
        drawn = replace(drawn, pools=drawn.pools | {stage: pool})
    return drawn


def with_drafts(drawn: Drawn, stage: str, config: dict[str, Any]) -> Drawn:
    """The same cluster with drafts in a stage."""
    return replace(drawn, pools=drawn.pools | {stage: drafting_pool(drawn.pools[stage], config)})


def drafting_pool(pool: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """The same stage with drafts, without what does not go with them, and with room for them."""
    most = config["num_speculative_tokens"]
    changes: dict[str, Any] = {"speculative_config": config}
    if "convertible" in pool:
        changes["convertible"] = None
    if pool.get("router") in ADAPTIVE:
        changes |= {"router": "least-tokens", "output_lengths": None}
    if "max_num_batched_tokens" in pool:
        changes["max_num_batched_tokens"] = max(pool["max_num_batched_tokens"], pool["max_num_seqs"] * (most + 1))
    if "num_gpu_blocks" in pool:
        changes["num_gpu_blocks"] = pool["num_gpu_blocks"] + -(-3 * most // BLOCK_SIZE)
    return pool | changes


def write_families(folder: Path) -> Path:
    """Profiles of drafting workers for `drafting_clusters`; gives the path of that without drafts."""
    write_family(folder, 1, 3, method="ngram_gpu", name="profile.json", **PROFILE)
    return write_family(folder, 1, 3, name="profile.json", **PROFILE)
