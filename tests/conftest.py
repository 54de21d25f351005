"""What the tests begin with."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# The same cases in each run: a test fails for what was changed, never for what was drawn. `--hypothesis-profile=default` draws new ones.
# Loaded here, before the test modules, whose own settings begin with what is loaded. Nothing in it hangs on how busy the machine is.
settings.register_profile("repeated", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeated")


@pytest.hookimpl(trylast=True)  # after --hypothesis-profile was read
def pytest_configure() -> None:
    """Repeated cases hang on nothing but their test: Hypothesis also draws constants of the modules imported so far."""
    if settings.get_current_profile_name() == "repeated":
        vars(providers)["is_local_module_file"] = lambda _: False


DEAREST = (
    "test_install.py",
    "cluster/test_cluster_twin.py",
    "validation/test_fidelity.py",
    "test_scenarios_golden.py",
    "sweep/test_sweep.py",
    "plan/test_plan.py",
    "plan/test_page.py",
    "plan/test_sentences.py",
    "plan",
    "cluster",
    "test_cli.py",
    "test_plots.py",
    "test_printed_numbers.py",
    "sweep",
    "figures",
    "validation",
    "profiler",
    "points",
    "files",
    "test_program.py",
    "test_python.py",
)
"""Files, and folders of which all files that are left are meant, the dearest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Processes take file after file, the dearest first: begun late, a long one would be waited for alone."""
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(DEAREST)}

    def rank(item: pytest.Item) -> int:
        return ranks.get(item.path, ranks.get(item.path.parent, len(ranks)))

    items.sort(key=rank)


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
