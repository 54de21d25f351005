"""Captions: what a figure shows, what in it was measured, simulated or chosen by us."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sunsim.latency.profile import Profile
from sunsim.report.format import count, listed, together
from sunsim.report.origin import origin
from sunsim.scenario import Arm, Scenario
from sunsim.scenario.blocks import ModelCount, Zipf
from sunsim.sweep.grid import Grid
from sunsim.workload.blocks import AzureLengths, Closed, Synthetic

MARKS = "bands and bars: 95 % interval of the mean, hollow: overloaded with at least one seed"
UNKNOWN = "none of these settings of SUN's paper is known to us"


@dataclass(frozen=True, slots=True)
class Caption:
    """The parts of a caption, each a list of statements but the first."""

    seen: str
    measured: Sequence[str]
    simulated: Sequence[str]
    chosen: Sequence[str]

    def paragraphs(self) -> list[str]:
        """All of it, to stand under the figure."""
        parts = {"Measured": self.measured, "Simulated": self.simulated, "Our choice": self.chosen}
        return [self.seen, *(f"{heading}: {'; '.join(facts)}." for heading, facts in parts.items() if facts)]


def of_plans(seen: str, plans: Sequence[Grid], marks: str = MARKS) -> Caption:
    """The caption of a figure made of sweeps; `marks` says how seeds are shown."""
    points, seeds = sum(plan.size for plan in plans), sorted({len(plan.seeds) for plan in plans})
    each = f"{listed([str(number) for number in seeds])} seeds a setting"
    runs = f"all serving figures, {count(points)} runs, mean of {each} (the same requests for every arm)"
    simulated = [f"{runs}, {marks}", "step times between the measured points"]
    scenarios = [plan.scenario for plan in plans]
    if any(arm.colocated for scenario in scenarios for arm in scenario.arms):
        simulated.append("a colocated worker's mixed steps, derived too, were compared with few real runs")
    return _caption(seen, simulated, scenarios, [swept(plan) for plan in plans])


def of_run(seen: str, scenario: Scenario) -> Caption:
    """The caption of a figure made of a single run."""
    return _caption(seen, [f"one run, seed {scenario.seed}, so no intervals"], [scenario], [{}])


def _caption(
    seen: str,
    simulated: list[str],
    scenarios: Sequence[Scenario],
    values: Sequence[Mapping[str, list[Any]]],
) -> Caption:
    chosen = _together([choices(scenario, swept) for scenario, swept in zip(scenarios, values, strict=True)])
    if any(profile.adapters for profile in _profiles(scenarios)):
        chosen.append("adapters share their base's weights, and a step may mix them")
    return Caption(seen, _measured(scenarios), simulated, [*chosen, UNKNOWN])


def choices(scenario: Scenario, swept: Mapping[str, list[Any]]) -> list[str]:
    """Every setting of a scenario that somebody had to choose, swept ones with all their values."""

    def value(path: str, own: Any) -> str:
        values = swept.get(path, [own])
        return listed([each if isinstance(each, str) else f"{each:g}" for each in values])

    models, work = scenario.document.models, _synthetic(scenario)
    assert isinstance(models, ModelCount)
    assert isinstance(models.popularity, Zipf)
    assert not isinstance(work.arrivals, Closed)
    alpha = value("models.popularity.alpha", models.popularity.alpha)
    rate = value("workload.arrivals.rate_rps", work.arrivals.mean_rps)
    arrivals = f"{work.arrivals.kind.capitalize()} arrivals at {rate} req/s for {work.duration_s:g} s"
    facts = [
        f"{models.count} models, Zipf alpha {alpha}",
        f"{arrivals}, of which the first {scenario.measure.warmup_s:g} s are not counted",
    ]
    if work.lengths.kind == "fixed":
        output = value("workload.lengths.output_tokens", work.lengths.output_tokens)
        facts.append(f"prompts of {work.lengths.prompt_tokens:,} tokens and outputs of {output}")
    else:
        facts.append(f"lengths of {work.lengths.kind}")
    facts.append(f"GPUs: {', '.join(_gpus(arm) for arm in scenario.arms)}")
    if any(len(arm.pools()) == 2 for arm in scenario.arms):
        link = scenario.transfer
        bandwidth = value("transfer.bandwidth_gbit_s", link.bandwidth_gbit_s)
        latency = value("transfer.latency_ms", link.latency_ms)
        measured = f"KV link {link.measured}, of which transfers at a time get equal shares"
        facts.append(measured if link.measured else f"KV link {bandwidth} Gbit/s a worker and {latency} ms")
        facts.append(f"first token from {value('first_token', scenario.first_token)}")
    routers = {pool.router for arm in scenario.arms for pool in arm.pools().values()}
    facts.append(f"routers {listed(sorted(routers))}")
    return facts


def _synthetic(scenario: Scenario) -> Synthetic:
    """The drawn requests that every figure's scenario has."""
    assert isinstance(scenario.workload, Synthetic)
    return scenario.workload


def _gpus(arm: Arm) -> str:
    """An arm with its GPUs in the xPyD notation."""
    letters = {"prefill": "P", "decode": "D", "colocated": " colocated"}
    numbers = {stage: pool.gpus for stage, pool in arm.pools().items()}
    return f"{arm.name} {''.join(f'{number}{letters[stage]}' for stage, number in numbers.items())}"


def swept(plan: Grid) -> dict[str, list[Any]]:
    """The values of each swept path, each once."""
    return {path: list(dict.fromkeys(each.values[path] for each in plan.combinations)) for path in plan.paths}


def _measured(scenarios: Sequence[Scenario]) -> list[str]:
    names = together((origin(profile), profile.name) for profile in _profiles(scenarios))
    facts = [f"steps, KV blocks and host delays of {listed(of)} ({where})" for where, of in names.items()]
    drawn = dict.fromkeys(_synthetic(scenario).lengths for scenario in scenarios)
    return facts + [f"lengths of {lengths.kind}" for lengths in drawn if isinstance(lengths, AzureLengths)]


def _profiles(scenarios: Sequence[Scenario]) -> list[Profile]:
    found = {name: profile for scenario in scenarios for name, profile in scenario.profiles.items()}
    return [found[name] for name in sorted(found)]


def _together(facts: Sequence[Sequence[str]]) -> list[str]:
    """What all scenarios have in common, then what each has of its own."""
    common = [fact for fact in facts[0] if all(fact in other for other in facts)]
    own = [", ".join(fact for fact in each if fact not in common) for each in facts]
    return common + [f"({number}) {text}" for number, text in enumerate(filter(None, own), 1)]
