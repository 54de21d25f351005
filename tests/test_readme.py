"""The README keeps up with the code; ``python -m docs.refresh`` renews its figures."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from docs.refresh import PICTURE, README, ROOT, WIDTH, block, replaced, trace
from sunsim.document.block import Block
from sunsim.report.terminal import show
from sunsim.run import check, prepare
from sunsim.simulate import result_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = README.read_text(encoding="utf-8")


def scenario_keys(block_type: type[Block] = Block) -> Iterator[str]:
    for child in block_type.__subclasses__():
        yield from child.model_fields
        yield from scenario_keys(child)


def test_result_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    scenario, requests = prepare(ROOT / "scenarios" / "zipf3.yaml", [], None)
    printed = StringIO()
    show(result_of(scenario, requests).summary, file=printed)
    shown = block(TEXT, "run").split("Files: ")[0]
    assert shown.splitlines() == [line.rstrip() for line in printed.getvalue().splitlines()]
    assert PICTURE.is_file()


def test_described_trace_is_current() -> None:
    assert block(TEXT, "trace").splitlines() == [line.rstrip() for line in trace()["trace"].splitlines()]


def test_example_scenario_passes_the_check(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    file = tmp_path / "example.yaml"
    file.write_text(example, encoding="utf-8")
    assert check(file, [], None).startswith("ok: ")


@pytest.mark.parametrize("key", sorted(set(scenario_keys())))
def test_every_scenario_key_is_explained(key: str) -> None:
    section = TEXT.split("## Write a scenario")[1].split("## Profiles")[0]
    assert re.search(rf"\b{key}\b", section)


@pytest.mark.parametrize("name", ["run", "test"])
def test_commands_are_marked(name: str) -> None:
    assert re.search(rf"<!-- command: {name} -->\n```sh\npython3 -m venv .venv && [^\n]+\n```\n", TEXT)


def test_claims_are_there() -> None:
    assert "holds in" in block(TEXT, "claims")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https://)([^)]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_replaced_changes_one_block() -> None:
    changed = replaced(TEXT, "speed", "1\n")
    assert block(changed, "speed") == "1\n"
    assert block(changed, "run") == block(TEXT, "run")
