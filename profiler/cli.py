"""`python -m profiler`: runs where the GPU and vLLM are."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from profiler.adapters import AdapterError
from profiler.cluster.cluster import ClusterOrder, cluster
from profiler.cluster.elastic import ElasticOrder, elastic
from profiler.cluster.handle import WorkerError
from profiler.cluster.plan import all_runs, one_worker_run, subject_of
from profiler.cluster.worker import visible_gpus
from profiler.measure import Order, measure
from profiler.options import Shared, of_vllm, with_options
from profiler.profile_file import OtherSetupError
from profiler.progress import Progress
from profiler.replay import ReplayOrder, checked_roles, limit_tokens, replay, with_rates
from profiler.start import EngineStartError
from profiler.streams import parse_rates, read_streams
from profiler.tuning.cli import evaluate_command, handover_command, tune_command
from profiler.tuning.experiment.cli import accuracy_command
from sunsim.errors import InputError
from sunsim.program import Program

app = typer.Typer(
    name="python -m profiler",
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=__doc__,
)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turns what is wrong with an order, or with an engine, into one line and an exit code; `Program` does the rest."""
    try:
        yield
    except (OtherSetupError, ValueError) as error:
        raise InputError(str(error)) from error
    except (AdapterError, EngineStartError, WorkerError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


app.command("tune")(tune_command)
app.command("evaluate")(evaluate_command)
app.command("handover")(handover_command)
app.command("accuracy")(accuracy_command)


class WorkerRole(StrEnum):
    """What of a request the engine computes; `profiler.streams` says more."""

    decode = "decode"
    prefill = "prefill"
    colocated = "colocated"


@app.callback()
def main() -> None:
    """Measure step times on a real engine, and replay request streams on one."""


@app.command("measure")
@with_options
def measure_command(
    shared: Shared,
    out: Annotated[Path, typer.Option(help="Profile to write; one already there is completed.")],
    power: Annotated[bool, typer.Option("--power", help="Read the card's power too, with NVML.")] = False,
) -> None:
    """Measure one model variant on this machine's GPU in one engine start."""
    progress = Progress()
    with in_one_line():
        order = Order(**shared.order(), out=out, settings=shared.settings(), power=power)
        profile = asyncio.run(measure(order, progress))
    progress.say(f"{out}: {len(profile['decode_points'])} decode points")
    failed = [name for name, outcome in profile["phases"].items() if str(outcome).startswith("failed")]
    if failed:
        typer.echo(f"failed: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


@app.command("replay")
@with_options
def replay_command(
    streams: Annotated[
        list[str], typer.Argument(metavar="STREAM.csv[:ROLE][:rates=R1/R2/...]", help="Request streams, in order.")
    ],
    shared: Shared,
    out: Annotated[Path, typer.Option(help="Directory of the results; a stream already there is not replayed.")],
    role: Annotated[WorkerRole, typer.Option(help="For streams that name no role of their own.")] = WorkerRole.decode,
    profile: Annotated[
        Path | None,
        typer.Option("--measure", help="Profile to measure first, as `measure`, if there is time for both."),
    ] = None,
    num_gpu_blocks_override: Annotated[int | None, of_vllm("KV blocks, where fewer than fit.")] = None,
    ordinary: Annotated[bool, typer.Option("--ordinary", help="No KV connector: all streams are colocated.")] = False,
    synthetic_acceptance_rates: Annotated[
        str | None, of_vllm("Of drafts, 0.75,0.55,0.4: for streams that name no rates of their own.")
    ] = None,
) -> None:
    """Replay streams in real time on this machine's GPU in one engine start.

    decode: prompts' KV is there at no cost. prefill: every output is one token. colocated: both, nothing is there.
    With --speculative: rates of acceptance are set before each stream.
    """
    progress = Progress()
    if ordinary and profile is not None:
        typer.echo("--measure: a profile needs prompts whose KV has arrived, must be without --ordinary", err=True)
        raise typer.Exit(2)
    with in_one_line():
        settings = shared.settings(num_gpu_blocks_override=num_gpu_blocks_override)
        if ordinary:
            settings = replace(settings, kv_connector=None)
        rates = None
        if synthetic_acceptance_rates is not None:
            rates = parse_rates(synthetic_acceptance_rates.split(","), "--synthetic-acceptance-rates")
        found = checked_roles(read_streams(streams, role.value, limit_tokens=limit_tokens(settings)), settings)
        order = ReplayOrder(
            **shared.order(),
            streams=with_rates(found, rates, settings.speculative),
            out=out,
            profile=profile,
            settings=settings,
        )
        try:
            outcome = asyncio.run(replay(order, progress))
        except asyncio.CancelledError as error:
            typer.echo(f"ended from outside; what is in {out} is whole", err=True)
            raise typer.Exit(1) from error
    if outcome.failed:
        typer.echo(f"failed: {', '.join(outcome.failed)}", err=True)
        raise typer.Exit(1)


@app.command("cluster")
def cluster_command(
    scenarios: Annotated[
        list[Path], typer.Argument(metavar="SCENARIO.yaml", help="Scenarios, each with all points of its sweep.")
    ],
    gpus: Annotated[int, typer.Option(min=1, help="Engines to start, one a GPU.")],
    out: Annotated[Path, typer.Option(help="Directory of the results; a run already there is not played.")],
    arm: Annotated[list[str] | None, typer.Option(help="Play this arm; may be given again. All without it.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Replaces one value.")
    ] = None,
    again: Annotated[list[str] | None, typer.Option(metavar="RUN", help="Play this run twice: the floor.")] = None,
    profile: Annotated[
        Path | None,
        typer.Option("--measure", help="Profile to measure on the last GPU, beside runs or after them, as `measure`."),
    ] = None,
    transfers: Annotated[Path | None, typer.Option(help="Measure the KV link first; the file of its points.")] = None,
    gpu_name: Annotated[str | None, typer.Option(help="Name of the card, if not as in the scenario's profile.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A shorter warm-up.")] = False,
    budget_s: Annotated[float | None, typer.Option(help="Seconds by which all is to end.")] = None,
    log_dir: Annotated[Path | None, typer.Option(help="Keep the engines' logs and all recorded steps here.")] = None,
) -> None:
    """Play a scenario's arms in real time on live engines, driven by the simulator's routers.

    Arms without prefill: prompts' KV is there at no cost. With prefill: NixlConnector moves it from GPU to GPU.
    """
    progress = Progress()
    with in_one_line():
        runs = all_runs(scenarios, overrides or [], arm or [], again or [], gpus)
        order = ClusterOrder(
            subject=subject_of(runs, gpu_name=gpu_name, quick=quick, log_dir=log_dir),
            runs=runs,
            gpus=gpus,
            out=out,
            budget_s=budget_s,
            profile=profile,
            transfers=transfers,
        )
        outcome = asyncio.run(cluster(order, progress))
    if outcome.failed:
        typer.echo(f"failed: {', '.join(outcome.failed)}", err=True)
        raise typer.Exit(1)


@app.command("elastic")
def elastic_command(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.yaml", help="With one arm, of one decode worker.")],
    out: Annotated[Path, typer.Option(help="Directory of the results.")],
    grow_s: Annotated[float, typer.Option(min=0, help="Seconds into the run when a second worker is asked for.")] = 10,
    serve_s: Annotated[float, typer.Option(min=0, help="Seconds for which it gets requests, before it drains.")] = 20,
    gpu_name: Annotated[str | None, typer.Option(help="Name of the card, if not as in the scenario's profile.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A shorter warm-up.")] = False,
    log_dir: Annotated[Path | None, typer.Option(help="Keep the engines' logs and all recorded steps here.")] = None,
) -> None:
    """Time how a second decode worker comes and goes, on two GPUs, while the first one serves."""
    progress = Progress()
    with in_one_line():
        run = one_worker_run(scenario)
        subject = subject_of([run], gpu_name=gpu_name, quick=quick, log_dir=log_dir)
        visible_gpus(2)
        order = ElasticOrder(subject=subject, run=run, out=out, grow_s=grow_s, serve_s=serve_s)
        asyncio.run(elastic(order, progress))
