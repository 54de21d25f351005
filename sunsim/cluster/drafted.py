"""What was drafted for requests, and the columns of it."""

from __future__ import annotations

from array import array

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunsim.cluster.sequence import Sequence


class Drafted:
    """By request, what `records.DRAFT_COLUMNS` have of its decode worker."""

    def __init__(self, number: int) -> None:
        self.bursts = array("q", [0]) * number
        self.drafts = array("q", [0]) * number
        self.draft_tokens = array("q", [0]) * number
        self.accepted_tokens = array("q", [0]) * number

    def note(self, sequence: Sequence) -> None:
        """Takes what its worker has counted of a request."""
        i = sequence.request
        self.bursts[i] = sequence.bursts
        self.drafts[i] = sequence.drafts
        self.draft_tokens[i] = sequence.draft_tokens
        self.accepted_tokens[i] = sequence.accepted_tokens


def draft_columns(
    counts: Drafted | None, rows: pd.DataFrame, came: slice | NDArray[np.intp], emitted: NDArray[np.int32]
) -> pd.DataFrame:
    """`records.DRAFT_COLUMNS` of the requests that have come.

    Args:
        counts: of an arm that drafts; in any other each token comes alone.
        rows: of these requests.
        emitted: of each request's output tokens, those that come from prefill.
    """
    finished = (rows["outcome"] == "finished").to_numpy(np.bool_)
    by_prefill = np.minimum(emitted[came], 1)
    if counts is None:
        decoded = rows["output_tokens"].to_numpy(np.int64) - emitted[came]
        bursts, others = decoded.astype(np.int64), [np.zeros(len(rows), np.int64)] * 3
    else:
        bursts = _int64(counts.bursts)[came]
        others = [_int64(column)[came] for column in (counts.drafts, counts.draft_tokens, counts.accepted_tokens)]
    names = ("bursts", "drafts", "draft_tokens", "accepted_tokens")
    columns = [np.where(finished, bursts + by_prefill, 0), *others]
    return pd.DataFrame(dict(zip(names, columns, strict=True)), copy=False)


def _int64(column: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(column, dtype=np.int64)
