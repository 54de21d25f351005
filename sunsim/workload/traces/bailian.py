"""``bailian``: the Qwen-Bailian traces, https://github.com/alibaba-edu/qwen-bailian-usagetraces-anon.

A JSON object a line: ``chat_id``, ``timestamp`` (seconds), ``input_length``, which counts what earlier turns of the chat
have said, and ``output_length``. Which turn follows which, and ``hash_ids``, are not used: every prompt is prefilled
whole. One model.
"""

from __future__ import annotations

from sunsim.workload.traces.json_lines import JsonLines

BAILIAN = JsonLines("seconds", 1, ("chat_id",), required=True)
