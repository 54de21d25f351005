"""README and pages keep up with the code; ``python -m docs.refresh`` renews their figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from docs.blocks import DOCS, PLACES, README, ROOT, beginning, block, replaced
from docs.refresh import PARTS, PICTURE, WIDTH, trace, write_example
from docs.trust import trust
from sunsim.document.block import Block
from sunsim.report.summary import summary_report
from sunsim.report.terminal import say
from sunsim.run import check, prepare
from sunsim.simulate import result_of

TEXT = README.read_text(encoding="utf-8")
PAGES = [README, *sorted(DOCS.glob("*.md"))]
page = pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])


def placed(name: str) -> str:
    return block(PLACES[name].read_text(encoding="utf-8"), name)


def fences(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def scenario_keys(block_type: type[Block] = Block) -> Iterator[str]:
    for child in block_type.__subclasses__():
        yield from child.model_fields
        yield from scenario_keys(child)


def test_readme_is_short() -> None:
    assert len(TEXT.splitlines()) < 300
    assert sum(len(printed.splitlines()) for printed in fences(TEXT, "text")) < 80


def test_result_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    scenario, requests = prepare(ROOT / "scenarios" / "zipf3.yaml", [], None)
    printed = StringIO()
    say(summary_report(result_of(scenario, requests).summary).blocks, printed)
    shown = placed("run").split("Files: ")[0]
    assert shown.splitlines() == [line.rstrip() for line in printed.getvalue().splitlines()]
    assert placed("run-short") == beginning(shown, 2)
    assert PICTURE.is_file()


def test_parts_that_can_be_renewed_are_told() -> None:
    told = (DOCS / "development.md").read_text(encoding="utf-8").split("renews one part: ")[1]
    assert re.findall(r"`([\w-]+)`", told) == list(PARTS)


def test_described_trace_is_current() -> None:
    assert placed("trace").splitlines() == [line.rstrip() for line in trace()["trace"].splitlines()]


def test_trust_is_of_the_page() -> None:
    assert placed("trust") == trust(placed("fidelity"))
    (streams,) = re.findall(r"\d+ of (\d+) streams within all targets", placed("fidelity").split("\nThe floor")[0])
    runs = re.findall(r" (\d+) +[\d.]+ % ", placed("trust"))
    assert sum(map(int, runs)) == int(streams)  # no stream is left out of it


def test_figures_in_the_text_are_of_the_pages() -> None:
    claims = TEXT.split("## SUN's claims")[1].split("\n## ")[0]
    counts = re.findall(r"\| (\d+ of \d+)", claims)
    assert len(counts) == 8
    for count in counts:
        assert count in placed("claims"), count
    (streams,) = re.findall(r"\d+ of \d+ streams within all targets", TEXT)
    assert streams in placed("fidelity")
    live = re.search(r"(\d+) arms, mean TPOT was off by ([\d.]+ %) in the mean and ([\d.]+ %) at most", TEXT)
    assert live
    assert "Mean TPOT of {} arms is off by {} in the mean, {} at most".format(*live.groups()) in placed("live")


def test_the_scenario_of_plans_passes_the_check(tmp_path: Path) -> None:
    assert check(write_example(tmp_path), [], None).startswith("ok: ")


def test_example_scenario_passes_the_check(tmp_path: Path) -> None:
    """The page's first example is a whole scenario; what follows are stages, which any of its arms may have."""
    example, *stages = fences((DOCS / "scenario.md").read_text(encoding="utf-8"), "yaml")
    file = tmp_path / "example.yaml"
    file.write_text(example, encoding="utf-8")
    assert check(file, [], None).startswith("ok: ")
    yaml = YAML(typ="safe")
    scenario = yaml.load(example)
    for stage in stages:
        arm = scenario["arms"][0] | yaml.load(stage)
        with file.open("w", encoding="utf-8") as stream:
            yaml.dump(scenario | {"arms": [arm]}, stream)
        assert check(file, [], None).startswith("ok: ")


@pytest.mark.parametrize("key", sorted(set(scenario_keys())))
def test_every_scenario_key_is_explained(key: str) -> None:
    rows = re.findall(r"^\| `.*", (DOCS / "scenario.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.search(rf"\b{key}\b", "\n".join(rows))


@pytest.mark.parametrize("name", ["run", "test"])
def test_commands_are_marked(name: str) -> None:
    assert re.search(rf"<!-- command: {name} -->\n```sh\npython3 -m venv .venv && [^\n]+\n```\n", TEXT)


@page
def test_links_lead_somewhere(page: Path) -> None:
    for target, _, heading in re.findall(r"\]\((?!https?://)([^)#]*)(#([^)]+))?\)", page.read_text(encoding="utf-8")):
        file = page.parent / target if target else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, heading


@page
def test_page_is_listed(page: Path) -> None:
    if page.parent == DOCS and page.name != "README.md":
        assert f"]({page.name})" in (DOCS / "README.md").read_text(encoding="utf-8")


@page
def test_every_block_is_made_by_a_command(page: Path) -> None:
    named = re.findall(r"<!-- begin: ([\w-]+) -->\n", page.read_text(encoding="utf-8"))
    assert sorted(named) == sorted(name for name, place in PLACES.items() if place == page)


def test_claims_are_there() -> None:
    assert "holds in" in placed("claims")


def test_replaced_changes_one_block() -> None:
    changed = replaced(TEXT, "trust", "1\n")
    assert block(changed, "trust") == "1\n"
    assert block(changed, "run-short") == block(TEXT, "run-short")


def test_trust_takes_the_worst_of_each_shape() -> None:
    table = "m v on Card A, host B, 2026\niso-m1: hot   100  1.0  2.0  2.0  -0.5  +0.1\nsun4-w0: w   90  1.0  2.0  2.0  +1.5!  +9.9\n\nThe floor\nlong: x  1  +7.0\n"
    assert trust(table).splitlines()[1].split() == ["chat", "Card", "A", "2", "1.0", "%", "+1.5", "%"]
    assert len(trust(table).splitlines()) == 2


def test_trust_counts_a_run_with_drafts_once() -> None:
    """By TPOT; its second table has TTFT."""
    tables = "".join(
        f"m v on Card, host M, 2026; drafts\n  {what} simu-\nstream mean\n\ndrafts-chat-low: c  1  {error}\n\n"
        for what, error in (("TPOT", "-2.0"), ("TTFT", "+9.0"))
    )
    assert trust(tables).splitlines()[1].split()[-5:] == ["1", "2.0", "%", "-2.0", "%"]


def test_trust_keeps_cards_apart() -> None:
    table = "".join(f"m v on Card {card}, host {card}\nlong: x  1  +{card}.0\n" for card in "12")
    assert [line.split()[-2] for line in trust(table + "\nThe floor\n").splitlines()[1:]] == ["+1.0", "+2.0"]
