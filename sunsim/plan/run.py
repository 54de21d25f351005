"""The verb `plan`: from a scenario with a `plan` block to a folder with the plan."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sunsim.errors import InputError
from sunsim.folder import Results
from sunsim.measured import refuse_empty, window_of
from sunsim.metrics import to_json
from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.plan.doubt import doubts
from sunsim.plan.find import plan_arm
from sunsim.plan.lab import Lab
from sunsim.plan.report import plan_report
from sunsim.plan.result import document
from sunsim.plan.variants import variants
from sunsim.points.local import cores
from sunsim.points.store import POINTS, Store
from sunsim.report.basis import base_models, basis
from sunsim.report.files import SCENARIO
from sunsim.report.format import count
from sunsim.report.html import to_html
from sunsim.report.markdown import to_markdown
from sunsim.report.origin import measured_range
from sunsim.report.terminal import say
from sunsim.roles import Stage
from sunsim.scenario import checked, read_source, resolved
from sunsim.workload.blocks import Closed, Synthetic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sunsim.document.source import Source
    from sunsim.report.blocks import Report
    from sunsim.scenario import Arm, Scenario

DOCUMENT = "plan.json"
MARKDOWN = "plan.md"
PAGE = "plan.html"
EXAMPLE = "plan: {attainment: 0.95, seeds: 3}"


def plan(
    file: Path,
    out: Path | None,
    overrides: Sequence[str],
    seed: int | None,
    *,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> bool:
    """Plans for every arm, writes the plan into a folder and prints what it says.

    Args:
        file: a scenario with a `plan` block.
        out: the folder; `results/<name>-plan` if None.
        overrides: `path=value` each.
        seed: replaces the scenario's.
        jobs: processes; None for all cores.
        as_json: print `plan.json` instead of tables.
        quiet: no progress and no tables.

    Returns:
        Whether every arm has a pool that passes.

    Raises:
        InputError: the scenario or the folder cannot be used.
        SimulationError: a simulation failed.
        KeyboardInterrupt: stopped by the user; says how to go on.
    """
    scenario = load(file, overrides, seed)
    assert scenario.plan
    out = out or Path("results") / f"{scenario.name}-plan"
    results = Results(out, "plan", (POINTS,))
    store = Store(results.folder)
    lab = Lab(store, jobs or cores(), scenario.plan.budget)
    of_stage = {
        str(stage): doubts(stage, [pool.profile_name for arm in scenario.arms if (pool := arm.pools().get(stage))])
        for stage in (Stage.PREFILL, Stage.DECODE)
    }
    searches = {arm.name: plan_arm(scenario, arm, variants(scenario, arm, of_stage)) for arm in scenario.arms}
    try:
        found = lab.conduct(searches, show_progress=not quiet)
    except KeyboardInterrupt:
        message = f"interrupted: {count(lab.simulated)} more points are kept, the same command goes on from there"
        raise KeyboardInterrupt(message) from None
    store.tell_damage()
    meta = _meta(scenario, file, overrides, seed, lab)
    store.inputs.refuse_changed()
    content = document(scenario, {arm.name: found[arm.name] for arm in scenario.arms}, of_stage, meta)
    report, names = _write(results, content, resolved(scenario))
    if as_json:
        sys.stdout.write(to_json(content))
    elif not quiet:
        say(report.blocks, place=f"{out}/ ({', '.join(names)})")
    return all(arm["passes"] for arm in content["arms"].values())


def load(file: Path, overrides: Sequence[str], seed: int | None) -> Scenario:
    """A scenario with its `plan` block.

    Raises:
        InputError: something in it is wrong, or it says too little to plan for.
    """
    source = read_source(file, overrides, seed)
    scenario = checked(source).changed(sweep=None)
    if scenario.plan is None:
        message = f"has no plan block, must have one such as {EXAMPLE}"
        raise InputError(message, file)
    if scenario.slo.ttft_ms is None:
        message = "slo.ttft_ms is missing, must be given to plan: without a limit on waiting any pool would do"
        raise source.error(("slo",), message)
    if isinstance(scenario.workload, Synthetic) and isinstance(scenario.workload.arrivals, Closed):
        message = "workload.arrivals.kind is closed, must be one with rate_rps: a plan is made for a rate of requests"
        raise source.error(("workload", "arrivals", "kind"), message)
    for index, arm in enumerate(scenario.arms):
        _check_arm(arm, index, scenario.plan.size, source)
    drawn = requests_under(scenario, AS_PLANNED)
    refuse_empty(scenario, drawn, source.error)
    if not window_of(scenario, drawn).length_s:
        message = f"all {count(len(drawn))} requests arrive at once, must arrive over some time to plan for their rate"
        raise source.error(("workload",), message)
    return scenario


def _check_arm(arm: Arm, index: int, size: str, source: Source) -> None:
    """An arm without a pool to size would come out as needing no GPU but those that it has."""
    if arm.colocated:
        message = f"arms.{arm.name}.colocated cannot be planned for, must be prefill and decode, or one of them"
        raise source.error(("arms", index, "colocated"), message)
    if size not in {"both", "none", *arm.pools()}:
        message = f"plan.size is {size}, but arms.{arm.name} has no {size} pool: must be both, or the arm left out"
        raise source.error(("plan", "size"), message)


def check(file: Path, overrides: Sequence[str], seed: int | None) -> str:
    """Says in one line what will be planned.

    Raises:
        InputError: something in it is wrong.
    """
    scenario = load(file, overrides, seed)
    assert scenario.plan
    what = {"both": "prefill and decode pools", "none": "no pool, only the highest rate"}
    sized = what.get(scenario.plan.size, f"{scenario.plan.size} pools")
    return f"plan: sizes {sized} of {len(scenario.arms)} arms, {scenario.plan.seeds} seeds each"


def _meta(scenario: Scenario, file: Path, overrides: Sequence[str], seed: int | None, lab: Lab) -> dict[str, Any]:
    profiles = scenario.profiles
    parts = ["sunsim", "plan", str(file)]
    parts += [part for override in overrides for part in ("--set", override)]
    parts += [] if seed is None else ["--seed", str(seed)]
    return {
        "command": shlex.join(parts),
        "simulations": lab.asked,
        "profiles": {name: profile.sha256 for name, profile in profiles.items()},
        "measured_ranges": {name: measured_range(profile) for name, profile in profiles.items()},
        "base_models": base_models(scenario),
        "basis": basis(scenario),
    }


def _write(results: Results, content: Mapping[str, Any], scenario: str) -> tuple[Report, list[str]]:
    """Writes the plan in every form; its report, and the names of what is in the folder."""
    from plots.plan import pictures  # noqa: PLC0415 - bad input need not wait for matplotlib

    report = plan_report(content, scenario, pictures(content))
    texts = {
        PAGE: to_html(report),
        DOCUMENT: to_json(content),
        MARKDOWN: to_markdown(report),
        SCENARIO: scenario,
    }
    with results.writing() as folder:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    return report, [*texts, f"{POINTS}/"]
