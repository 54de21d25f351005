"""One report on a terminal, as Markdown and as a page."""

from __future__ import annotations

import io
import re

import pytest

from sunsim.metrics import REGISTRY
from sunsim.report.blocks import (
    Bullets,
    Code,
    Contents,
    Figure,
    Gallery,
    Headline,
    Note,
    Number,
    Report,
    Section,
    Verdict,
)
from sunsim.report.columns import columns
from sunsim.report.html import to_html
from sunsim.report.markdown import to_markdown
from sunsim.report.terminal import plain, say
from sunsim.report.text_table import TextTable

SVG = '<?xml version="1.0"?><svg id="a"><use href="#a"/><path clip-path="url(#a)"/></svg>'
TABLE = TextTable("", ("arm", "output\ntok/s"), [("two",), ("  sun", "1"), ("  iso", "2!")])
REPORT = Report(
    "small",
    [
        "What was asked.",
        Verdict(["sun is enough."], missed=True),
        TABLE,
        None,
        Section(
            "Rate",
            [
                Note("How to read it."),
                Gallery([Figure("goodput", svg=SVG), Figure(svg=SVG)]),
                Section("Every rate", [TABLE], folded=True),
            ],
            in_full=True,
        ),
        Section("Pictures", [Figure("a run", file="run.png")]),
        Section("Nothing here", [Note("How to read it."), None, Gallery([]), Figure("none")]),
        Section("Before you believe it", [Bullets(["One seed.", "One host."])]),
        Section("Again", [Code("sunsim run", "sh")]),
    ],
    footer=["sunsim 1"],
)


def test_a_terminal_shows_what_has_to_be_read() -> None:
    assert plain(REPORT.blocks, 40).splitlines() == [
        "What was asked.",
        "",
        "sun is enough.",
        "",
        "       output",
        "arm     tok/s",
        "─────  ──────",
        "two",
        "  sun       1",
        "  iso      2!",
        "",
        "- One seed.",
        "- One host.",
    ]


@pytest.mark.parametrize(("last", "between"), [("said", ""), (TABLE, "\n")])
def test_the_place_of_the_files_stands_below_the_sentences(last: str | TextTable, between: str) -> None:
    file = io.StringIO()
    say([last], file, "results/x/")
    assert re.search(rf"(said|2!)\n{between}Files: results/x/\n$", file.getvalue())


def test_markdown_has_all_of_it_but_pictures_without_a_file() -> None:
    assert to_markdown(REPORT).split("\n\n") == [
        "# small",
        "What was asked.",
        "sun is enough.",
        table := "| arm | output tok/s |\n| --- | ---: |\n| two |  |\n| sun | 1 |\n| iso | 2! |",
        "## Rate",
        "How to read it.",
        "### Every rate",
        table,
        "## Pictures",
        "![a run](run.png)",
        "## Before you believe it",
        "- One seed.\n- One host.",
        "## Again",
        "```sh\nsunsim run\n```",
        "sunsim 1\n",
    ]


def test_a_page_has_all_of_it_but_pictures_without_an_svg() -> None:
    page = to_html(REPORT)
    assert re.findall(r"<h\d.*?</h\d>", page) == [
        "<h1>small</h1>",
        '<h2 id="part-1">Rate</h2>',
        '<h2 id="part-2">Before you believe it</h2>',
        '<h2 id="part-3">Again</h2>',
    ]
    assert '<div class="verdict missed">\n<p>sun is enough.</p>' in page
    assert re.search(r"<details><summary>Every rate</summary>\s*<div class=\"scroll\"><table>", page)
    assert '<tr class="heading"><td colspan="2">two</td></tr>' in page
    assert '<td class="missed">2!</td>' in page
    assert page.count("<figure>") == 2
    assert page.count("<figcaption>") == 1
    for number in range(2):
        used = f'<use href="#f{number}-a"/><path clip-path="url(#f{number}-a)"/>'
        assert f'<figure><svg id="f{number}-a">{used}</svg>' in page
    assert "Nothing here" not in page + to_markdown(REPORT)
    assert page == to_html(REPORT)


def test_large_numbers_and_links_are_on_a_page_alone() -> None:
    report = Report(
        "r",
        [
            Headline([Number("4 GPUs", "lora <needs>")]),
            Contents("Runs", ["a b", "c"]),
            Section("c", ["first"]),
            Section("a b", ["second"]),
            Contents("Runs", []),
        ],
    )
    page = to_html(report)
    assert "<div><strong>4 GPUs</strong><span>lora &lt;needs&gt;</span></div>" in page
    assert '<nav>Runs: <a href="#part-1">a b</a> <a href="#part-2">c</a></nav>' in page
    assert '<h2 id="part-2">c</h2>' in page
    assert '<h2 id="part-1">a b</h2>' in page
    assert page.count("<nav>") == 1
    assert plain(report.blocks, 40) == "first\n\nsecond\n"
    assert "4 GPUs" not in to_markdown(report)


@pytest.mark.parametrize(("wide", "classes"), [(39, "scroll"), (41, "scroll wide"), (200, "scroll wide wider")])
def test_only_cells_of_what_a_phone_cannot_show_side_by_side_say_what_they_are_of(wide: int, classes: str) -> None:
    page = to_html(Report("r", [TextTable("", ("arm", "breaks\nfirst"), [("sun", "x" * (wide - 5))])]))
    assert f'<div class="{classes}"><table>' in page
    assert ('data-of="breaks first"' in page) == (classes != "scroll")


def test_a_figure_is_never_shown_with_text_under_eight_points() -> None:
    svg = '<svg viewBox="0 0 648 300"><text style="font-size: 10px">a</text></svg>'
    page = to_html(Report("r", [Figure(svg=svg)]))
    shown = re.search(r"min-width: (\d+)px", page)
    assert shown
    assert 10 * int(shown[1]) / 648 * 72 / 96 >= 8


def test_coloured_text_can_be_read_on_every_ground() -> None:
    """Contrast as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        """Of a colour as #rrggbb."""
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    style = to_html(REPORT).split("</style>")[0]
    whole = {each: "#" + "".join(2 * digit for digit in each[1:]) for each in re.findall(r"#[0-9a-fA-F]{3}\b", style)}
    inks = [whole.get(each, each) for each in re.findall(r"[ ;{]color: (#[0-9a-fA-F]+)", style)]
    grounds = ["#ffffff", *re.findall(r"background: (#[0-9a-fA-F]{6});", style)]
    assert len(inks) > 4
    assert len(grounds) > 3
    for ink in inks:
        for ground in grounds:
            assert (luminance(ground) + 0.05) / (luminance(ink) + 0.05) >= 4.5, (ink, ground)


def test_columns_are_the_registrys() -> None:
    shown = columns("decode_gpus", "output_throughput_per_decode_gpu", "p99_ttft_ms", "slo_attainment")
    assert [column.header for column in shown] == ["decode\nGPUs", "per decode\nGPU tok/s", "TTFT p99\nms", "SLO\nmet"]
    entry = {
        "decode_gpus": 1200,
        "output_throughput_per_decode_gpu": 3.0,
        "p99_ttft_ms": None,
        "slo_attainment": 0.9999,
    }
    assert [column.cell(entry) for column in shown] == ["1,200", "3.00", "-", ">99.9 %"]
    assert REGISTRY["output_throughput_per_gpu"].label == "output per GPU (tok/s)"


def test_no_columns_at_all_are_none_stated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    say(["A sentence."])
    assert capsys.readouterr().out == "A sentence.\n"
