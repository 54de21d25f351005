"""The verb `evaluate`: pairs of modules answer the requests of tasks; rows of an accuracy file come of it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from profiler.progress import Progress
from profiler.tuning.checkpoint import TUNING_FILE, load_model, parameters, stop_token_ids
from profiler.tuning.choices import DecoderQuant
from profiler.tuning.data import Example
from profiler.tuning.decode import greedy
from profiler.tuning.orders import EvaluateOrder
from profiler.tuning.quantize import quantized
from profiler.tuning.rows import SCHEMA_VERSION, Judged, judged, row, seeds_of
from profiler.tuning.tune import placed, task_of
from profiler.tuning.two_pathways import TwoPathways
from sunsim.errors import InputError


def evaluate(order: EvaluateOrder, command: str, progress: Progress) -> dict[str, Any]:
    """The document of an accuracy file.

    Raises:
        InputError: a module or a task that cannot be used.
    """
    device, dtype = placed(order.device, order.dtype)
    runs: dict[tuple[str, str], dict[str, Judged]] = {}
    weights = 0

    def decoder(folder: Path) -> Any:
        model = load_model(folder, dtype, device)
        try:
            return model if order.decoder_quant is None else quantized(model, order.decoder_quant)
        except ValueError as error:
            raise InputError(str(error), folder) from error

    shared = None if order.decode is None else decoder(order.decode)
    for folder in order.prefill:
        how = tuning_of(folder)
        method = method_of(how, own_decoder=order.decode in {None, folder}, quant=order.decoder_quant)
        seed = str(how.get("seed", 0))
        prefill = load_model(folder, dtype, device)
        weights = parameters(prefill)
        decode = shared
        if decode is None:
            decode = prefill if order.decoder_quant is None else decoder(folder)
        try:
            pathways = TwoPathways(prefill, decode, order.boundary or how.get("boundary", "decode"))
        except ValueError as error:
            raise InputError(str(error), folder) from error
        for data in tasks_of(how, order.data):
            task = task_name(data)
            of_seeds = runs.setdefault((method, task), {})
            if seed in of_seeds:
                msg = f"is {method} on {task} with seed {seed}, as another one is; must differ in one of these"
                raise InputError(msg, folder)
            examples = task_of(data, folder, prefill)[: order.first]
            of_seeds[seed] = answered(pathways, examples, order.batch_size)
            progress.say(f"{folder}, {task}: {of_seeds[seed].exact.sum()} of {len(examples)} exact, {method}")
    first = order.decode or order.prefill[0]
    base = Path(tuning_of(first).get("model", first))
    return document(
        [row(method, task, found) for (method, task), found in runs.items()],
        model=base.resolve().name,
        parameters=weights,
        command=command,
        device=device,
    )


def answered(pathways: TwoPathways, examples: Sequence[Example], batch_size: int = 256) -> Judged:
    """What the modules answer to the examples' prompts, judged; no answer is taken further than the wanted one."""
    stops = stop_token_ids(pathways.decode)
    responses = [example.response for example in examples]
    prompts, limits = [example.prompt for example in examples], list(map(len, responses))
    answers = greedy(pathways, prompts, limits, stop_token_ids=stops, batch_size=batch_size)
    return judged(answers, responses, stops)


def document(rows: list[dict[str, Any]], *, model: str, parameters: int, command: str, device: str) -> dict[str, Any]:
    """Rows with where they come from, as an accuracy file has it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model,
        "parameters": parameters,
        "measured": datetime.now(UTC).date().isoformat(),
        "card": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "command": command,
        "seeds": seeds_of(rows),
        "tasks": list(dict.fromkeys(r["task"] for r in rows)),
        "rows": rows,
    }


def tuning_of(folder: Path) -> dict[str, Any]:
    """How a module was tuned; empty for one that `tune` has not made."""
    path = folder / TUNING_FILE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = "not JSON, must be as `python -m profiler tune` wrote it"
        raise InputError(msg, path) from error
    if not isinstance(found, dict) or "method" not in found:
        msg = "has no method, must be as `python -m profiler tune` wrote it"
        raise InputError(msg, path)
    return found


def method_of(how: dict[str, Any], *, own_decoder: bool, quant: DecoderQuant | None) -> str:
    """The name in an accuracy file of a module tuned so, with its own or another decode module, maybe quantized."""
    method = str(how.get("method", "base"))
    if method == "prefill-only" and own_decoder:
        msg = "a prefill module does not decode for itself, must be given the base model as decode module"
        raise InputError(msg, "--decode")
    if method in {"full", "lora"} and not own_decoder:
        method = f"{method}-prefill-base-decode"
    tuned_for = how.get("decoder_quant")
    decoder = f"-{quant.split('-')[0]}" if quant is not None else ""
    if tuned_for is None:
        return f"{method}{decoder}"
    return (
        f"{method}{decoder}-tuned" if tuned_for == quant else f"{method}-tuned-for-{tuned_for.split('-')[0]}{decoder}"
    )


def task_name(data: Path) -> str:
    """`sums` for `sums.test.jsonl`: what comes before the first dot, so that train and test files are of one task."""
    return data.name.split(".")[0]


def tasks_of(how: dict[str, Any], data: Sequence[Path]) -> list[Path]:
    """What to evaluate a module on: its own task where that is there, else all."""
    own = [path for path in data if "data" in how and task_name(path) == task_name(Path(how["data"]))]
    return own or list(data)


def added(found: dict[str, Any], path: Path) -> dict[str, Any]:
    """The document with the rows that an accuracy file has already, where it is there; new rows replace like ones.

    Raises:
        InputError: the file is of another model.
    """
    if not path.exists():
        return found
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        kept = [r for r in before["rows"] if not any(_same(r, new) for new in found["rows"])]
        model, command = before["model"], before["command"]
    except (ValueError, KeyError, TypeError) as error:
        msg = "is no accuracy file, must be one, or not be there"
        raise InputError(msg, path) from error
    if model != found["model"]:
        msg = f"is of the model {model}, must be of {found['model']}"
        raise InputError(msg, path)
    rows = kept + found["rows"]
    return found | {
        "command": f"{command} && {found['command']}",
        "seeds": seeds_of(rows),
        "tasks": list(dict.fromkeys(r["task"] for r in rows)),
        "rows": rows,
    }


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(one["method"] == other["method"] and one["task"] == other["task"])
