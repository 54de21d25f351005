"""The report of a run: tables in which every arm is a row, each figure beside its ratio to the first arm, and sentences."""

from collections.abc import Mapping, Sequence

from sunsim.metrics.slo import limit_values, limits_of
from sunsim.report.accuracy import HEADER, exact_match
from sunsim.report.blocks import Bullets, Report
from sunsim.report.columns import Column, cells, columns
from sunsim.report.compare import against
from sunsim.report.elastic import is_elastic, pools_table
from sunsim.report.entries import Entry
from sunsim.report.format import ABSENT, counted, limits, number, percent, times
from sunsim.report.sentences import sentences
from sunsim.report.text_table import TextTable, table

OVERLOADED = "*"
"""Mark of an overloaded arm; the sentences below the tables say what it means."""

GPUS = columns("gpus", "decode_gpus")
HOURS = columns("gpu_hours")
HELD = columns("mean_gpus", "peak_gpus")
"""In the place of the GPUs where a pool of any arm is elastic."""
OUTPUT = columns("output_throughput_window", "output_throughput_per_gpu")
PER_DECODE_GPU = columns("output_throughput_per_decode_gpu")
GOODPUT = columns("request_goodput")
ENERGY = ("energy_j_per_output_token",)
"""There only where a profile has power."""
TTFT, TPOT, E2EL = (
    columns(*(f"{stat}_{key}_ms" for stat in ("mean", "median", "p99"))) for key in ("ttft", "tpot", "e2el")
)
PACE = columns("median_interactivity")
MODEL = [*TPOT, *TTFT]
DURATION = columns(*(f"{stat}_session_duration_s" for stat in ("mean", "median", "p99")))
SHARES = columns("cached_share", "recomputed_share")
SESSIONS = columns("sessions")
KEPT = [*SHARES, *columns("moved_gb")]
ROUND = columns("window_requests")
ACCEPTED = columns("mean_acceptance_length", "draft_acceptance_rate", "acceptance_rate_per_pos")
ITL = columns("mean_itl_ms", "median_request_itl_ms", "p99_request_itl_ms")


def summary_report(summary: Entry) -> Report:
    """What was simulated, the tables of its arms, and what they mean."""
    window = summary["window"]
    requests = next(iter(summary["arms"].values()))["requests"]
    slo = limits(summary["slo"] or {})
    heading = (
        f"{summary['scenario']}: {counted(requests, 'request')}, measured from {number(window['start_s'])} s to "
        f"{number(window['end_s'])} s; {f'SLO {slo}' if slo else 'no SLO'}"
        f"{'; ratios are to the first arm' if len(summary['arms']) > 1 else ''}"
    )
    return Report(summary["scenario"], [heading, *tables(summary), Bullets(sentences(summary))])


def tables(summary: Entry) -> list[TextTable]:
    """Throughput, elastic pools, latency, drafts, sessions, the hot and coldest model, and models that have limits of their own."""
    arms: Mapping[str, Entry] = summary["arms"]
    slo, base = summary["slo"] or {}, next(iter(arms.values()))
    shown = [*TTFT, *TPOT, *(E2EL if "e2el_ms" in limit_values(slo, base["models"]) else []), *PACE]
    latency = ({"arm": _marked(name, entry)} | _compared(shown, entry, base) for name, entry in arms.items())
    return [
        _throughput(arms, base, summary.get("worst_window_s"), accuracy="accuracy" in summary),
        *([pools_table(arms)] if is_elastic(arms) else []),
        table(latency),
        *([_drafts(arms, base)] if "num_drafts" in base else []),
        *([_sessions(arms, base), _by_round(arms, base)] if "rounds" in base else []),
        _models(summary, arms, base),
        *([_own_limits(slo, arms)] if "models" in slo else []),
    ]


def marked(name: str, *, overloaded: bool) -> str:
    """An arm's name, with a mark if it is overloaded."""
    return f"{name}{OVERLOADED}" if overloaded else name


def _marked(name: str, entry: Entry) -> str:
    return marked(name, overloaded=entry["overloaded"])


def _throughput(arms: Mapping[str, Entry], base: Entry, worst_window_s: float | None, *, accuracy: bool) -> TextTable:
    met = columns(*(tag for tag in ENERGY if tag in base), "slo_attainment")
    met += [Column("worst_window_slo_attainment", f"worst\n{worst_window_s:g} s")] if worst_window_s else []
    met += columns(*(tag for tag in ("shed",) if tag in base))
    hours, gpus, per_decode_gpu = (HOURS, HELD, []) if is_elastic(arms) else ([], GPUS, PER_DECODE_GPU)
    throughput = [*OUTPUT, *per_decode_gpu, *GOODPUT]
    return table(
        {
            "arm": _marked(name, entry),
            **_compared(hours, entry, base),
            **cells(gpus, entry),
            **({HEADER: exact_match(entry["accuracy"])} if accuracy else {}),
            **_compared(throughput, entry, base),
            **cells(met, entry),
            "busiest\ndecode": _busiest_decode(entry),
            "busiest\nprefill": percent((entry["prefill_headroom"] or {}).get("utilisation")),
        }
        for name, entry in arms.items()
    )


def _drafts(arms: Mapping[str, Entry], base: Entry) -> TextTable:
    rows = (
        {"arm": _marked(name, entry)} | cells(ACCEPTED, entry) | _compared(ITL, entry, base)
        for name, entry in arms.items()
    )
    return table(rows, "Drafts")


def _sessions(arms: Mapping[str, Entry], base: Entry) -> TextTable:
    rows = (
        {"arm": _marked(name, entry)} | cells(SESSIONS, entry) | _compared(DURATION, entry, base) | cells(KEPT, entry)
        for name, entry in arms.items()
    )
    return table(rows, "Sessions")


def _by_round(arms: Mapping[str, Entry], base: Entry) -> TextTable:
    """Of the rounds 0, 1, 2, 4, 8 and so on; nothing where sessions have but one."""
    of_arms = {name: {own["round"]: {**entry, **own} for own in entry["rounds"]} for name, entry in arms.items()}
    first = {own["round"]: {**base, **own} for own in base["rounds"]}
    every = sorted({each for rounds in of_arms.values() for each in rounds})
    shown_rounds = [each for each in every if not each & (each - 1)]
    rows: list[dict[str, str]] = []
    for each in shown_rounds:
        rows.append({"arm": f"round {each}"})
        for name, rounds in of_arms.items():
            if own := rounds.get(each):
                # Sessions of the first arm may not have come so far.
                than = first.get(each, own) if arms[name] is not base else own
                shown = cells(ROUND, own) | _compared(TTFT, own, than) | cells(SHARES, own)
                rows.append({"arm": f"  {_marked(name, own)}"} | shown)
    others = " (the others are in rounds.png and summary.json)" if len(shown_rounds) < len(every) else ""
    return table(rows if len(every) > 1 else [], f"By round{others}")


def _models(summary: Entry, arms: Mapping[str, Entry], base: Entry) -> TextTable:
    """The hot model suffers most and the coldest gains most; means over all requests hide both."""
    rows: list[dict[str, str]] = []
    kinds = {summary["coldest_model"]: "coldest", summary["hot_model"]: "hot"}
    for model, kind in reversed(kinds.items()):
        share = base["models"][model]["requests"] / base["requests"]
        rows.append({"model": f"{model} ({kind}, {percent(share)})"})
        for name, entry in arms.items():
            own = entry["models"][model]
            rows.append({"model": f"  {_marked(name, own)}"} | _compared(MODEL, own, base["models"][model]))
    return table(rows)


def _own_limits(slo: Entry, arms: Mapping[str, Entry]) -> TextTable:
    """The share of its requests that meet the SLO, of each model with limits of its own."""
    rows = [
        (
            model,
            limits(limits_of(slo, model)),
            *(percent(e["models"][model]["slo_attainment"], 1) for e in arms.values()),
        )
        for model in slo["models"]
    ]
    return TextTable("", ("SLO met", "limits", *arms), rows, left=2)


def _compared(shown: Sequence[Column], entry: Entry, base: Entry) -> dict[str, str]:
    """Each number with its ratio to the first arm, which shows none."""
    return {
        column.header: f"{column.cell(entry)} {'' if entry is base else times(against(column.tag, entry, base)):>5}"
        for column in shown
    }


def _busiest_decode(entry: Entry) -> str:
    """Mean batch of the fullest decode worker, of its places."""
    decode = [w for w in entry["workers"].values() if w["stage"] == "decode" and w["mean_batch"] is not None]
    if not decode:
        return ABSENT
    fullest = max(decode, key=lambda worker: float(worker["mean_batch_share"]))
    return f"{number(fullest['mean_batch'])}/{fullest['max_num_seqs']}"
