"""The other conditions that a plan is made for as well, to see how much hangs on them."""

from collections.abc import Mapping

from sunsim.plan.conditions import Conditions, can_lengthen, has_skew
from sunsim.plan.doubt import Doubt, Seen
from sunsim.roles import Stage
from sunsim.scenario import Arm, Scenario

Doubts = Mapping[str, Mapping[str, Doubt]]
"""By kind of steps and profile."""

TYPICAL = "steps slower by the typical error"
WORST = "steps slower by the worst error"


def variants(scenario: Scenario, arm: Arm, doubts: Doubts) -> dict[str, Conditions]:
    """Conditions by what people call them; without `plan.sensitivity` only the typical error of the profiles."""
    assert scenario.plan
    found: dict[str, Conditions] = {}
    if scenario.plan.size == "none":
        return found
    if scenario.plan.sensitivity:
        found |= {f"rate {percent:+d} %": Conditions(rate=1 + percent / 100) for percent in (-20, -10, 10, 20)}
        if can_lengthen(scenario):
            found |= {f"outputs {percent:+d} %": Conditions(outputs=1 + percent / 100) for percent in (-20, 20)}
        if has_skew(scenario):
            found |= {f"alpha {shift:+.1f}": Conditions(alpha=shift) for shift in (-0.3, 0.3)}
        if arm.drafts:
            found |= {"accepted -20 %": Conditions(accepted=0.8)}
    of_arm = {
        steps: doubts[steps].get(pool.measured_as) for stage, pool in arm.pools().items() for steps in stage.steps
    }
    known = {steps: doubt for steps, doubt in of_arm.items() if doubt and doubt.seen is not Seen.NOWHERE}
    if known:
        found[TYPICAL] = _slower({steps: doubt.slower for steps, doubt in known.items()})
        if scenario.plan.sensitivity:
            found[WORST] = _slower({steps: doubt.slower_at_worst for steps, doubt in known.items()})
    return found


def _slower(percent: Mapping[str, float]) -> Conditions:
    return Conditions(
        decode_time=1 + percent.get(Stage.DECODE, 0.0) / 100, prefill_time=1 + percent.get(Stage.PREFILL, 0.0) / 100
    )
