"""The training loop: AdamW on the responses' cross-entropy, resumable to the bit."""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
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
        self._weights = list(trained_parameters(pathways).values())
        # Steps of 1e-6 would be lost in bfloat16, so the optimizer keeps weights of its own; what computes is rounded
        # from them, as what is served will be.
        where = torch.device("cpu") if settings.offload_optimizer else pathways.device
        self._own = [w if w.dtype == torch.float32 and w.device == where else _own(w, where) for w in self._weights]
        self._optimizer = torch.optim.AdamW(
            self._own,
            lr=settings.learning_rate,
            betas=BETAS,
            weight_decay=settings.weight_decay,
            # One kernel for all weights, where a loop over them would keep a small model waiting.
            fused=True,
        )
        self._unseen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def run(self, until: int | None = None) -> None:
        """Trains to step `until`, or to the end."""
        until = self.settings.steps if until is None else min(until, self.settings.steps)
        batches = batches_from(self.examples, self.settings.batch_size, self.settings.seed, self.step)
        with ExitStack() as hooks:
            for weight, own in zip(self._weights, self._own, strict=True):
                if weight is not own:
                    hook = weight.register_post_accumulate_grad_hook(partial(_hand_on, own=own))
                    hooks.callback(hook.remove)
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
        norm = torch.nn.utils.clip_grad_norm_(self._own, self.settings.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.rate(self.step)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._own[0] is not self._weights[0]:
            with torch.no_grad():
                torch._foreach_copy_(self._weights, self._own)
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
            "own": [own.detach() for own in self._own],
            "optimizer": self._optimizer.state_dict(),
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
        with torch.no_grad():
            for own, weight, kept in zip(self._own, self._weights, state["own"], strict=True):
                own.copy_(kept)
                if weight is not own:
                    weight.copy_(own)
        self._optimizer.load_state_dict(state["optimizer"])


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


def _own(weight: torch.Tensor, where: Any) -> torch.Tensor:
    """What the optimizer changes in a weight's place, in float32."""
    return weight.detach().to(where, torch.float32, copy=True)


def _hand_on(weight: torch.Tensor, own: torch.Tensor) -> None:
    """Adds a gradient to the optimizer's own, in float32, as soon as a backward has it, and lets go of it."""
    assert weight.grad is not None
    grad = weight.grad.to(own.device, torch.float32)
    own.grad = grad if own.grad is None else own.grad.add_(grad)
    weight.grad = None


def _hash(examples: Sequence[Example]) -> str:
    found = hashlib.sha256()
    for example in examples:
        for part in (example.prompt, example.response):
            found.update(np.array([len(part), *part], np.int64).tobytes())
    return found.hexdigest()


def write_state(state: dict[str, Any], path: Path) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    torch.save(state, beside)
    beside.replace(path)


def write_curve(curve: Curve, path: Path) -> None:
    """A JSON object a step."""
    rows = enumerate(zip(curve.loss, curve.gradient_norm, strict=True), 1)
    lines = [json.dumps({"step": step, "loss": loss, "gradient_norm": norm}) for step, (loss, norm) in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
