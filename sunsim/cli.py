"""The command line: each verb is a thin call into one module, imported only when it is used."""

# Verbs import what they need when they run: help must not wait for pandas and matplotlib.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sunsim.compare.cli import compare
from sunsim.export.cli import export
from sunsim.profile_cli import profiles_app
from sunsim.program import FAILED, MISSED, Program
from sunsim.start.cli import init, scenarios
from sunsim.trace.cli import trace_app
from sunsim.version import __version__, loop
from sunsim.visible import visible

app = typer.Typer(
    name="sunsim", cls=Program, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
app.add_typer(profiles_app, name="profiles")
app.add_typer(trace_app, name="trace")

File = Annotated[Path, typer.Argument(help="Scenario: a YAML file, or the name of a shipped one.", show_default=False)]
Set = Annotated[list[str], typer.Option("--set", metavar="PATH=VALUE", help="Replace one value of the scenario.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Replace the scenario's seed.", show_default=False)]

ServerOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Of the server, if not the profile's.", show_default=False),
]

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", min=1, metavar="N", help="Points at a time, as many as cores if not given.", show_default=False
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sunsim {__version__}, {loop()} loop")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Simulate disaggregated serving of several models made from one base model.

    Exit codes: 0 done, 1 internal error, a failed point of a sweep, or nowhere to write, 2 bad input, 3 a stated
    tolerance or SLO is missed, 130 interrupted, 141 nobody reads what is printed.
    """


@app.command()
def run(
    file: File,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder of the results, results/NAME if not given.", show_default=False
        ),
    ] = None,
    overrides: Set = [],  # noqa: B006 - typer copies it
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no tables.")] = False,
) -> None:
    """Simulate every arm of a scenario and compare them."""
    from sunsim.run import run as run_scenario

    run_scenario(file, out, overrides, seed, as_json=as_json, quiet=quiet)
    _tell_of_blocks(file)


def _tell_of_blocks(file: Path) -> None:
    from sunsim.scenario import read_source

    blocks = read_source(file).root
    for verb, does in (("sweep", "goes through"), ("plan", "goes by")):
        if verb in blocks:
            text = f"This was the scenario as it stands; `sunsim {verb} {file}` {does} its {verb} block."
            typer.echo(visible(text), err=True)


@app.command()
def check(file: File, overrides: Set = [], seed: Seed = None) -> None:  # noqa: B006 - typer copies it
    """Check a scenario without simulating it."""
    from sunsim.run import check as check_scenario

    said = check_scenario(file, overrides, seed)
    from sunsim.scenario import read_source

    blocks = read_source(file, overrides).root
    if "sweep" in blocks:
        from sunsim.sweep.run import check as check_sweep

        said = f"{said}; {check_sweep(file, overrides, seed)}"
    if "plan" in blocks:
        from sunsim.plan.run import check as check_plan

        said = f"{said}; {check_plan(file, overrides, seed)}"
    typer.echo(visible(said))


@app.command()
def sweep(
    file: File,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder of the results, results/NAME-sweep if not given.", show_default=False
        ),
    ] = None,
    jobs: Jobs = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option("--executor", help="On this machine, or on a Ray cluster.")
    ] = "local",
    address: Annotated[str, typer.Option("--address", help="The Ray cluster's address.")] = "auto",
    overrides: Set = [],  # noqa: B006 - typer copies it
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of a table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
) -> None:
    """Simulate a scenario for every value and seed of its sweep block; goes on where it was interrupted."""
    from sunsim.sweep.run import sweep as sweep_scenario

    whole = sweep_scenario(
        file,
        out,
        overrides,
        seed,
        jobs=jobs,
        executor=executor,
        address=address,
        as_json=as_json,
        quiet=quiet,
    )
    if not whole:
        raise typer.Exit(FAILED)


@app.command()
def plan(
    file: Annotated[
        Path,
        typer.Argument(help="Scenario, a YAML file; or a trace, for which one is made.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder of the plan, results/NAME-plan if not given.", show_default=False
        ),
    ] = None,
    jobs: Jobs = None,
    overrides: Set = [],  # noqa: B006 - typer copies it
    seed: Seed = None,
    elastic: Annotated[
        bool, typer.Option("--elastic", help="Of a trace: every way with pools that grow and shrink too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print plan.json instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no tables.")] = False,
) -> None:
    """Find the fewest GPUs that meet the SLO, for every arm; goes on where it was interrupted."""
    from sunsim.plan.run import plan as plan_scenario

    if not plan_scenario(file, out, overrides, seed, jobs=jobs, elastic=elastic, as_json=as_json, quiet=quiet):
        raise typer.Exit(MISSED)


for verb in (export, compare, init, scenarios):
    app.command()(verb)


@app.command()
def figures(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the figures.", show_default=False)],
    only: Annotated[list[str], typer.Option("--only", metavar="NAME", help="One figure; may be given again.")] = [],  # noqa: B006 - typer copies it
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, metavar="N", help="Runs at a time, all cores if not given.", show_default=False),
    ] = None,
) -> None:
    """Regenerate the evaluation of SUN from the measured profiles: figures, data, captions, and claims.md."""
    from sunsim.figures.run import figures as make_figures

    if not make_figures(only, out, jobs):
        raise typer.Exit(FAILED)


@app.command()
def split(
    file: File,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the streams.", show_default=False)],
    overrides: Set = [],  # noqa: B006 - typer copies it
    seed: Seed = None,
    stage: Annotated[
        Literal["decode", "prefill"] | None,
        typer.Option(help="Whose workers; without it decode where an arm has it.", show_default=False),
    ] = None,
) -> None:
    """Write the requests that each worker of each arm gets, one stream a worker, to be replayed for real."""
    from sunsim.split import split as split_scenario

    typer.echo(visible(split_scenario(file, out, overrides, seed, stage)))


@app.command()
def validate(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Actual runs, Parquet files; results of vllm bench serve, JSON; or folders with a campaign.yaml.",
            show_default=False,
        ),
    ],
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME|FILE",
            help="Profile, if not the campaign's, or the shipped one of the run's card and model.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of report and figures.", show_default=False)
    ] = None,
    tolerances: Annotated[
        list[str],
        typer.Option("--tolerance", metavar="METRIC=PERCENT", help="Replace one target; `none` drops all of them."),
    ] = [],  # noqa: B006 - typer copies it
    max_num_seqs: ServerOption = None,
    max_num_batched_tokens: ServerOption = None,
    max_model_len: ServerOption = None,
    num_gpu_blocks: Annotated[
        int | None,
        typer.Option(min=2, metavar="N", help="KV blocks of the server, if not the profile's.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Simulate what was run on a real engine, and compare request by request."""
    from sunsim.validation.bench_run import ServerOptions
    from sunsim.validation.validate import validate as validate_runs

    options = ServerOptions(max_num_seqs, max_num_batched_tokens, max_model_len, num_gpu_blocks)
    if not validate_runs(runs, profile, out, tolerances, options, as_json=as_json):
        raise typer.Exit(MISSED)
