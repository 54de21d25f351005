"""What the keys of an arm about routers and admission ask of one another."""

from __future__ import annotations

from sunsim.document.source import Loc, Source, refuse
from sunsim.roles import Stage
from sunsim.scenario.blocks import ArmBlock, Document
from sunsim.scenario.pools import ADAPTIVE, LOOKS_AT_OUTPUTS, STATE_BLIND, OutputLengths, PoolBlock

ACCURACY = 0.85
"""Share of the requests that TokenScale's predictor has right (arXiv:2512.03416)."""


def refuse_router(arm: ArmBlock, stage: Stage, loc: Loc, source: Source) -> None:
    """Refuses what the block of a stage says about its router and does not go together.

    Args:
        loc: where the block stands.

    Raises:
        InputError: with the place of the key that is wrong.
    """
    pool = arm.pools()[stage]
    if pool.load_report and pool.router in STATE_BLIND:
        must = f"must be left out: router {pool.router} does not look at loads"
        refuse("load_report", "given", must, loc, source)
    if stage is Stage.PREFILL and pool.router in ADAPTIVE:
        must = "must be another: prefill workers decode nothing, the wait is shortest with least-tokens"
        refuse("router", pool.router, must, loc, source)
    if not (known := pool.output_lengths):
        return
    if stage is Stage.PREFILL:
        must = "must be left out: on a prefill worker a request ends with its first token"
        refuse("output_lengths", "given", must, loc, source)
    if pool.router not in LOOKS_AT_OUTPUTS:
        must = f"must be left out: router {pool.router} does not look at them"
        refuse("output_lengths", "given", must, loc, source)
    if known.accuracy is not None and known.known != "predicted":
        must = f"must be left out: known is {known.known}, not predicted"
        refuse("output_lengths.accuracy", f"{known.accuracy:g}", must, loc, source)


def refuse_admission(arm: ArmBlock, loc: Loc, document: Document, source: Source) -> None:
    """Refuses admission where nothing is promised, and where the worker that gets a request is not known when it comes.

    Args:
        loc: where the arm stands.

    Raises:
        InputError: with the place of the key that is wrong.
    """
    if arm.admission is None:
        return
    limits = {key for name in document.model_names for key in document.slo.of(name)}
    if not limits & ({"ttft_ms"} if not (arm.decode or arm.colocated) else {"ttft_ms", "tpot_ms"}):
        must = "must be left out, or have slo.ttft_ms" + (" or slo.tpot_ms" if arm.decode or arm.colocated else "")
        refuse("admission", "given", must, loc, source)
    if arm.decode and arm.decode.append_prefill != "remote":
        must = f"must be left out: decode.append_prefill is {arm.decode.append_prefill}, not remote"
        refuse("admission", "given", must, loc, source)


def completed_router(pool: PoolBlock) -> dict[str, object]:
    """What a block leaves out."""
    known = pool.output_lengths
    if known is None:
        return {"output_lengths": OutputLengths(known="none")} if pool.router in ADAPTIVE else {}
    if known.known == "predicted" and known.accuracy is None:
        return {"output_lengths": known.model_copy(update={"accuracy": ACCURACY})}
    return {}
