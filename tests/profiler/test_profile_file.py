import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from profiler import profile_file
from profiler.profile_file import OtherSetupError
from sunsim.latency.profile import profiles_root

SETUP: dict[str, Any] = {
    "schema_version": 1,
    "gpu": "h100-80gb",
    "card": "H100",
    "host": {"cpu": "x", "cores": 8},
    "engine_args": {},
}


def test_a_phase_is_kept_and_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "profiles" / "p.json"
    profile = profile_file.start_or_resume(path, SETUP)
    profile_file.add_phase(profile, "decode-128", 3.2, {"decode_points": [{"batch": 1}, {"batch": 2}]})
    profile["phases"]["prefill"] = "left out: the budget of 10 s was used up"
    profile_file.write(path, profile)

    again = profile_file.start_or_resume(path, SETUP)

    assert profile_file.measured(again, "decode-128")
    assert not profile_file.measured(again, "prefill")
    assert not profile_file.measured(again, "never-heard-of")
    assert again["decode_points"] == [{"batch": 1}, {"batch": 2}]
    assert list(path.parent.iterdir()) == [path]


def test_another_set_up_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    profile_file.write(path, profile_file.start_or_resume(path, SETUP))

    with pytest.raises(OtherSetupError, match="measured with card 'H100', this is 'H200'"):
        profile_file.start_or_resume(path, SETUP | {"card": "H200"})


def test_a_file_that_is_no_profile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text("{")
    with pytest.raises(OtherSetupError, match="not a profile"):
        profile_file.start_or_resume(path, SETUP)


def test_one_point_a_line() -> None:
    profile = SETUP | {"decode_points": [{"batch": 1}, {"batch": 2}], "leave_points": []}
    text = profile_file.dump(profile)

    assert json.loads(text) == profile
    assert '  {"batch": 1},\n  {"batch": 2}\n' in text


ADDED = {"measured_sha256", "processors", "served_lengths"}


@pytest.mark.parametrize(
    "path", sorted((profiles_root() / "h100-80gb").glob("**/*8b-*.json")), ids=lambda p: str(p.parent.name)
)
def test_without_the_facts_that_were_added_a_profile_is_the_file_that_was_measured(path: Path) -> None:
    profile = json.loads(path.read_text())
    measured = {name: value for name, value in profile.items() if name not in ADDED}
    assert hashlib.sha256(profile_file.dump(measured).encode()).hexdigest() == profile["measured_sha256"]
