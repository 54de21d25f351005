"""The verb `handover`: whether real engines answer as the trainer's modules do, request by request.

A prefill engine with the tuned weights writes the prompts' KV to files, a decode engine with the base's weights reads
them and decodes greedily, one after the other on one GPU. Two correct programs may still part at a token whose two best
logits are as good as equal, and then go different ways: so the first difference of a request comes with its margin.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from profiler.engine_log import last_error
from profiler.progress import Progress
from profiler.start import EngineStartError, require_vllm
from profiler.tuning.checkpoint import load_model, stop_token_ids
from profiler.tuning.choices import Boundary
from profiler.tuning.data import Example
from profiler.tuning.decode import greedy
from profiler.tuning.engine import EngineJob
from profiler.tuning.evaluate import tuning_of
from profiler.tuning.orders import HandoverOrder
from profiler.tuning.rows import judged
from profiler.tuning.tune import placed, task_of
from profiler.tuning.two_pathways import Batch, TwoPathways
from sunsim.errors import InputError
from sunsim.files import refusing


def handover(order: HandoverOrder, command: str, progress: Progress) -> dict[str, Any]:
    """What came out; the engines' logs and answers lie in `order.out`.

    Raises:
        EngineStartError: vLLM is not there, or an engine failed.
        InputError: a module or the data cannot be used.
    """
    require_vllm()
    device, dtype = placed(None, order.dtype)
    with refusing(order.out, "a directory for results"):
        order.out.mkdir(parents=True, exist_ok=True)
    boundary: Boundary = order.boundary or tuning_of(order.prefill).get("boundary", "decode")
    prefill, decode = load_model(order.prefill, dtype, device), load_model(order.decode, dtype, device)
    examples = task_of(order.data, order.decode, decode)[: order.first]
    prompts = [list(example.prompt) for example in examples]
    if min(map(len, prompts)) < 2:
        msg = "has a prompt of one token, must have two or more, as nothing of it is handed over"
        raise InputError(msg, order.data)
    stops, limits = stop_token_ids(decode), [order.max_tokens] * len(prompts)
    pathways = TwoPathways(prefill, decode, boundary)
    wanted = greedy(pathways, prompts, limits, stop_token_ids=stops)
    alone = greedy(TwoPathways(decode, decode, boundary), prompts, limits, stop_token_ids=stops)
    # Room for the engines; the modules are wanted again for the margins.
    for module in (prefill, decode):
        module.to("cpu")
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    progress.say(f"the modules have answered {len(prompts)} requests")
    with tempfile.TemporaryDirectory() as kv_folder:
        told = _Told(order, str(dtype).removeprefix("torch."), kv_folder, stops, longest(prompts, order.max_tokens))
        first = told.run("prefill", prompts, [1] * len(prompts), recomputed=int(boundary == "decode"))
        progress.say("the prefill engine has written the KV of all prompts")
        if boundary == "decode":
            found = told.run("decode", prompts, limits)
        else:
            found = _after_first(told, prompts, first, order.max_tokens, stops)
    progress.say("the decode engine has answered")
    for module in (prefill, decode):
        module.to(device)
    differences = [
        _difference(pathways, i, prompts[i], ours, theirs)
        for i, (ours, theirs) in enumerate(zip(wanted, found, strict=True))
        if ours != theirs
    ]
    return {
        "requests": len(prompts),
        "equal": len(prompts) - len(differences),
        "tokens": sum(map(len, wanted)),
        "differences": differences,
        "answered_alike_by_the_decode_module_alone": sum(a == w for a, w in zip(alone, wanted, strict=True)),
        "exact_match": float(judged(found, [example.response for example in examples], stops).exact.mean()),
        "boundary": boundary,
        "dtype": str(dtype).removeprefix("torch."),
        "prompt_tokens": [min(map(len, prompts)), max(map(len, prompts))],
        "card": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "vllm": version("vllm"),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "measured": datetime.now(UTC).date().isoformat(),
        "command": command,
    }


# Started with a job.
ENGINE = "profiler.tuning.engine"


def longest(prompts: Sequence[Sequence[int]], max_tokens: int) -> int:
    """Tokens of the longest request, a first token handed over included."""
    return max(map(len, prompts)) + max_tokens + 1


@dataclass(frozen=True, slots=True)
class _Told:
    """What both engines are told."""

    order: HandoverOrder
    dtype: str
    kv_folder: str
    stops: list[int]
    max_model_len: int

    def run(self, which: str, prompts: list[list[int]], max_tokens: list[int], recomputed: int = 1) -> list[list[int]]:
        """The answers of the prefill or the decode engine."""
        out = self.order.out
        answers, log, job = (out / f"{which}{suffix}" for suffix in (".json", ".log", ".job"))
        answers.unlink(missing_ok=True)
        EngineJob(
            model=str(self.order.prefill if which == "prefill" else self.order.decode),
            dtype=self.dtype,
            role="kv_producer" if which == "prefill" else "kv_consumer",
            kv_folder=self.kv_folder,
            recomputed=recomputed,
            prompts=prompts,
            max_tokens=max_tokens,
            stop_token_ids=self.stops,
            max_model_len=self.max_model_len,
            gpu_memory_utilization=self.order.gpu_memory_utilization,
            out=str(answers),
        ).write(job)
        with log.open("wb") as file:
            ended = subprocess.run([sys.executable, "-m", ENGINE, str(job)], stdout=file, stderr=file, check=False)
        if ended.returncode or not answers.exists():
            reason = last_error(log.read_text(errors="replace")) or f"it ended with {ended.returncode}"
            msg = f"the {which} engine failed: {reason}; its log is {log}"
            raise EngineStartError(msg)
        found: list[list[int]] = json.loads(answers.read_text(encoding="utf-8"))
        return found


def _after_first(
    told: _Told, prompts: list[list[int]], first: list[list[int]], max_tokens: int, stops: list[int]
) -> list[list[int]]:
    """The answers where the prefill engine gives the first token: the decode engine takes it as the prompt's last."""
    going = [i for i, tokens in enumerate(first) if tokens[0] not in stops and max_tokens > 1]
    answers = list(first)
    if going:
        rest = told.run("decode", [[*prompts[i], *first[i]] for i in going], [max_tokens - 1] * len(going))
        for i, tokens in zip(going, rest, strict=True):
            answers[i] = first[i] + tokens
    return answers


@torch.inference_mode()  # type: ignore[untyped-decorator]
def _difference(
    pathways: TwoPathways, request: int, prompt: list[int], ours: list[int], theirs: list[int]
) -> dict[str, Any]:
    """The first token at which two answers part, by how much the modules' logits prefer theirs, and `spacing`, how far
    apart two numbers of the compute dtype are at the larger logit.
    """
    position = next(i for i in range(max(len(ours), len(theirs))) if ours[i : i + 1] != theirs[i : i + 1])
    if position >= min(len(ours), len(theirs)):
        return {"request": request, "position": position, "module": ours[position:], "engine": theirs[position:]}
    batch = Batch.of([Example(tuple(prompt), tuple(ours[: position + 1]))], pathways.device)
    exact = pathways.logits(batch)[0, -1]
    logits = exact.float()
    return {
        "request": request,
        "position": position,
        "module": ours[position],
        "engine": theirs[position],
        "margin": (logits[ours[position]] - logits[theirs[position]]).item(),
        "logit": logits[ours[position]].item(),
        "spacing": torch.finfo(exact.dtype).eps
        * 2.0 ** math.floor(math.log2(max(1e-6, abs(logits[ours[position]].item())))),
    }
