"""Whatever stands in a profile or a file of measured transfers: one line that refuses it, or figures."""

from __future__ import annotations

import copy
import json
import math
import random
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sunsim.cluster.simulation import simulate_arm
from sunsim.errors import InputError
from sunsim.latency.profile import load_profile
from sunsim.latency.transfer import load_transfers
from sunsim.scenario import build_requests, load_scenario
from tests.latency.test_front_end import point
from tests.latency.test_host import idle_start
from tests.synthetic import synthetic_profile

Mutate = Callable[[dict[str, Any]], None]

SHAPE = {"num_key_value_heads": 8, "num_attention_heads": 32, "hidden_size": 4096}
LINK = {
    "schema_version": 1,
    "card": "a card",
    "date": "2026-01-01",
    "transfer_points": [
        {"bytes": size, "concurrent": 1, "transfer_ms_median": ms, "post_ms_median": 0.5}
        for size, ms in ((10**6, 2.0), (10**8, 9.0))
    ],
}
SCENARIO = """\
name: few
models: {count: 2}
workload:
  kind: synthetic
  requests: 6
  arrivals: {kind: poisson, rate_rps: 20}
  lengths: {kind: fixed, prompt_tokens: 600, output_tokens: 40}
slo: {ttft_ms: 2000, tpot_ms: 25}
transfer: {measured: link.json}
arms:
  - name: pd
    prefill: {profile: profile.json, policy: isolated, workers: 2}
    decode: {profile: profile.json, policy: shared, workers: 1}
  - name: together
    colocated: {profile: profile.json, policy: isolated, workers: 2}
"""


def sound_profile() -> dict[str, Any]:
    """A small one of every kind of measurement, with attention that the model knows."""
    found = synthetic_profile(
        card="NVIDIA H100 80GB HBM3",
        host={"gpu_memory_mib": 81_559},
        kernels={"attention": "FLASH_ATTN FA3"},
        model_config=SHAPE,
        first_token_points=[point("idle", 0, 2.0), point("traffic", 10, 3.0)],
        idle_starts=[idle_start(0, 3, 9), idle_start(100, 10, 12), idle_start(1024, 20, 30)],
        host_stalls=[{"observed_s": 10, "stalls": [[2, 5.0], [9, 7.0]]}],
    )
    found["decode_points"] = [p for p in found["decode_points"] if p["batch"] in {1, 4, 16}]
    served = [p | {"lengths": "traffic", "traffic": name} for p in found["decode_points"] for name in ("chat", "long")]
    found["decode_points"] += served
    found["processors"] = 132
    found["served_lengths"] = [{"traffic": n, "prompt_tokens": [900], "output_tokens": [80]} for n in ("chat", "long")]
    found["arrival_points"] = [{"crowds": 3, "tokens": 20_000, "steps": 1.0, "step_ms": 9.0, "extra_ms": 4.0}]
    return copy.deepcopy(found)


def simulated(folder: Path, profile: Any, link: Any = LINK) -> None:
    """Runs a handful of requests; raises InputError, or asserts that all times are finite and in order."""
    for name, content in (("profile.json", profile), ("link.json", link)):
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text, encoding="utf-8")
    simulated_as(SCENARIO, folder)


def simulated_as(text: str, folder: Path) -> None:
    """Runs this scenario, whose files are in `folder`, as `simulated` does."""
    (folder / "few.yaml").write_text(text)
    scenario = load_scenario(folder / "few.yaml", [])
    requests = build_requests(scenario)
    for arm in scenario.arms:
        rows = simulate_arm(scenario, arm, requests).rows
        times = rows[["arrival_s", "first_token_s", "last_token_s"]].to_numpy()
        assert np.isfinite(times).all()
        assert (np.diff(times, axis=1) >= 0).all()


def refusal(folder: Path, profile: Any, link: Any = LINK) -> str:
    with pytest.raises(InputError) as found:
        simulated(folder, profile, link)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 600
    return str(found.value)


def places(node: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Paths to every value, the inner nodes included."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return ([path] if path else []) + [place for key, child in inner for place in places(child, (*path, key))]


WRONG: list[Any] = [
    None,
    True,
    "text",
    "",
    [],
    {},
    [1],
    -1,
    0,
    1,
    1e-300,
    1e300,
    10**30,
    10**9,
    0.5,
    math.inf,
    math.nan,
    "\x1b[2J",
]
GONE = object()


def mutant(sound: dict[str, Any], draws: random.Random) -> tuple[str, dict[str, Any]]:
    changed = copy.deepcopy(sound)
    said = []
    for _ in range(draws.choice([1, 1, 2])):
        path = draws.choice(places(changed))
        node: Any = changed
        for key in path[:-1]:
            node = node[key]
        value, old = draws.choice([*WRONG, GONE]), node[path[-1]]
        if isinstance(old, (int, float)) and draws.random() < 0.6:
            value = type(old)(old * 10 ** draws.uniform(-5, 5))
        if value is GONE:
            del node[path[-1]]
        else:
            node[path[-1]] = copy.deepcopy(value)
        said.append(f"{path} -> {'gone' if value is GONE else value!r}")
    return "; ".join(said), changed


def test_the_sound_files_are_simulated(tmp_path: Path) -> None:
    simulated(tmp_path, sound_profile())


def test_traffic_beside_no_decodes_tells_nothing_of_more(tmp_path: Path) -> None:
    changed = sound_profile()
    put("first_token_points", 1, "batch", value=0)(changed)
    simulated(tmp_path, changed)


@pytest.mark.parametrize("seed", range(6))
def test_a_mutated_profile_is_refused_or_gives_figures(seed: int, tmp_path: Path) -> None:
    draws = random.Random(seed)
    for _ in range(12):
        said, changed = mutant(sound_profile(), draws)
        sys.stdout.write(f"{said}\n")  # shown if another error comes
        with suppress(InputError):
            simulated(tmp_path, changed)


@pytest.mark.parametrize("seed", range(2))
def test_mutated_transfers_are_refused_or_give_figures(seed: int, tmp_path: Path) -> None:
    draws = random.Random(seed)
    for _ in range(12):
        said, changed = mutant(LINK, draws)
        sys.stdout.write(f"{said}\n")
        with suppress(InputError):
            simulated(tmp_path, sound_profile(), changed)


def put(*path: str | int, value: Any) -> Mutate:
    def mutate(found: dict[str, Any]) -> None:
        node: Any = found
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return mutate


@pytest.mark.parametrize(
    ("mutate", "message"),
    [
        (put("decode_points", value=[]), "colocated|decode.*must be one with decode_points: it has none"),
        (put("prefill_points", value=[]), "must be one with prefill_points: it has none"),
        (put("decode_points", 0, "batch", value=10**12), "decode_points.0.batch is 1000000000000, must be less than"),
        (put("decode_points", 0, "step_ms_median", value=1e-300), "step_ms_median is 1e-300, must be greater than"),
        (
            put("decode_points", 0, "step_ms_median", value="9"),
            "decode_points.0.step_ms_median is '9', must be a valid",
        ),
        (put("decode_points", 0, "step_ms_median", value=math.nan), "step_ms_median is nan, must be a finite number"),
        (put("decode_points", 0, "context_tokens", value=0.5), "context_tokens is 0.5, must be at least the batch"),
        (put("prefill_points", 0, "attended_pairs", value=1), "attended_pairs is 1, must be at least new_tokens"),
        (put("model_config", value="llama"), "model_config is 'llama', must be"),
        (put("model_config", "num_key_value_heads", value="8"), "num_key_value_heads is '8', must be a valid integer"),
        (put("model_config", "num_attention_heads", value=0), "num_attention_heads is 0, must be greater than"),
        (put("kernels", value=["FLASH_ATTN FA3"]), "kernels is a list, must be"),
        (put("versions", value="0.24"), "versions is '0.24', must be"),
        (put("host", "gpu_memory_mib", value="80 GB"), "host.* must be a number"),
        (put("block_size", value=10**12), "block_size is 1000000000000, must be less than"),
        (put("cudagraph_capture_sizes", 0, value=-8), "cudagraph_capture_sizes.0 is -8, must be greater than"),
        (put("card", value="\x1b]0;x\x07"), "card is .*, must be one line without control characters"),
        (put("host_stalls", 0, "observed_s", value=1e-13), "the stalls take more than half of the 1e-13 s"),
        (put("host_stalls", 0, value={"observed_s": 1e-3, "stalls": [[0, 1e-9]]}), "must be at most 100 a second"),
        (put("host_stalls", 0, "stalls", 0, 0, value=9.5), "the stalls' moments must rise"),
        (put("host_stalls", 0, "stalls", 1, 0, value=1e300), "the stalls' moments must rise and be at most"),
        (put("idle_starts", 0, "batch", value=0), "batch is 0, must be from 1 to context_tokens"),
        (put("engine_args", value=None), "engine_args is empty, must be"),
        (put("num_gpu_blocks", value="many"), "num_gpu_blocks is 'many', must be a valid integer"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(mutate: Mutate, message: str, tmp_path: Path) -> None:
    changed = sound_profile()
    mutate(changed)
    said = refusal(tmp_path, changed)
    assert re.search(message, said), said
    assert said.startswith(str(tmp_path))


def test_a_profile_without_steady_batches_is_refused(tmp_path: Path) -> None:
    changed = sound_profile()
    for decode in changed["decode_points"]:
        decode["lengths"] = "traffic"
    assert "decode_points: no point has lengths uniform, must have some" in refusal(tmp_path, changed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "must be JSON"),
        ('{"a":' * 100_000, "must be JSON"),
        ("", "must be JSON"),
        ("\x00\x01", "must be JSON"),
        ("[]", "must be"),
        ("1" * 5000, "must be"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text(text)
    for load in (load_profile, load_transfers):
        with pytest.raises(InputError, match=message) as found:
            load(tmp_path / "profile.json")
        assert len(str(found.value)) < 600


def test_a_nested_extra_does_not_end_in_a_recursion(tmp_path: Path) -> None:
    text = json.dumps(sound_profile())
    text = text[:-1] + ', "note": ' + "[" * 50_000 + "]" * 50_000 + "}"
    assert "must be JSON" in refusal(tmp_path, text)


def test_a_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "profile.json").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(InputError, match="has 8589934592 bytes, must be a profile"):
        load_profile(tmp_path / "profile.json")


@pytest.mark.parametrize(
    ("mutate", "message"),
    [
        (
            put("transfer_points", 0, "bytes", value=10**30),
            "transfer_points.0.bytes is 1000000000000000000000000000000",
        ),
        (
            put("transfer_points", 1, "transfer_ms_median", value=1e300),
            "transfer_ms_median is 1e.300, must be less than",
        ),
        (put("transfer_points", 1, "post_ms_median", value="x"), "post_ms_median is 'x', must be a valid number"),
        (put("transfer_points", value={}), "transfer_points is a mapping, must be"),
    ],
)
def test_wrong_transfers_are_said_where_they_stand(mutate: Mutate, message: str, tmp_path: Path) -> None:
    changed = copy.deepcopy(LINK)
    mutate(changed)
    said = refusal(tmp_path, sound_profile(), changed)
    assert re.search(message, said), said
    assert said.startswith(str(tmp_path / "link.json"))


def test_sweeps_lengths_are_there_once_and_prefill_has_even_prompts(tmp_path: Path) -> None:
    twice, uneven = sound_profile(), sound_profile()
    twice["served_lengths"] += twice["served_lengths"][:1]
    uneven["prefill_points"] = [point | {"lengths": "traffic"} for point in uneven["prefill_points"]]
    assert "served_lengths: chat stands there 2 times, must be there once" in refusal(tmp_path, twice)
    assert "prefill_points: no point has lengths uniform, must have some" in refusal(tmp_path, uneven)
