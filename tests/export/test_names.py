"""Names that a model has in Kubernetes and in a shell."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from sunsim.export.deployment import GPUS_A_HOST, Deployment, Part, Workers
from sunsim.export.kubernetes import names
from sunsim.export.vllm import places, variables_of
from sunsim.roles import Stage

NAMES = st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=8, unique=True)


def deployed(models: list[str], counts: list[int], gpus: int) -> Deployment:
    """Colocated workers of each model."""
    parts = [
        Part(
            model, (Workers(Stage.COLOCATED, count, gpus, model, 1, (model,), (model,), 1, (), "p", None, 1, "random"),)
        )
        for model, count in zip(models, counts, strict=True)
    ]
    return Deployment("s", "a", tuple(parts), crossing=False)


@given(NAMES)
def test_names_are_kubernetes_names_of_their_own(models: list[str]) -> None:
    found = names(models)
    assert list(found) == models
    assert len(set(found.values())) == len(models)
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?", name) for name in found.values())


@given(NAMES)
def test_variables_are_the_shells_and_of_their_own(models: list[str]) -> None:
    found = variables_of(deployed(models, [1] * len(models), 1))
    assert len(set(found.values())) == len(found) == 2 * len(models)
    assert all(re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable) for variable in found.values())


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.sampled_from([1, 2, 3, 4, 8]))
def test_hosts_hold_every_worker_once(counts: list[int], gpus: int) -> None:
    placed = places(deployed([f"m{n}" for n in range(len(counts))], counts, gpus))
    assert len(placed) == len({place.name for place in placed}) == sum(counts)
    used = [(place.host, int(gpu)) for place in placed for gpu in place.gpus.split(",")]
    assert len(used) == len(set(used)) == gpus * sum(counts)
    assert max(gpu for _, gpu in used) < GPUS_A_HOST
    assert len({host for host, _ in used}) == -(-sum(counts) // (GPUS_A_HOST // gpus))
