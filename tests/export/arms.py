"""A scenario with an arm of every kind that can be deployed, and what its script runs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.scenario_files import PROFILE

ENGINE = {
    "dtype": "bfloat16",
    "kv_cache_dtype": "auto",
    "enable_prefix_caching": False,
    "enable_chunked_prefill": True,
    "async_scheduling": True,
}
VARIANTS = {
    "bf16": {},
    "awq": {},
    "fp8": {"quantization": "fp8"},
    "lora-r16": {"enable_lora": True, "max_loras": 4, "max_lora_rank": 16, "lora_target_modules": ["q_proj", "v_proj"]},
}

SCENARIO = """\
name: ways
models:
- {name: law, weight: 2}
- {name: "it's 8b/chat", weight: 1}
workload:
  kind: synthetic
  duration_s: 5
  arrivals: {kind: poisson, rate_rps: 1}
  lengths: {kind: fixed, prompt_tokens: 100, output_tokens: 10}
arms:
- name: isolated
  prefill: {profile: bf16.json, policy: isolated, workers: {law: 2, "it's 8b/chat": 1}}
  decode: {profile: bf16.json, policy: isolated, workers: {law: 1, "it's 8b/chat": 2}, max_num_seqs: 64, num_gpu_blocks: 9000}
- name: isolated-awq
  prefill: {profile: bf16.json, policy: isolated, workers: 2}
  decode: {profile: awq.json, policy: isolated, workers: 2}
- name: sun
  prefill: {profile: bf16.json, policy: isolated, workers: 2}
  decode: {profile: bf16.json, policy: shared, router: least-tokens, workers: 3}
- name: qsun
  prefill: {profile: bf16.json, policy: isolated, workers: 2}
  decode: {profile: awq.json, policy: shared, workers: 1}
- name: colocated
  colocated: {profile: fp8.json, policy: isolated, workers: {law: 2, "it's 8b/chat": 1}}
- name: lora
  colocated: {profile: lora-r16.json, policy: shared, workers: 2}
- name: lora-apart
  prefill: {profile: lora-r16.json, policy: shared, workers: 1}
  decode: {profile: lora-r16.json, policy: shared, workers: 1}
- name: two-gpus
  colocated: {profile: tp2.json, policy: isolated, workers: {law: 4, "it's 8b/chat": 1}}
"""
ARMS = ("isolated", "isolated-awq", "sun", "qsun", "colocated", "lora", "lora-apart", "two-gpus")
CROSSING = ("sun", "qsun")

FAKE_VLLM = """\
#!/bin/sh
printf '%s\\n' "CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES" "SIDE=$VLLM_NIXL_SIDE_CHANNEL_HOST:$VLLM_NIXL_SIDE_CHANNEL_PORT" "$@"
"""


def write(folder: Path) -> Path:
    """Writes the scenario and its profiles into `folder`; the scenario's path."""
    for variant, engine in VARIANTS.items():
        profile = {**PROFILE, "variant": variant, "versions": {"vllm": "0.24.0"}}
        profile["engine_args"] = {**PROFILE["engine_args"], **ENGINE, **engine}  # type: ignore[dict-item]
        (folder / f"{variant}.json").write_text(json.dumps(profile))
    two = json.loads((folder / "bf16.json").read_text())
    two["engine_args"]["tensor_parallel_size"] = 2
    (folder / "tp2.json").write_text(json.dumps(two))
    path = folder / "ways.yaml"
    path.write_text(SCENARIO)
    return path


def started(script: Path, host: int, folder: Path) -> dict[str, list[str]]:
    """What the script starts on a host, by the names of the logs: two lines of environment, then vLLM's arguments."""
    folder.mkdir()
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "vllm").write_text(FAKE_VLLM)
    (bin_folder / "vllm").chmod(0o755)
    wanted = [line.split("{")[1].split(":")[0] for line in script.read_text().splitlines() if line.startswith(': "${')]
    paths = {variable: f"/my weights/{variable.lower()}" for variable in wanted}
    environment = {**os.environ, **paths, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    command = ["bash", str(script.resolve()), str(host)]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=60)
    return {log.name: log.read_text().removesuffix("\n").split("\n") for log in sorted(folder.glob("*.log"))}
