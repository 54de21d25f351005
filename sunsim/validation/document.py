"""A validation as JSON has it."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from sunsim import __version__
from sunsim.validation.arms import THROUGHPUT, ComparedArm, Comparison
from sunsim.validation.check import CheckedCluster
from sunsim.validation.floor import Pair
from sunsim.validation.verdict import cluster_verdict, verdict
from sunsim.validation.worker import Validated

SCHEMA_VERSION = 1
DOCUMENT = "validation.json"
PAGE = "validation.html"


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
        return (
            verdict(self.results) if self.results else " ".join(cluster_verdict(each.points) for each in self.clusters)
        )


def to_json(validation: Validation) -> str:
    """The text of `validation.json`."""
    return json.dumps(_document(validation), indent=2, allow_nan=False) + "\n"


def _document(validation: Validation) -> dict[str, Any]:
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
        "role": run.meta.role,
        "stream": run.meta.stream,
        "card": run.meta.card,
        "model": run.meta.model,
        "variant": run.meta.variant,
        "date": run.meta.date,
        "requests": len(run.served),
        "profile": {"name": result.profile.name, "sha256": result.profile.sha256, "from": result.relation},
        "simulated_steps": replayed.steps,
        "outside_measured_share": replayed.outside / replayed.steps if replayed.steps else None,
        "saturated": result.saturated and {"start_s": result.saturated.start_s, "end_s": result.saturated.end_s},
        "holds": result.holds,
        "figures": {figure.tag: {k: v for k, v in asdict(figure).items() if k != "tag"} for figure in result.figures},
        "steps": [asdict(band) for band in result.bands],
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
    if arm.routing is None:
        return {"name": arm.name, "workers": arm.runs, **same}
    return {"run": arm.runs[0], "arm": arm.name, "gpus": arm.gpus[THROUGHPUT], **asdict(arm.routing), **same}
