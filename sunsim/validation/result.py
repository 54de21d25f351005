"""A validated run, and the sentence that a number of them comes down to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sunsim.report.format import listed
from sunsim.validation.compare import HEADERS
from sunsim.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sunsim.latency.profile import Profile
    from sunsim.metrics.rows import Window
    from sunsim.validation.actual import ActualRun
    from sunsim.validation.arms import Comparison
    from sunsim.validation.compare import Figure
    from sunsim.validation.floor import Pair
    from sunsim.validation.replay import Replayed
    from sunsim.validation.steps import Band
    from sunsim.validation.targets import Relation

SCHEMA_VERSION = 1
DOCUMENT = "validation.json"
PAGE = "validation.html"

NAMED = 3
"""Missed targets that a verdict names."""


@dataclass(frozen=True, slots=True)
class Validated:
    """One run, what the simulator made of it, and how the two compare.

    Attributes:
        relation: where the profile comes from, as seen from the run.
        saturated: the stretch in which the actual run had a queue; None without one.
        bands: the check of single steps; empty without recorded steps.
    """

    run: ActualRun
    profile: Profile
    relation: Relation
    replayed: Replayed
    saturated: Window | None
    figures: list[Figure]
    bands: list[Band]

    @property
    def judged(self) -> list[Figure]:
        """The figures that have a tolerance."""
        return [figure for figure in self.figures if figure.holds is not None]

    @property
    def holds(self) -> bool:
        """Whether no tolerance is broken."""
        return all(figure.holds for figure in self.judged)

    def figure(self, tag: str) -> Figure | None:
        """One figure; None if the run has none of that name."""
        return next((figure for figure in self.figures if figure.tag == tag), None)


def signed_percent(error: float | None) -> str:
    """+0.42 %, -12.0 %; never -0.00 %."""
    if error is None:
        return "-"
    text = f"{error:+.2f}" if abs(error) < 9.995 else f"{error:+.1f}"
    return f"{text.replace('-0.00', '+0.00')} %"


def verdict(results: Sequence[Validated]) -> str:
    """One line: whether the targets hold, which are missed by most, and how far off TPOT (prefill: TTFT) is."""
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
        f"{HEADERS[figure.tag][0]} {signed_percent(figure.error_percent)} ({figure.tolerance_percent:g} %)"
        + ("" if len(results) == 1 else f" in {result.run.name}")
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
    for tag, roles in (("mean_tpot_ms", {"decode", "colocated"}), ("mean_ttft_ms", {"prefill"})):
        figures = [result.figure(tag) for result in results if result.run.meta.role in roles]
        errors = [figure.error_percent for figure in figures if figure and figure.error_percent is not None]
        header = HEADERS[tag][0]
        if len(errors) == 1:
            texts.append(f"{header} is off by {signed_percent(errors[0])}")
        elif errors:
            off = np.abs(errors)
            texts.append(
                f"{header} is off by {off.mean():.2f} % in the mean of {len(off)} runs, {off.max():.2f} % at most"
            )
    return listed(texts) if texts else "nothing to compare"


def document(
    results: Sequence[Validated], floor: Sequence[Pair], comparisons: Sequence[Comparison] = ()
) -> dict[str, Any]:
    """All of it as JSON has it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "sunsim_version": __version__,
        "verdict": verdict(results),
        "holds": all(result.holds for result in results),
        "runs": [_entry(result) for result in results],
        "noise_floor": [asdict(pair) for pair in floor],
        "campaigns": [asdict(comparison) for comparison in comparisons],
    }


def to_json(content: Mapping[str, Any]) -> str:
    """The text of `validation.json`."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _entry(result: Validated) -> dict[str, Any]:
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
