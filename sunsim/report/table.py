"""The tables that `sunsim run` prints: every arm a row, each figure beside its ratio to the first arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from sunsim.report.compare import against
from sunsim.report.format import ABSENT, count, number, percent, times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WIDTH = 120
"""Columns of the output where it does not go to a terminal."""

LONGEST_LABEL = 24
"""Characters of an arm's or model's name beyond which it is broken, so that the figures keep their place."""

OVERLOADED = "*"
"""Mark of an overloaded arm; the sentences below the tables say what it means."""

THROUGHPUT = (
    ("output\ntok/s", "output_throughput_window", count),
    ("per GPU\ntok/s", "output_throughput_per_gpu", count),
    ("per decode\nGPU tok/s", "output_throughput_per_decode_gpu", count),
)
GOODPUT = (("goodput\nreq/s", "request_goodput", number),)
LATENCY = (
    *((f"TTFT {name}\nms", f"{name}_ttft_ms", number) for name in ("mean", "median", "p99")),
    *((f"TPOT {name}\nms", f"{name}_tpot_ms", number) for name in ("mean", "median", "p99")),
    ("interactivity\ntok/s/user", "median_interactivity", number),
)
MODEL = (
    *((f"TPOT {name}\nms", f"{name}_tpot_ms", number) for name in ("mean", "median", "p99")),
    *((f"TTFT {name}\nms", f"{name}_ttft_ms", number) for name in ("mean", "median", "p99")),
)


def tables(summary: Mapping[str, Any]) -> list[Table]:
    """Throughput, latency, and the hot and coldest model; their first columns are as wide as one another."""
    arms: dict[str, Mapping[str, Any]] = summary["arms"]
    base = next(iter(arms.values()))
    blocks = [_throughput(arms, base, summary.get("worst_window_s")), _latency(arms, base), _models(summary, arms)]
    labels = [str(cell) for block in blocks for cell in block.columns[0].cells]
    for block in blocks:
        block.columns[0].min_width = min(max(map(len, labels)), LONGEST_LABEL)
    return blocks


def _throughput(arms: Mapping[str, Mapping[str, Any]], base: Mapping[str, Any], worst_window_s: float | None) -> Table:
    figures = (*THROUGHPUT, *GOODPUT)
    headers = (header for header, _, _ in figures)
    met = {"SLO\nmet": "slo_attainment"}
    if worst_window_s:
        met[f"worst\n{worst_window_s:g} s"] = "worst_window_slo_attainment"
    table = _table("arm", "all\nGPUs", "decode\nGPUs", *headers, *met, "busiest\ndecode", "busiest\nprefill")
    for name, entry in arms.items():
        table.add_row(
            _name(name, entry),
            count(entry["gpus"]),
            count(entry["decode_gpus"]),
            *_cells(figures, entry, base),
            *(percent(entry[tag], 1) for tag in met.values()),
            _busiest_decode(entry),
            percent((entry["prefill_headroom"] or {}).get("utilisation")),
        )
    return table


def _latency(arms: Mapping[str, Mapping[str, Any]], base: Mapping[str, Any]) -> Table:
    table = _table("arm", *(header for header, _, _ in LATENCY))
    for name, entry in arms.items():
        table.add_row(_name(name, entry), *_cells(LATENCY, entry, base))
    return table


def _models(summary: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> Table:
    """The hot model suffers most and the coldest gains most; means over all requests hide both."""
    base = next(iter(arms.values()))
    table = _table("model", *(header for header, _, _ in MODEL))
    for kind, model in (("hot", summary["hot_model"]), ("coldest", summary["coldest_model"])):
        if kind == "coldest" and model == summary["hot_model"]:
            continue
        share = base["models"][model]["requests"] / base["requests"]
        table.add_row(f"{model} ({kind}, {percent(share)})", style="bold")
        for name, entry in arms.items():
            own = entry["models"][model]
            table.add_row(f"  {_name(name, own)}", *_cells(MODEL, own, base["models"][model]))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _name(name: str, entry: Mapping[str, Any]) -> str:
    return f"{name}{OVERLOADED}" if entry["overloaded"] else name


def _cells(
    columns: Sequence[tuple[str, str, Callable[[float | None], str]]], entry: Mapping[str, Any], base: Mapping[str, Any]
) -> list[Text]:
    """Each number with its ratio to the first arm, which shows none."""
    cells = []
    for _, tag, written in columns:
        cell = Text(written(entry[tag]))
        if entry is not base:
            cell.append(f" {times(against(tag, entry, base)):>5}", style="dim")
        else:
            cell.append(" " * 6)
        cells.append(cell)
    return cells


def _busiest_decode(entry: Mapping[str, Any]) -> str:
    """Mean batch of the fullest decode worker, of its places."""
    decode = [w for w in entry["workers"].values() if w["stage"] == "decode" and w["mean_batch"] is not None]
    if not decode:
        return ABSENT
    fullest = max(decode, key=lambda worker: float(worker["mean_batch_share"]))
    return f"{number(fullest['mean_batch'])}/{fullest['max_num_seqs']}"
