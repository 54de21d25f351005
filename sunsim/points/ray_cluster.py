"""Points on a Ray cluster: ``pip install "sunsim[ray]"`` here and on its nodes, the same sunsim everywhere."""

import hashlib
import logging
import os
import shutil
import socket
import tempfile
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from sunsim.errors import ClusterLostError, InputError
from sunsim.inputs import files, sha256
from sunsim.latency.drafts import drafts_file
from sunsim.latency.profile import Profile
from sunsim.points.code import code_sha256
from sunsim.points.outcome import Outcome
from sunsim.points.point import Point, outcome
from sunsim.scenario import Scenario
from sunsim.scenario.blocks import Document
from sunsim.scenario.pools import PoolBlock
from sunsim.workload.blocks import file_of, with_file

RETRIES = 5
"""How often a point is tried again because its node or its process died."""

LOOK_S = 5.0
"""How long no point may end before it is looked whether the cluster is still there."""

AT_ONCE = 1000
"""Points that the cluster is given at once where `--jobs` doesn't say; twice its CPUs if that is more."""


def require_ray() -> None:
    """Raises:
    InputError: Ray is not installed.
    """
    if find_spec("ray") is None:
        message = 'ray needs the package of this name, must be installed: pip install "sunsim[ray]"'
        raise InputError(message, "--executor")


def run_ray(points: Sequence[Point], jobs: int | None, address: str) -> Generator[tuple[Point, Outcome], None, None]:
    """Simulates `points` on the cluster at `address`; yields each with its outcome, in the order in which they end.

    Only this process writes into the sweep's folder: nodes may share no disk with it. So profiles and traces travel,
    once a node, and each point's rows come back.

    Raises:
        InputError: there is no such cluster.
        ClusterLostError: its head node is gone.
    """
    import ray  # noqa: PLC0415 - it is optional, and takes a second

    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        message = f"no Ray cluster at {address} ({reason}), must be the address of one: start it with ray start --head"
        raise InputError(message, "--address") from error
    try:
        # The address that was given can be reached from here; the cluster's own name for it perhaps not.
        head = ray.get_runtime_context().gcs_address if address == "auto" else address
        at_once = jobs or max(AT_ONCE, 2 * int(ray.cluster_resources().get("CPU", 0)))
        # Spread, so that a small sweep uses every node too.
        task = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(outcome_elsewhere)
        sent: dict[str, object] = {}
        waiting = deque(points)
        running: dict[object, Point] = {}
        while waiting or running:
            while waiting and len(running) < at_once:
                point = waiting.popleft()
                names = file_names(point.scenario)
                for name, path in files(point.scenario).items():
                    if names[name] not in sent:
                        sent[names[name]] = ray.put(path.read_bytes())
                contents = [sent[name] for name in names.values()]
                running[task.remote(point.scenario.document, code_sha256(), names, *contents)] = point
            first, others = ray.wait(list(running), num_returns=1, timeout=LOOK_S)
            if not first:
                _refuse_lost(head)
            more, _ = ray.wait(others, num_returns=len(others), timeout=0) if first and others else ([], [])
            for done in (*first, *more):
                yield running.pop(done), _fetched(done)
    finally:
        ray.shutdown()


def file_names(scenario: Scenario) -> dict[str, str]:
    """File names that only these contents have, for the `files` of a scenario; profiles with drafts go beside their own."""
    names = {name: f"{sha256(path)}{path.suffix}" for name, path in files(scenario).items()}
    families: dict[str, dict[str, Profile]] = {}
    for pool in (pool for arm in scenario.arms for pool in arm.pools().values()):
        if pool.drafting:
            families.setdefault(pool.profile_name, {}).update(pool.profiles)
    for base, profiles in families.items():
        own = profiles.pop(base)
        drafted = {name: sha256(profile.path) for name, profile in sorted(profiles.items())}
        names[base] = f"{sha256(own.path)}-{hashlib.sha256(repr(drafted).encode()).hexdigest()}.json"
        for name, profile in profiles.items():
            if made := profile.data.engine_args.speculative_config:
                names[name] = str(drafts_file(Path(names[base]), made.method, made.num_speculative_tokens))
    return names


def _knock(address: str) -> None:
    """Ray itself waits for minutes where nobody answers.

    Raises:
        OSError: nobody does, at an address that names host and port.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _refuse_lost(head: str) -> None:
    """Ray itself ends the whole program a minute after its head node is gone.

    Raises:
        ClusterLostError: nobody answers there.
    """
    try:
        _knock(head)
    except OSError as error:
        message = (
            f"the Ray cluster's head at {head} is gone ({error.strerror or error}): what is simulated is kept, the same "
            "command goes on from there"
        )
        raise ClusterLostError(message) from error


def _fetched(reference: object) -> Outcome:
    import ray  # noqa: PLC0415 - as above

    try:
        made: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        return Outcome([], f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return made


def outcome_elsewhere(document: Document, code: str, names: Mapping[str, str], *contents: bytes) -> Outcome:
    """Runs on a node: simulates a point with files that have travelled.

    Args:
        code: hash of the sunsim that asks.
        names: what the scenario calls each of its files, and a file name that only this content has.
        contents: the files, in the order of `names`.
    """
    if code != code_sha256():
        return Outcome([], "its node has another sunsim installed, must have the same as where the sweep was started")
    home = _home()
    try:
        home.mkdir(mode=0o700)
        placed = [_placed(home / name, content) for name, content in zip(names.values(), contents, strict=True)]
        return outcome(Scenario(_with_files(document, dict(zip(names, placed, strict=True)))))
    except OSError as error:
        return Outcome([], f"its node cannot store a profile or trace: {error}")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _with_files(document: Document, local: Mapping[str, Path]) -> Document:
    """`document`, with its profiles, its measured link and its trace or file of rates taken from these paths."""
    arms = []
    for arm in document.arms:
        pools: dict[str, PoolBlock] = {
            stage: pool.model_copy(update={"profile": str(local[pool.profile])}) for stage, pool in arm.pools().items()
        }
        arms.append(arm.model_copy(update=pools))
    workload, transfer = document.workload, document.transfer
    if path := file_of(workload):
        workload = with_file(workload, local[str(path)])
    if transfer.measured:
        transfer = transfer.model_copy(update={"measured": str(local[transfer.measured])})
    return document.model_copy(update={"arms": tuple(arms), "workload": workload, "transfer": transfer})


def _placed(path: Path, content: bytes) -> Path:
    """The file at `path`, always of the same age, so that what was built from its like before is found again."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (0, 0))
    return path


@cache
def _home() -> Path:
    """Where this process puts the files of the point that it simulates; there is nothing between two points."""
    home = Path(tempfile.mkdtemp(prefix="sunsim-"))
    home.rmdir()
    return home
