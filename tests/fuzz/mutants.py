"""Inputs that someone may have damaged: shipped scenarios made small, profiles and traces, each changed at random."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

from ruamel.yaml import YAML

from tests import trace_files
from tests.accuracy_files import accuracy_document
from tests.synthetic import drafting_profile, synthetic_profile

SCENARIOS = sorted(Path("scenarios").rglob("*.yaml"))

NUMBERS = [
    *(0, -1, 1, 2, 3, 7, 100, 10_000, 2**31, 2**53, 2**63, 2**64, 10**30, -(2**63)),
    *(0.5, 1e-300, 5e-324, 1e-12, 1e-6, 1e6, 1e9, 1e18, 1e300, 1.7e308, -0.0, -1e-9, math.nan, math.inf, -math.inf),
]
TEXTS = [
    *(
        "",
        " ",
        "a" * 300,
        "a" * 20_000,
        "ümläut",
        "模型",
        "🚀",
        "\u202edrawkcab",
        "\u2028",
        "nul\x00",
        "esc\x1b[31mred",
    ),
    *(
        "two\nlines",
        "../../etc/passwd",
        "/dev/zero",
        "/dev/null",
        ".",
        "-",
        "null",
        "true",
        "1e5",
        "0x10",
        "$x^{",
        "<b>",
    ),
    *(
        "[red]x[/red]",
        "%s",
        "{x}",
        "'",
        '"',
        "profile.json",
        "trace.csv",
        "m1",
        "popularity",
        "sunsim",
        "a.b",
        "\ud800",
    ),
]
OTHERS: list[Any] = [
    None,
    True,
    False,
    [],
    {},
    [[]],
    {"": 1},
    [1, 2],
    {"m1": 1, "m2": 2},
    {"a": {"b": {"c": 1}}},
    ["x"],
]
TEXT_PIECES = [
    *(
        "&a ",
        "*a",
        "<<: *a\n",
        "- ",
        ": ",
        "\t",
        "#",
        "|",
        ">\n",
        "---\n",
        "...\n",
        "%YAML 9.9\n",
        "!!python/name:os.system ",
    ),
    *(
        "!!binary ",
        "!!set ",
        "!!timestamp ",
        "? ",
        "[" * 60,
        "{" * 60,
        "]",
        "}",
        "'",
        '"',
        "\\",
        "\x00",
        "\x07",
        "\u0085",
    ),
    *(
        "\ufeff",
        "\r",
        "\r\n",
        "\n\n\n",
        "1e999",
        "0x" + "f" * 5000,
        "9" * 5000,
        "2001-99-99",
        "null",
        ",",
        ",,,",
        "=",
        "~",
    ),
    *("NaN", "Infinity", "-", "1_000", "\uff11\uff12", "\u202e", "a" * 5000),
]


def scenario(random: Random) -> dict[str, str]:
    """The texts of a mutated scenario and of what it needs, by file name."""
    document = _small(random.choice(SCENARIOS))
    for _ in range(random.choice([0, 1, 1, 1, 2, 4])):
        _mutate(document, random)
    text = written_out(document)
    return {"scenario.yaml": _maybe_torn(text, random), "profile.json": PROFILE, "trace.csv": trace_files.TEXTS["csv"]}


def elastic(random: Random) -> dict[str, str]:
    """The texts of a mutated scenario of traffic and pools that change, and of what it needs, by file name."""
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(ELASTIC)
    for _ in range(random.choice([0, 1, 1, 1, 2, 4])):
        _mutate(document, random)
    return {"scenario.yaml": _maybe_torn(written_out(document), random), "profile.json": PROFILE, "rates.csv": RATES}


def drafting(random: Random) -> dict[str, str]:
    """The texts of a scenario with drafts and with what was measured of answers, of which one file is mutated, by file name."""
    documents: dict[str, Any] = {
        "scenario.yaml": YAML(typ="safe", pure=True).load(DRAFTING),
        "drafts/profile-eagle-k1.json": drafting_profile(1),
        "drafts/profile-eagle-k3.json": drafting_profile(3),
        "accuracy.json": accuracy_document(),
    }
    name = random.choice(["scenario.yaml"] * 4 + sorted(documents))
    for _ in range(random.choice([0, 1, 1, 1, 2, 4])):
        _mutate(documents[name], random)
    texts = {other: json.dumps(document) for other, document in documents.items()}
    texts["scenario.yaml"] = written_out(documents["scenario.yaml"])
    return texts | {"profile.json": PROFILE, name: _maybe_torn(texts[name], random)}


def profile(random: Random) -> dict[str, str]:
    """The texts of a mutated profile and of a scenario that uses it, by file name."""
    document = synthetic_profile()
    for _ in range(random.choice([1, 1, 2, 4])):
        _mutate(document, random)
    text = _maybe_torn(json.dumps(document), random)
    return {"scenario.yaml": PLAIN, "profile.json": text, "trace.csv": trace_files.TEXTS["csv"]}


def trace(random: Random) -> dict[str, str]:
    """The texts of a mutated trace and of a scenario that uses it, by file name."""
    form = random.choice(sorted(trace_files.TEXTS))
    text = trace_files.TEXTS[form]
    for _ in range(random.choice([1, 1, 2, 3])):
        cells = text.split(",")
        cells[random.randrange(len(cells))] = _scalar_text(random)
        text = ",".join(cells)
    text = _maybe_torn(text, random)
    scenario_text = PLAIN.replace(SYNTHETIC, f"{{kind: trace, format: {form}, path: trace.csv, models: popularity}}")
    return {"scenario.yaml": scenario_text, "profile.json": PROFILE, "trace.csv": text}


KINDS: dict[str, Callable[[Random], dict[str, str]]] = {
    "scenario": scenario,
    "elastic": elastic,
    "drafting": drafting,
    "profile": profile,
    "trace": trace,
}

PROFILE = json.dumps(synthetic_profile())
SYNTHETIC = (
    "{kind: synthetic, duration_s: 1, arrivals: {kind: poisson, rate_rps: 10}, "
    "lengths: {kind: fixed, prompt_tokens: 100, output_tokens: 20}}"
)
PLAIN = f"""\
name: plain
models: {{count: 2}}
workload: {SYNTHETIC}
slo: {{ttft_ms: 500, tpot_ms: 25}}
arms:
- name: isolated
  prefill: {{profile: profile.json, policy: isolated, workers: 2}}
  decode: {{profile: profile.json, policy: isolated, workers: 2}}
- name: sun
  prefill: {{profile: profile.json, policy: isolated, workers: 2}}
  decode: {{profile: profile.json, policy: shared, workers: 1}}
- name: both
  colocated: {{profile: profile.json, policy: isolated, workers: 2}}
"""

RATES = "time_s,rate_rps\n0,5\n0.5,20\n1,5\n"
ELASTIC = """\
name: elastic
models: {count: 2}
workload:
  kind: synthetic
  duration_s: 1
  arrivals: {kind: poisson, curve: {kind: csv, path: rates.csv}, bursts: {every_s: 0.5, length_s: 0.1, factor: 3}}
  popularity: {kind: flips, every_s: 0.3, order: shuffle}
  lengths: {kind: fixed, prompt_tokens: 100, output_tokens: 20}
slo: {ttft_ms: 500, tpot_ms: 25}
arms:
- name: both
  admission: {kind: shed, factor: 1.5}
  prefill:
    profile: profile.json
    policy: isolated
    workers: {m1: {min: 1, max: 2}, m2: {min: 1, max: 3}}
    scaling: {kind: schedule, workers: {m1: [[0, 1], [0.3, 2]], m2: [[0, 2], [0.5, 1]]}, interval_s: 0.1, start_s: 0.1}
  decode:
    profile: profile.json
    policy: shared
    router: least-harm
    output_lengths: {known: predicted, accuracy: 0.8}
    workers: {min: 1, max: 4}
    scaling:
      kind: token-velocity
      signal: rate
      target: 0.1
      interval_s: 0.1
      start_s: 0.1
      cooldown_s: 0.2
      grow: {workers: 1, every_s: 0.1}
      warm_workers: 1
    convertible: {workers: 1, max_chunk_tokens: 64, threshold_s: 0.01}
- name: oracle
  colocated:
    profile: profile.json
    policy: isolated
    workers: {min: 1, max: 3}
    scaling: {kind: oracle, target: 0.1, interval_s: 0.1, start_s: 0.2}
"""

DRAFTING = """\
name: drafting
models: {count: 2}
workload:
  kind: synthetic
  duration_s: 1
  arrivals: {kind: poisson, rate_rps: 10}
  lengths: {kind: fixed, prompt_tokens: 100, output_tokens: 20}
first_token: prefill
slo: {ttft_ms: 500, tpot_ms: 25}
arms:
- name: sun
  accuracy: {file: accuracy.json, method: prefill-only, tasks: [sums]}
  prefill: {profile: profile.json, policy: isolated, workers: 2}
  decode:
    profile: profile.json
    policy: shared
    workers: {min: 1, max: 2}
    scaling: {kind: kv-usage, interval_s: 0.1, start_s: 0.1}
    max_num_seqs: 8
    num_gpu_blocks: 40
    speculative_config:
      method: eagle
      num_speculative_tokens: 3
      synthetic_acceptance_rates: [0.75, 0.55, 0.4]
      num_speculative_tokens_per_batch_size: [[1, 1, 3], [2, 4, 2], [7, 8, 0]]
      models: {m2: {synthetic_acceptance_length: 2.5}}
      contexts: [{from_tokens: 105, synthetic_acceptance_rates: [0.5, 0.2, 0]}]
- name: both
  accuracy: accuracy.json
  colocated:
    profile: profile.json
    policy: isolated
    workers: 2
    speculative_config: {num_speculative_tokens: 5, synthetic_acceptance_length: 3.4, acceptance: expected}
"""


def _small(path: Path) -> dict[str, Any]:
    """A shipped scenario that takes no time: few requests, two arms, a small profile."""
    document: dict[str, Any] = json.loads(json.dumps(YAML(typ="safe", pure=True).load(path)))
    document["arms"] = document["arms"][:2]
    for arm in document["arms"]:
        for pool in arm.values():
            if isinstance(pool, dict):
                pool["profile"] = "profile.json"
    workload = document["workload"]
    if workload["kind"] == "trace":
        workload |= {"path": "trace.csv", "models": "popularity", "format": "csv"}
    else:
        workload["duration_s"] = 1
        document.get("measure", {}).pop("warmup_s", None)
        workload["arrivals"]["rate_rps"] = 10
    if "measured" in document.get("transfer", {}):
        del document["transfer"]
    return document


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every entry of a document: its container, and its key there."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    found = [(node, key) for key in keys]
    for key in keys:
        found += _places(node[key])
    return found


def _mutate(document: Any, random: Random) -> None:
    places = _places(document)
    if not places:
        return
    (node, key), (other, other_key) = random.choice(places), random.choice(places)
    way = random.randrange(10)
    if isinstance(node[key], int | float) and way > 6:
        node[key] = node[key] * random.choice([2, 3, 0.3, 10])
    elif way == 0:
        del node[key]
    elif way == 1 and isinstance(node, dict):
        node[random.choice([random.choice(TEXTS), random.choice(NUMBERS), None, f"{key}x"])] = node.pop(key)
    elif way == 2:
        node[key] = deepcopy(other[other_key])
    elif way == 3 and isinstance(node, list):
        node += deepcopy(node) * random.choice([1, 1, 50])
    elif way == 4 and isinstance(node[key], int | float):
        node[key] = node[key] * random.choice([-1, 0, 0.5, 10, 1e3, 1e6, 1e12, 1e-3, 1e-9])
    else:
        node[key] = random.choice([random.choice(NUMBERS), random.choice(TEXTS), deepcopy(random.choice(OTHERS))])


def _scalar_text(random: Random) -> str:
    return str(random.choice([random.choice(NUMBERS), random.choice(NUMBERS), random.choice(TEXTS)]))


def _maybe_torn(text: str, random: Random) -> str:
    for _ in range(random.choice([0, 0, 0, 0, 0, 1, 1, 3])):
        at, to = sorted((random.randrange(len(text) + 1), random.randrange(len(text) + 1)))
        way = random.randrange(6)
        if way == 0:
            text = text[:at]
        elif way == 1:
            text = text[:at] + text[min(to, at + 40) :]
        elif way == 2:
            text = text[:at] + text[at : at + 60] * random.choice([2, 30]) + text[at + 60 :]
        else:
            text = text[:at] + random.choice(TEXT_PIECES) + text[at:]
    return text


def written_out(value: Any) -> str:
    """A document as YAML, a top-level key a line; everything that JSON has no word for as YAML has it."""
    if isinstance(value, dict) and value:
        return "".join(f"{_flow(key)}: {_flow(entry)}\n" for key, entry in value.items())
    return _flow(value)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return json.dumps(value)
