"""Reports on a terminal: sentences and tables as wide as there is place; pictures, notes and details are left out."""

import os
import sys
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TextIO

from rich.console import Console
from rich.text import Text

from sunsim.report.blocks import Block, Bullets, Section, Verdict, there
from sunsim.report.text_table import RULE, TextTable, table_lines
from sunsim.visible import visible


def say(blocks: Sequence[Block | None], file: TextIO | None = None, place: str = "") -> None:
    """Print blocks, and in which place the files are, to stdout or to a file.

    They fit into as many columns as COLUMNS or else the terminal says; where there is neither, nothing is broken.
    """
    file = file or sys.stdout
    # Rich takes COLUMNS=0 for no room at all; to a terminal of an unknown size it gives 80 columns.
    target = Console(file=file, highlight=False, width=80 if _stated() == 0 else None)
    width = _stated() or (target.width if target.file.isatty() else None)
    for line in _lines(blocks, width, place):
        if target.options.ascii_only:
            line.plain = line.plain.replace(RULE, "-")
        target.print(line, soft_wrap=True)


def plain(blocks: Sequence[Block | None], width: int) -> str:
    """Blocks as text of so many columns."""
    return "".join(f"{line.plain}\n" for line in _lines(blocks, width))


def _stated() -> int | None:
    """Columns as COLUMNS says."""
    stated = os.environ.get("COLUMNS", "")
    return int(stated) if stated.isdecimal() else None


def _lines(blocks: Sequence[Block | None], width: int | None, place: str = "") -> Iterator[Text]:
    """An empty line between blocks, but none above the place of the files."""
    shown = list(_shown(blocks))
    if place:
        last = shown.pop() if shown else []
        shown += [last, [f"Files: {place}"]] if isinstance(last, TextTable) else [[*last, f"Files: {place}"]]
    for i, block in enumerate(shown):
        if i:
            yield Text()
        if isinstance(block, TextTable):
            yield from _filled([block.title] if block.title else [], width)
            yield from table_lines(block, width)
        else:
            yield from _filled(block, width)


def _shown(blocks: Sequence[Block | None]) -> Iterator[TextTable | list[str]]:
    """Tables, and sentences under one another."""
    for block in there(blocks):
        match block:
            case TextTable():
                yield block
            case str():
                yield [block]
            case list():
                yield block
            case Verdict():
                yield list(block.sentences)
            case Bullets():
                yield [f"- {sentence}" for sentence in block.sentences]
            case Section() if not (block.folded or block.in_full):
                yield from _shown(block.blocks)


def _filled(sentences: Sequence[str], width: int | None) -> Iterator[Text]:
    """Broken between words, which stay whole: what is longer than a line goes on."""
    for sentence in map(visible, sentences):
        if width is None:
            yield Text(sentence)
        else:
            lines = wrap(sentence, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
            yield from map(Text, lines)
