"""The verbs `tune`, `evaluate` and `handover`."""

import json
import shlex
import sys
from importlib.util import find_spec

import typer

from profiler.options import with_options
from profiler.progress import Progress
from profiler.tuning.orders import EvaluateOrder, HandoverOrder, TuneOrder
from profiler.tuning.rows import table
from sunsim.files import replacing

# torch, transformers and safetensors are of the extra `profiler`: what needs them is imported by the verb that runs.
NEEDED = ("torch", "transformers", "safetensors")


def require_torch() -> None:
    """Ends the command with one line where torch, transformers or safetensors are missing."""
    for name in NEEDED:
        if find_spec(name) is None:
            typer.echo(f"needs {name}, must be installed: pip install 'sunsim[profiler]'", err=True)
            raise typer.Exit(1)


@with_options
def tune_command(order: TuneOrder) -> None:
    """Fine-tune a model for a task: all of it, its prefill module alone against the frozen decoder, or with LoRA."""
    require_torch()
    from profiler.tuning.tune import tune  # noqa: PLC0415

    tune(order, Progress())


@with_options
def evaluate_command(order: EvaluateOrder) -> None:
    """Answer a task's requests greedily through both modules: exact match and token accuracy, with 95 % intervals.

    Modules that were tuned the same way with other seeds make one row.
    """
    require_torch()
    from profiler.tuning.evaluate import added, evaluate  # noqa: PLC0415

    found = evaluate(order, f"python -m profiler {shlex.join(sys.argv[1:])}", Progress())
    try:
        if order.out is not None:
            found = added(found, order.out)
            with replacing(order.out, "an accuracy file") as partial:
                partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    finally:  # what was measured is told even where it cannot be written
        typer.echo(table(found["rows"]))


@with_options
def handover_command(order: HandoverOrder) -> None:
    """Check on one GPU that vLLM's engines, KV handed from the one to the other, answer as the trainer's modules do."""
    require_torch()
    from profiler.start import EngineStartError  # noqa: PLC0415
    from profiler.tuning.handover import handover  # noqa: PLC0415

    try:
        found = handover(order, f"python -m profiler {shlex.join(sys.argv[1:])}", Progress())
    except EngineStartError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    (order.out / "handover.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    typer.echo(
        f"{found['equal']} of {found['requests']} requests equal, boundary {found['boundary']}, {found['dtype']}; the "
        f"decode module alone gives {found['answered_alike_by_the_decode_module_alone']} of the same answers"
    )
    for difference in found["differences"]:
        typer.echo(json.dumps(difference))
