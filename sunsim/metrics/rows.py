"""The rows of an arm as arrays, and the interval that figures come from.

A missing time or worker is NaN. Texts may be categorical.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Window:
    """The measured interval `[start_s, end_s)`, the same for every arm.

    A request belongs to it when it arrives inside; the last arrival, which sets the end, counts as inside. Both ends are
    moments of the clock in seconds, as rows have them, so that comparing these compares picoseconds.

    Attributes:
        too_short: what happens inside says nothing about a rate: it is empty, or a request takes longer.
    """

    start_s: float
    end_s: float
    too_short: bool = False

    @property
    def length_s(self) -> float:
        """Seconds that rates and means are over; 0 where there are none to be told."""
        return 0.0 if self.too_short else max(self.end_s - self.start_s, 0.0)

    def parts(self, number: int) -> list[Window]:
        """As many equal parts."""
        edges = np.linspace(self.start_s, self.end_s, number + 1).tolist()
        return [Window(low, high) for low, high in pairwise(edges)]

    def holds(self, arrival_s: Floats) -> Bools:
        """Which of these arrivals are inside."""
        inside: Bools = (arrival_s >= self.start_s) & (arrival_s <= self.end_s)
        return inside


def places_of(column: pd.Series) -> defaultdict[str, Indices]:
    """The places, ascending, at which each text stands in a column; none for a text that does not."""
    found = column.groupby(column, observed=True).indices
    return defaultdict(lambda: np.empty(0, np.intp), {str(text): np.asarray(places) for text, places in found.items()})


@dataclass(frozen=True, slots=True)
class Requests:
    """The rows of one arm, or of some of its requests, as plain arrays. Further columns are fields of a subclass."""

    arrival_s: Floats
    prompt_tokens: Floats
    output_tokens: Floats
    prefill_start_s: Floats
    prefill_end_s: Floats
    transfer_start_s: Floats
    transfer_end_s: Floats
    decode_scheduled_s: Floats
    decode_first_token_s: Floats
    first_token_s: Floats
    last_token_s: Floats
    preemptions: Floats
    finished: Bools
    shed: Bools
    emitting_until_s: Floats
    """The last token's time; of a request cut off by the stop, what it would be at the arm's median TPOT.

    NaN for those where nothing that finished says at which pace.
    """

    @classmethod
    def from_rows(cls, rows: pd.DataFrame) -> Self:
        """Take the columns that metrics need out of a result table.

        In an arm without decode a request ends with its first token, so it emits one whatever was asked for.
        """
        derived = ("finished", "shed", "emitting_until_s")
        names = [field.name for field in fields(cls) if field.name not in derived]
        columns = {name: rows[name].to_numpy(np.float64) for name in names}
        if rows["decode_worker"].isna().all() and rows["prefill_worker"].notna().any():
            columns["output_tokens"] = np.minimum(columns["output_tokens"], 1.0)
        finished, shed = ((rows["outcome"] == text).to_numpy(np.bool_) for text in ("finished", "shed"))
        whole = cls(finished=finished, shed=shed, emitting_until_s=columns["last_token_s"], **columns)
        pace_s = whole.tpot_s[~np.isnan(whole.tpot_s)]
        if finished.all() or len(pace_s) == 0:
            return whole
        since_s = np.fmax(whole.first_token_s, whole.decode_first_token_s)
        guessed = since_s + (whole.output_tokens - 1) * np.median(pace_s)
        return replace(whole, emitting_until_s=np.where(finished, whole.last_token_s, guessed))

    def where(self, which: Bools | Indices) -> Self:
        """Only the requests that a mask or their places name."""
        return type(self)(**{field.name: getattr(self, field.name)[which] for field in fields(self)})

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def taken(self) -> Self:
        """Those that no admission refused."""
        return self.where(~self.shed) if self.shed.any() else self

    @property
    def ttft_s(self) -> Floats:
        """Time to first token: first token - arrival at the router (vLLM)."""
        return self.first_token_s - self.arrival_s

    @property
    def e2el_s(self) -> Floats:
        """End-to-end latency: last token - arrival, NaN unless finished (vLLM)."""
        return np.where(self.finished, self.last_token_s - self.arrival_s, np.nan)

    @property
    def tpot_s(self) -> Floats:
        """Time per output token: (last - first token) / (output tokens - 1).

        NaN for one-token outputs, as in vLLM, and unless finished.
        """
        gaps = np.where(self.finished & (self.output_tokens > 1), self.output_tokens - 1, np.nan)
        return (self.last_token_s - self.first_token_s) / gaps
