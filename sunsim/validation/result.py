"""A validation: what was compared, the sentence that it comes down to, and all of it as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sunsim.report.format import listed
from sunsim.validation.arms import THROUGHPUT, ComparedArm, ComparedRound, Comparison
from sunsim.validation.check import CheckedCluster
from sunsim.validation.figures import Figure, known_errors, signed_percent
from sunsim.validation.floor import Pair
from sunsim.validation.server import sentences
from sunsim.validation.worker import Validated
from sunsim.validation.worker_figures import HEADERS, limit, signed_error
from sunsim.version import __version__

SCHEMA_VERSION = 1
DOCUMENT = "validation.json"
PAGE = "validation.html"

NAMED = 3
"""Missed targets that a verdict names."""

LAG_MS = 10.0
"""Of the p99: a router that is later than that was held up itself."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What was compared: worker runs, repeats among them and the arms that they make up; or live clusters."""

    results: list[Validated] = field(default_factory=list)
    floor: list[Pair] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    clusters: list[CheckedCluster] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every tolerance holds."""
        return all(result.holds for result in self.results)

    @property
    def sentence(self) -> str:
        """What it comes down to."""
        clusters = (cluster_verdict(each.points) for each in self.clusters)
        return verdict(self.results) if self.results else " ".join(clusters)


def document(validation: Validation) -> dict[str, Any]:
    """The content of `validation.json`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "sunsim_version": __version__,
        "verdict": validation.sentence,
        "holds": validation.holds,
        "runs": [_run(result) for result in validation.results],
        "noise_floor": [asdict(pair) for pair in validation.floor],
        "campaigns": [{"campaign": each.name, **_comparison(each)} for each in validation.comparisons],
        "clusters": [_cluster(each) for each in validation.clusters],
    }


def _run(result: Validated) -> dict[str, Any]:
    run, replayed = result.run, result.replayed
    return {
        "name": run.name,
        **{key: getattr(run.meta, key) for key in ("role", "stream", "card", "model", "variant", "date")},
        "requests": len(run.served),
        "profile": {"name": result.profile.name, "sha256": result.profile.sha256, "from": result.relation},
        "simulated_steps": replayed.steps,
        "outside_measured_share": replayed.outside / replayed.steps if replayed.steps else None,
        "saturated": result.saturated and {"start_s": result.saturated.start_s, "end_s": result.saturated.end_s},
        "holds": result.holds,
        "figures": {figure.tag: {k: v for k, v in asdict(figure).items() if k != "tag"} for figure in result.figures},
        "steps": [asdict(band) for band in result.bands],
        **({"spread": [asdict(each) for each in result.spread]} if result.spread else {}),
        **({"server": sentences(result)} if run.client else {}),
    }


def _cluster(checked: CheckedCluster) -> dict[str, Any]:
    return {
        "name": checked.cluster.name,
        "host": checked.cluster.plan.host,
        "verdict": cluster_verdict(checked.points),
        "points": [{"name": each.name, "slo": each.slo, **_comparison(each)} for each in checked.points],
        "noise_floor": [asdict(pair) for pair in checked.repeated],
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "window": asdict(comparison.window),
        "arms": [_arm(arm) for arm in comparison.arms],
        "gains": [asdict(gain) for gain in comparison.gains],
    }


def _arm(arm: ComparedArm) -> dict[str, Any]:
    same = {
        "decode_gpus": arm.decode_gpus,
        "requests": arm.requests,
        "overloaded": arm.overloaded,
        "actual": arm.actual,
        "simulated": arm.simulated,
        "error_percent": arm.errors,
    }
    if arm.live is None:
        return {"name": arm.name, "workers": arm.runs, **same}
    return {
        "run": arm.live.name,
        "arm": arm.name,
        "gpus": arm.gpus[THROUGHPUT],
        "router": arm.live.decode.router,
        "staleness_ms": arm.live.meta.staleness_ms,
        "submit_lag_ms_p99": arm.live.meta.submit_lag_ms_p99,
        **same,
        **({"rounds": {each.name: _round(each) for each in arm.rounds}} if arm.rounds else {}),
    }


def _round(compared: ComparedRound) -> dict[str, Any]:
    figures = {
        figure.tag: {"actual": figure.actual, "simulated": figure.simulated, "error_percent": figure.error_percent}
        for figure in compared.figures
    }
    return {"requests": compared.requests, **figures}


def verdict(results: Sequence[Validated]) -> str:
    """Whether the targets hold, which are missed by most, and how far off TPOT (prefill: TTFT) is."""
    judged = [(result, figure) for result in results for figure in result.judged]
    missed = [(result, figure) for result, figure in judged if not figure.holds]
    runs = "" if len(results) == 1 else f" over {len(results)} runs"
    if not judged:
        return f"No target is set{runs}; {_distance(results)}."
    score = f"{len(judged) - len(missed)} of {len(judged)} targets hold{runs}; {_distance(results)}."
    if not missed:
        return f"Holds: {score}"
    missed.sort(key=lambda item: _excess(item[1]), reverse=True)
    named = [
        f"{HEADERS[figure.tag][0]} {signed_error(figure)} ({limit(figure)})"
        + ("" if len(results) == 1 else f" in {result.name}")
        for result, figure in missed[:NAMED]
    ]
    if len(missed) > NAMED:
        named.append(f"{len(missed) - NAMED} more")
    return f"Misses: {listed(named)}; {score}"


def _excess(figure: Figure) -> float:
    """How many times its tolerance a figure is off."""
    if figure.error_percent is None or not figure.tolerance_percent:
        return float("inf")
    return abs(figure.error_percent) / figure.tolerance_percent


def _distance(results: Sequence[Validated]) -> str:
    texts = []
    for tag, decodes in (("mean_tpot_ms", True), ("mean_ttft_ms", False)):
        errors = known_errors([result for result in results if result.run.meta.does.decodes == decodes], tag)
        header = HEADERS[tag][0]
        if len(errors) == 1:
            texts.append(f"{header} is off by {signed_percent(errors[0])}")
        elif errors:
            off = np.abs(errors)
            texts.append(
                f"{header} is off by {off.mean():.2f} % in the mean of {len(off)} runs, {off.max():.2f} % at most"
            )
    return listed(texts) if texts else "nothing to compare"


def cluster_verdict(points: Sequence[Comparison]) -> str:
    """How far off a cluster's arms and the predicted gains are, and how late its routers were."""
    arms = [arm for point in points for arm in point.arms]
    off = np.abs(known_errors([arm for arm in arms if not arm.overloaded], "mean_tpot_ms"))
    texts = ["Every arm is overloaded"]
    if len(off) == 1:
        texts = [f"Mean TPOT is off by {off[0]:.2f} %"]
    elif len(off):
        texts = [f"Mean TPOT of {len(off)} arms is off by {off.mean():.2f} % in the mean, {off.max():.2f} % at most"]
    key = "mean_tpot_change_percent"
    gains = [
        abs(simulated - actual)
        for point in points
        for gain in point.gains
        if (simulated := gain.simulated[key]) is not None and (actual := gain.actual[key]) is not None
    ]
    if gains:
        texts.append(
            f"its change by sharing by {np.mean(gains):.2f} percentage points in the mean, {max(gains):.2f} at most"
        )
    return "; ".join([*texts, *_lateness(arms)]) + "."


def _lateness(arms: Sequence[ComparedArm]) -> list[str]:
    texts = []
    runs = [arm.live for arm in arms if arm.live]
    late = [run.meta.staleness_ms for run in runs if run.meta.staleness_ms]
    if late:
        typical, worst = np.median([each["p50"] for each in late]), max(each["p99"] for each in late)
        texts.append(
            f"the router learned of a request's end {typical:.1f} ms late (median; p99 at most {worst:.1f} ms)"
        )
    lagging = [f"{run.name} ({lag_ms:.0f} ms)" for run in runs if (lag_ms := run.meta.submit_lag_ms_p99) > LAG_MS]
    if lagging:
        named = ", ".join(lagging)
        texts.append(f"requests were submitted late in {named}, and are simulated as they were")
    return texts
