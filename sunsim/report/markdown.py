"""Reports as GitHub's Markdown has them: what others wrote is shown as they wrote it."""

import re
from collections.abc import Iterator, Sequence

from sunsim.report.blocks import Block, Bullets, Code, Figure, Gallery, Note, Report, Section, Verdict, there
from sunsim.report.text_table import TextTable
from sunsim.visible import visible, visible_lines

_MARKS = re.compile(r"[\\`*\[\]<>|&~$]|(?<![^\W_])_|_(?![^\W_])")
"""What would be read as markup; an underscore within a word is none."""

_AT_THE_START = re.compile(r"^(\d*)([#+=-]|[.)](?=\s|$))")
"""What would make a heading, a list or a rule of a line that it begins; digits cannot be escaped, what follows can."""


def to_markdown(report: Report) -> str:
    """The whole document."""
    parts = [f"# {_inline(report.title)}", *_parts(report.blocks, 2), *map(text, report.footer)]
    return "\n\n".join(parts) + "\n"


def section(block: Section) -> str:
    """A part of a document, under a heading of the second level."""
    return "\n\n".join(_parts([block], 2)) + "\n"


def _parts(blocks: Sequence[Block | None], level: int) -> Iterator[str]:
    """What stands between empty lines; `level` is that of the next heading."""
    for block in there(blocks, "file"):
        match block:
            case str():
                yield text(block)
            case list():
                yield from map(text, block)
            case Verdict():
                yield from map(text, block.sentences)
            case Bullets():
                yield "\n".join(f"- {text(sentence)}" for sentence in block.sentences)
            case Note():
                yield text(block.text)
            case TextTable():
                yield table(block).rstrip("\n")
            case Figure():
                yield f"![{_inline(block.caption)}]({block.file})"
            case Gallery():
                yield from _parts(block.figures, level)
            case Code():
                yield code(block.text, block.language)
            case Section():
                yield f"{'#' * level} {_inline(block.title)}"
                yield from _parts(block.blocks, level + 1)


def text(sentence: str) -> str:
    """A sentence in one line."""
    return _AT_THE_START.sub(r"\1\\\2", _inline(sentence))


def table(block: TextTable) -> str:
    """The table, its title a line above."""
    headers = [_inline(" ".join(header.split())) for header in block.headers]
    rule = ["---" if i < block.left else "---:" for i in range(len(headers))]
    rows = [[_inline(cell) for cell in (*row, *[""] * (len(headers) - len(row)))] for row in block.rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (headers, rule, *rows)]
    title = f"{text(block.title)}\n\n" if block.title else ""
    return f"{title}{chr(10).join(lines)}\n"


def code(content: str, language: str) -> str:
    """A block of code; its fence is longer than any in it."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", content)), 0)
    return f"{fence}{language}\n{visible_lines(content).rstrip(chr(10))}\n{fence}"


def _inline(content: str) -> str:
    return _MARKS.sub(r"\\\g<0>", visible(content).strip())
