"""`campaign.yaml`: what is wrong in it is named with its line, and the verb takes its folder for all of its runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sunsim.errors import InputError
from sunsim.validation.folders import committed_campaigns, read_campaign
from tests.validation.campaigns import ARMS, PLAN, write_campaign
from tests.validation.runs import invoke, profile_document, stream, write_profile, write_run


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign; not to be changed."""
    return write_campaign(tmp_path_factory.mktemp("campaigns") / "one")


@pytest.fixture
def campaign(shared: Path, tmp_path: Path) -> Path:
    """A campaign of one's own."""
    return shutil.copytree(shared, tmp_path / "one")


def test_a_folder_stands_for_its_runs(shared: Path) -> None:
    code, stdout, stderr = invoke(shared, "--json")
    assert (code, stderr) == (0, "")
    content = json.loads(stdout)
    assert [run["name"] for run in content["runs"]] == [name for workers in ARMS.values() for name in workers]
    assert {run["profile"]["name"] for run in content["runs"]} == {str(shared / "p.json")}
    (arms,) = content["campaigns"]
    assert [arm["name"] for arm in arms["arms"]] == list(ARMS)


def test_a_borrowed_profile_is_another_hosts_with_its_wider_targets(campaign: Path) -> None:
    plan = campaign / "campaign.yaml"
    (campaign / "p.json").rename(campaign.parent / "p.json")
    plan.write_text(PLAN.replace("p.json", "../p.json\nprofile_host: B"), encoding="utf-8")
    _, stdout, _ = invoke(campaign, "--json")
    for run in json.loads(stdout)["runs"]:
        assert run["profile"]["from"] == "other host"
        assert run["profile"]["name"] == str(campaign.parent / "p.json")
        assert run["figures"]["mean_tpot_ms"]["tolerance_percent"] == 3


def test_a_folder_goes_with_runs_of_its_own_and_with_another_profile(campaign: Path, tmp_path: Path) -> None:
    write_profile(tmp_path / "slow.json", profile_document(factor=1.5))
    alone = write_run(tmp_path / "alone.parquet", stream(50, 5.0))
    code, stdout, _ = invoke(
        campaign, campaign / "iso-m1.parquet", alone, "--profile", tmp_path / "slow.json", "--json"
    )
    content = json.loads(stdout)
    assert code == 3
    assert len(content["runs"]) == 6
    assert all(run["figures"]["mean_tpot_ms"]["error_percent"] > 40 for run in content["runs"])


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("purpose: reported", "purpose: shown", ":2: purpose is 'shown', must be one of reported, calibration"),
        ("host: A\n", "", ":1: host is missing, must be given"),
        ("warmup_s: 2", "warmup: 2", ":4: warmup: Extra inputs are not permitted"),
        ("warmup_s: 2", "warmup_s: -1", ":4: warmup_s is -1, must be at least 0"),
        ("profile: p.json", "profile: q.json", ":1: profile q.json is not there, must be a file"),
        ("profile: p.json", "profile: ../p.json", ":1: profile ../p.json is not there, must be a file"),
        ("  sun1-w0:", "  sun3-w0:", ":10: runs.sun3-w0: sun3-w0.parquet is not in the folder, must be"),
        ("  sun1-w0: the only shared worker\n", "", ":5: runs lacks sun1-w0, must name every run in the folder"),
        ("  iso-m2: the", "  iso-m1: the", ":7: key iso-m1 is given twice"),
        (
            "shared-1: [sun1-w0]",
            "shared-1: [sun9]",
            ":14: arms.shared-1: sun9 is no run, must be one of iso-m1, iso-m2",
        ),
        ("shared-1: [sun1-w0]", "shared-1: []", ":14: arms.shared-1 is an empty list, must be a list with"),
        ("[sun2-w0, sun2-w1]", "[sun2-w0, sun2-w0]", ":13: arms.shared-2 has sun2-w0 twice"),
        (
            "[sun2-w0, sun2-w1]",
            "[sun2-w0]",
            ":13: arms.shared-2 served 200 requests, which are not the 400 of isolated",
        ),
        ("warmup_s: 2", "warmup_s: 2000", ":4: warmup_s is 2000, must be before the last arrival"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(campaign: Path, right: str, wrong: str, said: str) -> None:
    assert right in PLAN
    (campaign / "campaign.yaml").write_text(PLAN.replace(right, wrong), encoding="utf-8")
    code, stdout, stderr = invoke(campaign)
    assert (code, stdout) == (2, "")
    assert f"campaign.yaml{said}" in stderr
    assert stderr.count("\n") == 1


def test_a_prefill_run_is_no_decode_worker(campaign: Path) -> None:
    write_run(campaign / "sun1-w0.parquet", stream(400, 40.0), role="prefill")
    assert ":14: arms.shared-1: sun1-w0 is a prefill run" in invoke(campaign)[2]


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    code, stdout, stderr = invoke(tmp_path)
    assert (code, stdout) == (2, "")
    assert "campaign.yaml: cannot be read (No such file or directory)" in stderr
    (tmp_path / "campaign.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_campaign(tmp_path)


def test_every_folder_of_actual_runs_is_a_campaign_or_has_results_of_servers() -> None:
    campaigns = committed_campaigns()
    assert campaigns
    for folder in {each.folder.parent for each in campaigns}:
        others = {path for path in folder.iterdir() if path.is_dir()} - {each.folder for each in campaigns}
        assert {path.name for path in others} <= {"served"}
        assert all("itls" in json.loads(path.read_text()) for other in others for path in other.iterdir())
