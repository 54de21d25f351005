"""Random small clusters and their requests, for properties that hold in all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from sunsim.scenario import Scenario
from sunsim.scenario.pools import ADAPTIVE, LOOKS_AT_OUTPUTS, STATE_BLIND
from tests.cluster.worlds import Host, Row, pool, scenario, write_link

BLOCK_SIZE = 4
LONGEST_PROMPT = 40
LONGEST_OUTPUT = 30
LEAST_BLOCKS = -(-(LONGEST_PROMPT + LONGEST_OUTPUT) // BLOCK_SIZE) + 1
ROUTERS = ["round-robin", "random", "least-requests", "least-tokens", "power-of-two-choices"]
KNOWN = [{"known": "exact"}, {"known": "none"}, {"known": "predicted", "accuracy": 0.5}]
NO_DELAY = Host()
MEASURED = {"measured": "link.json"}
BESIDE = {"measured": "beside.json"}
PROFILE: dict[str, Any] = {"block_size": BLOCK_SIZE, "kv_bytes_per_token": 1_000_000}  # a prompt moves in about a step


@dataclass(frozen=True)
class Drawn:
    """A cluster, but for its profile, and its requests."""

    models: list[str]
    pools: dict[str, dict[str, Any]]
    blocks: dict[str, Any]
    rows: list[Row]
    host: Host = NO_DELAY

    def scenario(self, profile: Path, **blocks: Any) -> Scenario:
        pools = {stage: pool(profile, **options) for stage, options in self.pools.items()}
        if (transfer := self.blocks.get("transfer")) in (MEASURED, BESIDE):
            path = profile.with_name(transfer["measured"])
            blocks["transfer"] = {"measured": str(write_link(path, beside=transfer == BESIDE))}
        return scenario(self.models, pools, **(self.blocks | blocks))


@st.composite
def pools(draw: st.DrawFn, models: list[str], *, adaptive: bool) -> dict[str, Any]:
    """A pool, scarce in every way that its requests can bear; `adaptive`: with any router that may look at outputs."""
    isolated = draw(st.booleans())
    seqs = draw(st.integers(1, 5))
    router = draw(st.sampled_from([*ROUTERS, *sorted(ADAPTIVE)] if adaptive else ROUTERS))
    known = st.sampled_from(KNOWN) if router in ADAPTIVE else st.none() | st.sampled_from(KNOWN)
    reports = st.fixed_dictionaries({"every_ms": st.sampled_from([1.0, 30.0]), "delay_ms": st.sampled_from([0.0, 7.0])})
    load_report = None if router in STATE_BLIND else draw(st.none() | reports)
    number = st.integers(1, 2) if isolated else st.integers(1, 3)
    return {
        "policy": "isolated" if isolated else "shared",
        "workers": {name: draw(number) for name in models} if isolated else draw(number),
        "router": router,
        "load_report": load_report,
        "output_lengths": draw(known) if router in LOOKS_AT_OUTPUTS and adaptive else None,
        "max_num_seqs": seqs,
        "max_num_batched_tokens": draw(st.integers(seqs, 60)),
        "num_gpu_blocks": LEAST_BLOCKS + draw(st.integers(0, 30)),
    }


def convertible(least_blocks: int = LEAST_BLOCKS) -> st.SearchStrategy[dict[str, Any]]:
    """Decode workers that take whole requests when prefill has any, or only when it has a few."""
    return st.fixed_dictionaries(
        {
            "workers": st.integers(1, 3),
            "max_chunk_tokens": st.integers(1, 30),
            "threshold_s": st.sampled_from([1e-6, 0.002, 0.02]),
            "num_gpu_blocks": st.integers(least_blocks, least_blocks + 30),
        }
    )


@st.composite
def elastic(draw: st.DrawFn, pool: dict[str, Any], stage: str, future: bool = True) -> dict[str, Any]:
    """The same pool where workers come and go within tenths of a second, maybe with a policy that knows the `future`."""
    bounds = st.builds(lambda least, more: {"min": least, "max": least + more}, st.integers(1, 2), st.integers(0, 2))
    isolated = pool["policy"] == "isolated"
    workers = {name: draw(bounds) for name in pool["workers"]} if isolated else draw(bounds)
    moments = sorted(draw(st.sets(st.integers(1, 30), max_size=8)))
    numbers = st.integers(1, 4)
    kinds: list[dict[str, Any]] = [
        {"kind": "schedule", "workers": [[0.0, draw(numbers)], *([at / 20, draw(numbers)] for at in moments)]},
        {"kind": "utilisation", "target": 0.3},
        {"kind": "request-rate", "rps_per_worker": draw(st.sampled_from([20.0, 200.0]))},
        {"kind": "token-velocity", "signal": "rate", "target": 0.01},
    ]
    if future:
        kinds.append({"kind": "oracle", "target": 0.01})
    if stage != "prefill":
        kinds.append({"kind": "kv-usage", "target": 0.2})
    if stage != "decode":
        kinds.append({"kind": "token-velocity", "threshold_s": 0.001, "target": 0.2})
    times = {
        "interval_s": draw(st.sampled_from([0.02, 0.05])),
        "start_s": draw(st.sampled_from([0.0, 0.03, 0.1])),
        "cooldown_s": draw(st.sampled_from([0.0, 0.07])),
        "warm_workers": draw(st.integers(0, 1)),
        "grow": draw(st.sampled_from([None, {"workers": 1, "every_s": 0.1}])),
        "shrink": draw(st.sampled_from([None, {"workers": 1, "every_s": 0.1}])),
    }
    return pool | {"workers": workers, "scaling": draw(st.sampled_from(kinds)) | times}


@st.composite
def elastic_clusters(draw: st.DrawFn) -> Drawn:
    """Any cluster in which some stage is elastic."""
    drawn = draw(clusters())
    which = draw(st.sets(st.sampled_from(sorted(drawn.pools)), min_size=1))
    pools = {stage: draw(elastic(pool, stage)) if stage in which else pool for stage, pool in drawn.pools.items()}
    return replace(drawn, pools=pools)


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    """One without a delay, or with launches and stalls that take from a fraction of a step to several."""
    if draw(st.booleans()):
        return NO_DELAY
    delays = st.sampled_from([0, 10**7, 10**9, 10**10, 5 * 10**10])
    launch, graph_launch, lead, stall = (draw(delays) for _ in range(4))
    reading = draw(st.sampled_from([0, 10**7, 10**9]))
    tail, pause = (draw(st.just(0) | st.integers(0, 10**10)) for _ in range(2))
    every = draw(st.integers(10**11, 10**12))
    return Host(launch, graph_launch, lead, tail, pause, reading, every=every, stall=stall)


@st.composite
def clusters(draw: st.DrawFn, stages: tuple[str, ...] = ("prefill", "decode", "both", "colocated")) -> Drawn:
    """A cluster of these stages, with up to 30 requests that come as fast as steps or faster."""
    models = [f"m{i}" for i in range(draw(st.integers(1, 3)))]
    which = draw(st.sampled_from(stages))
    named = ("prefill", "decode") if which == "both" else (which,)
    gap_ps = draw(st.sampled_from([10**7, 10**9, 2 * 10**10]))
    row = st.tuples(
        st.integers(0, gap_ps),
        st.integers(0, len(models) - 1),
        st.integers(1, LONGEST_PROMPT),
        st.integers(1, LONGEST_OUTPUT),
    )
    rows, now = [], 0
    for gap, *rest in draw(st.lists(row, min_size=1, max_size=30)):
        now += gap
        rows.append((now, *rest))
    blocks = {
        "seed": draw(st.integers(0, 9)),
        "first_token": draw(st.sampled_from(["decode", "prefill"])),
        "transfer": draw(
            st.sampled_from([MEASURED, BESIDE])
            | st.fixed_dictionaries(
                {"bandwidth_gbit_s": st.sampled_from([10.0, 400.0]), "latency_ms": st.sampled_from([0.0, 0.1])}
            )
        ),
    }
    found = {stage: draw(pools(models, adaptive=stage != "prefill")) for stage in named}
    if which == "both":
        found["decode"]["convertible"] = draw(st.none() | convertible())
    return Drawn(models, found, blocks, rows, draw(hosts()))  # type: ignore[arg-type]


def crowd(**options: Any) -> Drawn:
    """Sixty requests of two models, faster than their pools can serve them."""
    rows = [(i * 4_000_000_000, i % 3 % 2, 1 + 7 * i % 40, 1 + 11 * i % 30) for i in range(60)]
    pools: dict[str, dict[str, Any]] = {
        "prefill": {"policy": "isolated", "workers": {"a": 1, "b": 1}, "max_num_seqs": 8, "max_num_batched_tokens": 60},
        "decode": {
            "policy": "shared",
            "workers": 2,
            "max_num_seqs": 6,
            "router": options.pop("router", "least-tokens"),
        },
    }
    for name, value in options.pop("decode", {}).items():
        pools["decode"][name] = value
    if not options.pop("prefill", True):
        del pools["prefill"]
    return Drawn(["a", "b"], pools, {"first_token": "decode"} | options, rows)
