"""Mutants of scenarios, profiles and traces are refused in one line with its place, or they run.

``python -m tests.fuzz --count 2000`` tries many.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.accuracy_files import write_accuracy
from tests.fuzz.mutants import DRAFTING, ELASTIC, PLAIN, PROFILE, RATES, SYNTHETIC
from tests.fuzz.trial import make, outcome
from tests.synthetic import write_family
from tests.trace_files import TEXTS

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


# (file, what it says, what it says instead): each was a traceback, a hang or a message without a place.
WERE_FAULTS = [
    ("scenario.yaml", "models: {count: 2}", "models: {count: 2}\n[a]: 1"),
    ("scenario.yaml", "models: {count: 2}", "models: {count: 2}\n? {a: b}\n: 1"),
    ("scenario.yaml", "models: {count: 2}", "models: {count: 2}\n1: 2"),
    ("scenario.yaml", "models: {count: 2}", "models: {count: 2}\nnull: 2"),
    ("scenario.yaml", "models: {count: 2}", "models: {count: 2}\n2001-01-01: 2"),
    ("scenario.yaml", "models: {count: 2}", "models: {count: 0x" + "f" * 5000 + "}"),
    ("scenario.yaml", "models: {count: 2}", "models: {count: " + "9" * 5000 + "}"),
    ("scenario.yaml", "models: {count: 2}", "models: [{name: a, weight: 1.0e+308}, {name: b, weight: 1.0e+308}]"),
    ("scenario.yaml", "models: {count: 2}", "models: {count: 100, popularity: {kind: zipf, alpha: 1000}}"),
    ("scenario.yaml", "models: {count: 2}", 'models: [{name: "a\\ud800", weight: 1}]'),
    ("scenario.yaml", "models: {count: 2}", 'models: {count: 2, "\\ud800": 1}'),
    ("scenario.yaml", "name: plain", 'name: "esc\\e[31m"'),
    ("scenario.yaml", "rate_rps: 10", "rate_rps: 1.0e-300"),
    ("scenario.yaml", "rate_rps: 10", "rate_rps: 1.0e+308"),
    ("scenario.yaml", "duration_s: 1", "duration_s: 1.0e-300"),
    ("scenario.yaml", "duration_s: 1", "requests: 100000000"),
    ("scenario.yaml", "ttft_ms: 500", "ttft_ms: 1.0e-300"),
    ("scenario.yaml", "arms:\n", "transfer: {bandwidth_gbit_s: 1.0e-300}\narms:\n"),
    ("scenario.yaml", "arms:\n", "transfer: {latency_ms: 1.0e+308}\narms:\n"),
    ("scenario.yaml", "profile: profile.json", f"profile: {'p' * 3000}.json"),
    ("scenario.yaml", SYNTHETIC, f"{{kind: trace, format: csv, path: {'p' * 3000}}}"),
    ("scenario.yaml", SYNTHETIC, '{kind: trace, format: csv, path: "nul\\0"}'),
    ("scenario.yaml", PLAIN, "1.5,100,200\n" * 10_000),
    ("scenario.yaml", PLAIN, "[" * 5000),
    ("scenario.yaml", PLAIN, "a: &a {b: *a}\n"),
]


@FEW
@given(seed=st.integers(0, 2**32))
@example(seed=828)  # a key that is half a character
def test_a_mutant_is_refused_at_its_place_or_runs(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder = tmp_path_factory.mktemp("mutant")
    make(seed, folder)
    _, fault = outcome(folder)
    assert fault is None


@settings(FEW, max_examples=20)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["elastic", "drafting"]))
def test_a_mutant_of_pools_that_change_or_draft_is_refused_at_its_place_or_runs(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("mutant")
    make(seed, folder, kind)
    _, fault = outcome(folder)
    assert fault is None


@pytest.mark.parametrize(("file", "right", "wrong"), WERE_FAULTS, ids=[wrong[-40:] for _, _, wrong in WERE_FAULTS])
def test_what_once_went_wrong_is_refused(tmp_path: Path, file: str, right: str, wrong: str) -> None:
    texts = {"scenario.yaml": PLAIN, "profile.json": PROFILE, "trace.csv": TEXTS["csv"]}
    assert right in texts[file]
    for name, text in texts.items():
        (tmp_path / name).write_text(text.replace(right, wrong, 1) if name == file else text)
    assert outcome(tmp_path) == ("refused", None)


@pytest.mark.parametrize("scenario", [PLAIN, ELASTIC, DRAFTING], ids=["plain", "elastic", "drafting"])
def test_what_is_not_mutated_runs(scenario: str, tmp_path: Path) -> None:
    write_family(tmp_path, 1, 3, name="profile.json")
    write_accuracy(tmp_path / "accuracy.json")
    for name, text in {"scenario.yaml": scenario, "profile.json": PROFILE, "rates.csv": RATES}.items():
        (tmp_path / name).write_text(text)
    assert outcome(tmp_path) == ("ran", None)
