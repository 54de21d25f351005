"""The report of a plan, from the content of `plan.json`: one list of blocks for terminal, Markdown and page."""

from collections.abc import Mapping, Sequence

from sunsim.plan.caveats import caveats
from sunsim.plan.conclusion import assumed, conclusion, heading
from sunsim.plan.elastic import pool_table, some_elastic
from sunsim.plan.errors import error_table
from sunsim.plan.headline import failures, headline
from sunsim.plan.tables import models, overview, rates, sensitivity, slos, workers
from sunsim.plan.tried import points
from sunsim.plan.velocity import velocity_table
from sunsim.plan.way_tables import needed
from sunsim.report.blocks import Bullets, Code, Figure, Gallery, Note, Report, Section, Verdict
from sunsim.report.entries import Entry
from sunsim.version import __version__

Pictures = Mapping[str, Sequence[Figure]]

SLO = (
    "The share of requests within each limit, over all seeds. ± is the 95 % interval of the mean over the seeds, in "
    "percentage points; the worst window is of any seed. Below each plan: what breaks first with one GPU less, and the share "
    "of that model."
)
ERRORS = (
    "How far off the simulation of such steps was: TPOT of decode steps, TTFT of steps with a prompt, mean size and by how "
    "much real ones were slower at most. Of all that was seen, on what comes closest to the planned traffic: real runs of the profile's card, "
    "model and variant whose requests were about as long (at least three, means of tokens within 1.5 times); else the "
    "profile's own traffic, each sweep predicted by a model fitted to the others; else all real runs. Real runs: how many "
    "there are in all."
)
VELOCITY = (
    "V_P: prompt tokens that a worker prefills in a second, in steps as full as they may be. V_N: tokens whose KV one link "
    "moves in a second. V_D: tokens, prompts' and outputs' together, whose requests end on a decode worker in a second, in the "
    "largest batch within the TPOT limit, at the mean lengths of the planned requests."
)
ELASTIC = (
    "Of the measured window, over all seeds: a GPU is held from the order of its worker to its release. GPUs of elastic pools "
    "are means everywhere in this report."
)
OTHERS = (
    "GPUs in all. The requests are the same draws, at another rate, with longer or shorter outputs, or of another skew; of arms "
    "that draft also with a fifth fewer of each acceptance rate, which are assumed. "
    "Slower steps: by how much real ones were slower than simulated where the error above was seen, faster ones counting as "
    "none (root mean square), and by how much at most."
)


def plan_report(plan: Entry, scenario: str, pictures: Pictures) -> Report:
    """What a plan found.

    Args:
        plan: the content of `plan.json`.
        scenario: the resolved one, shown at the end.
        pictures: what `plots.plan.pictures` draws of the plan, or as much of it as is wanted.
    """
    hashes = "; ".join(f"{name} {sha256[:12]}" for name, sha256 in plan["profiles"].items())
    return Report(
        f"{plan['scenario']}: capacity plan",
        [
            [heading(plan), *assumed(plan)],
            headline(plan),
            Verdict(conclusion(plan), missed=not all(arm["passes"] for arm in plan["arms"].values())),
            overview(plan) if any(arm["gpus"] for arm in plan["arms"].values()) else None,
            Section("Elastic pools", [Note(ELASTIC), pool_table(plan)]) if some_elastic(plan) else None,
            Section("Why no pool passes", [failures(plan)], in_full=True),
            Gallery(pictures.get("gpus", ())),
            Section("What each way needs", [needed(plan)]),
            Section("How far off", [Note(ERRORS), error_table(plan)]),
            Section("SLO", [Note(SLO), slos(plan)], in_full=True),
            Section(
                "Rate",
                [
                    Note("The pools of each arm at other rates, with the first seed."),
                    Gallery(pictures.get("rate", ())),
                    Section("Every rate", [rates(plan)], folded=True),
                ],
                in_full=True,
            ),
            Section(
                "Models",
                [
                    Note("In the order of the scenario, at the planned rate, with the first seed."),
                    Gallery(pictures.get("models", ())),
                    Section("Every model", [models(plan)], folded=True),
                ],
                in_full=True,
            ),
            Section("Workers", [Gallery(pictures.get("workers", ())), workers(plan)], in_full=True),
            Section("What other conditions would need", [Note(OTHERS), sensitivity(plan)]),
            Section("Velocities", [Note(VELOCITY), velocity_table(plan)]),
            Section("Before you believe it", [Bullets(caveats(plan))]),
            Section("Every point", [points(plan)], folded=True),
            Section(
                "Again",
                [
                    Code(plan["command"], "sh"),
                    Section("The scenario with every default", [Code(scenario, "yaml")], folded=True),
                ],
                in_full=True,
            ),
        ],
        footer=[f"sunsim {__version__}; {plan['simulations']} simulations; profiles: {hashes}"],
    )
