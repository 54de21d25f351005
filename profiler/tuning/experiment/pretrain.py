"""Pre-training of a base model, from scratch, on the mixture, within a budget of seconds."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from profiler.tuning.experiment.corpus import Corpus
from profiler.tuning.train import Optimizer
from profiler.tuning.two_pathways import NO_LABEL, Batch, TwoPathways

WARMUP_STEPS = 100
WEIGHT_DECAY, CLIP = 0.1, 1.0
SEEN_EVERY = 20
"""Steps between two looks at the loss, for which the host waits for the GPU; unless told otherwise."""


class Trained(NamedTuple):
    """What a pre-training did. curve: (step, loss of a response token)."""

    steps: int
    tokens: int
    seconds: float
    curve: list[tuple[int, float]]


def pretrain(
    model: Any,
    corpus: Corpus,
    *,
    learning_rate: float,
    seconds: float,
    batch_size: int,
    seed: int,
    say: Callable[[str], None],
    seen_every: int = SEEN_EVERY,
) -> Trained:
    """Trains `model`, bfloat16 on its device or float32 on a CPU, in place; the loss is that of responses.

    The learning rate falls in a cosine with the time that is spent, so that every budget ends with a trained model;
    how many steps fit is the machine's, and is said.
    """
    device = model.device
    optimizer = Optimizer(list(model.parameters()), WEIGHT_DECAY, device)
    ids, prompt_tokens = torch.from_numpy(corpus.ids).to(device), torch.from_numpy(corpus.prompt_tokens).to(device)
    tokens = torch.from_numpy(corpus.tokens).to(device)
    begin, step, seen_tokens, curve = time.monotonic(), 0, 0, list[tuple[int, float]]()
    with optimizer.given_gradients():
        for rows in batches(corpus, batch_size, seed):
            spent = (time.monotonic() - begin) / seconds
            if spent >= 1:
                break
            cosine = 0.02 + 0.98 * (1 + math.cos(math.pi * spent)) / 2
            wanted = int((corpus.tokens[rows] - corpus.prompt_tokens[rows]).sum(dtype=np.int64))
            width = -(-int(corpus.tokens[rows].max()) // 8) * 8
            at = torch.from_numpy(rows).to(device)
            loss = response_loss(model, ids[at, :width].long(), prompt_tokens[at], tokens[at]) / wanted
            loss.backward()
            seen_tokens += int(corpus.tokens[rows].sum(dtype=np.int64))
            optimizer.step(learning_rate * min(1.0, (step + 1) / WARMUP_STEPS) * cosine, CLIP)
            step += 1
            if step % seen_every == 0:
                curve.append((step, loss.item()))
                if step % (25 * seen_every) == 0:
                    say(f"step {step}, loss {curve[-1][1]:.4f}, {spent:.0%} of {seconds:.0f} s")
    return Trained(step, seen_tokens, time.monotonic() - begin, curve)


def response_loss(model: Any, ids: torch.Tensor, prompt_tokens: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the responses' tokens, summed, float32.

    Args:
        model: a causal LM.
        ids: [requests, width]: prompt, response, padding, which nothing before it sees.
        prompt_tokens: [requests].
        tokens: [requests], of prompt and response.
    """
    logits = model(input_ids=ids, use_cache=False).logits
    place = torch.arange(1, ids.shape[1], device=ids.device)
    wanted = (place >= prompt_tokens[:, None]) & (place < tokens[:, None])
    labels = torch.where(wanted, ids[:, 1:], NO_LABEL)
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels.flatten(), ignore_index=NO_LABEL, reduction="sum")


@dataclass(frozen=True, slots=True)
class OneModel(TwoPathways):
    """Pathways that are one and the same model: a request runs through it at once, which takes half of the launches."""

    def loss_sum(self, batch: Batch) -> torch.Tensor:
        """As of `TwoPathways`: the loss of the same logits."""
        requests, width = batch.response.shape
        after = batch.prompt_tokens[:, None] + torch.arange(width, device=batch.response.device)
        room = batch.response.new_zeros(requests, width)
        ids = torch.cat([batch.prompt, room], 1).scatter(1, after, batch.response)
        tokens = batch.prompt_tokens + (batch.labels != NO_LABEL).sum(1)
        return response_loss(self.decode, ids, batch.prompt_tokens, tokens)


def at_once(pathways: TwoPathways) -> TwoPathways:
    """The same pathways, to be trained: in one pass if they are one model."""
    if pathways.prefill is not pathways.decode:
        return pathways
    return OneModel(pathways.prefill, pathways.decode, pathways.boundary)


def batches(corpus: Corpus, batch_size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Rows of the corpus for one step after another, without end, in a new order each pass."""
    draws = np.random.default_rng(seed)
    while True:
        order = draws.permutation(len(corpus.tokens))
        for begin in range(0, len(order) - batch_size + 1, batch_size):
            yield order[begin : begin + batch_size]
