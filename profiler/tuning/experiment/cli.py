"""The verb `accuracy`."""

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from profiler.progress import Progress
from profiler.tuning.cli import require_torch
from profiler.tuning.experiment.experiment import experiment, pretrain_seconds, text_of
from profiler.tuning.experiment.order import QUICK, SIZES, WHOLE
from profiler.tuning.experiment.tasks import TASKS
from profiler.tuning.orders import BoundaryOption
from sunsim.errors import InputError, clipped

BUDGET_S, QUICK_BUDGET_S = 1500.0, 120.0


def accuracy_command(
    out: Annotated[Path, typer.Option(help="Directory of the results; an experiment that ended early goes on there.")],
    budget_s: Annotated[
        float | None,
        typer.Option(min=10, help=f"Seconds by which all is to end; {BUDGET_S:g}, quick {QUICK_BUDGET_S:g}."),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            help=f"Base models, with commas between, of {', '.join(SIZES)}; {', '.join(WHOLE.sizes)}, quick {', '.join(QUICK.sizes)}."
        ),
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help=f"Tasks, with commas between; all, quick {', '.join(QUICK.tasks)}.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Tunings of each task, each with examples and tests of its own; {WHOLE.seeds}, quick {QUICK.seeds}.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help=f"Updates of a tuning; {WHOLE.steps}, quick {QUICK.steps}.")
    ] = None,
    boundary: BoundaryOption = "decode",
    per_gpu: Annotated[int, typer.Option(min=1, help="Processes that share a GPU: small models leave much idle.")] = 3,
    gpus: Annotated[int | None, typer.Option(min=0, help="All that are visible, if not given; 0 is the CPU.")] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A tiny model, one task, few examples: shows in a minute or two that all works."),
    ] = False,
) -> None:
    """Does prefill-only tuning keep the quality? Small models, pre-trained here and tuned in every way.

    Each task is tuned fully, with LoRA, and with the prefill module alone, before the frozen and the quantized decoder.
    """
    progress = Progress()
    budget_s = budget_s or (QUICK_BUDGET_S if quick else BUDGET_S)
    number = visible_gpus() if gpus is None else gpus
    usual = QUICK if quick else WHOLE
    order = replace(
        usual,
        sizes=usual.sizes if sizes is None else _chosen(sizes, tuple(SIZES), "--sizes"),
        tasks=usual.tasks if tasks is None else _chosen(tasks, tuple(TASKS), "--tasks"),
        seeds=seeds or usual.seeds,
        steps=steps or usual.steps,
        boundary=boundary,
    )
    require_torch()
    files = experiment(
        replace(order, pretrain_s=pretrain_seconds(order.sizes, budget_s, max(1, number))),
        out,
        budget_s=budget_s,
        devices=[f"cuda:{i}" for i in range(number)] or ["cpu"],
        per_device=per_gpu if number else 1,
        command=f"python -m profiler {shlex.join(sys.argv[1:])}",
        progress=progress,
    )
    typer.echo(text_of(files))
    if not any(content["rows"] for content in files.values()):
        typer.echo("no task has all its methods yet: the same command goes on", err=True)
        raise typer.Exit(1)


def visible_gpus() -> int:
    """How many GPUs torch will see, without the seconds that importing it takes."""
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is not None:
        return len([name for name in stated.split(",") if name.strip()])
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def _chosen(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            msg = f"{clipped(name)} is not known, must be of {', '.join(known)}"
            raise InputError(msg, option)
    return names
