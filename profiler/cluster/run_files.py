"""What a live run leaves: `NAME.parquet`, a row a request, `NAME.steps.parquet`, and `NAME.transfers.parquet` if KV moved.

Times are seconds after the run's start. Workers are named as the simulator names them. The engine's stamps of the last
stage have the names that a replay's have, those of a prefill stage before it begin with `prefill_`; a request that has not
been there has none. Of sessions there is also what each worker had of a prompt in its cache, and how much was moved.
"""

from pathlib import Path
from typing import Any

import numpy as np

from profiler.cluster.play import Play
from profiler.cluster.stage import Stage, Visit
from profiler.run_file import STAMPS, step_columns, write, write_table
from profiler.transfers import Transfer
from sunsim.clock import to_s

Columns = dict[str, list[Any]]


def request_columns(play: Play) -> Columns:
    """A row a request, in the order of arrival."""
    requests = play.run.requests
    columns: Columns = {
        "request_id": list(range(len(requests))),
        "model": [requests.models[i] for i in requests.model],
        "arrival_s": to_s(requests.arrival_ps).tolist(),
        "prompt_tokens": requests.prompt_tokens.tolist(),
        "output_tokens": requests.output_tokens.tolist(),
    }
    *before, last = play.stages.values()
    for stage in before:
        columns |= {f"{stage.name}_{name}": values for name, values in _visits(play, stage).items()}
    columns |= _visits(play, last)
    columns[f"{last.name}_worker"] = columns.pop("worker")
    first = f"{before[0].name}_submit_s" if before else "submit_s"
    if before:
        columns[f"{last.name}_submit_s"] = to_last = columns["submit_s"]
        columns["submit_s"] = [to_last[i] if at_s is None else at_s for i, at_s in enumerate(columns.pop(first))]
    if play.rounds:
        columns["arrival_s"] = play.rounds.arrivals_s(columns["arrival_s"], columns["client_last_token_s"])
        columns |= play.rounds.columns() | _cached(play)
    return columns


def _visits(play: Play, stage: Stage) -> Columns:
    visits = [stage.visits.get(index) for index in range(len(play.run.requests))]
    columns: Columns = {
        "worker": [visit and stage.routes.names[visit.slot] for visit in visits],
        "submit_s": [_relative(play, visit.sent_s if visit else None) for visit in visits],
    }
    # A worker's own submission is a pipe's way after the router's, which is the one that counts.
    engine = {name: field for name, field in STAMPS.items() if name != "submit_s"}
    columns |= {
        name: [_relative(play, getattr(visit.stamps, field) if visit else None) for visit in visits]
        for name, field in engine.items()
    }
    columns["known_s"] = [_relative(play, visit.known_s if visit else None) for visit in visits]
    columns["preemptions"] = [_preemptions(stage, visit) if visit else 0 for visit in visits]
    return columns


def _cached(play: Play) -> Columns:
    """Tokens of each prompt: in the caches of its workers, moved, and in the cache of the one that computed it."""
    columns: Columns = {}
    for name, stage in play.stages.items():
        found = [(visit := stage.visits.get(i)) and visit.stamps for i in range(len(play.run.requests))]
        columns[f"{name}_cached_tokens"] = [
            each and (each.cached_tokens or 0) - (each.external_tokens or 0) for each in found
        ]
        columns["moved_tokens"] = [(each and each.external_tokens) or 0 for each in found]
    by_prefill, by_decode = columns["prefill_cached_tokens"], columns["decode_cached_tokens"]
    local = [tokens is None for tokens in by_prefill]
    computed = zip(by_prefill, by_decode, local, strict=True)
    columns["cached_tokens"] = [there if is_local else before for before, there, is_local in computed]
    columns["appended"] = ["local" if is_local else "remote" for is_local in local]
    return columns


def _relative(play: Play, moment_s: float | None) -> float | None:
    return None if moment_s is None else round(moment_s - play.start_s, 6)


def _preemptions(stage: Stage, visit: Visit) -> int:
    assert visit.stamps
    return stage.ended[visit.slot].preemptions.get(visit.stamps.request_id, 0)


def _steps(play: Play) -> dict[str, Any]:
    """The steps of all workers, one worker after the other."""
    parts = []
    for stage in play.stages.values():
        for slot, ended in enumerate(stage.ended):
            columns = step_columns(ended.steps, play.start_s)
            parts.append(columns | {"worker": np.array([stage.routes.names[slot]] * len(ended.steps), dtype=object)})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _transfers(play: Play) -> Columns:
    moved = [
        (stage.routes.names[slot], each)
        for stage in play.stages.values()
        for slot, ended in enumerate(stage.ended)
        for each in ended.transfers
    ]
    if not moved:
        return {}
    columns: Columns = {"worker": [worker for worker, _ in moved]}
    columns |= {name: [getattr(each, name) for _, each in moved] for name in Transfer._fields}
    for name in ("begin_s", "end_s"):
        columns[name] = [moment_s - play.start_s for moment_s in columns[name]]
    return columns


def staleness_ms(play: Play) -> dict[str, float]:
    """From a request's last token at the engine until the router knew that it had ended, last stage."""
    *_, last = play.stages.values()
    late = [
        (visit.known_s - visit.stamps.engine_last_token_s) * 1000
        for visit in last.visits.values()
        if visit.known_s and visit.stamps and visit.stamps.engine_last_token_s
    ]
    return {
        name: round(float(value), 3) for name, value in zip(("p50", "p99"), np.percentile(late, (50, 99)), strict=True)
    }


def save(out: Path, play: Play, facts: dict[str, Any]) -> str:
    """Writes a run's files; one line about how it went."""
    columns = request_columns(play)
    lag_ms = (np.array(columns["submit_s"]) - np.array(columns["arrival_s"])) * 1000
    tpot_ms = [
        (last - first) / (tokens - 1) * 1000
        for first, last, tokens in zip(
            columns["first_token_s"], columns["last_token_s"], columns["output_tokens"], strict=True
        )
        if tokens > 1
    ]
    went = {
        "duration_s": round(max(columns["client_last_token_s"]), 6),
        "submit_lag_ms_p99": round(float(np.percentile(lag_ms, 99)), 3),
        "mean_tpot_ms": round(float(np.mean(tpot_ms)), 4) if tpot_ms else None,
        "staleness_ms": staleness_ms(play),
        "router_cpu_share": round(play.router_cpu_share, 3),
        "gpus": [worker.gpu for stage in play.stages.values() for worker in stage.workers],
    }
    if transfers := _transfers(play):
        write_table(out / f"{play.run.name}.transfers.parquet", transfers, {"stream": play.run.name})
    write(out, play.run.name, columns, _steps(play), facts | went)
    return (
        f"{play.run.name}: {len(lag_ms)} requests in {went['duration_s']:.1f} s, mean TPOT {went['mean_tpot_ms']} ms, "
        f"submit lag p99 {went['submit_lag_ms_p99']:.1f} ms, the router knew of ends {went['staleness_ms']['p50']:.1f} "
        f"ms late (p99 {went['staleness_ms']['p99']:.1f})"
    )
