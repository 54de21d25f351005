"""`python -m tests.fuzz --count 2000 --seed 1`: many mutants, what became of them, and what each fault came from."""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.mutants import KINDS
from tests.fuzz.trial import PICTURES, make, outcome

MEMORY_BYTES = 8 * 2**30


def main() -> int:
    """1 if there were faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first mutant; the others follow")
    parser.add_argument("--faults", type=Path, help="folder for the mutants that were not handled well")
    parser.add_argument("--kind", choices=sorted(KINDS), help="only these")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    counts: Counter[str] = Counter()
    faults = 0
    with tempfile.TemporaryDirectory(prefix="sunsim-fuzz-") as scratch:
        for seed in range(given.seed, given.seed + given.count):
            folder = (given.faults or Path(scratch)).resolve() / str(seed)
            kind = make(seed, folder, given.kind)
            became, fault = outcome(folder, drawn=seed % PICTURES == 0)
            counts[f"{kind} {became}"] += 1
            if fault:
                faults += 1
                report = f"{fault.command}\n{fault.what}"
                (folder / "fault.txt").write_text(report, encoding="utf-8", errors="replace")
                sys.stdout.write(f"seed {seed}, {kind}: {report[-600:]}\n")
                sys.stdout.flush()
            else:
                shutil.rmtree(folder)
    figures = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    sys.stdout.write(f"{given.count} mutants: {figures}; {faults} faults\n")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
