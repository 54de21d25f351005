"""Chats on two models, as the csv of sessions that `python -m profiler replay` plays and a scenario's trace may be.

`python scenarios/h200/draw_sessions.py --seed 601 --rate 4 > scenarios/h200/sessions-25.csv`
`python scenarios/h200/draw_sessions.py --seed 602 --rate 10 > scenarios/h200/sessions-60.csv`

By the shipped profile of Llama-3.1-8B that is 28 and 65 % of what an H200 can do; docs/fidelity.md says how that was
found, and has the runs.
"""

import argparse
import csv
import sys

import numpy as np

from sunsim.workload.streams import stream

BEGIN_S = 38.0
"""Sessions begin before it."""
MODELS = {"m1": (0.6, 1200), "m2": (0.4, 400)}
"""Share of the sessions, and tokens of the system prompt, by model."""
MEAN_ROUNDS, MOST_ROUNDS = 4, 8
MEAN_THINK_S, MOST_THINK_S = 1.5, 6.0
USER = (120, 0.9, 2000)
OUTPUT = (150, 0.6, 600)
"""Log-normal lengths: median, sigma, most."""

COLUMNS = (
    *("session", "round", "arrival_s", "think_s", "model", "prefix", "prefix_tokens"),
    *("prompt_tokens", "output_tokens"),
)


def tokens(rng: np.random.Generator, law: tuple[int, float, int]) -> int:
    """One length."""
    median, sigma, most = law
    return int(np.clip(round(rng.lognormal(np.log(median), sigma)), 1, most))


def main() -> None:
    """Writes the csv to stdout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="sessions a second, Poisson")
    given = parser.parse_args()
    rng = {name: stream(given.seed, name) for name in ("arrivals", "model", "rounds", "think", "user", "output")}
    write = csv.writer(sys.stdout, lineterminator="\n").writerow
    write(COLUMNS)
    session, begin_s = 0, 0.0
    while (begin_s := begin_s + rng["arrivals"].exponential(1 / given.rate)) < BEGIN_S:
        model = rng["model"].choice(list(MODELS), p=[share for share, _ in MODELS.values()])
        prefix_tokens = prompt = MODELS[model][1]
        for number in range(min(rng["rounds"].geometric(1 / MEAN_ROUNDS), MOST_ROUNDS)):
            prompt += tokens(rng["user"], USER)
            output = tokens(rng["output"], OUTPUT)
            think_s = min(rng["think"].exponential(MEAN_THINK_S), MOST_THINK_S)
            when = (f"{begin_s:.6f}", 0) if number == 0 else ("", f"{think_s:.6f}")
            write((f"s{session}", number, *when, model, model, prefix_tokens, prompt, output))
            prompt += output
        session += 1


if __name__ == "__main__":
    main()
