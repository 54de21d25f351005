"""Makes the example log: ``python -m examples.make_requests`` writes examples/requests.csv, the same on every machine.

Twelve fine-tuned models, the first asked most, over ten minutes. In the middle is a burst of 12 s, four times the rate.
Lengths are drawn from the shipped quantiles of the Azure conversation trace of 2023, shorter or longer by model. No
request is a real one.
"""

from pathlib import Path
from typing import Final

import numpy as np

from sunsim.workload.blocks import AzureLengths
from sunsim.workload.lengths import draw_lengths

FILE = Path(__file__).with_name("requests.csv")
SEED = 1
DURATION_S = 600.0
RATE_RPS = 16.0
BURST = (294.0, 306.0, 4.0)
"""From when to when, in seconds, and times what rate."""
ALPHA = 1.2
"""Of the Zipf law of popularity."""
LONGEST = 12_000
"""Tokens of a prompt; longer ones are cut."""
MODELS: Final = {
    "support-chat": (1.0, 1.0),
    "sql-writer": (1.3, 0.5),
    "code-review": (1.8, 0.8),
    "summarizer": (2.2, 0.6),
    "translator": (0.4, 1.1),
    "email-drafts": (0.5, 1.3),
    "product-search": (0.6, 0.2),
    "contract-reader": (2.5, 0.7),
    "tutor": (0.8, 1.5),
    "moderation": (0.5, 0.1),
    "travel-agent": (0.9, 1.0),
    "release-notes": (1.5, 1.2),
}
"""By falling popularity: times what prompt length, and times what output length."""


def main() -> None:
    """Draws the requests and writes them."""
    rng = np.random.default_rng(SEED)
    begin_s, end_s, times = BURST
    extra = rng.uniform(begin_s, end_s, rng.poisson((times - 1) * RATE_RPS * (end_s - begin_s)))
    usual = rng.uniform(0, DURATION_S, rng.poisson(RATE_RPS * DURATION_S))
    arrival_s = np.sort(np.concatenate([usual, extra]))
    weights = np.arange(1, len(MODELS) + 1) ** -ALPHA
    model = rng.choice(len(MODELS), arrival_s.size, p=weights / weights.sum())
    lengths = draw_lengths(AzureLengths(kind="azure-conv"), rng.random(arrival_s.size), rng.random(arrival_s.size))
    scales = np.array([*MODELS.values()])[model].T
    prompts, outputs = (
        np.clip(np.rint(drawn * scale), 1, LONGEST) for drawn, scale in zip(lengths, scales, strict=True)
    )
    names = [*MODELS]
    lines = ["arrival_s,prompt_tokens,output_tokens,model\n"]
    lines += [
        f"{at:.3f},{prompt:.0f},{output:.0f},{names[number]}\n"
        for at, prompt, output, number in zip(arrival_s, prompts, outputs, model, strict=True)
    ]
    FILE.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
