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
    what = counted(facts["requests"], "request")
    if facts.get("sessions", facts["requests"]) < facts["requests"]:
        what += f" of {counted(facts['sessions'], 'session')}"
    heading = f"{facts['file']} ({facts['format']}): {what} in {_span(facts['duration_s'])}"
    arrivals = facts["requests"] if selection.rows.rounds is None else facts["sessions"]
    if facts["arrival_times"] < arrivals:
        heading += f" at {count(facts['arrival_times'])} different times"
    told = ", ".join(filter(None, (heading, left_out(selection), _order(selection))))
    tables = [_arrivals(facts, selection), _burstiness(facts), _lengths(facts), _models(facts)]
    return Report(facts["file"], [told, *tables, *_sessions(facts), f"Figure: {figure}" if figure else None])


def _span(duration_s: float) -> str:
    hours = f" ({number(duration_s / 3600)} h)" if duration_s >= 3600 else ""
    return f"{number(duration_s)} s{hours}"


def _order(selection: Selection) -> str:
    late = selection.rows.out_of_order
    return f"{counted(late, 'line')} of the file out of order, sorted" if late else ""


def _arrivals(facts: Mapping[str, Any], selection: Selection) -> TextTable:
    rates = (facts[key] for key in ("mean_rate_rps", "peak_minute_rate_rps", "peak_second_rate_rps"))
    tokens = [(f"{name} tokens/s", number(facts[f"{name}_tokens_per_s"]), "", "") for name in ("prompt", "output")]
    # Later rounds of sessions that wait for each other's end arrive when a run says.
    unit = "requests/s" if selection.rows.rounds is None else "sessions/s"
    rows = [(unit, *map(number, rates)), *tokens]
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


def _sessions(facts: Mapping[str, Any]) -> list[TextTable | str]:
    """How long sessions are, how long users think, and how much of the prompts repeats; empty if nothing is known."""
    if unknown := facts.get("repeated_share_unknown"):
        return [f"What prompts have in common is not known: {unknown}"]
    if "sessions" not in facts:
        return []
    shared = f"{percent(facts['repeated_share'], 1)} of the prompt tokens repeat the beginning of an earlier request."
    if facts["sessions"] == facts["requests"]:
        return [shared]
    told = {"rounds a session": facts["rounds"], "s to think": facts["think_s"]}
    rows = [(name, *map(number, figures.values())) for name, figures in told.items() if figures]
    return [TextTable("", ("sessions", *facts["rounds"]), rows), shared]


def _models(facts: Mapping[str, Any]) -> TextTable | None:
    if not facts["models"]:
        return None
    shown = list(facts["models"].items())[:MOST_MODELS]
    others = len(facts["models"]) - len(shown)
    if others:
        shown.append((f"{count(others)} others", facts["requests"] - sum(requests for _, requests in shown)))
    rows = [(name, count(requests), percent(requests / facts["requests"], 1)) for name, requests in shown]
    return TextTable("", ("model", "requests", "share"), rows)
