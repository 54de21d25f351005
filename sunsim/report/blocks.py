"""Reports as lists of blocks, printed or as text: every verb shows its tables and sentences here."""

from __future__ import annotations

import os
import sys
from textwrap import wrap
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.text import Text

from sunsim.report.text_table import RULE, TextTable, table_lines
from sunsim.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Block = TextTable | str | list[str]
"""A table, a sentence, or sentences that stand under one another."""


def say(blocks: Sequence[Block], file: TextIO | None = None) -> None:
    """Print blocks to stdout, or to a file.

    They fit into as many columns as COLUMNS or else the terminal says; where there is neither, nothing is broken.
    """
    file = file or sys.stdout
    target = Console(file=file, highlight=False)
    for line in _lines(blocks, _columns(target)):
        if target.options.ascii_only:
            line.plain = line.plain.replace(RULE, "-")
        target.print(line, soft_wrap=True)


def plain(blocks: Sequence[Block], width: int) -> str:
    """Blocks as text of so many columns."""
    return "".join(f"{line.plain}\n" for line in _lines(blocks, width))


def bullets(sentences: Sequence[str]) -> list[str]:
    """Sentences as a list."""
    return [f"- {sentence}" for sentence in sentences]


def _columns(target: Console) -> int | None:
    stated = os.environ.get("COLUMNS", "")
    if stated.isdecimal() and int(stated):
        return int(stated)
    return target.width if target.file.isatty() else None


def _lines(blocks: Sequence[Block], width: int | None) -> Iterator[Text]:
    for i, block in enumerate(blocks):
        if i:
            yield Text()
        if isinstance(block, TextTable):
            yield from _filled([block.title] if block.title else [], width)
            yield from table_lines(block, width)
        else:
            yield from _filled([block] if isinstance(block, str) else block, width)


def _filled(sentences: Sequence[str], width: int | None) -> Iterator[Text]:
    """Broken between words, which stay whole: what is longer than a line goes on."""
    for sentence in map(visible, sentences):
        if width is None:
            yield Text(sentence)
        else:
            lines = wrap(sentence, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
            yield from map(Text, lines)
