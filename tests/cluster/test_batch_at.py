"""How many requests decode on a worker at given moments."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sunsim.cluster.batch_at import batch_at


def ints(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


def test_those_that_begin_and_those_that_end_at_the_moment_count() -> None:
    begin, end = ints(0, 5, 10, 20), ints(10, 30, 30, 40)
    assert batch_at(ints(1, 1, 1, 1), begin, end, begin).tolist() == [1, 2, 3, 3]
    assert batch_at(ints(1, 1, 1, 1), begin, end, end).tolist() == [3, 3, 3, 1]


@given(
    rows=st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30),
    later=st.integers(0, 20),
)
def test_it_is_what_counting_one_by_one_gives(rows: list[tuple[int, int, int]], later: int) -> None:
    worker, begin, lasts = (ints(*column) for column in zip(*rows, strict=True))
    end, at = begin + lasts, begin + later
    expected = [
        sum(w == worker[i] and b <= at[i] and e >= at[i] for w, b, e in zip(worker, begin, end, strict=True))
        for i in range(len(rows))
    ]
    assert batch_at(worker, begin, end, at).tolist() == expected
