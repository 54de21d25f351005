"""The verb `tune`: from a model's directory and a task to the directory of a tuned module."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from profiler.progress import Progress
from profiler.tuning.checkpoint import (
    TUNING_FILE,
    load_model,
    load_tokenizer,
    parameters,
    save_adapter,
    save_model,
    stop_token_ids,
)
from profiler.tuning.choices import Dtype
from profiler.tuning.data import Example, read_task
from profiler.tuning.methods import merge_lora, pathways_of, trained_parameters
from profiler.tuning.orders import TuneOrder
from profiler.tuning.train import BETAS, Settings, train, write_curve
from sunsim.errors import InputError
from sunsim.files import refusing

UNFINISHED_FILE = "unfinished.pt"
CURVE_FILE = "curve.jsonl"
ADAPTER_FOLDER = "adapter"


def tune(order: TuneOrder, progress: Progress) -> None:
    """Trains and writes `order.out`: the tuned module, its curve and how it was made. Goes on where one was left off.

    Raises:
        InputError: what the model or the data cannot be used for; a directory of another training.
    """
    device, dtype = placed(order.device, order.dtype)
    made_of: dict[str, Any] = {
        "model": str(order.model),
        "data": str(order.data),
        "method": order.method,
        "boundary": order.boundary,
        "decoder_quant": order.decoder_quant,
        "dtype": str(dtype).removeprefix("torch."),
    }
    if order.method == "lora":
        made_of |= {"lora_rank": order.lora_rank, "lora_alpha": order.lora_alpha}
    if (order.out / TUNING_FILE).exists():
        msg = "a finished training is there, must be a directory that is new or of one that was left off"
        raise InputError(msg, order.out)
    if order.out.resolve() == order.model.resolve():
        msg = "is the base model's own directory, must be another one"
        raise InputError(msg, order.out)
    model = load_model(order.model, dtype, device)
    examples = task_of(order.data, order.model, model)
    steps = order.steps or order.epochs * -(-len(examples) // order.recipe.batch_size)
    settings = Settings(steps=steps, **asdict(order.recipe))
    weights = parameters(model)
    try:
        pathways = pathways_of(
            model,
            order.method,
            boundary=order.boundary,
            decoder_quant=order.decoder_quant,
            lora_rank=order.lora_rank,
            lora_alpha=order.lora_alpha,
            seed=order.recipe.seed,
        )
    except ValueError as error:
        raise InputError(str(error), order.model) from error
    trained = sum(weight.numel() for weight in trained_parameters(pathways).values())
    progress.say(
        f"{order.method}: {trained:,} weights of {weights:,} are trained on {len(examples):,} examples, "
        f"{steps:,} steps, {made_of['dtype']} on {device}"
    )
    with refusing(order.out, "a directory for the tuned module"):
        order.out.mkdir(parents=True, exist_ok=True)
    unfinished = order.out / UNFINISHED_FILE
    curve = train(
        pathways,
        examples,
        settings,
        made_of=made_of,
        progress=progress,
        kept=unfinished,
        keep_every=order.keep_every,
    )
    if order.method == "lora":
        save_adapter(
            pathways.prefill,
            order.out / ADAPTER_FOLDER,
            base=str(order.model),
            rank=order.lora_rank,
            alpha=order.lora_alpha,
        )
        merge_lora(pathways.prefill)
    write_curve(curve, order.out / CURVE_FILE)
    how = made_of | {"parameters": weights, "trained_parameters": trained} | asdict(settings) | {"betas": BETAS}
    save_model(pathways.prefill, order.model, order.out, how)
    unfinished.unlink()
    progress.say(f"{order.out}: loss {curve.loss[0]:.4f} at first, {curve.loss[-1]:.4f} at last")


def placed(device: str | None, dtype: Dtype | None) -> tuple[str, torch.dtype]:
    """(device, dtype) by their names; a GPU in bfloat16 where there is one and nothing is said, else float32."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    return device, getattr(torch, dtype)


def task_of(data: Path, folder: Path, model: Any) -> list[Example]:
    """A task's examples in the tokens of a model that was loaded from `folder`."""
    vocab_size, stops = model.config.vocab_size, stop_token_ids(model)
    return read_task(data, load_tokenizer(folder), vocab_size=vocab_size, stop_token_ids=stops)
