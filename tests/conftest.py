"""What the tests begin with."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_width() -> None:
    """Output is as wide as it comes, whatever the terminal that the tests are started from says."""
    os.environ.pop("COLUMNS", None)
