"""Mutants of scenarios, profiles and traces are refused in one line with its place, or they run.

``python -m tests.fuzz --count 2000`` tries many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.trial import make, outcome

if TYPE_CHECKING:
    import pytest

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(seed=st.integers(0, 2**32))
@example(seed=828)  # a key that is half a character
def test_a_mutant_is_refused_at_its_place_or_runs(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder = tmp_path_factory.mktemp("mutant")
    make(seed, folder)
    _, fault = outcome(folder)
    assert fault is None
