"""Spreading a number of workers over models that each keep their own."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal


def allocate(
    workers: int, models: Sequence[str], weights: Sequence[float], allocation: Literal["equal", "proportional"]
) -> dict[str, int]:
    """Spreads `workers` over `models`, at least one each.

    ``equal``: the same number each; what is left over goes to the first models. ``proportional``: models whose fair
    share ``workers * weight / sum(weights)`` is below one get one; the rest is apportioned by largest remainder
    (Hamilton's method), ties to the model named first.

    Args:
        workers: number of workers.
        models: names, in the order that decides ties.
        weights: expected share of the requests of each model, any scale.
        allocation: the rule.

    Returns:
        Workers of each model, in the order of `models`.

    Raises:
        ValueError: there are fewer workers than models.
    """
    if workers < len(models):
        message = f"{workers} workers cannot serve {len(models)} models of their own"
        raise ValueError(message)
    if allocation == "equal":
        each, left = divmod(workers, len(models))
        return {model: each + (index < left) for index, model in enumerate(models)}
    share = {model: Fraction(weight) for model, weight in zip(models, weights, strict=True)}
    counts: dict[str, int] = {}
    quotas: dict[str, Fraction] = {}
    while len(counts) < len(models):
        rest = [model for model in models if model not in counts]
        total = sum(share[model] for model in rest)
        quotas = {model: (workers - len(counts)) * share[model] / total for model in rest}
        small = [model for model in rest if quotas[model] < 1]
        if not small:
            break
        counts |= dict.fromkeys(small, 1)
        quotas = {}
    whole = {model: int(quota) for model, quota in quotas.items()}
    left = workers - len(counts) - sum(whole.values())
    by_remainder = sorted(quotas, key=lambda model: whole[model] - quotas[model])
    counts |= whole | {model: whole[model] + 1 for model in by_remainder[:left]}
    return {model: counts[model] for model in models}
