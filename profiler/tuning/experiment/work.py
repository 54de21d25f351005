"""What a job of the experiment does, in a process with a device of its own or a share of one."""

import copy
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any, cast

import torch

from profiler.facts import versions
from profiler.tuning.checkpoint import parameters
from profiler.tuning.choices import DecoderQuant, Method
from profiler.tuning.data import Example
from profiler.tuning.evaluate import answered
from profiler.tuning.experiment import models
from profiler.tuning.experiment.corpus import read_corpus
from profiler.tuning.experiment.order import RATE_TASKS, SIZES, Job, Order
from profiler.tuning.experiment.pretrain import at_once, pretrain
from profiler.tuning.experiment.results import best_rate
from profiler.tuning.experiment.tasks import MIXTURE, VOCABULARY, Part, examples
from profiler.tuning.methods import pathways_of
from profiler.tuning.quantize import quantized
from profiler.tuning.train import Settings, Trainer
from profiler.tuning.two_pathways import Batch, TwoPathways
from sunsim.errors import InputError
from sunsim.files import replacing

INT4: DecoderQuant = "int4-g128"
POINTS = 12
"""Of a training curve."""
TOGETHER = 512
"""Requests that are decoded at a time."""
WORST = 1e9
"""What a learning rate that makes the loss no number counts as."""


class Worker:
    """Does jobs on one device; what several jobs need stays loaded."""

    def __init__(self, order: Order, folder: Path, device: str, say: Callable[[str], None]) -> None:
        self.order, self.folder, self.device, self.say = order, folder, device, say
        self.dtype = torch.float32 if device == "cpu" else torch.bfloat16
        self._bases: dict[str, Any] = {}

    def do(self, job: Job) -> dict[str, Any]:
        """The job's result, for its file."""
        if job.kind == "pretrain":
            return self.pretrain(job.size)
        return self.rate(job) if job.kind == "rate" else self.tuning(job)

    def pretrain(self, size: str) -> dict[str, Any]:
        """Makes a base model; its result says how well it does what it was trained on."""
        order = self.order
        model = models.new_model(size, seed=0).to(self.device, self.dtype)
        done = pretrain(
            model,
            read_corpus(self.folder / "corpus.npz"),
            learning_rate=SIZES[size].learning_rate,
            seconds=order.pretrain_s[size],
            batch_size=order.pretrain_batch,
            seed=0,
            say=self.say,
        )
        models.save(model, self.folder / "base" / size)
        self._bases.pop(size, None)
        base = self.base(size)
        exact = {}
        for make, _ in MIXTURE:
            draw = Random(f"unseen/{make.__name__}")
            asked = [ids_of(make(draw)) for _ in range(order.test)]
            exact[make.__name__] = float(answered(TwoPathways(base, base), asked, TOGETHER).exact.mean())
        about = {"parameters": parameters(model), "versions": versions(), "exact_match": exact}
        return {**about, **done._asdict()}

    def base(self, size: str) -> Any:
        """The base model of a size, frozen; not to be changed."""
        if size not in self._bases:
            self._bases[size] = models.load(self.folder / "base" / size, self.device, self.dtype)
        return self._bases[size]

    def pathways(self, size: str, method: str, seed: int, quant: DecoderQuant | None = None) -> TwoPathways:
        """Modules of their own, to be trained with a method."""
        return pathways_of(
            copy.deepcopy(self.base(size)),
            cast(Method, method),
            boundary=self.order.boundary,
            decoder_quant=quant,
            lora_rank=self.order.lora_rank,
            lora_alpha=2.0 * self.order.lora_rank,
            seed=seed,
        )

    def rate(self, job: Job) -> dict[str, Any]:
        """The mean validation loss over `RATE_TASKS` that a learning rate leads to, in half of a tuning's steps."""
        found = []
        for task in RATE_TASKS:
            pathways = self.pathways(job.size, job.method, job.seed)
            found.append(self.tune(pathways, task, job.seed, job.rate, self.order.steps // 2, points=1)[-1][2])
        return {"learning_rate": job.rate, "validation_loss": sum(found) / len(found)}

    def tune(
        self, pathways: TwoPathways, task: str, seed: int, rate: float, steps: int, points: int = POINTS
    ) -> list[tuple[int, float, float]]:
        """Trains in place; (step, mean loss since the point before, validation loss), both of a response token."""
        order = self.order
        settings = Settings(
            steps=steps, batch_size=order.batch, learning_rate=rate, warmup_steps=max(1, steps // 20), seed=seed
        )
        trainer = Trainer(at_once(pathways), self.part(task, "train", seed, order.train), settings)
        validation = self.part(task, "validation", seed, order.validation)
        curve: list[tuple[int, float, float]] = []
        for point in range(1, points + 1):
            begin, until = trainer.step, steps * point // points
            trainer.run(until)
            try:
                losses = trainer.look().loss[begin:until]
            except InputError:
                return [*curve, *((steps * left // points, WORST, WORST) for left in range(point, points + 1))]
            curve.append((until, sum(losses) / max(1, len(losses)), self.loss(pathways, validation)))
        return curve

    def part(self, task: str, part: Part, seed: int, count: int) -> list[Example]:
        """Token ids of one part of a task."""
        return [ids_of(example) for example in examples(task, part, seed, count)]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def loss(self, pathways: TwoPathways, asked: Sequence[Example]) -> float:
        """Mean over response tokens."""
        tokens = sum(len(example.response) for example in asked)
        loss = float(pathways.loss_sum(Batch.of(asked, self.device))) / tokens
        return loss if math.isfinite(loss) else WORST

    def tuning(self, job: Job) -> dict[str, Any]:
        """How it went, and what the modules that can be made with what was tuned answer, by their rows' names."""
        method, quant = ("prefill-only", INT4) if job.method == "prefill-only-int4-tuned" else (job.method, None)
        rate = best_rate(self.folder, self.order, job.size, method)
        assert rate is not None, "jobs wait for the search of their learning rates"
        pathways = self.pathways(job.size, method, job.seed, quant)
        curve = self.tune(pathways, job.task, job.seed, rate, self.order.steps)
        self.say(f"{job.name}: validation loss {curve[-1][2]:.4f}")
        test = self.part(job.task, "test", job.seed, self.order.test)
        answers = {
            row: asdict(answered(modules, test, TOGETHER))
            for row, modules in served(job.method, pathways, self.base(job.size)).items()
        }
        return {
            "learning_rate": rate,
            "curve": curve,
            "answers": {
                row: {name: part.astype(int).tolist() for name, part in of.items()} for row, of in answers.items()
            },
        }


def served(method: str, tuned: TwoPathways, base: Any) -> dict[str, TwoPathways]:
    """The modules that serve, by the rows of `TUNINGS`, with what a tuning has made; the base model decodes for many."""
    ways = {method: (tuned.prefill, tuned.decode)}
    if method in {"full", "prefill-only"}:
        ways[f"{method}-int4"] = (tuned.prefill, quantized(copy.deepcopy(tuned.decode), INT4))
    if method == "full":
        ways |= {"base": (base, base), "full-prefill-base-decode": (tuned.prefill, base)}
    return {row: TwoPathways(*modules, tuned.boundary) for row, modules in ways.items()}


def ids_of(example: Any) -> Example:
    """Token ids of an example in words."""
    return Example(tuple(VOCABULARY.prompt_ids(example)), tuple(VOCABULARY.response_ids(example)))


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")
