"""Tables of text, made once and shown on a console, as Markdown or on a page; no cell is ever cut."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from sunsim.visible import visible

MISSED = "missed"

GAP = "  "
RULE = "─"


@dataclass(frozen=True, slots=True)
class TextTable:
    """Title, headers (newlines break them) and rows; the first `left` columns are text, the others numbers.

    A row of one cell is a heading of the rows below it. Where a table is wider than its place its columns are stacked,
    the first `keys` repeated.
    """

    title: str
    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left: int = 1
    keys: int = 1

    def is_heading(self, row: Sequence[str]) -> bool:
        """Whether a row is but a heading of those below it."""
        return len(row) == 1 < len(self.headers)


def table(rows: Iterable[Mapping[str, str]], title: str = "", left: int = 1) -> TextTable:
    """Rows by header, all with the same headers but for those of one cell; without rows there is nothing to show."""
    rows = list(rows)
    whole: Mapping[str, str] = max(rows, key=len, default={})
    return TextTable(title, tuple(whole), [tuple(row.values()) for row in rows], left)


def is_missed(cell: str) -> bool:
    """Whether a cell says that something is not as it should be."""
    return cell == MISSED or cell.endswith("!")


def characters_wide(table: TextTable) -> int:
    """Columns of a terminal that the table needs."""
    shown = _Shown(table)
    return shown.across(range(len(shown.widths)))


def table_lines(table: TextTable, width: int | None) -> list[Text]:
    """Headers, a rule and rows, whole.

    Args:
        table: its title is left to others.
        width: columns of the place. A table that is wider has labels of more than a third of them on lines of their own,
            then its columns stacked, each part after an empty line; what is wider still goes on. None: as wide as it is.
    """
    shown = _Shown(table)
    lines: list[Text] = []
    for columns in shown.fitted(width):
        lines += [Text(), *shown.part(columns)] if lines else shown.part(columns)
    return lines


class _Shown:
    """A table's visible text, and how wide its columns are."""

    def __init__(self, table: TextTable) -> None:
        self.table = table
        self.headers = [[visible(line) for line in header.split("\n")] for header in table.headers]
        self.rows = [[visible(cell) for cell in row] for row in table.rows]
        self.whole = [row for row in self.rows if not table.is_heading(row)]
        self.widths = [
            max(map(cell_len, (*header, *(row[i] for row in self.whole if i < len(row)))))
            for i, header in enumerate(self.headers)
        ]

    def fitted(self, width: int | None) -> list[list[int]]:
        """The numbers of the columns of each part; the first column becomes narrower if that is needed."""
        every = list(range(len(self.widths)))
        if width is None or self.across(every) <= width:
            return [every]
        most = max(width // 3, width - self.across(every[1:]) - len(GAP))
        labels = (size for row in self.whole if (size := cell_len(row[0])) <= most)
        self.widths[0] = max((*map(cell_len, self.headers[0]), *labels))
        keys, parts = every[: self.table.keys], [every[: self.table.keys]]
        for column in every[self.table.keys :]:
            if parts[-1] != keys and self.across([*parts[-1], column]) > width:
                parts.append(keys)
            parts[-1] = [*parts[-1], column]
        return parts

    def part(self, columns: Sequence[int]) -> list[Text]:
        """A table of some of the columns."""
        height = max(len(self.headers[i]) for i in columns)
        raised = {i: [""] * (height - len(self.headers[i])) + self.headers[i] for i in columns}
        lines = [self._line({i: raised[i][level] for i in columns}, "bold") for level in range(height)]
        lines.append(self._line({i: RULE * self.widths[i] for i in columns}))
        for row in self.rows:
            cells = {i: row[i] if i < len(row) else "" for i in columns}
            if self.table.is_heading(row) or cell_len(row[0]) > self.widths[0]:
                lines.append(Text(row[0], "bold" if self.table.is_heading(row) else ""))
                cells[0] = ""
            if not self.table.is_heading(row):
                lines.append(self._line(cells))
        return lines

    def across(self, columns: Sequence[int]) -> int:
        """How wide they are side by side."""
        return sum(self.widths[i] for i in columns) + len(GAP) * (len(columns) - 1)

    def _line(self, cells: dict[int, str], style: str = "") -> Text:
        line = Text(GAP).join(self._placed(i, cell, style) for i, cell in cells.items())
        line.rstrip()
        return line

    def _placed(self, i: int, cell: str, style: str) -> Text:
        blanks = " " * (self.widths[i] - cell_len(cell))
        text = (cell, style or ("red" if is_missed(cell) else ""))
        return Text.assemble(text, blanks) if i < self.table.left else Text.assemble(blanks, text)
