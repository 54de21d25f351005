"""Made-up campaigns: one trace on isolated and on shared workers, as a folder that may be committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sunsim.validation.served import Ints
from tests.validation.runs import part, profile_document, stream, write_profile, write_run

REQUESTS = 400
MODELS = np.where(np.arange(REQUESTS) % 10 < 9, 1, 2)
"""Nine of ten requests are for the hot model."""

ARMS: dict[str, dict[str, Ints]] = {
    "isolated": {"iso-m1": np.flatnonzero(MODELS == 1), "iso-m2": np.flatnonzero(MODELS == 2)},
    "shared-2": {"sun2-w0": np.arange(0, REQUESTS, 2), "sun2-w1": np.arange(1, REQUESTS, 2)},
    "shared-1": {"sun1-w0": np.arange(REQUESTS)},
}

PLAN = """\
profile: p.json
purpose: reported
host: A
warmup_s: 2
runs:
  iso-m1: the hot model's isolated worker
  iso-m2: the cold model's isolated worker
  sun2-w0: first of two shared workers
  sun2-w1: second of two shared workers
  sun1-w0: the only shared worker
arms:
  isolated: [iso-m1, iso-m2]
  shared-2: [sun2-w0, sun2-w1]
  shared-1: [sun1-w0]
"""


def write_campaign(folder: Path, plan: str = PLAN, factor: float = 1.0, **changes: Any) -> Path:
    """The folder: a profile, and runs of an engine whose steps are `factor` times as long as the profile says."""
    folder.mkdir(parents=True, exist_ok=True)
    write_profile(folder / "p.json", profile_document(engine_start="start-1"))
    trace = stream(REQUESTS, 40.0, output_tokens=150)
    for workers in ARMS.values():
        for name, which in workers.items():
            facts = {"stream": name, **changes}
            write_run(folder / f"{name}.parquet", part(trace, which), profile_document(factor), ids=which, **facts)
    (folder / "campaign.yaml").write_text(plan, encoding="utf-8")
    return folder
