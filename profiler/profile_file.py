"""The profile as a file: written after each phase, readable as a diff, resumed only by the set-up that began it."""

import json
from pathlib import Path
from typing import Any

from sunsim.files import replacing
from sunsim.latency.drafts import check_name

SCHEMA_VERSION = 1

POINT_LISTS = (
    "decode_points",
    "leave_points",
    "join_points",
    "first_token_points",
    "prefill_points",
    "mixed_points",
    "idle_starts",
    "pauses",
    "stalls",
    "host_stalls",
    "arrival_points",
    "served_lengths",
)

SAME_SETUP = (
    "schema_version",
    "gpu",
    "card",
    "host",
    "versions",
    "model",
    "model_config",
    "variant",
    "weights",
    "quick",
    "engine_args",
)


class OtherSetupError(Exception):
    """The file on disk was measured with something else."""


def dump(profile: dict[str, Any]) -> str:
    """JSON with one point a line."""
    parts = []
    for key, value in profile.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            points = ",\n".join("  " + json.dumps(point) for point in value)
            parts.append(f"{json.dumps(key)}: [\n{points}\n ]")
        elif isinstance(value, dict) and key not in {"card", "host", "versions"}:
            nested = json.dumps(value, indent=2).replace("\n", "\n ")
            parts.append(f"{json.dumps(key)}: {nested}")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def write(path: Path, profile: dict[str, Any]) -> None:
    """Whole or not at all."""
    with replacing(path, "a file for a profile") as partial:
        partial.write_text(dump(profile))


def start_or_resume(path: Path, setup: dict[str, Any]) -> dict[str, Any]:
    """A profile with `setup` and either no points or those already in the file.

    Raises OtherSetupError if the set-ups differ, InputError for the name of a profile with other drafts.
    """
    drafts = setup["engine_args"].get("speculative_config") or {}
    check_name(path, drafts.get("method"), drafts.get("num_speculative_tokens", 0))
    empty: dict[str, Any] = setup | {"phases": {}} | {name: [] for name in POINT_LISTS}
    if not path.exists():
        return empty
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        msg = f"{path}: not a profile ({error}); give another --out"
        raise OtherSetupError(msg) from error
    for key in SAME_SETUP:
        before, now = found.get(key), json.loads(json.dumps(setup.get(key)))
        if before != now:
            msg = f"{path}: measured with {key} {before!r}, this is {now!r}; give another --out"
            raise OtherSetupError(msg)
    return empty | found


def measured(profile: dict[str, Any], phase: str) -> bool:
    """Whether the phase's points are in; a phase left out or failed is measured again."""
    return isinstance(profile["phases"].get(phase), int | float)


def add_phase(profile: dict[str, Any], phase: str, seconds: float, points: dict[str, list[dict[str, Any]]]) -> None:
    """Adds a finished phase's points."""
    for name, found in points.items():
        profile[name] = profile.get(name, []) + found
    profile["phases"][phase] = round(seconds, 2)
