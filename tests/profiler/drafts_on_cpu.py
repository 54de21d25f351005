"""What the worker is told about drafts, on tensors of its own; `python -m tests.profiler.drafts_on_cpu` where vLLM is installed."""

from types import SimpleNamespace

import torch
from vllm.v1.sample.rejection_sampler import RejectionSampler

from profiler.worker_extension import ProfilerWorkerExtension


class Worker(ProfilerWorkerExtension):
    """As vLLM's has it: a model, a sampler of its drafts, a drafter that shares the model's embedding."""

    def __init__(self) -> None:
        self.model = torch.nn.Module()
        self.model.embed_tokens = torch.nn.Embedding(50, 8, dtype=torch.bfloat16)
        self.model.lm_head = torch.nn.Linear(8, 50, bias=False, dtype=torch.bfloat16)
        drafter = torch.nn.Module()
        drafter.embed_tokens = self.model.embed_tokens
        drafter.fc = torch.nn.Linear(16, 8, bias=False, dtype=torch.bfloat16)
        config = SimpleNamespace(rejection_sample_method="synthetic", synthetic_acceptance_rates=[0.0, 0.0, 0.0])
        sampler = RejectionSampler(SimpleNamespace(logprobs_mode="raw_logprobs"), config, torch.device("cpu"))
        self.model_runner = SimpleNamespace(rejection_sampler=sampler, speculator=SimpleNamespace(model=drafter))

    def get_model(self) -> torch.nn.Module:
        """As vLLM's worker has it."""
        return self.model


def main() -> None:
    """Says what a worker has in the end, a line each."""
    worker = Worker()
    held = worker.model_runner.rejection_sampler.synthetic_conditional_rates
    print([round(rate, 4) for rate in worker.profiler_set_acceptance_rates([0.8, 0.4, 0.0])])  # noqa: T201
    print(held is worker.model_runner.rejection_sampler.synthetic_conditional_rates)  # noqa: T201
    print(worker.profiler_weight_bytes())  # noqa: T201
    worker.profiler_forget_tokens()
    worker.profiler_prefer_token(7)
    rows = worker.model.embed_tokens.weight
    print(bool((rows == rows[0]).all()))  # noqa: T201


if __name__ == "__main__":
    main()
