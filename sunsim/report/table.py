"""The tables that `sunsim run` prints: every arm a row, each figure beside its ratio to the first arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim.report.compare import against
from sunsim.report.format import ABSENT, count, number, percent, times
from sunsim.report.text_table import TextTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OVERLOADED = "*"
"""Mark of an overloaded arm; the sentences below the tables say what it means."""

THROUGHPUT = (
    ("output\ntok/s", "output_throughput_window", number),
    ("per GPU\ntok/s", "output_throughput_per_gpu", number),
    ("per decode\nGPU tok/s", "output_throughput_per_decode_gpu", number),
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


def tables(summary: Mapping[str, Any]) -> list[TextTable]:
    """Throughput, latency, and the hot and coldest model."""
    arms: dict[str, Mapping[str, Any]] = summary["arms"]
    base = next(iter(arms.values()))
    return [_throughput(arms, base, summary.get("worst_window_s")), _latency(arms, base), _models(summary, arms)]


def _throughput(
    arms: Mapping[str, Mapping[str, Any]], base: Mapping[str, Any], worst_window_s: float | None
) -> TextTable:
    figures = (*THROUGHPUT, *GOODPUT)
    headers = (header for header, _, _ in figures)
    met = {"SLO\nmet": "slo_attainment"}
    if worst_window_s:
        met[f"worst\n{worst_window_s:g} s"] = "worst_window_slo_attainment"
    rows = [
        (
            _name(name, entry),
            count(entry["gpus"]),
            count(entry["decode_gpus"]),
            *_cells(figures, entry, base),
            *(percent(entry[tag], 1) for tag in met.values()),
            _busiest_decode(entry),
            percent((entry["prefill_headroom"] or {}).get("utilisation")),
        )
        for name, entry in arms.items()
    ]
    return TextTable(
        "",
        ("arm", "all\nGPUs", "decode\nGPUs", *headers, *met, "busiest\ndecode", "busiest\nprefill"),
        rows,
    )


def _latency(arms: Mapping[str, Mapping[str, Any]], base: Mapping[str, Any]) -> TextTable:
    rows = [(_name(name, entry), *_cells(LATENCY, entry, base)) for name, entry in arms.items()]
    return TextTable("", ("arm", *(header for header, _, _ in LATENCY)), rows)


def _models(summary: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> TextTable:
    """The hot model suffers most and the coldest gains most; means over all requests hide both."""
    base = next(iter(arms.values()))
    rows: list[tuple[str, ...]] = []
    for kind, model in (("hot", summary["hot_model"]), ("coldest", summary["coldest_model"])):
        if kind == "coldest" and model == summary["hot_model"]:
            continue
        share = base["models"][model]["requests"] / base["requests"]
        rows.append((f"{model} ({kind}, {percent(share)})",))
        for name, entry in arms.items():
            own = entry["models"][model]
            rows.append((f"  {_name(name, own)}", *_cells(MODEL, own, base["models"][model])))
    return TextTable("", ("model", *(header for header, _, _ in MODEL)), rows)


def _name(name: str, entry: Mapping[str, Any]) -> str:
    return f"{name}{OVERLOADED}" if entry["overloaded"] else name


def _cells(
    columns: Sequence[tuple[str, str, Callable[[float | None], str]]], entry: Mapping[str, Any], base: Mapping[str, Any]
) -> list[str]:
    """Each number with its ratio to the first arm, which shows none."""
    cells = []
    for _, tag, written in columns:
        ratio = "" if entry is base else times(against(tag, entry, base))
        cells.append(f"{written(entry[tag])} {ratio:>5}")
    return cells


def _busiest_decode(entry: Mapping[str, Any]) -> str:
    """Mean batch of the fullest decode worker, of its places."""
    decode = [w for w in entry["workers"].values() if w["stage"] == "decode" and w["mean_batch"] is not None]
    if not decode:
        return ABSENT
    fullest = max(decode, key=lambda worker: float(worker["mean_batch_share"]))
    return f"{number(fullest['mean_batch'])}/{fullest['max_num_seqs']}"
