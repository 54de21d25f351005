"""What the tests begin with."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The wheel is built first: begun late, as the longest test of all, it would be waited for alone."""
    items.sort(key=lambda item: item.path.name != "test_install.py")


@pytest.fixture(scope="session", autouse=True)
def _no_width() -> None:
    """Output is as wide as it comes, whatever the terminal that the tests are started from says."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session", autouse=True)
def _no_lines() -> Iterator[None]:
    """Nothing says how far it is, however slow this machine may be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sunsim.points.progress.LINE_S", float("inf"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """Ctrl-C reaches what the tests start, also where they are themselves run in the background, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
