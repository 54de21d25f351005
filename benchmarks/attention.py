"""How well attention is understood: ``python -m benchmarks.attention``.

For the steps of the shipped runs for calibration, whose requests and so whose contexts are known one by one: predicted
against recorded time, with the exact contexts and as if all were equal, for several speeds of a processor left alone.

Then, for each shipped profile and those of the shipped runs, steady steps that it has measured twice: with neighbouring KV blocks instead of
scattered ones, and again at its end, as far as it has them.
"""

from __future__ import annotations

import sys
from itertools import product

import numpy as np
import pandas as pd

from sunsim.latency import attention
from sunsim.latency.attention import LengthMix, even_contexts, kernel_of
from sunsim.latency.decode import DecodeTimes
from sunsim.latency.profile import list_profiles, load_profile, profiles_root
from sunsim.validation.folders import committed_campaigns
from sunsim.validation.record import STEPS_SUFFIX
from sunsim.validation.worker_run import read_run

EVERY = 5  # steps: their times go together for some dozens
STALL = 1.3
LONG = 100_000
SPEEDS = (3.0, 3.5, 4.0)


def main() -> None:
    """Both tables."""
    steps_of_runs()
    later_sweeps()


def later_sweeps() -> None:
    """A line a profile and kind of sweep."""
    sys.stdout.write(f"\nagainst the same steps measured first, mean %: context below {LONG:,} tokens, above\n")
    root = profiles_root().resolve()
    shipped = {root / f"{name}.json" for name in list_profiles()}
    for path in sorted(shipped | {each.profile.resolve() for each in committed_campaigns()}):
        points = load_profile(path).data.decode_points
        first = {(p.batch, p.context_tokens): p.step_ms_median for p in points if (p.lengths, p.run) == ("uniform", 0)}
        for name, kind in (("neighbouring blocks", ("ordered", 0)), ("again", ("uniform", 1))):
            changes: dict[bool, list[float]] = {False: [], True: []}
            for p in points:
                if (p.lengths, p.run) == kind and (before := first.get((p.batch, p.context_tokens))):
                    changes[p.context_tokens > LONG].append(p.step_ms_median / before * 100 - 100)
            if all(changes.values()):
                means = "".join(f"{np.mean(found):+8.2f}" for found in changes.values())
                sys.stdout.write(f"{path.relative_to(root).as_posix():72}{name:20}{means}\n")


def steps_of_runs() -> None:
    """A line a speed and run."""
    sys.stdout.write("alone  run                exact: time %  spread %   equal: time %  spread %\n")
    campaigns = [each for each in committed_campaigns() if each.plan.purpose == "calibration"]
    runs = [(each.profile, read_run(path)) for each in campaigns for path in each.runs.values()]
    for attention.ALONE, (profile, run) in product(SPEEDS, runs):
        served, data = run.served, load_profile(profile).data
        kernel = kernel_of(data)
        if run.meta.role != "decode" or kernel is None:
            continue
        steps = pd.read_parquet(run.path.with_name(run.name + STEPS_SUFFIX))
        mix = LengthMix.of(served.prompt_tokens, served.output_tokens)
        times = DecodeTimes(data.decode_points, data.cudagraph_capture_sizes, kernel, mix)
        end_s = steps["end_s"].to_numpy()
        first = np.searchsorted(end_s, served.first_token_s + 1e-4) - 1
        last = np.searchsorted(end_s, served.last_token_s + 1e-4) - 1
        rows = []
        for step in range(0, len(end_s), EVERY):
            there = np.flatnonzero((first <= step) & (last >= step))
            batch = int(steps["decode_requests"][step])
            if not batch or len(there) != batch:
                continue
            oldest_first = there[np.argsort(first[there], kind="stable")]
            contexts = (served.prompt_tokens[oldest_first] + step - first[oldest_first]).tolist()
            rest_ms, step_ms = times.rest_ms(batch), float(steps["step_s"][step]) * 1000
            found = [contexts, even_contexts(batch, float(sum(contexts)))]
            rows.append((step_ms, *(rest_ms + times.block_ms * kernel.blocks(each) for each in found)))
        recorded_ms, exact_ms, equal_ms = np.array(rows).T
        kept = recorded_ms < STALL * exact_ms
        cells = []
        for predicted_ms in (exact_ms, equal_ms):
            total = predicted_ms[kept].sum() / recorded_ms[kept].sum() - 1
            low, high = np.percentile(predicted_ms[kept] / recorded_ms[kept], (16, 84))
            cells.append(f"{total * 100:+14.2f} {(high - low) * 50:9.2f}")
        sys.stdout.write(f"{attention.ALONE:5.1f}  {run.name:17}{'  '.join(cells)}\n")


if __name__ == "__main__":
    main()
