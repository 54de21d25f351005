"""Tables, sentences and names as they are shown: nothing is cut, nothing is obeyed."""

from __future__ import annotations

import html
import io
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sunsim.errors import InputError
from sunsim.report import markdown
from sunsim.report.blocks import Block, Bullets, Code, Note, Report, Section, Verdict
from sunsim.report.html import to_html
from sunsim.report.terminal import plain, say
from sunsim.report.text_table import TextTable
from sunsim.visible import visible
from tests.printed import printed_tables

HOSTILE = "\x1b[2J\r\n\x07\u202e\u2066\u2028\x85<b>&|*_[x](y)`$"
LETTERS = st.sampled_from("aZ0.,%-é日本語" + HOSTILE)


def words(longest: int) -> st.SearchStrategy[str]:
    """Text without two blanks in a row, which would look like the space between columns."""
    parts = st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=1, max_size=6)
    return parts.map(lambda found: " ".join(found)[:longest].strip()).filter(bool)


@st.composite
def tables(draw: st.DrawFn) -> TextTable:
    """Headers of one to three lines; labels of up to 60 characters, some rows are headings."""
    number = draw(st.integers(2, 7))
    headers = [words(12).filter(lambda text: "\n" not in text) for _ in range(number)]
    row = st.tuples(words(60), *(words(14) for _ in range(number - 1)))
    rows = draw(st.lists(st.one_of(row, st.tuples(words(60))), min_size=1, max_size=6))
    names = tuple(draw(header.map(lambda text: text.replace(" ", "\n", 2))) for header in headers)
    return TextTable("", names, rows, left=draw(st.integers(0, number)))


def test_a_table_without_rows_is_left_out() -> None:
    empty = TextTable("nothing", ("a", "b"), [])
    assert plain(["before", empty, "after"], 80) == "before\n\nafter\n"


WIDE_OVER_THE_EDGE = TextTable(
    "",
    ("0", "0"),
    [
        ("0", "0"),
        ("0 0\u2028 00\x85 00\u2028 000000000\r\r\x07 00000000\r\x07\u2028日", "0"),
        ("000\x1b 00\r\u2028 00000000\r 0000000\r\r\r\r\x85 00000\r\r\r\x07日 0",),
    ],
    left=0,
)
"""A heading whose last wide character ends in the gap between the columns, so that it looks like a row."""


@settings(max_examples=300, deadline=None)
@example(WIDE_OVER_THE_EDGE, None)
@given(tables(), st.none() | st.integers(20, 200))
def test_every_cell_can_be_read_back(table: TextTable, width: int | None) -> None:
    text = printed(table, width)
    parts = printed_tables(text)
    headers = [" ".join(visible(line) for line in header.split("\n")).strip() for header in table.headers]
    assert [parts[0].headers[0], *(header for part in parts for header in part.headers[1:])] == headers
    for i, row in enumerate(table.rows):
        labels = {part.rows[i][0] for part in parts}
        cells = [cell for part in parts for cell in part.rows[i][1:]]
        assert labels == {visible(row[0]).strip()}
        assert cells == [visible(cell).strip() for cell in row[1:]]


def printed(table: TextTable, width: int | None) -> str:
    """The table where nobody gives a width, or where COLUMNS does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        if width:
            patch.setenv("COLUMNS", str(width))
        file = io.StringIO()
        say([table], file)
    return file.getvalue()


WIDE = TextTable("Title", ("arm", "output\ntok/s", "TPOT\nms"), [("sun", "53.2 2.30x", "100 %"), ("iso", "1", "2")])


@pytest.mark.parametrize("width", range(10, 30))
def test_columns_that_do_not_fit_are_stacked_and_stay_whole(width: int) -> None:
    text = plain([WIDE], width)
    assert "53.2 2.30x" in text
    assert "100 %" in text
    assert max(map(len, text.splitlines())) <= max(width, len("sun  53.2 2.30x"))
    assert text.count("arm") == (1 if width >= 22 else 2)


def test_a_long_label_leaves_the_place_to_figures() -> None:
    name = "a-name-of-many-more-characters-than-there-is-place-for"
    table = TextTable("", ("arm", "tok/s", "ms"), [(name, "1", "2"), ("sun", "3", "4")], left=1)
    assert plain([table], 30).splitlines() == [
        "arm  tok/s  ms",
        "───  ─────  ──",
        name,
        "         1   2",
        "sun      3   4",
    ]


def test_sentences_are_broken_between_words_only() -> None:
    path = "results/" + "long-" * 20
    text = plain([f"Files: {path}/ (a.png, b.png)", Bullets(["It is so, and it is so well-known.", "Yes."])], 20)
    assert text.splitlines() == [
        "Files:",
        f"  {path}/",
        "  (a.png, b.png)",
        "",
        "- It is so, and it",
        "  is so well-known.",
        "- Yes.",
    ]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 80 columns."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: (80, 25))
    file = io.StringIO()
    monkeypatch.setattr(file, "isatty", lambda: True, raising=False)
    return file


def test_on_a_terminal_what_is_missed_is_red_and_tables_fit(terminal: io.StringIO) -> None:
    say([TextTable("", ("", *(f"figure {i}" for i in range(12)), ""), [("TPOT", *["1.00"] * 12, "missed")])], terminal)
    text = terminal.getvalue()
    assert "\x1b[31mmissed\x1b[0m" in text
    assert max(len(re.sub(r"\x1b\[\d+m", "", line)) for line in text.splitlines()) <= 80


def test_where_only_ascii_can_be_shown_there_are_rules_still() -> None:
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding="ascii", errors="backslashreplace")
    say([TextTable("", ("arm", "ms"), [("sun", "1")])], file)
    file.flush()
    assert written.getvalue() == b"arm  ms\n---  --\nsun   1\n"


def test_names_are_not_obeyed_by_a_terminal(terminal: io.StringIO) -> None:
    say([HOSTILE, TextTable(HOSTILE, (HOSTILE, "x"), [(HOSTILE, HOSTILE), (HOSTILE,)])], terminal)
    text = re.sub(r"\x1b\[\d+m", "", terminal.getvalue())
    assert text.replace("\n", "").isprintable()


def test_a_sentence_stays_one_line_of_markdown() -> None:
    assert markdown.text(HOSTILE) == (r"\\x1b\[2J\\r\\n\\x07\\u202e\\u2066\\u2028\\x85\<b\>\&\|\*\_\[x\](y)\`\$")
    assert [markdown.text(each) for each in ("# a", "1. a", "- a", "max_num_seqs 1.5", "1.5 req/s")] == [
        r"\# a",
        r"1\. a",
        r"\- a",
        "max_num_seqs 1.5",
        "1.5 req/s",
    ]


def test_a_table_of_markdown_has_as_many_cells_as_columns() -> None:
    table = TextTable("", ("a|b", "c"), [("x|y\nz", "<i>"), ("heading",)])
    lines = markdown.table(table).splitlines()
    assert lines == [r"| a\|b | c |", "| --- | ---: |", r"| x\|y\\nz | \<i\> |", "| heading |  |"]


def test_code_cannot_leave_its_fence() -> None:
    text = markdown.code("name: '```'\n<b>\x1b</b>\n", "yaml")
    assert text == "````yaml\nname: '```'\n<b>\\x1b</b>\n````"


def test_pages_show_names_as_text() -> None:
    table = TextTable(HOSTILE, (HOSTILE, "x"), [(HOSTILE, HOSTILE), (HOSTILE,)])
    every: list[Block | None] = [
        HOSTILE,
        [HOSTILE],
        Bullets([HOSTILE]),
        Verdict([HOSTILE], missed=True),
        Note(HOSTILE),
        Code(HOSTILE),
        table,
    ]
    folded = Section(HOSTILE, every, folded=True)
    page = to_html(Report(HOSTILE, [*every, Section(HOSTILE, [*every, folded])], footer=[HOSTILE]))
    assert page.replace("\n", "").isprintable()
    assert "<b>" not in page
    assert html.escape("<b>&") in page


def test_an_error_is_one_line() -> None:
    assert str(InputError("no arm a\nb\x1b", "dir\u202e/x.yaml", 3)) == "dir\\u202e/x.yaml:3: no arm a\\nb\\x1b"
    assert str(InputError("no\rway")) == "no\\rway"
