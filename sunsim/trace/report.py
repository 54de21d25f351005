"""The report of a trace: its rates, burstiness, lengths and models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sunsim.report.blocks import Report
from sunsim.report.format import count, counted, number, percent
from sunsim.report.origin import left_out
from sunsim.report.text_table import TextTable
from sunsim.workload.traces.select import Selection

MOST_MODELS = 20
LENGTHS = {"prompt": "prompt_tokens", "output": "output_tokens", "prompt + output": "total_tokens"}


def trace_report(facts: Mapping[str, Any], selection: Selection, figure: Path | None) -> Report:
    """What `sunsim.trace.statistics` found, and where the figure is."""
    heading = (
        f"{facts['file']} ({facts['format']}): {counted(facts['requests'], 'request')} in {_span(facts['duration_s'])}"
    )
    if facts["arrival_times"] < facts["requests"]:
        heading += f" at {count(facts['arrival_times'])} different times"
    told = ", ".join(filter(None, (heading, left_out(selection), _order(selection))))
    tables = [_arrivals(facts), _burstiness(facts), _lengths(facts), _models(facts)]
    return Report(facts["file"], [told, *tables, f"Figure: {figure}" if figure else None])


def _span(duration_s: float) -> str:
    hours = f" ({number(duration_s / 3600)} h)" if duration_s >= 3600 else ""
    return f"{number(duration_s)} s{hours}"


def _order(selection: Selection) -> str:
    late = selection.rows.out_of_order
    return f"{counted(late, 'line')} of the file out of order, sorted" if late else ""


def _arrivals(facts: Mapping[str, Any]) -> TextTable:
    rates = (facts[key] for key in ("mean_rate_rps", "peak_minute_rate_rps", "peak_second_rate_rps"))
    tokens = [(f"{name} tokens/s", number(facts[f"{name}_tokens_per_s"]), "", "") for name in ("prompt", "output")]
    rows = [("requests/s", *map(number, rates)), *tokens]
    return TextTable("", ("arrivals", "mean", "busiest minute", "busiest second"), rows)


def _burstiness(facts: Mapping[str, Any]) -> TextTable:
    rows = [
        ("coefficient of variation", number(facts["gap_cv"]), "", ""),
        ("index of dispersion", "", number(facts["dispersion_minute"]), number(facts["dispersion_second"])),
    ]
    return TextTable("", ("burstiness (Poisson: 1)", "gaps", "per minute", "per second"), rows)


def _lengths(facts: Mapping[str, Any]) -> TextTable:
    rows = [(name, *map(count, facts[key].values())) for name, key in LENGTHS.items()]
    return TextTable("", ("tokens", *facts["prompt_tokens"]), rows)


def _models(facts: Mapping[str, Any]) -> TextTable | None:
    if not facts["models"]:
        return None
    shown = list(facts["models"].items())[:MOST_MODELS]
    others = len(facts["models"]) - len(shown)
    if others:
        shown.append((f"{count(others)} others", facts["requests"] - sum(requests for _, requests in shown)))
    rows = [(name, count(requests), percent(requests / facts["requests"], 1)) for name, requests in shown]
    return TextTable("", ("model", "requests", "share"), rows)
