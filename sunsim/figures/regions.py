"""Where in a grid of settings something holds: shares, and the largest box in which it holds throughout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import pandas as pd

Box = Mapping[str, tuple[Any, Any]]
"""The least and the greatest value of each factor."""

LARGE = 0.25
"""Share of the grid from which a box counts as a region."""
SMALL = 0.05
"""Share of the grid up to which a claim holds in exceptions only."""
NAMES = {
    "alpha": "Zipf alpha",
    "output_tokens": "output tokens",
    "rate_rps": "req/s",
    "decode_gpus": "decode GPUs",
    "shared_gpus": "decode GPUs",
}
"""Factors, for people."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where something holds.

    Attributes:
        settings, held: how many there are, and in how many of them it holds.
        shares: for each factor, the share of the settings with each of its values in which it holds.
        box: the largest range of all factors in which it holds in every setting; None if it holds nowhere.
        box_settings: settings in the box.
    """

    settings: int
    held: int
    shares: Mapping[str, Mapping[Any, float]]
    box: Box | None
    box_settings: int

    @property
    def share(self) -> float:
        return self.held / self.settings

    @property
    def decisive(self) -> str:
        """The factor over whose values the share varies most."""
        return max(self.shares, key=lambda name: max(self.shares[name].values()) - min(self.shares[name].values()))

    @property
    def verdict(self) -> str:
        """One of "reproduced ...", "depends on ...", "not reproduced"."""
        if not self.held or not self.box:
            return "not reproduced"
        if self.held == self.settings:
            return "reproduced in the whole region"
        if self.box_settings >= LARGE * self.settings:
            return f"reproduced in this region: {box_text(self.box, self.shares)}"
        if self.share <= SMALL:
            return f"not reproduced, but for {self.held} of {self.settings} settings"
        return f"depends on {NAMES.get(self.decisive, self.decisive)}"


def region(settings: pd.DataFrame, factors: Sequence[str]) -> Region:
    """`settings` has a row a setting, with its `factors` and whether it `holds`."""
    shares = {name: settings.groupby(name)["holds"].mean().to_dict() for name in factors}
    box, size = _largest_box(settings, factors)
    return Region(len(settings), int(settings["holds"].sum()), shares, box, size)


def _largest_box(settings: pd.DataFrame, factors: Sequence[str]) -> tuple[Box | None, int]:
    levels = [sorted(settings[name].unique().tolist()) for name in factors]
    shape = [len(of) for of in levels]
    places = tuple(np.searchsorted(of, settings[name].to_numpy()) for name, of in zip(factors, levels, strict=True))
    there, fails = np.zeros(shape, dtype=int), np.zeros(shape, dtype=bool)
    there[places] = 1
    fails[places] = ~settings["holds"].to_numpy(dtype=bool)
    best: Box | None = None
    size = 0
    for bounds in product(*(combinations_with_replacement(range(number), 2) for number in shape)):
        inside = tuple(slice(low, high + 1) for low, high in bounds)
        if not fails[inside].any() and there[inside].sum() > size:
            ends = [(of[low], of[high]) for of, (low, high) in zip(levels, bounds, strict=True)]
            best, size = dict(zip(factors, ends, strict=True)), int(there[inside].sum())
    return best, size


def box_text(box: Box, shares: Mapping[str, Mapping[Any, float]]) -> str:
    """A box in words, without the factors that it leaves free."""
    told = []
    for name, (low, high) in box.items():
        if (low, high) != (min(shares[name]), max(shares[name])):
            told.append(f"{NAMES.get(name, name)} {low:g}" + ("" if low == high else f" to {high:g}"))
    return ", ".join(told) or "everywhere"
