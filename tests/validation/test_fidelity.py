"""The tables that documents show of committed runs, and the guard that keeps their errors from growing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from docs.blocks import FIDELITY, PLACES, block
from docs.fidelity import Checked, check, errors, foreign, repeats
from docs.fidelity_tables import WIDTH, fidelity_text, sharing_text
from docs.refresh import fidelity_blocks
from sunsim.validation.folders import committed_campaigns, committed_clusters, read_campaign
from tests.golden.fidelity.errors import complaints, kept
from tests.validation.campaigns import write_campaign
from tests.validation.runs import profile_document, stream, write_profile, write_run

REPEATED = """\
profile: p.json
purpose: reported
host: {host}
runs:
  steady: a worker below saturation
  again: the same stream once more
  front: a prefill worker
  queue: a worker with a queue, whose description leaves no place for figures
"""


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory: pytest.TempPathFactory) -> list[Checked]:
    """The same streams on host A, which is as its profile says, and on host B, which has steps 2 % longer."""
    campaigns = []
    for host, factor in (("A", 1.0), ("B", 1.02)):
        folder = tmp_path_factory.mktemp("hosts") / f"on-{host}"
        folder.mkdir()
        write_profile(folder / "p.json", profile_document(factor, engine_start=f"start-{host}"))
        own, light = profile_document(factor), stream(300, 10.0)
        same: dict[str, Any] = {"engine_start": f"start-{host}"}
        few = own["engine_args"] | {"max_num_seqs": 16}
        write_run(folder / "steady.parquet", light, own, **same)
        write_run(folder / "again.parquet", light, profile_document(factor * 1.03), **same)
        write_run(folder / "front.parquet", light, own, role="prefill", **same)
        write_run(folder / "queue.parquet", stream(600, 100.0), own, stream="queue", engine_args=few, **same)
        (folder / "campaign.yaml").write_text(REPEATED.format(host=host))
        campaigns.append(read_campaign(folder))
    return check(campaigns)


def row(text: str, start: str) -> str:
    """The line that starts so, and the next, which has the figures of a long label."""
    lines = text.splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.startswith(start)]
    following = lines[at + 1] if at + 1 < len(lines) else ""
    return lines[at] + (following if following.startswith(" ") else "")


def test_a_stream_is_a_row_and_a_repeat_is_the_floor(two_hosts: list[Checked]) -> None:
    text = fidelity_text(two_hosts[:1])
    assert max(map(len, text.splitlines())) <= WIDTH
    assert re.search(r"300 +\d[\d.]* +(\d\.\d\d) +\1 +\+0\.00 +\+0\.00 +\+0\.00 +- +- +hit$", row(text, "steady: a"))
    assert re.search(r" 600 .* \+0\.00 +\+0\.00 +hit$", row(text, "queue: a"))
    assert re.search(r"300 .* \+0\.00 +\+0\.00 +hit$", row(text, "front: a"))
    assert "again: the" not in text
    assert "3 of 3 streams within all targets; 10 of 10 targets hold." in text
    assert re.search(r"300 +\+3\.\d\d +\+3\.\d\d", row(text, "llama-3.1-8b bf16, steady: twice on host A"))


def test_a_miss_is_as_plain_as_a_hit(two_hosts: list[Checked]) -> None:
    home, away = two_hosts
    # The campaign of host A, judged with its second run first.
    turned = Checked(home.campaign, [home.results[1], *home.results[2:]], None)
    text = fidelity_text([turned, away])
    assert re.search(r" -3\.\d\d! +-3\.\d\d! +-[34]\.\d\d! .* miss$", row(text, "again: the same"))
    assert "5 of 6 streams within all targets" in text


def test_hosts_are_told_apart_by_their_labels(two_hosts: list[Checked]) -> None:
    assert [repeat.hosts for repeat in repeats(two_hosts)][:2] == [("A", "A"), ("B", "B")]
    others = list(foreign(two_hosts))
    assert {(other.profile_host, other.run_host) for other in others} == {("A", "B"), ("B", "A")}
    assert {other.result.relation for other in others} == {"other host"}
    assert all(
        figure.tolerance_percent == 3
        for other in others
        for figure in other.result.figures
        if figure.tag == "mean_tpot_ms"
    )
    text = fidelity_text(two_hosts)
    assert re.search(r" \+[12]\.\d\d ", row(text, "llama-3.1-8b bf16, steady: host B against host A"))
    assert "6 of 6 streams within all targets" in text.split("The floor")[0]
    assert re.search(r"-2\.\d\d +-2\.\d\d", text[text.index("Profile from another host") :])


def test_a_profile_of_another_host_is_called_so_and_used_once(two_hosts: list[Checked], tmp_path: Path) -> None:
    home, borrower = two_hosts[0], tmp_path / "on-C"
    shutil.copytree(two_hosts[1].campaign.folder, borrower)
    (borrower / "p.json").unlink()
    plan = REPEATED.format(host="C").replace("p.json", f"{home.campaign.folder}/p.json\nprofile_host: A")
    (borrower / "campaign.yaml").write_text(plan, encoding="utf-8")
    (guest,) = check([read_campaign(borrower)])
    assert {result.relation for result in guest.results} == {"other host"}
    assert {figure.tolerance_percent for result in guest.results if (figure := result.figure("mean_tpot_ms"))} == {3}
    assert "profile from the other host" in fidelity_text([guest])
    # Host A's runs are not simulated with their own profile under another name, nor host C's with A's once more.
    assert list(foreign([home, guest])) == []
    assert {(other.run_host, other.profile_host) for other in foreign([two_hosts[1], guest])} == {
        ("B", "A"),
        ("C", "B"),
    }


def test_other_limits_are_no_repeat(two_hosts: list[Checked], tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(two_hosts[0].campaign.folder, folder)
    args = profile_document()["engine_args"] | {"num_gpu_blocks_override": 9000}
    write_run(folder / "again.parquet", stream(300, 10.0), engine_args=args)
    (checked,) = check([read_campaign(folder)])
    assert len(checked.streams) == 4
    assert repeats([checked]) == []
    assert "the floor is not known" in fidelity_text([checked])


def test_preemptions_are_counted_on_both_sides(tmp_path: Path) -> None:
    write_profile(tmp_path / "p.json")
    write_run(tmp_path / "r.parquet", stream(200, 30.0, output_tokens=200), role="colocated", num_gpu_blocks=500)
    (tmp_path / "campaign.yaml").write_text("profile: p.json\npurpose: reported\nhost: A\nruns: {r: short of blocks}\n")
    text = fidelity_text(check([read_campaign(tmp_path)]))
    counted = re.search(r"Preemptions: llama-3\.1-8b bf16, r: (\d+) actual, (\d+) simulated\.", text)
    assert counted
    assert counted[1] == counted[2] != "0"


def test_sharing_stands_side_by_side(tmp_path: Path) -> None:
    (checked,) = check([read_campaign(write_campaign(tmp_path / "c", factor=1.02))])
    text = sharing_text([checked])
    assert max(map(len, text.splitlines())) <= WIDTH
    assert re.search(r"^shared-2 / isolated +actual .*\n +simulated ", text, re.MULTILINE)
    assert set(errors([checked])) >= {"c/iso-m1", "c/arm isolated", "c/arm shared-1"}


def test_nothing_is_said_where_nothing_was_run() -> None:
    assert fidelity_text([]) == "No run is there yet.\n"
    assert sharing_text([]) == "No whole cluster is there yet.\n"


@pytest.fixture(scope="module")
def committed() -> list[Checked]:
    """Every campaign that is shipped; errors are drawn once for an interval, which no table of these has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sunsim.validation.figures.RESAMPLES", 1)
        return check(committed_campaigns())


def test_documents_are_current(committed: list[Checked]) -> None:
    for name, content in fidelity_blocks(committed).items():
        assert block(PLACES[name].read_text(encoding="utf-8"), name) == content, "run python -m docs.refresh fidelity"


def test_calibration_runs_are_not_in_the_readme(committed: list[Checked]) -> None:
    calibration = [each for each in committed if each.campaign.plan.purpose == "calibration"]
    assert calibration
    blocks = fidelity_blocks(calibration)
    assert blocks["fidelity"] == fidelity_text([])
    assert blocks["calibration"] == fidelity_text(calibration)


def test_links_of_the_page_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https://|#)([^)]+)\)", FIDELITY.read_text(encoding="utf-8")):
        assert (FIDELITY.parent / target).exists(), target


def test_no_error_of_a_committed_run_has_grown(committed: list[Checked]) -> None:
    live = tuple(f"{folder.name}/" for folder in committed_clusters())  # have a test of their own
    before = {name: figures for name, figures in kept().items() if not name.startswith(live)}
    assert complaints(errors(committed), before) == []


def test_the_guard_finds_what_is_worse(tmp_path: Path) -> None:
    before = errors(check([read_campaign(write_campaign(tmp_path / "c"))]))
    assert complaints(before, before) == []
    worse = errors(check([read_campaign(write_campaign(tmp_path / "c", factor=1.02))]))
    lines = complaints(worse, before)
    assert any(re.fullmatch(r"c/iso-m1: mean_tpot_ms is off by -2\.\d\d %, was [+-]0\.00 %", line) for line in lines)
    assert any(line.startswith("c/arm shared-1: ") for line in lines)
    assert complaints(before, worse) == []


@pytest.mark.parametrize(
    ("now", "before", "worse"),
    [
        ({"r": {"t": 1.5}}, {"r": {"t": 1.0}}, False),
        ({"r": {"t": 1.51}}, {"r": {"t": 1.0}}, True),
        ({"r": {"t": -1.51}}, {"r": {"t": 1.0}}, True),
        ({"r": {"t": -0.2}}, {"r": {"t": 9.0}}, False),
        ({"r": {"t": None}}, {"r": {"t": 1.0}}, True),
        ({"r": {"t": 1.0}}, {"r": {"t": None}}, True),
        ({"r": {"t": None}}, {"r": {"t": None}}, False),
        ({"r": {}}, {"r": {"t": 1.0}}, True),
        ({"r": {"t": 1.0}}, {}, True),
        ({}, {"r": {"t": 1.0}}, True),
    ],
)
def test_half_a_point_is_what_an_error_may_grow_by(
    now: dict[str, dict[str, float | None]], before: dict[str, dict[str, float | None]], worse: bool
) -> None:
    assert bool(complaints(now, before)) == worse
