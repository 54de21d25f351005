"""A plan: the content of `plan.json`, from which every text, table and figure is made, and its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sunsim.folder import Results
from sunsim.measured import arriving_s, window_of
from sunsim.metrics import to_json
from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.plan.doubt import Doubt, Seen
from sunsim.plan.elastic import hours, some_elastic
from sunsim.plan.report import plan_report
from sunsim.plan.scenarios import MADE, scenario_files, scenario_of
from sunsim.plan.traced import Made
from sunsim.plan.windows import Stretches
from sunsim.points.store import POINTS
from sunsim.report.blocks import Report
from sunsim.report.html import to_html
from sunsim.report.markdown import to_markdown
from sunsim.result import SCENARIO
from sunsim.scenario import Scenario
from sunsim.version import __version__
from sunsim.workload.blocks import Trace

Entry = dict[str, Any]

DOCUMENT = "plan.json"
MARKDOWN = "plan.md"
PAGE = "plan.html"
SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False, repr=False)
class PlanResult:
    """A plan.

    Attributes:
        document: the content of `plan.json`.
        scenario: the YAML that it was made for, with every default.
        made: the scenario as it was made for a trace.
    """

    document: dict[str, Any]
    scenario: str
    made: Made | None = None

    @cached_property
    def report(self) -> Report:
        """What it says, with its figures."""
        from plots.plan import pictures  # noqa: PLC0415 - bad input need not wait for matplotlib

        return plan_report(self.document, self.scenario, pictures(self.document))

    @property
    def arms(self) -> dict[str, str]:
        """The file of each arm that passes: a scenario with the pools found."""
        return scenario_files(self.document)

    def table(self) -> pd.DataFrame:
        """A row an arm: whether it passes, its GPUs, where pools are elastic GPU-hours, exact match where an arm names an
        accuracy file, and the share of requests that meet the SLO.
        """
        rows = {
            name: {
                "passes": arm["passes"],
                **{f"{stage}_gpus": gpus for stage, gpus in (arm["gpus"] or {}).items()},
                **({"gpu_hours": hours(self.document, arm)} if some_elastic(self.document) else {}),
                **({"exact_match": (arm["accuracy"] or {}).get("exact_match")} if "accuracy" in arm else {}),
                "slo_attainment": arm["attained"]["share"] if arm["gpus"] else None,
            }
            for name, arm in self.document["arms"].items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")

    def save(self, folder: Path | str) -> list[str]:
        """Writes what `sunsim plan --out` writes besides the points; the names of the files.

        Raises:
            InputError: the folder cannot be written, or holds something else.
        """
        texts = {
            PAGE: to_html(self.report),
            DOCUMENT: to_json(self.document),
            MARKDOWN: to_markdown(self.report),
            SCENARIO: self.scenario,
            **{
                name: scenario_of(self.document, self.scenario, arm, name.removesuffix(".yaml"))
                for arm, name in self.arms.items()
            },
        }
        if self.made:
            texts[MADE] = self.made.text(Path(folder))
        with results(Path(folder)).writing() as place:
            for name, text in texts.items():
                (place / name).write_text(text, encoding="utf-8")
        return list(texts)

    def __repr__(self) -> str:
        return f"{self.document['scenario']}\n{self.table()}"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        html: str = self.table().to_html()
        return html


def results(folder: Path) -> Results:
    """A folder for a plan; nothing is made yet.

    Raises:
        InputError: it cannot be written, or holds something else.
    """
    return Results(folder, "plan", (POINTS,))


def document(
    scenario: Scenario,
    arms: Mapping[str, Entry],
    doubts: Mapping[str, Mapping[str, Doubt]],
    meta: Mapping[str, Any],
) -> Entry:
    """All of a plan.

    Args:
        scenario: with its plan block.
        arms: what was found out about each, in the order of the scenario.
        doubts: by kind of steps and profile.
        meta: where it came from: command, basis, hashes, number of simulations.
    """
    assert scenario.plan
    plan, drawn = scenario.plan, requests_under(scenario, AS_PLANNED)
    stretches = Stretches.of(scenario)
    window, sessions = window_of(scenario, drawn), drawn.sessions
    each = [(stage, doubt) for stage, of_profile in doubts.items() for doubt in of_profile.values()]
    too_short = any(arm["portrait"]["window_too_short"] for arm in arms.values() if arm.get("portrait"))
    return {
        "schema_version": SCHEMA_VERSION,
        "sunsim_version": __version__,
        "scenario": scenario.name,
        "seeds": [scenario.seed + i for i in range(plan.seeds)],
        "attainment": plan.attainment,
        "require": plan.require,
        "worst_window": {"length_s": stretches.length_s, "fewest_requests": stretches.fewest},
        "slo": scenario.slo.limits,
        "size": plan.size,
        "price_per_gpu_hour": plan.price_per_gpu_hour,
        "models": list(scenario.model_names),
        "trace": isinstance(scenario.workload, Trace),
        "requests": len(drawn),
        "rate_rps": len(drawn) / arriving_s(scenario, drawn),
        **({"sessions_rps": sessions.begun / arriving_s(scenario, drawn)} if sessions and sessions.react else {}),
        "window": {"start_s": window.start_s, "end_s": window.end_s, "too_short": too_short},
        "arms": dict(arms),
        "errors": [
            {
                "profile": doubt.profile,
                "stage": stage,
                "runs": len(doubt.errors),
                "seen": doubt.seen,
                "seen_in": len(doubt.found),
                "mean_percent": doubt.mean,
                "too_fast_percent": doubt.slower_at_worst,
            }
            for stage, doubt in each
            if doubt.seen is not Seen.NOWHERE
        ],
        "estimate_errors": [
            {"profile": doubt.profile, "stage": stage, **doubt.estimate.model_dump(), "unknown": estimated.unknown}
            for stage, doubt in each
            if doubt.estimate and (estimated := scenario.profiles[doubt.profile].data.estimated)
        ],
        **meta,
    }
