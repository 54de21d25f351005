"""How requests come, in short facts: at what rate, and for which models."""

from sunsim.report.format import counted
from sunsim.scenario import Scenario
from sunsim.scenario.blocks import ModelCount, Zipf
from sunsim.workload.blocks import Arrivals
from sunsim.workload.changes import Diurnal, Flips, PopularitySteps, RateSteps, Stretch


def arrivals_fact(arrivals: Arrivals, of: str = "", unit: str = "req/s") -> str:
    """Such as "Poisson arrivals at 5 req/s", and how that rate changes.

    Args:
        arrivals: of a loaded scenario.
        of: what arrives, where it is not requests.
        unit: of the rate.
    """
    return f"{arrivals.kind.capitalize()} arrivals{of} at {arrivals.mean_rps:g} {unit}{rate_changes(arrivals)}"


def rate_changes(arrivals: Arrivals) -> str:
    """What follows a rate that is only the mean of one that changes; empty where it stays."""
    curve, bursts = arrivals.curve, arrivals.bursts
    told = ""
    if isinstance(curve, Diurnal):
        told = f" in the mean, with a peak of {curve.peak_to_mean:g} times a period's mean every {curve.period_s:g} s"
    elif isinstance(curve, RateSteps):
        told = f" in the mean, in {counted(len(curve.rates), 'step')}"
    elif curve:
        told = f" in the mean, along {curve.path.name}"
    if bursts:
        told += f", with bursts of {bursts.factor:g} times the rate for {bursts.length_s:g} s"
        told += f", {bursts.every_s:g} s apart in the mean"
    return told


def popularity_facts(scenario: Scenario) -> list[str]:
    """How the models of requests are drawn; none where there is one model."""
    if len(scenario.model_names) == 1:
        return []
    models, changing = scenario.document.models, scenario.workload.popularity
    if not isinstance(models, ModelCount):
        fact = "popularity as given"
    elif isinstance(models.popularity, Zipf):
        fact = f"Zipf popularity, alpha {models.popularity.alpha:g}"
    else:
        fact = "equal popularity"
    if isinstance(changing, Flips):
        how = "moves on by one model" if changing.order == "rotate" else "is shuffled"
        return [f"{fact}, which {how} every {changing.every_s:g} s"]
    return [_in_steps(fact, changing) if changing else fact]


def _in_steps(fact: str, changing: PopularitySteps) -> str:
    steps = len(changing.steps)
    if not changing.steps[0].at_s:
        fact, steps = "popularity as given", steps - 1
    how = "" if changing.between == "jump" else ", in straight lines from one to the next"
    return f"{fact}, which changes in {counted(steps, 'step')}{how}" if steps else fact


def stretches_fact(stretches: tuple[Stretch, ...]) -> str:
    """Such as "2 parts of the trace end to end"."""
    return f"{counted(len(stretches), 'part')} of the trace end to end"
