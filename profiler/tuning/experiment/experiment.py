"""The verb `accuracy`: the whole experiment in one command, within a budget."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiler.facts import card, host
from profiler.progress import Progress
from profiler.tuning.experiment.corpus import write_corpus
from profiler.tuning.experiment.order import Order, jobs_of
from profiler.tuning.experiment.results import accuracy_file, read_records
from profiler.tuning.experiment.runner import Runner
from profiler.tuning.rows import table
from sunsim.accuracy import verdict
from sunsim.accuracy.measured import too_few
from sunsim.errors import InputError
from sunsim.files import refusing
from sunsim.report.format import counted

RESULTS_S = 10.0
"""Of the budget, kept for intervals and files."""
PRETRAIN_SHARE: Mapping[str, float] = {"tiny": 0.1, "30m": 0.09, "100m": 0.16}
"""Of the budget's GPU seconds, for each size."""
PRETRAIN_MOST = 0.4
"""Of the budget, for one size, however many GPUs there are."""
ORDER_FILE = "order.json"
NAMED = 8
"""Jobs that are named where many are left."""


def pretrain_seconds(sizes: Sequence[str], budget_s: float, gpus: int) -> dict[str, float]:
    """Seconds of pre-training of each size, on a GPU of its own."""
    return {size: min(PRETRAIN_SHARE[size] * gpus, PRETRAIN_MOST) * budget_s for size in sizes}


def experiment(
    order: Order,
    folder: Path,
    *,
    budget_s: float,
    devices: list[str],
    per_device: int,
    command: str,
    progress: Progress,
) -> dict[str, dict[str, Any]]:
    """Does what fits into the budget, which began with `progress`, goes on where an earlier try ended, and writes what is known then.

    Returns:
        The content of the accuracy file of each size, DIR/accuracy-SIZE.json.

    Raises:
        InputError: the directory has another experiment.
    """
    begin = time.time() - progress.elapsed_s
    deadline = begin + budget_s - min(RESULTS_S, 0.1 * budget_s)
    keep_order(order, folder)
    jobs = jobs_of(order)
    runner = Runner(
        order,
        jobs,
        folder,
        devices=devices,
        per_device=per_device,
        deadline=deadline,
        progress=progress,
    )
    try:
        corpus = folder / "corpus.npz"
        if not corpus.exists():
            write_corpus(corpus, order.corpus, max(1, len(os.sched_getaffinity(0)) - 1))
            progress.say(f"{order.corpus:,} examples for pre-training")
        runner.run()
    finally:
        runner.stop()
    gpus = sum(device != "cpu" for device in devices)
    files = write_results(folder, order, gpu_minutes(folder, time.time() - begin, gpus), command)
    for size in files:
        progress.say(f"{folder / f'accuracy-{size}.json'}")
    if left := [job.name for job in jobs if job.name not in runner.done]:
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        progress.say(f"not done: {', '.join(left[:NAMED])}{more}; the same command goes on there")
    return files


def keep_order(order: Order, folder: Path) -> None:
    """Writes down what is done in a directory; one that has another order there is refused."""
    with refusing(folder, "a directory for results"):
        folder.mkdir(parents=True, exist_ok=True)
    file, content = folder / ORDER_FILE, json.dumps(asdict(order), indent=1)
    if file.exists() and file.read_text(encoding="utf-8") != content:
        msg = "is of an experiment with other settings, must be the same to go on; give another --out"
        raise InputError(msg, file)
    file.write_text(content, encoding="utf-8")


def gpu_minutes(folder: Path, wall_s: float, gpus: int) -> float:
    """Minutes of all GPUs together, those of earlier tries too; kept beside the results."""
    file = folder / "gpu-minutes.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else 0.0
    total = round(before + wall_s * gpus / 60, 2)
    file.write_text(json.dumps(total), encoding="utf-8")
    return float(total)


def write_results(folder: Path, order: Order, minutes: float, command: str) -> dict[str, dict[str, Any]]:
    """All records in one file, and the accuracy files that come of them."""
    records = read_records(folder, order)
    with (folder / "records.jsonl").open("w", encoding="utf-8") as out:
        out.writelines(f"{json.dumps(record)}\n" for record in records)
    about = {
        "measured": datetime.now(UTC).date().isoformat(),
        "card": card()["name"].replace("none", "cpu"),
        "host": host(),
        "command": command,
        "gpu_minutes": minutes,
    }
    known = {record["size"] for record in records}
    files = {size: accuracy_file(folder, order, size, records, about) for size in order.sizes if size in known}
    for size, content in files.items():
        (folder / f"accuracy-{size}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return files


KNOWN = {
    "math_problem": "word problems",
    "list_program": "list programs",
    "tool_call": "tool calls",
    "repeated": "repetitions",
}
"""What the parts of the mixture are called."""


def spread_of(seeds: int) -> str:
    """What an interval of exact match is over."""
    few = too_few(seeds)
    return f"requests of {few}, which says little of how far tunings spread" if few else "seeds and requests"


def text_of(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Of each size its base model, table and verdicts, Markdown."""
    parts = []
    for content in files.values():
        pretrained = content["pretraining"]
        if not content["rows"]:
            parts.append(f"**{content['model']}**: no task has all its methods yet.\n")
            continue
        # A try trains too little for any.
        none = not any(pretrained["exact_match"].values())
        known = (
            "none yet"
            if none
            else ", ".join(f"{KNOWN[name]} {100 * share:.1f} %" for name, share in pretrained["exact_match"].items())
        )
        parts.append(
            f"**{content['parameters'] / 1e6:.1f} million parameters**, {content['card']}, {content['measured']},"
            f" {counted(content['seeds'], 'seed')}; {content['gpu_minutes']:.1f} GPU minutes for all sizes together. Pre-trained in {pretrained['steps']:,} steps on"
            f" {pretrained['tokens'] / 1e6:.1f} million tokens ({pretrained['seconds']:.0f} s); right answers to unseen prompts of that"
            f" kind: {known}. Exact match, its 95 % interval over {spread_of(content['seeds'])}, and tokens in their place:\n"
        )
        parts.append(table(content["rows"]) + "\n")
        if not verdict.learned(content):
            parts.append(
                f"No verdict: full tuning gained less than {verdict.LEARNED:g} points on every task. That all works is shown, and"
                " no more.\n"
            )
            continue
        parts.append(verdict.table(content) + "\n")
    return "\n".join(parts)
