"""Greedy decoding through both modules, many requests at a time."""

from collections.abc import Collection, Sequence

import torch

from profiler.tuning.data import Example
from profiler.tuning.two_pathways import Batch, TwoPathways


@torch.inference_mode()  # type: ignore[untyped-decorator]
def greedy(
    pathways: TwoPathways,
    prompts: Sequence[Sequence[int]],
    max_tokens: Sequence[int],
    *,
    stop_token_ids: Collection[int] = (),
    batch_size: int = 256,
) -> list[list[int]]:
    """The response to each prompt, ended by a stop token, which is part of it, or by its number of tokens.

    Args:
        pathways: the modules.
        prompts: token ids.
        max_tokens: of each response, at least 1.
        stop_token_ids: as the model's configuration has them.
        batch_size: requests at a time; prompts of like lengths come together.
    """
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), max_tokens[i]))
    found: dict[int, list[int]] = {}
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        limits = [max_tokens[i] for i in chosen]
        batch = Batch.of([Example(tuple(prompts[i]), (0,)) for i in chosen], pathways.device)
        answers = _together(pathways, batch, max(limits), list(stop_token_ids))
        for i, limit, answer in zip(chosen, limits, answers, strict=True):
            found[i] = _ended(answer[:limit], stop_token_ids)
    return [found[i] for i in range(len(prompts))]


def _together(pathways: TwoPathways, batch: Batch, count: int, stops: list[int]) -> list[list[int]]:
    """`count` tokens for every request, or until all of them have stopped."""
    started = pathways.start(batch.prompt, batch.prompt_tokens, even=batch.even)
    logits = started.first_logits
    if logits is None:
        logits = started.step(batch.prompt.gather(1, batch.prompt_tokens[:, None] - 1))
    tokens = [logits[:, -1:].argmax(-1)]
    stop = torch.tensor(stops, device=pathways.device)
    stopped = torch.isin(tokens[0], stop)
    while len(tokens) < count and not stopped.all():
        tokens.append(started.step(tokens[-1])[:, -1:].argmax(-1))
        stopped |= torch.isin(tokens[-1], stop)
    answers: list[list[int]] = torch.cat(tokens, 1).tolist()
    return answers


def _ended(answer: list[int], stops: Collection[int]) -> list[int]:
    for count, token in enumerate(answer, 1):
        if token in stops:
            return answer[:count]
    return answer
