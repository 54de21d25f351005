"""What a report is made of; `terminal`, `markdown` and `html` show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sunsim.report.text_table import TextTable


@dataclass(frozen=True, slots=True)
class Bullets:
    """Sentences as a list."""

    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The sentences that the rest comes down to; `missed` if not all is as it should be."""

    sentences: Sequence[str]
    missed: bool


@dataclass(frozen=True, slots=True)
class Number:
    """A large number, and below it what it is of."""

    value: str
    of: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The few numbers that somebody who reads nothing else should see; on a page alone."""

    numbers: Sequence[Number]


@dataclass(frozen=True, slots=True)
class Contents:
    """Links to the sections of these titles, after a word that says what they are; on a page alone."""

    what: str
    titles: Sequence[str]


@dataclass(frozen=True, slots=True)
class Note:
    """How to read what follows; not on a terminal."""

    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture; not on a terminal.

    Attributes:
        caption: stands under it.
        svg: an SVG file's text, which a page holds; a page leaves out a figure without.
        file: its file beside the report, which Markdown links to; Markdown leaves out a figure without.
    """

    caption: str = ""
    svg: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Small pictures side by side."""

    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to be shown as they are; not on a terminal. The language is that of Markdown's fences."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a title, which a terminal leaves out; a section of nothing but notes is left out itself.

    Attributes:
        folded: a page shows the title alone until somebody asks for more, and a terminal nothing.
        in_full: not on a terminal.
    """

    title: str
    blocks: Sequence["Block | None"]
    folded: bool = False
    in_full: bool = False


Block = str | list[str] | Bullets | Verdict | Headline | Contents | Note | TextTable | Figure | Gallery | Code | Section
"""One sentence, sentences under one another, and so on."""


@dataclass(frozen=True, slots=True)
class Report:
    """A title, blocks (None for what there is none of), and what stands below them in small print."""

    title: str
    blocks: Sequence[Block | None]
    footer: Sequence[str] = ()


def there(blocks: Sequence[Block | None], picture: Literal["svg", "file"] | None = None) -> list[Block]:
    """The blocks that have something to show; figures only if they have the given form of a picture."""
    return [block for block in blocks if block is not None and not _empty(block, picture)]


def _empty(block: Block, picture: Literal["svg", "file"] | None) -> bool:
    match block:
        case Section():
            return all(isinstance(inner, Note) for inner in there(block.blocks, picture))
        case Gallery():
            return not there(block.figures, picture)
        case Figure():
            return picture is None or not getattr(block, picture)
        case Bullets() | Verdict():
            return not block.sentences
        case Headline():
            return picture != "svg" or not block.numbers
        case Contents():
            return picture != "svg" or not block.titles
        case TextTable():
            return not block.rows
        case str() | list():
            return not block
    return False
