"""Every figure, in the order of the paper's evaluation."""

from sunsim.figures import balance, claims_map, decode_workers, left_out, pareto, quantized, roofline, skew
from sunsim.figures.claims import GRID
from sunsim.figures.sweeps import SweepFile

FIGURES = (
    decode_workers.FIGURE,
    skew.FIGURES[0],
    pareto.FIGURE,
    quantized.FIGURE,
    roofline.FIGURE,
    balance.FIGURE,
    *skew.FIGURES[1:],
    *left_out.FIGURES,
    claims_map.FIGURE,
)

CLAIMS = claims_map.FIGURE.name
"""With this figure come the claims' files."""

CLAIM_SWEEPS = (
    SweepFile(GRID["decode"]),
    SweepFile(GRID["prefill"], "grid", ("first_token=prefill", "sweep.seeds=2")),
    *(SweepFile(name) for name in ("zipf", "qwen", "models-4", "models-8", "models-16")),
)
