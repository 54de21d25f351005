"""What is known of a way to serve before anything is simulated: its cards, what it asks of the models, its real runs."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from sunsim.latency.profile import UNQUANTIZED
from sunsim.plan.doubt import TAGS, Runs
from sunsim.report.drafts_basis import drafter_of
from sunsim.roles import Module, Stage
from sunsim.scenario import Arm

Entry = dict[str, Any]

ANY = "any fine-tunes"
"""Where nothing is asked of them."""


def way(arm: Arm, models: int, reported: Mapping[str, Runs]) -> Entry:
    """Facts of an arm, as `plan.json` has them.

    Args:
        models: number of them.
        reported: real runs, by the name of a profile.
    """
    pools = arm.pools()
    return {
        "stages": list(pools),
        "policies": {stage: pool.block.policy for stage, pool in pools.items()},
        "profiles": {stage: pool.measured_as for stage, pool in pools.items()},
        "cards": {stage: pool.card for stage, pool in pools.items()},
        "needs": needs(arm, models),
        "validated": [
            _validated(stage, pool.measured_as, reported.get(pool.measured_as, {})) for stage, pool in pools.items()
        ],
    }


def needs(arm: Arm, models: int) -> list[str]:
    """What the models must be for this way to serve them, in words."""
    pools = arm.pools()
    found = []
    for stage, module in ((Stage.PREFILL, "prefill module"), (Stage.DECODE, "decoder")):
        if models > 1 and stage in pools and pools[stage].module is Module.SHARED:
            found.append(f"models tuned for one frozen {module}")
    if any(pool.module is Module.ADAPTER for pool in pools.values()):
        found.append("LoRA adapters of one base model")
    found = found or [ANY]
    variants = {
        stage: pool.profile.data.variant
        for stage, pool in pools.items()
        if pool.module is not Module.ADAPTER and pool.profile.data.variant != UNQUANTIZED
    }
    for variant in dict.fromkeys(variants.values()):
        stages = [str(stage) for stage, own in variants.items() if own == variant]
        what = "weights" if len(stages) == len(pools) else f"{' and '.join(stages)} weights"
        found.append(f"{variant}-quantized {what}")
    drafters = [drafter_of(pool, models) for pool in pools.values()]
    return found + [drafter for drafter in drafters if drafter]


def _validated(stage: Stage, profile: str, runs: Runs) -> Entry:
    """The reported runs of such workers, and how far off their simulation was: the mean of the sizes, and the worst."""
    of_stage = [errors for errors in runs.values() if _ran_as(errors) is stage]
    figures = {}
    for steps in stage.steps:
        errors = [each[TAGS[steps]] for each in of_stage]
        if errors:
            worst = max(errors, key=abs)
            figures[TAGS[steps]] = {"mean_percent": fmean(map(abs, errors)), "worst_percent": worst}
    return {"stage": stage, "profile": profile, "runs": len(of_stage), "figures": figures}


def _ran_as(errors: Mapping[str, float]) -> Stage:
    """What a worker did, by the figures of its run that could be judged."""
    if len(errors) == len(TAGS):
        return Stage.COLOCATED
    return next(Stage(steps) for steps, tag in TAGS.items() if tag in errors)
