"""``mooncake``: the Mooncake traces, https://github.com/kvcache-ai/Mooncake.

A JSON object a line: ``timestamp`` (milliseconds), ``input_length``, ``output_length``, and ``hash_ids``, which say what
prompts have in common and are not used: every prompt is prefilled whole. One model.
"""

from __future__ import annotations

from sunsim.workload.traces.json_lines import JsonLines

MOONCAKE = JsonLines(
    "milliseconds", 1000, ("hash_ids",), not_with=(("chat_id", "of format bailian, whose timestamps are seconds"),)
)
