"""The formats that traces are published in, by the names that scenarios call them; one model where none is mentioned."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sunsim.clock import MAX_S
from sunsim.workload.traces.clocks import DateTimes, Seconds
from sunsim.workload.traces.json_lines import JsonLines
from sunsim.workload.traces.rows import MAX_CLOCK_S
from sunsim.workload.traces.session_csv import SessionTable
from sunsim.workload.traces.session_lines import LMCache, SessionLines, TraceLab
from sunsim.workload.traces.table import Table
from sunsim.workload.traces.vllm_bench import VllmBench

CSV = SessionTable(
    Seconds("arrival_s", MAX_S),
    "prompt_tokens",
    "output_tokens",
    "model",
    least_tokens=1,
    sorted=True,
    mending="; `sunsim trace convert FILE --out requests.csv` sorts requests and counts from the first",
)
"""This project's own: `sunsim split` and `sunsim trace convert` write it, `profiler replay` plays it.

Columns ``arrival_s`` (seconds, not falling), ``prompt_tokens``, ``output_tokens`` (whole, at least 1) and maybe
``model``; sessions as `SessionTable` says.
"""


CSV_AS_LOGGED = replace(CSV, clock=Seconds("arrival_s", MAX_CLOCK_S), sorted=False, mending="")
"""The same of any clock, such as seconds since 1970, and in any order."""

FORMATS: Final[Mapping[str, Table | JsonLines | VllmBench | SessionLines]] = {
    "csv": CSV,
    # The Azure LLM inference traces of 2023 and 2024, https://github.com/Azure/AzurePublicDataset: TIMESTAMP is a date and
    # time, those of 2024 with a zone.
    "azure": Table(DateTimes("TIMESTAMP"), "ContextTokens", "GeneratedTokens"),
    # The Qwen-Bailian traces, https://github.com/alibaba-edu/qwen-bailian-usagetraces-anon: input_length counts what
    # earlier turns of the chat have said; see `sunsim.workload.traces.hashes` for parent_chat_id and hash_ids.
    "bailian": JsonLines("seconds", 1, ("chat_id",), required=True),
    # The BurstGPT traces, https://github.com/HPMLL/BurstGPT: seconds since the first midnight; Response tokens is 0 where
    # a request failed.
    "burstgpt": Table(Seconds("Timestamp", MAX_CLOCK_S), "Request tokens", "Response tokens", "Model"),
    "lmcache": LMCache(),
    # The Mooncake traces, https://github.com/kvcache-ai/Mooncake; see `sunsim.workload.traces.hashes` for hash_ids.
    "mooncake": JsonLines(
        "milliseconds", 1000, ("hash_ids",), not_with=(("chat_id", "of format bailian, whose timestamps are seconds"),)
    ),
    "tracelab": TraceLab(),
    # The traces that vidur replays, https://github.com/microsoft/vidur.
    "vidur": Table(Seconds("arrived_at", MAX_CLOCK_S), "num_prefill_tokens", "num_decode_tokens"),
    "vllm-bench": VllmBench(),
}
