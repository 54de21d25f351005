"""Columns of a table as numbers, and those of arrivals as seconds."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sunsim.errors import limit_text


@dataclass(frozen=True, slots=True)
class Seconds:
    """Arrivals as numbers of seconds, from 0 to `most`."""

    column: str
    most: float
    unit = "seconds"
    type = pa.float64()

    @property
    def expected(self) -> str:
        """What a value must be."""
        return f"a number of seconds from 0 to {limit_text(self.most)}"

    def seconds(self, values: pa.ChunkedArray) -> NDArray[np.float64]:
        """The numbers themselves, float64[n]; NaN where one is wrong."""
        found = numbers(values)
        return np.where((found >= 0) & (found <= self.most), found, np.nan)


@dataclass(frozen=True, slots=True)
class DateTimes:
    """Arrivals as dates with times in ISO 8601, to the nanosecond; UTC where they name no zone."""

    column: str
    unit = "dates with times"
    type = pa.string()  # some have a fraction or a zone and others in the same file have not
    expected = "a date and time like 2023-11-16 18:15:46.6805900"

    def seconds(self, values: pa.ChunkedArray) -> NDArray[np.float64]:
        """Seconds since the earliest, float64[n]; NaN where there is no date and time."""
        times = pd.to_datetime(values.to_numpy(), format="ISO8601", utc=True, errors="coerce")
        # As floats, seconds since 1970 would be off by parts of a microsecond.
        since: NDArray[np.float64] = (times - times.min()).total_seconds().to_numpy()
        # A number of seconds such as 2023 would be a year.
        return np.where(pc.binary_length(values).to_numpy() > len("2023-11-16"), since, np.nan)


Clock: TypeAlias = Seconds | DateTimes


def numbers(values: pa.ChunkedArray) -> NDArray[np.float64]:
    """Values that are numbers or text as numbers; NaN where one is none."""
    if pa.types.is_string(values.type):
        found = pd.to_numeric(values.to_numpy(), errors="coerce")
        return np.asarray(found, np.float64)
    numbers: NDArray[np.float64] = values.fill_null(np.nan).to_numpy()
    return numbers
