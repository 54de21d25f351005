"""Whatever stands in a profile with drafts: one line that refuses it, or figures."""

from __future__ import annotations

import json
import random
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sunsim.errors import InputError
from tests.latency.test_broken_profiles import mutant, put, simulated_as, sound_profile
from tests.synthetic import drafting_profile

SCENARIO = """\
name: few
models: {count: 2}
workload:
  kind: synthetic
  requests: 6
  arrivals: {kind: poisson, rate_rps: 20}
  lengths: {kind: fixed, prompt_tokens: 600, output_tokens: 40}
arms:
  - name: pd
    prefill: {profile: profile.json, policy: isolated, workers: 2}
    decode:
      profile: profile.json
      policy: shared
      workers: 1
      speculative_config: {num_speculative_tokens: 3, synthetic_acceptance_length: 2.5}
  - name: together
    colocated:
      profile: profile.json
      policy: isolated
      workers: 2
      speculative_config:
        num_speculative_tokens: 5
        synthetic_acceptance_length: 3.5
        num_speculative_tokens_per_batch_size: [[1, 1, 5], [2, 256, 2]]
"""


def sound_drafts() -> dict[str, Any]:
    made = drafting_profile(3)
    kept = ("engine_args", "num_gpu_blocks", "cudagraph_capture_sizes", "weight_bytes", "kv_bytes_per_token")
    return sound_profile() | {key: made[key] for key in kept}


def simulated(folder: Path, drafts: dict[str, Any]) -> None:
    """Runs a handful of requests; raises InputError, or asserts that all times are finite and in order."""
    (folder / "drafts").mkdir(exist_ok=True)
    (folder / "profile.json").write_text(json.dumps(sound_profile()))
    (folder / "drafts" / "profile-eagle-k3.json").write_text(json.dumps(drafts))
    simulated_as(SCENARIO, folder)


def test_the_sound_files_are_simulated(tmp_path: Path) -> None:
    simulated(tmp_path, sound_drafts())


@pytest.mark.parametrize("seed", range(3))
def test_a_mutated_profile_is_refused_or_gives_figures(seed: int, tmp_path: Path) -> None:
    draws = random.Random(seed)
    for _ in range(12):
        said, changed = mutant(sound_drafts(), draws)
        sys.stdout.write(f"{said}\n")  # shown if another error comes
        with suppress(InputError):
            simulated(tmp_path, changed)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("eagle", " is 'eagle', must be"),
        ({"method": "eagle"}, ".num_speculative_tokens is missing, must be given"),
        ({"method": "eagle", "num_speculative_tokens": 0}, ".num_speculative_tokens is 0, must be greater than"),
        ({"method": "eagle", "num_speculative_tokens": 2.5}, ".num_speculative_tokens is 2.5, must be a valid integer"),
    ],
)
def test_what_is_wrong_of_drafts_is_said_where_it_stands(value: object, message: str, tmp_path: Path) -> None:
    changed = sound_drafts()
    put("engine_args", "speculative_config", value=value)(changed)
    with pytest.raises(InputError) as found:
        simulated(tmp_path, changed)
    file = tmp_path / "drafts" / "profile-eagle-k3.json"
    place = f"{file}: not a profile of schema version 1: engine_args.speculative_config"
    assert str(found.value).startswith(place + message)
