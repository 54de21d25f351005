"""Printed tables read back, from the text alone: the rule below the headers says where the columns are."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

WIDTHS = (None, 60, 80, 100, 137, 200)
"""None: neither a terminal nor COLUMNS."""


@dataclass(frozen=True)
class Printed:
    """Headers, their lines joined by blanks, and rows of stripped cells; a heading is a row of one cell."""

    headers: list[str]
    rows: list[list[str]]


def printed_tables(text: str) -> list[Printed]:
    """Every table in a text; a stacked part is a table."""
    return [_table(lines) for part in text.split("\n\n") if any(map(_is_rule, lines := part.splitlines()))]


def printed_cells(text: str, keys: int = 1) -> dict[tuple[str, ...], str]:
    """Cells by heading, the first `keys` cells of their row, and header; a cell that comes again must be the same."""
    found: dict[tuple[str, ...], str] = {}
    for table in printed_tables(text):
        heading = label = ""
        for row in table.rows:
            if len(row) == 1:
                heading = row[0]
                continue
            label = row[0] or label
            for header, cell in zip(table.headers[keys:], row[keys:], strict=True):
                key = (heading, label, *row[1:keys], header)
                assert found.setdefault(key, cell) == cell
    return found


def _is_rule(line: str) -> bool:
    return line.startswith("─") and set(line) <= set("─ ")


def _table(lines: list[str]) -> Printed:
    at = next(i for i, line in enumerate(lines) if _is_rule(line))
    spans = _spans(lines[at])
    pieces = [cells for line in lines[:at] if (cells := _cut(line, spans))]
    headers = [" ".join(filter(None, column)) for column in zip(*pieces, strict=True)]
    rows: list[list[str]] = []
    for line in lines[at + 1 :]:
        cells = _cut(line, spans) or [line.strip()]
        if not any(cells[1:]):
            rows.append([cells[0]])
        elif not cells[0] and rows and len(rows[-1]) == 1:
            # The label had a line of its own.
            rows[-1] += cells[1:]
        else:
            rows.append(cells)
    return Printed(headers, rows)


def _spans(rule: str) -> list[tuple[int, int]]:
    spans, start = [], 0
    for part in rule.split("  "):
        spans.append((start, start + len(part)))
        start += len(part) + 2
    return spans


def _cut(line: str, spans: list[tuple[int, int]]) -> list[str]:
    """A line's cells; none if it goes across the columns."""
    cells = [""] * len(spans)
    at = 0
    for character in line:
        place = next((i for i, (start, end) in enumerate(spans) if start <= at < end), None)
        at += cell_len(character)
        if place is not None and at <= spans[place][1]:
            cells[place] += character
        elif character != " ":
            # A wide character may begin in a column and end in the gap behind it.
            return []
    return [cell.strip() for cell in cells]
