"""A validation as one HTML file that needs nothing else: tables, and figures as inline SVG."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from sunsim import __version__
from sunsim.validation.arm_tables import arm_tables
from sunsim.validation.result import verdict
from sunsim.validation.tables import (
    MISSED,
    TextTable,
    figures_table,
    floor_table,
    heading,
    outside,
    overview_table,
    steps_table,
    subject,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sunsim.validation.arms import Comparison
    from sunsim.validation.floor import Pair
    from sunsim.validation.result import Validated

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .3rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .4rem; border-top: 1px solid #ddd; padding-top: 1.2rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
.verdict { border-left: 5px solid #009E73; background: #f2faf7; padding: .7rem 1rem; }
.verdict.missed { border-color: #D55E00; background: #fdf4ef; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th { text-align: right; vertical-align: bottom; border-bottom: 1px solid #888; padding: .25rem .8rem; white-space: pre-line; }
td { text-align: right; padding: .18rem .8rem; border-bottom: 1px solid #eee; white-space: nowrap; }
th.text, td.text { text-align: left; }
td.missed { color: #B34700; font-weight: 600; }
figure { margin: 1.2rem 0; }
svg { width: 100%; height: auto; }
footer { margin-top: 2.5rem; color: #666; font-size: .85rem; }
"""

NOTES = """
Errors are simulated against actual. TPOT = (last - first token) / (output tokens - 1) by the engine's clock; TTFT is
from submission to the client's first token; queueing is first scheduled - queued. Saturated figures are over the
longest stretch in which requests were held back for want of a place or of KV blocks. Intervals: 95 %, from a circular
block bootstrap over requests (over slices of time for rates) that draws both sides together. Arms: output is what is
emitted from the warm-up to the last arrival, over the time between and the decode GPUs; latencies are those of all
requests of all workers.
"""


def page(
    results: Sequence[Validated],
    floor: Sequence[Pair],
    figures: Mapping[str, Sequence[str]],
    comparisons: Sequence[Comparison] = (),
) -> str:
    """The whole document; `figures` has the SVG texts of each run by its name."""
    missed = not all(result.holds for result in results)
    title = f"Validation of {results[0].run.name}" if len(results) == 1 else f"Validation of {len(results)} runs"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="verdict{" missed" if missed else ""}">{escape(verdict(results))}</p>',
    ]
    if len(results) > 1:
        parts += [_block(overview_table(results)), _block(steps_table(results))]
    parts.append(_block(floor_table(floor)))
    parts += [_block(table) for comparison in comparisons for table in arm_tables(comparison)]
    for i, result in enumerate(results):
        if len(results) > 1:
            parts.append(f"<h2>{escape(result.run.name)}</h2>")
        parts += [f"<p>{escape(text)}</p>" for text in (heading(result), f"{subject(result)}. {outside([result])}")]
        parts += [_block(figures_table(result)), _block(steps_table([result]))]
        parts += [f"<figure>{_inline(svg, f'r{i}f{k}-')}</figure>" for k, svg in enumerate(figures[result.run.name])]
    hashes = "; ".join(sorted({f"{result.profile.name} {result.profile.sha256[:12]}" for result in results}))
    parts.append(f"<footer><p>{escape(NOTES)}</p><p>sunsim {__version__}; profiles: {escape(hashes)}</p></footer>")
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _block(table: TextTable | None) -> str:
    if table is None:
        return ""
    head = "".join(f"<th{_text(i, table)}>{escape(header)}</th>" for i, header in enumerate(table.headers))
    rows = "\n".join(
        f"<tr>{''.join(f'<td{_text(i, table, cell)}>{escape(cell)}</td>' for i, cell in enumerate(row))}</tr>"
        for row in table.rows
    )
    title = f"<h3>{escape(table.title)}</h3>\n" if table.title else ""
    return f'{title}<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'


def _text(i: int, table: TextTable, cell: str = "") -> str:
    classes = ["text"] if i < table.left else []
    if cell == MISSED or cell.endswith("!"):
        classes.append("missed")
    return f' class="{" ".join(classes)}"' if classes else ""


def _inline(svg: str, prefix: str) -> str:
    """An SVG file's element, its ids made the page's own: two figures may have the same."""
    element = svg[svg.index("<svg") :]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", element)
