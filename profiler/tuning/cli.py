"""The verbs `tune`, `evaluate` and `handover`."""

import json
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from profiler.progress import Progress
from profiler.tuning.choices import Boundary, DecoderQuant, Dtype, Method, Schedule
from profiler.tuning.rows import table
from sunsim.files import replacing

# torch, transformers and safetensors are of the extra `profiler`: what needs them is imported by the verb that runs.
NEEDED = ("torch", "transformers", "safetensors")


DtypeOption = Annotated[Dtype | None, typer.Option(help="bfloat16 on a GPU, else float32, if not given.")]
DeviceOption = Annotated[str | None, typer.Option(help="As torch names it; the GPU if there is one.")]
QuantOption = Annotated[DecoderQuant | None, typer.Option(help="Round the decode module's weights as it would.")]


def require_torch() -> None:
    """Ends the command with one line where torch, transformers or safetensors are missing."""
    for name in NEEDED:
        if find_spec(name) is None:
            typer.echo(f"needs {name}, must be installed: pip install 'sunsim[profiler]'", err=True)
            raise typer.Exit(1)


def tune_command(
    model: Annotated[Path, typer.Option(help="Directory of a Hugging Face causal LM, the base model.")],
    data: Annotated[Path, typer.Option(metavar="TASK.jsonl", help="Prompts and responses, as text or token ids.")],
    out: Annotated[Path, typer.Option(help="Directory of the tuned module; one left off there is gone on with.")],
    method: Annotated[Method, typer.Option(help="What is trained.")] = "prefill-only",
    decoder_quant: QuantOption = None,
    boundary: Annotated[
        Boundary, typer.Option(help="The module that computes the prompt's last token; vLLM's connectors: decode.")
    ] = "decode",
    steps: Annotated[int | None, typer.Option(min=1, help="Updates; in place of --epochs.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes through the data.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Requests an update.")] = 64,
    micro_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Requests at a time, gradients summed up; all if not given.")
    ] = None,
    learning_rate: Annotated[float, typer.Option(min=0, help="At its highest.")] = 1e-5,
    schedule: Annotated[Schedule, typer.Option(help="After the warm-up: to 0, or as it is.")] = "cosine",
    warmup_steps: Annotated[int, typer.Option(min=0, help="Steps of a rate that rises from 0.")] = 0,
    weight_decay: Annotated[float, typer.Option(min=0, help="AdamW's.")] = 0.1,
    clip: Annotated[float, typer.Option(min=0, help="Largest norm of the gradient.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of the data, and of LoRA's first weights.")] = 0,
    lora_rank: Annotated[int, typer.Option(min=1, help="With --method lora.")] = 16,
    lora_alpha: Annotated[float, typer.Option(min=0, help="With --method lora.")] = 32.0,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
    keep_every: Annotated[int, typer.Option(min=1, help="Steps between two states to go on from.")] = 200,
    offload_optimizer: Annotated[
        bool, typer.Option("--offload-optimizer", help="Keep the optimizer's state in the host's memory: slower.")
    ] = False,
) -> None:
    """Fine-tune a model for a task: all of it, its prefill module alone against the frozen decoder, or with LoRA."""
    require_torch()
    from profiler.tuning.tune import TuneOrder, tune  # noqa: PLC0415

    order = TuneOrder(
        model=model,
        data=data,
        out=out,
        method=method,
        boundary=boundary,
        decoder_quant=decoder_quant,
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        warmup_steps=warmup_steps,
        weight_decay=weight_decay,
        clip=clip,
        seed=seed,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        dtype=dtype,
        device=device,
        keep_every=keep_every,
        offload_optimizer=offload_optimizer,
    )
    tune(order, Progress())


def evaluate_command(
    prefill: Annotated[list[Path], typer.Option(help="Directory of a prefill module; may be given again.")],
    data: Annotated[list[Path], typer.Option(metavar="TASK.jsonl", help="May be given again.")],
    decode: Annotated[
        Path | None, typer.Option(help="Directory of the decode module; without it each module decodes for itself.")
    ] = None,
    decoder_quant: QuantOption = None,
    boundary: Annotated[Boundary | None, typer.Option(help="As each module was tuned, if not given.")] = None,
    first: Annotated[int | None, typer.Option(min=1, help="So many requests of each task; all if not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="An accuracy file to write, or to add rows to.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 256,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
) -> None:
    """Answer a task's requests greedily through both modules: exact match and token accuracy, with 95 % intervals.

    Modules that were tuned the same way with other seeds make one row.
    """
    require_torch()
    from profiler.tuning.evaluate import EvaluateOrder, added, evaluate  # noqa: PLC0415

    order = EvaluateOrder(
        prefill=prefill,
        data=data,
        decode=decode,
        decoder_quant=decoder_quant,
        boundary=boundary,
        first=first,
        batch_size=batch_size,
        dtype=dtype,
        device=device,
    )
    found = evaluate(order, f"python -m profiler {shlex.join(sys.argv[1:])}", Progress())
    try:
        if out is not None:
            found = added(found, out)
            with replacing(out, "an accuracy file") as partial:
                partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    finally:  # what was measured is told even where it cannot be written
        typer.echo(table(found["rows"]))


def handover_command(
    prefill: Annotated[Path, typer.Option(help="Directory of the tuned prefill module.")],
    decode: Annotated[Path, typer.Option(help="Directory of the decode module, the base model.")],
    data: Annotated[Path, typer.Option(metavar="TASK.jsonl", help="The requests.")],
    out: Annotated[Path, typer.Option(help="Directory of handover.json and the engines' logs.")],
    boundary: Annotated[Boundary | None, typer.Option(help="As the module was tuned, if not given.")] = None,
    first: Annotated[int | None, typer.Option(min=1, help="So many requests; all if not given.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer that does not end by itself.")] = 64,
    dtype: DtypeOption = None,
    gpu_memory_utilization: Annotated[float, typer.Option(min=0, max=1, help="vLLM's, of each engine in turn.")] = 0.3,
) -> None:
    """Check on one GPU that vLLM's engines, KV handed from the one to the other, answer as the trainer's modules do."""
    require_torch()
    from profiler.start import EngineStartError  # noqa: PLC0415
    from profiler.tuning.handover import HandoverOrder, handover  # noqa: PLC0415

    order = HandoverOrder(
        prefill=prefill,
        decode=decode,
        data=data,
        out=out,
        boundary=boundary,
        first=first,
        max_tokens=max_tokens,
        dtype=dtype,
        gpu_memory_utilization=gpu_memory_utilization,
    )
    try:
        found = handover(order, f"python -m profiler {shlex.join(sys.argv[1:])}", Progress())
    except EngineStartError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    (out / "handover.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    typer.echo(
        f"{found['equal']} of {found['requests']} requests equal, boundary {found['boundary']}, {found['dtype']}; the "
        f"decode module alone gives {found['answered_alike_by_the_decode_module_alone']} of the same answers"
    )
    for difference in found["differences"]:
        typer.echo(json.dumps(difference))
