"""A scenario for a file of requests alone: what the file does not say is assumed, and said to be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os.path import exists, isfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from sunsim.document.source import Source
from sunsim.document.text import written
from sunsim.errors import InputError, clipped, clipped_list
from sunsim.latency.profile import Profile, find_profile, list_profiles, load_profile
from sunsim.plan.rivals import GROWING, MOST_WORKERS, absent, most_measured, rivals
from sunsim.plan.windows import LENGTH_S
from sunsim.scenario import read_source
from sunsim.scenario.loading import Given
from sunsim.scenario.named import asked
from sunsim.scenario.shipped import names_scenario
from sunsim.workload.traces.formats import read_any

SCENARIOS: Final = (".yaml", ".yml")
"""How the names of scenarios end; any other file that is planned for is a trace."""
OTHERWISE: Final = "must be a scenario with a name that ends in .yaml, or a trace; `sunsim trace convert` makes a csv of it with --format"
PROFILE: Final = "profile"
"""For ``--set``, though no key of a scenario: the profile that says which card and which model the arms are of."""
BANDWIDTH: Final = "transfer.bandwidth_gbit_s"
MEASURED: Final = "transfer.measured"
ASSUMED: Final[dict[str, tuple[float, str]]] = {
    "slo.ttft_ms": (2000, "TTFT within 2,000 ms"),
    "slo.tpot_ms": (25, "TPOT within 25 ms"),
    BANDWIDTH: (400, "a KV link of 400 Gbit/s"),
}
"""The limits of the shipped scenarios, and the link of one that states none."""
GROWN: Final = "measure.warmup_s"
GROWN_STARTS: Final = 2
"""Elastic pools begin with one worker, whatever the log begins with. They are measured when they have had the time of so many
starts to grow, or, of a short log, a third of it.
"""


@dataclass(frozen=True, slots=True)
class Made:
    """A scenario made for a trace.

    Attributes:
        source: overrides applied; paths in it start at the working directory.
        models: what the trace calls its models, the one asked most first; none if it does not name them.
        assumed: what neither the trace nor an override says, each with the key that changes it.
        absent: ways to serve that no shipped profile allows.
    """

    source: Source
    models: Sequence[str]
    assumed: list[str]
    absent: list[str]

    def text(self, folder: Path) -> str:
        """The scenario as YAML to be edited, which works from a folder."""
        values = self.source.values()
        for block, key in _files(values):
            block[key] = os.path.relpath(os.path.realpath(block[key]), os.path.realpath(folder))
        lines = ["Made by `sunsim plan` for a file of requests. Edit it, and plan it again."]
        lines += [f"The models are those that the file names: {clipped_list(self.models)}."] if self.models else []
        return "".join(f"# {line}\n" for line in lines) + written(values, flow=None)


def made_for(given: Given, overrides: Sequence[str], seed: int | None, *, elastic: bool = False) -> Made | None:
    """A scenario for what is given if that is a trace; None if it is a scenario itself.

    Its models are the trace's. Its arms are the ways to serve them that the shipped profiles of one card and one base
    model allow: those of which most are shipped, or of the override ``profile``.

    Args:
        elastic: every way once more, with pools that grow and shrink.

    Raises:
        InputError: elastic pools are wanted of a scenario; the trace or an override cannot be used.
    """
    if not isinstance(given, str | Path) or not _is_trace(path := Path(given)):
        if elastic:
            message = "is given, must be left out: of a scenario its arms say which pools are elastic"
            raise InputError(message, "--elastic")
        return None
    name, rows = read_any(path, None, OTHERWISE)
    own = [override.partition("=") for override in overrides]
    base = [value for key, _, value in own if key == PROFILE][-1:]
    models = [*asked(rows)]
    profile = base[0] if base else most_measured(len(models))
    values: dict[str, Any] = {
        "name": _name(path),
        "workload": {"kind": "trace", "format": name, "path": os.path.realpath(path)},
        "slo": {},
        "transfer": {},
        "arms": rivals(_load(profile), profile, len(models) or 1, sessions=rows.rounds is not None, elastic=elastic),
        # Of the same requests a seed changes only when a worker's host stalls.
        "plan": {"seeds": 1},
    }
    start_s = GROWING["scaling"]["start_s"]
    first: dict[str, tuple[float | str, str]] = dict(ASSUMED)
    if any(key == MEASURED for key, _, _ in own):
        del first[BANDWIDTH]  # a link is stated in one way
    if elastic:
        warmup_s = min(GROWN_STARTS * start_s, float(f"{np.ptp(rows.arrival_s) / 3:.3g}")) if len(rows) else 0
        first[GROWN] = warmup_s, f"the first {warmup_s:g} s not measured, in which elastic pools grow"
        # In the mean a pool that is too small for minutes passes, and elastic ones are that while workers start.
        first["plan.require"] = "worst-window", f"the share within the limits kept in every {LENGTH_S:g} s"
    for key, (value, _) in first.items():
        block, _, word = key.partition(".")
        values.setdefault(block, {})[word] = value
    source = read_source(values, [each for each in overrides if not each.startswith(f"{PROFILE}=")], seed)
    said = {key for key, _, _ in own} | {key.partition(".")[0] for key, _, _ in own if "." not in key}
    assumed = [] if base else [f"the card and the base model of {profile} ({PROFILE})"]
    assumed += ["prefix caches, and routers that keep a session where it was (arms)"] if rows.rounds else []
    if elastic:
        pools = f"elastic pools of 1 to {MOST_WORKERS} workers that follow the tokens that come"
        assumed.append(f"{pools}, {start_s} s from order to ready (arms)")
    assumed += [f"{what} ({key})" for key, (_, what) in first.items() if not said & {key, key.partition(".")[0]}]
    return Made(source, models, assumed, absent(_load(profile), len(models)))


def _is_trace(path: Path) -> bool:
    """What is no file, such as a pipe, is read once: it is a scenario. So is what only a scenario is called."""
    # Unlike a path's own methods these give no error where the name is too long.
    if path.suffix.lower() in SCENARIOS or exists(path):  # noqa: PTH110
        return path.suffix.lower() not in SCENARIOS and isfile(path)  # noqa: PTH113
    return bool(path.suffix) and not names_scenario(path)


def _name(path: Path) -> str:
    """Of the scenario, and so of a folder."""
    stem = Path(path.name.removesuffix(".gz")).stem.lstrip(".")
    return "".join(letter for letter in stem if letter.isprintable() and letter != "\\")[:100] or "requests"


def _load(profile: str) -> Profile:
    try:
        return load_profile(find_profile(profile, Path()))
    except OSError as error:
        known = ", ".join(list_profiles()) or "none is shipped"
        message = f"{PROFILE} is '{clipped(profile)}', must be a .json file or one of the shipped profiles: {known}"
        raise InputError(message, "--set") from error


def _files(values: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Where a scenario names files of its own."""
    yield values["workload"], "path"
    pools = [pool for arm in values["arms"] for pool in arm.values() if isinstance(pool, dict)]
    for block, key in [(pool, "profile") for pool in pools] + [(values["transfer"], "measured")]:
        if str(block.get(key, "")).endswith(".json"):
            yield block, key
