"""What an export says of prefix caches, and which ways of serving rounds of sessions no server has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.arms import SCENARIO, write
from tests.export.test_export import commands, options
from tests.plan.small import invoke

SESSIONS = """\
  kind: sessions
  duration_s: 5
  arrivals: {kind: poisson, rate_rps: 1}
  rounds: {mean: 2}
  think_s: {mean: 1}
  user: {kind: fixed, tokens: 100}
  output: {kind: fixed, tokens: 10}
"""
PREFILL = "profile: bf16.json, policy: isolated, workers: 2, enable_prefix_caching: true"


def odd(folder: Path, prefill: str, decode: str) -> Path:
    """A scenario of sessions with an arm called odd."""
    file = write(folder)
    begin, end = SCENARIO.index("  kind: synthetic"), SCENARIO.index("arms:")
    arm = f"- name: odd\n  prefill: {{{prefill}}}\n  decode: {{{decode}}}\n"
    file.write_text(f"{SCENARIO[:begin]}{SESSIONS}{SCENARIO[end:]}{arm}")
    return file


def test_each_worker_caches_prefixes_as_its_pool_does(tmp_path: Path) -> None:
    file = odd(tmp_path, PREFILL, "profile: bf16.json, policy: isolated, workers: 2")
    found = commands(file, "odd", tmp_path / "out")
    for log, lines in found.items():
        told = options(lines[4:])
        assert ("--enable-prefix-caching" in told) == ("prefill" in log)
        assert ("--no-enable-prefix-caching" in told) == ("decode" in log)


@pytest.mark.parametrize(
    ("prefill", "decode", "why"),
    [
        (PREFILL, f"{PREFILL}, append_prefill: auto", "decode.append_prefill is auto, must be remote to be deployed"),
        (
            PREFILL,
            f"{PREFILL}, convertible: {{max_chunk_tokens: 64, threshold_s: 1}}",
            "decode.convertible is given, must be left out to be deployed",
        ),
        (PREFILL, f"{PREFILL}, history: keep", "decode.history is keep, must be rebuild to be deployed"),
        (
            PREFILL,
            "profile: bf16.json, policy: shared, workers: 1, enable_prefix_caching: true",
            "decode.enable_prefix_caching is true, must be false to be deployed",
        ),
        (
            "profile: bf16.json, policy: shared, module: shared, workers: 1",
            "profile: bf16.json, policy: isolated, workers: 2",
            "prefill.module is shared, must be own to be deployed",
        ),
    ],
)
def test_what_no_server_does_with_rounds(tmp_path: Path, prefill: str, decode: str, why: str) -> None:
    file = odd(tmp_path, prefill, decode)
    code, _, stderr = invoke("export", file, "--arm", "odd", "--to", "vllm", "--out", tmp_path / "out")
    assert code == 2
    assert len(stderr.splitlines()) == 1
    assert f"arms.odd.{why}" in stderr
