"""The training loop: AdamW on the responses' cross-entropy, resumable to the bit."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from profiler.progress import Progress
from profiler.tuning.data import Example, batches_from
from profiler.tuning.methods import trained_parameters
from profiler.tuning.orders import Recipe
from profiler.tuning.two_pathways import Batch, TwoPathways
from sunsim.errors import InputError
from sunsim.files import replacing

BETAS = (0.9, 0.95)
"""AdamW's."""
# Between two looks at the losses, for which the host waits for the GPU.
LOOK_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Recipe):
    """How to train. steps: updates of the weights."""

    steps: int

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (1 + math.cos(math.pi * done)) / 2


@dataclass(slots=True)
class Curve:
    """What training saw: a number a step, the mean loss of a response token and the norm of the gradient."""

    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)


class Optimizer:
    """AdamW, with float32 weights of its own in the place of others: steps of 1e-6 would be lost in bfloat16.

    What computes is rounded from them, as what is served will be. `where` they are, and what AdamW keeps of each.
    """

    def __init__(self, weights: Sequence[Any], weight_decay: float, where: Any) -> None:
        exact = [weight.dtype == torch.float32 and weight.device == where for weight in weights]
        self._own = [
            weight if same else weight.detach().to(where, torch.float32, copy=True)
            for weight, same in zip(weights, exact, strict=True)
        ]
        self._rounded = [weight for weight, same in zip(weights, exact, strict=True) if not same]
        self._exact = [own for own, same in zip(self._own, exact, strict=True) if not same]
        # One kernel for all weights, where a loop over them would keep a small model waiting.
        self._adamw = torch.optim.AdamW(self._own, betas=BETAS, weight_decay=weight_decay, fused=True)

    @contextmanager
    def given_gradients(self) -> Iterator[None]:
        """Within, each backward adds what it finds to the gradients of the next step."""
        with ExitStack() as hooks:
            for weight, own in zip(self._rounded, self._exact, strict=True):
                hooks.callback(weight.register_post_accumulate_grad_hook(partial(_hand_on, own=own)).remove)
            yield

    def step(self, rate: float, clip: float) -> torch.Tensor:
        """Changes the weights; the norm of the gradient, before it was clipped."""
        norm = torch.nn.utils.clip_grad_norm_(self._own, clip)
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()
        self._adamw.zero_grad()
        self._round()
        return norm

    def _round(self) -> None:
        if self._rounded:
            with torch.no_grad():
                torch._foreach_copy_(self._rounded, self._exact)

    def state(self) -> dict[str, Any]:
        """As `load_state` takes it."""
        return {"own": [own.detach() for own in self._own], "optimizer": self._adamw.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken."""
        with torch.no_grad():
            for own, kept in zip(self._own, state["own"], strict=True):
                own.copy_(kept)
        self._adamw.load_state_dict(state["optimizer"])
        self._round()


def _hand_on(weight: torch.Tensor, own: torch.Tensor) -> None:
    """Adds a gradient to the optimizer's own, in float32, as soon as a backward has it, and lets go of it."""
    assert weight.grad is not None
    grad = weight.grad.to(own.device, torch.float32)
    own.grad = grad if own.grad is None else own.grad.add_(grad)
    weight.grad = None


class Trainer:
    """The weights that are trained, their optimizer, and the step that is next."""

    def __init__(
        self,
        pathways: TwoPathways,
        examples: Sequence[Example],
        settings: Settings,
        made_of: dict[str, Any] | None = None,
    ) -> None:
        self.pathways, self.examples, self.settings = pathways, examples, settings
        self._order = asdict(settings) | (made_of or {}) | {"examples": _hash(examples)}
        self.step = 0
        self.curve = Curve()
        where = torch.device("cpu") if settings.offload_optimizer else pathways.device
        weights = list(trained_parameters(pathways).values())
        self._optimizer = Optimizer(weights, settings.weight_decay, where)
        self._unseen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def run(self, until: int | None = None) -> None:
        """Trains to step `until`, or to the end."""
        until = self.settings.steps if until is None else min(until, self.settings.steps)
        batches = batches_from(self.examples, self.settings.batch_size, self.settings.seed, self.step)
        with self._optimizer.given_gradients():
            for batch in islice(batches, max(0, until - self.step)):
                self._update([self.examples[i] for i in batch])
                self.step += 1

    def _update(self, examples: Sequence[Example]) -> None:
        micro = self.settings.micro_batch_size or len(examples)
        tokens = sum(len(example.response) for example in examples)
        total = torch.zeros((), device=self.pathways.device)
        for begin in range(0, len(examples), micro):
            batch = Batch.of(examples[begin : begin + micro], self.pathways.device)
            loss = self.pathways.loss_sum(batch) / tokens
            # Prompts of one token leave nothing to the prefill module where the boundary is the decode module's.
            if loss.requires_grad:
                loss.backward()
            total += loss.detach()
        norm = self._optimizer.step(self.settings.rate(self.step), self.settings.clip)
        self._unseen.append((total, norm))

    def look(self) -> Curve:
        """The curve so far; waits for the GPU.

        Raises:
            InputError: the loss is not a number any more.
        """
        if self._unseen:
            seen = torch.stack([torch.stack(pair) for pair in self._unseen]).tolist()
            self._unseen.clear()
            self.curve.loss += [loss for loss, _ in seen]
            self.curve.gradient_norm += [norm for _, norm in seen]
            if not all(math.isfinite(loss) for loss, _ in seen):
                msg = f"the loss is no number any more by step {self.step}, must train with a lower --learning-rate"
                raise InputError(msg)
        return self.curve

    def state(self) -> dict[str, Any]:
        """All that the next step depends on but the data and the frozen weights."""
        return {
            "order": self._order,
            "step": self.step,
            **self._optimizer.state(),
            "curve": asdict(self.look()),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken.

        Raises:
            InputError: it was taken with other settings or examples.
        """
        for name, value in self._order.items():
            if (begun := state["order"].get(name)) != value:
                msg = f"was begun with {name} {begun}, not {value}; must be the same to go on, or another --out"
                raise InputError(msg)
        self.step, self.curve = state["step"], Curve(**state["curve"])
        self._optimizer.load_state(state)


def train(
    pathways: TwoPathways,
    examples: Sequence[Example],
    settings: Settings,
    *,
    made_of: dict[str, Any] | None = None,
    progress: Progress | None = None,
    kept: Path | None = None,
    keep_every: int = 200,
) -> Curve:
    """Trains what `pathways` leaves to be trained, in place.

    Args:
        pathways: from `profiler.tuning.methods.pathways_of`.
        examples: the task.
        settings: how.
        made_of: what else must be the same to go on from `kept`: names to plain values.
        progress: where to say how far it is; None says nothing.
        kept: a file that the state is kept in every `keep_every` steps; one that is there is gone on from.
        keep_every: steps.

    Returns:
        The loss and the gradient's norm of every step.
    """
    trainer = Trainer(pathways, examples, settings, made_of)
    if kept is not None and kept.exists():
        try:
            trainer.load_state(torch.load(kept, map_location="cpu", weights_only=True))
        except InputError as error:
            raise InputError(error.message, kept) from error
        if progress is not None:
            progress.say(f"goes on from step {trainer.step} of {settings.steps}, {kept}")
    begin, begin_s, looked_s = trainer.step, time.monotonic(), time.monotonic()
    safe = trainer.step
    while trainer.step < settings.steps:
        try:
            trainer.run(trainer.step + 1)
        except KeyboardInterrupt as error:
            if kept is None:
                raise
            msg = f"interrupted at step {trainer.step}, the same command goes on from step {safe}"
            raise KeyboardInterrupt(msg) from error
        if kept is not None and (trainer.step % keep_every == 0 or trainer.step == settings.steps):
            write_state(trainer.state(), kept)
            safe = trainer.step
        if progress is not None and time.monotonic() - looked_s > LOOK_S:
            loss, looked_s = trainer.look().loss[-1], time.monotonic()
            left_s = (looked_s - begin_s) / (trainer.step - begin) * (settings.steps - trainer.step)
            progress.say(f"step {trainer.step} of {settings.steps}, loss {loss:.4f}, about {left_s:.0f} s to go")
    return trainer.look()


def _hash(examples: Sequence[Example]) -> str:
    found = hashlib.sha256()
    for example in examples:
        for part in (example.prompt, example.response):
            found.update(np.array([len(part), *part], np.int64).tobytes())
    return found.hexdigest()


def write_state(state: dict[str, Any], path: Path) -> None:
    """Whole or not at all."""
    with replacing(path) as partial_file:
        torch.save(state, partial_file)


def write_curve(curve: Curve, path: Path) -> None:
    """A JSON object a step."""
    rows = enumerate(zip(curve.loss, curve.gradient_norm, strict=True), 1)
    lines = [json.dumps({"step": step, "loss": loss, "gradient_norm": norm}) for step, (loss, norm) in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
