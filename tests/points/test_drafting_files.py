"""A point whose steps come from a family of profiles is simulated with the same ones elsewhere."""

from __future__ import annotations

from pathlib import Path

from sunsim.inputs import files
from sunsim.points.code import code_sha256
from sunsim.points.point import outcome
from sunsim.points.ray_cluster import file_names, outcome_elsewhere
from sunsim.scenario import load_scenario
from tests.test_speculative_config import SCENARIO, write


def test_profiles_with_drafts_travel_too(tmp_path: Path) -> None:
    path = write(tmp_path, 1, 3, 5, text=SCENARIO)
    scenario = load_scenario(path)
    found, names = files(scenario), file_names(scenario)
    assert {Path(name).name for name in found} == {"synthetic.json", "synthetic-eagle-k3.json"}
    assert names.keys() == found.keys()
    contents = [path.read_bytes() for path in found.values()]
    here = outcome(scenario)
    there = outcome_elsewhere(scenario.document, code_sha256(), names, *contents)
    assert there.rows
    assert there == here


def test_another_profile_with_drafts_is_another_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = file_names(load_scenario(path))
    drafting = tmp_path / "drafts" / "synthetic-eagle-k3.json"
    drafting.write_text(drafting.read_text().replace("2026-01-01", "2026-01-02"))
    after = file_names(load_scenario(path))
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
