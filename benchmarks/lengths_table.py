"""Tables of prompt and output lengths, made from a trace: ``python -m benchmarks.lengths_table CSV``.

A table holds no request of the trace, only quantiles of both lengths and how their ranks go together.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunsim.errors import InputError
from sunsim.workload.lengths import RANKS
from sunsim.workload.traces.formats import read_trace

RANK_BINS = 20
PERCENTILES = (1, 5, 25, 50, 75, 90, 95, 99)
_SOURCE = "Azure LLM inference traces 2023, https://github.com/Azure/AzurePublicDataset"
_CITATION = "Patel et al., Splitwise: Efficient generative LLM inference using phase splitting, ISCA 2024"


def quantile_table(csv_path: Path) -> dict[str, Any]:
    """The table of one of the Azure LLM inference traces.

    Each length has its quantiles at `sunsim.workload.lengths.RANKS` (linear interpolation, minimum and maximum
    included). The ranks of prompt and output are counted in a 20 x 20 grid: the dependence of the two is strong and not monotone in
    the conversation trace, so that a rank correlation (near 0, reported for information) would misrepresent it. Rows
    without a prompt or an output token are left out and counted.

    Raises:
        InputError: the file cannot be read, is no such trace, or has no request with tokens.
    """
    trace = read_trace(csv_path, "azure")
    kept = (trace.prompt_tokens >= 1) & (trace.output_tokens >= 1)
    if not kept.any():
        message = f"no request of {len(trace)} has a prompt and an output token, must be at least one"
        raise InputError(message, csv_path)
    lengths = {"prompt_tokens": trace.prompt_tokens, "output_tokens": trace.output_tokens}
    columns = {name: column[kept].astype(np.float64) for name, column in lengths.items()}
    frame = pd.DataFrame(columns)
    ranks = (frame.rank(method="first") - 0.5) / len(frame)
    grid, _ = np.histogramdd(ranks.to_numpy(), bins=RANK_BINS, range=[(0, 1), (0, 1)])
    spearman = frame.corr("spearman").to_numpy()[0, 1]
    return {
        "source": f"{_SOURCE}, {csv_path.name}",
        "citation": _CITATION,
        "licence": "CC-BY 4.0",
        "requests": int(kept.sum()),
        "requests_left_out": int((~kept).sum()),
        "spearman": None if np.isnan(spearman) else round(float(spearman), 4),
        "longest_request_tokens": int((columns["prompt_tokens"] + columns["output_tokens"]).max()),
        **{name: _summary(column) for name, column in columns.items()},
        "rank_grid": grid.astype(int).tolist(),
    }


def _summary(column: NDArray[np.float64]) -> dict[str, Any]:
    quantiles = np.quantile(column, RANKS)
    return {
        "mean": round(float(column.mean()), 4),
        "percentiles": {f"p{p}": round(float(np.percentile(column, p)), 3) for p in PERCENTILES},
        "quantiles": [int(q) if q == int(q) else round(float(q), 3) for q in quantiles],
    }


def main() -> None:
    """Writes the table of the CSV named on the command line to standard output, one JSON key a line.

    Bad input is one line on stderr and exit code 2, as for `sunsim`.
    """
    try:
        if len(sys.argv) != 2:
            message = "must be called with one trace: python -m benchmarks.lengths_table CSV"
            raise InputError(message)
        table = quantile_table(Path(sys.argv[1]))
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in table.items()]
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
