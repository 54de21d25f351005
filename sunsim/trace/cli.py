"""The command line of `sunsim trace`."""

# Verbs import what they need when they run, as in sunsim.cli.
# ruff: noqa: PLC0415

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sunsim.errors import InputError, clipped
from sunsim.visible import visible
from sunsim.workload.traces.names import FormatName

if TYPE_CHECKING:
    from sunsim.workload.changes import Stretch
    from sunsim.workload.traces.select import Window

trace_app = typer.Typer(no_args_is_help=True, help="Describe traces of real traffic, and convert them.")

File = Annotated[Path, typer.Argument(help="Trace.", show_default=False)]
Format = Annotated[
    FormatName | None,
    typer.Option("--format", help="Format of the trace; by its first line if not given.", show_default=False),
]
Start = Annotated[float, typer.Option("--start-s", metavar="S", help="Begin so far into the trace.")]
Duration = Annotated[
    float | None, typer.Option("--duration-s", metavar="S", help="How long from there.", show_default=False)
]
Stretches = Annotated[
    list[str],
    typer.Option(
        "--stretch", metavar="S:S", help="Instead, a part: its begin and its length; those given are laid end to end."
    ),
]
Requests = Annotated[
    int | None, typer.Option("--requests", min=1, metavar="N", help="How many at most.", show_default=False)
]
RateScale = Annotated[
    float, typer.Option("--rate-scale", metavar="X", help="Divide arrivals by X, after the trace has been cut.")
]


@trace_app.command()
def describe(
    file: File,
    name: Format = None,
    start_s: Start = 0.0,
    duration_s: Duration = None,
    stretches: Stretches = [],  # noqa: B006 - typer copies it
    requests: Requests = None,
    rate_scale: RateScale = 1.0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of a figure.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say what a trace looks like: rates, burstiness, lengths, popularity, and what cannot be used."""
    from sunsim.trace.describe import describe as describe_trace

    describe_trace(file, name, _window(start_s, duration_s, stretches, requests, rate_scale), out, as_json=as_json)


@trace_app.command()
def convert(
    file: File,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.csv", help="File to write.", show_default=False)],
    name: Format = None,
    start_s: Start = 0.0,
    duration_s: Duration = None,
    stretches: Stretches = [],  # noqa: B006 - typer copies it
    requests: Requests = None,
    rate_scale: RateScale = 1.0,
) -> None:
    """Write a trace's requests as CSV with arrival_s, prompt_tokens, output_tokens and, if it has any, model."""
    from sunsim.trace.convert import convert as convert_trace

    typer.echo(visible(convert_trace(file, name, _window(start_s, duration_s, stretches, requests, rate_scale), out)))


def _window(
    start_s: float, duration_s: float | None, stretches: list[str], requests: int | None, rate_scale: float
) -> "Window":
    from sunsim.workload.traces.select import Window

    if not 0 <= start_s < math.inf:
        message = f"is {start_s:g}, must be at least 0"
        raise InputError(message, "--start-s")
    for option, value in (("--duration-s", duration_s), ("--rate-scale", rate_scale)):
        if value is not None and not 0 < value < math.inf:
            message = f"is {value:g}, must be greater than 0"
            raise InputError(message, option)
    if stretches and (start_s or duration_s is not None):
        message = "is given, must be left out where --start-s or --duration-s is"
        raise InputError(message, "--stretch")
    return Window(start_s, duration_s, requests, rate_scale, _stretches(stretches))


def _stretches(texts: list[str]) -> "tuple[Stretch, ...]":
    from sunsim.workload.changes import Stretch, refuse_overlap

    found = []
    for text in texts:
        start_s, _, duration_s = text.partition(":")
        try:
            found.append(Stretch(start_s=float(start_s), duration_s=float(duration_s)))
        except ValueError as error:
            wanted = "two numbers of seconds such as 3000:600, the first at least 0 and the second above 0"
            message = f"is {clipped(text)}, must be {wanted}"
            raise InputError(message, "--stretch") from error
    try:
        refuse_overlap(found)
    except ValueError as error:
        raise InputError(str(error), "--stretch") from error
    return tuple(found)
