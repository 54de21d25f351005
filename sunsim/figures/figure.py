"""What a figure is: sweeps, a table made of them, a drawing of the table, and a caption."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from plots.paper.page import Page
from sunsim.figures.captions import Caption, of_plans
from sunsim.figures.sweeps import Frames, SweepFile
from sunsim.sweep.grid import Grid


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        name: of its files.
        title: what it asks.
        sweeps: what it is made from; none of one that is made otherwise.
        table: the data that are drawn, from the frames of the sweeps.
        plot: draws them.
        seen: what can be read from them, with the numbers computed; full sentences.
        caption: from these sentences and the sweeps.
    """

    name: str
    title: str
    sweeps: tuple[SweepFile, ...]
    table: Callable[[Frames], pd.DataFrame]
    plot: Callable[[pd.DataFrame, Page], None]
    seen: Callable[[pd.DataFrame], str]
    caption: Callable[[str, Sequence[Grid]], Caption] = of_plans
