"""What `tune`, `evaluate` and `handover` are asked: a field an option of the command line. Needs no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from profiler.tuning.choices import Boundary, DecoderQuant, Dtype, Method, Schedule

DtypeOption = Annotated[Dtype | None, typer.Option(help="bfloat16 on a GPU, else float32, if not given.")]
DeviceOption = Annotated[str | None, typer.Option(help="As torch names it; the GPU if there is one.")]
QuantOption = Annotated[DecoderQuant | None, typer.Option(help="Round the decode module's weights as it would.")]
BoundaryOption = Annotated[
    Boundary, typer.Option(help="The module that computes the prompt's last token; vLLM's connectors: decode.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How weights are updated, but for how often. The optimizer's state: 12 bytes a weight and 4 of its gradient."""

    batch_size: Annotated[int, typer.Option(min=1, help="Requests an update.")] = 64
    micro_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Requests at a time, gradients summed up; all if not given.")
    ] = None
    learning_rate: Annotated[float, typer.Option(min=0, help="At its highest.")] = 1e-5
    schedule: Annotated[Schedule, typer.Option(help="After the warm-up: to 0, or as it is.")] = "cosine"
    warmup_steps: Annotated[int, typer.Option(min=0, help="Steps of a rate that rises from 0.")] = 0
    weight_decay: Annotated[float, typer.Option(min=0, help="AdamW's.")] = 0.1
    clip: Annotated[float, typer.Option(min=0, help="Largest norm of the gradient.")] = 1.0
    seed: Annotated[int, typer.Option(min=0, help="Of the order of the data, and of LoRA's first weights.")] = 0
    offload_optimizer: Annotated[
        bool, typer.Option("--offload-optimizer", help="Keep the optimizer's state in the host's memory: slower.")
    ] = False


@dataclass(frozen=True, slots=True)
class TuneOrder:
    """One training."""

    model: Annotated[Path, typer.Option(help="Directory of a Hugging Face causal LM, the base model.")]
    data: Annotated[Path, typer.Option(metavar="TASK.jsonl", help="Prompts and responses, as text or token ids.")]
    out: Annotated[Path, typer.Option(help="Directory of the tuned module; one left off there is gone on with.")]
    method: Annotated[Method, typer.Option(help="What is trained.")] = "prefill-only"
    decoder_quant: QuantOption = None
    boundary: BoundaryOption = "decode"
    steps: Annotated[int | None, typer.Option(min=1, help="Updates; in place of --epochs.")] = None
    epochs: Annotated[int, typer.Option(min=1, help="Passes through the data.")] = 1
    recipe: Recipe = Recipe()
    lora_rank: Annotated[int, typer.Option(min=1, help="With --method lora.")] = 16
    lora_alpha: Annotated[float, typer.Option(min=0, help="With --method lora.")] = 32.0
    dtype: DtypeOption = None
    device: DeviceOption = None
    keep_every: Annotated[int, typer.Option(min=1, help="Steps between two states to go on from.")] = 200


@dataclass(frozen=True, slots=True)
class EvaluateOrder:
    """What to evaluate; prefill modules of one method and task that differ in their seed make one row."""

    prefill: Annotated[list[Path], typer.Option(help="Directory of a prefill module; may be given again.")]
    data: Annotated[list[Path], typer.Option(metavar="TASK.jsonl", help="May be given again.")]
    decode: Annotated[
        Path | None, typer.Option(help="Directory of the decode module; without it each module decodes for itself.")
    ] = None
    decoder_quant: QuantOption = None
    boundary: Annotated[Boundary | None, typer.Option(help="As each module was tuned, if not given.")] = None
    first: Annotated[int | None, typer.Option(min=1, help="So many requests of each task; all if not given.")] = None
    out: Annotated[Path | None, typer.Option(help="An accuracy file to write, or to add rows to.")] = None
    batch_size: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 256
    dtype: DtypeOption = None
    device: DeviceOption = None


@dataclass(frozen=True, slots=True)
class HandoverOrder:
    """What to compare."""

    prefill: Annotated[Path, typer.Option(help="Directory of the tuned prefill module.")]
    decode: Annotated[Path, typer.Option(help="Directory of the decode module, the base model.")]
    data: Annotated[Path, typer.Option(metavar="TASK.jsonl", help="The requests.")]
    out: Annotated[Path, typer.Option(help="Directory of handover.json and the engines' logs.")]
    boundary: Annotated[Boundary | None, typer.Option(help="As the module was tuned, if not given.")] = None
    first: Annotated[int | None, typer.Option(min=1, help="So many requests; all if not given.")] = None
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer that does not end by itself.")] = 64
    dtype: DtypeOption = None
    gpu_memory_utilization: Annotated[float, typer.Option(min=0, max=1, help="vLLM's, of each engine in turn.")] = 0.3
