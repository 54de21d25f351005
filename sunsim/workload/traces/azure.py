"""``azure``: the Azure LLM inference traces of 2023 and 2024, https://github.com/Azure/AzurePublicDataset.

Columns ``TIMESTAMP`` (date and time, those of 2024 with a zone), ``ContextTokens``, ``GeneratedTokens``. One model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sunsim.workload.traces.table import Table


@dataclass(frozen=True, slots=True)
class DateTimes:
    """Arrivals as dates with times in ISO 8601, to the nanosecond; UTC where they name no zone."""

    column: str
    unit = "dates with times"
    expected = "a date and time like 2023-11-16 18:15:46.6805900"

    @property
    def type(self) -> pa.DataType:
        """Text: some times have a fraction or a zone and others in the same file have not."""
        return pa.string()

    def seconds(self, values: pa.ChunkedArray) -> NDArray[np.float64]:
        """Seconds since the earliest; NaN where there is no date and time."""
        times = pd.to_datetime(values.to_numpy(), format="ISO8601", utc=True, errors="coerce")
        # As floats, seconds since 1970 would be off by parts of a microsecond.
        since: NDArray[np.float64] = (times - times.min()).total_seconds().to_numpy()
        # A number of seconds such as 2023 would be a year.
        return np.where(pc.binary_length(values).to_numpy() > len("2023-11-16"), since, np.nan)


AZURE = Table(DateTimes("TIMESTAMP"), "ContextTokens", "GeneratedTokens")
