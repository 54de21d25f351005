"""What people expect and what is not simulated is refused with the place that says why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.blocks import ROOT
from sunsim.document.block import Block
from sunsim.document.unsimulated import NOT_SIMULATED, PAGE
from sunsim.errors import InputError
from sunsim.scenario import load_scenario
from tests.scenario_files import SCENARIO, write_scenario

TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


def said(path: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load_scenario(path, overrides)
    return str(caught.value)


def keys(block: type[Block] = Block) -> set[str]:
    return {key for child in block.__subclasses__() for key in {*child.model_fields} | keys(child)}


@pytest.mark.parametrize("anchor", sorted(set(NOT_SIMULATED.values())))
def test_the_page_has_the_anchor_once(anchor: str) -> None:
    assert TEXT.count(f'<a id="{anchor}"></a>') == 1


def test_the_page_has_no_anchor_that_nothing_leads_to() -> None:
    assert set(re.findall(r'<a id="([\w-]+)"></a>', TEXT)) == set(NOT_SIMULATED.values())


def test_nothing_that_is_simulated_is_among_them() -> None:
    assert keys() & NOT_SIMULATED.keys() == set()


@pytest.mark.parametrize("key", NOT_SIMULATED)
def test_a_key_is_refused_in_one_line_with_its_place(key: str, tmp_path: Path) -> None:
    path = write_scenario(tmp_path, SCENARIO.replace("      allocation:", f"      {key}: 2\n      allocation:"))
    line = path.read_text().splitlines().index(f"      {key}: 2") + 1
    why = f"{PAGE}#{NOT_SIMULATED[key]} says why, and what comes close"
    place = f"{path}:{line}: arms.isolated.decode.{key}"
    assert said(path) == f"{place} is not simulated, must be left out: {why}"


def test_a_value_is_refused_with_what_there_is_and_its_place(tmp_path: Path) -> None:
    path = write_scenario(tmp_path)
    assert said(path, "workload.kind=priorities") == (
        "--set: workload.kind is 'priorities', must be one of synthetic, sessions, trace: 'priorities' is not simulated, "
        f"{PAGE}#priorities says why, and what comes close"
    )


def test_other_unknown_keys_are_answered_with_the_most_similar(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, SCENARIO.replace("allocation:", "alocation:"))
    assert said(path).endswith("unknown key arms.isolated.decode.alocation, did you mean allocation?")
