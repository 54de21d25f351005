"""The same five requests in every format; the fourth has no output token where a format allows that."""

from __future__ import annotations

from pathlib import Path

ARRIVAL_S = [0.0, 0.25, 0.25, 61.0, 90.5]
PROMPT_TOKENS = [374, 396, 879, 91, 6758]
OUTPUT_TOKENS = [44, 109, 55, 0, 500]

JSON_LINES = ("bailian", "lmcache", "mooncake", "tracelab")
ONE_OBJECT = ("vllm-bench",)

TEXTS = {
    "csv": """\
arrival_s,prompt_tokens,output_tokens,model
0.0,374,44,a
0.25,396,109,b
0.25,879,55,a
61.0,91,1,a
90.5,6758,500,b
""",
    "azure": """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 23:59:46.6805900,374,44
2023-11-16 23:59:46.9305900,396,109
2023-11-16 23:59:46.9305900,879,55
2023-11-17 00:00:47.6805900,91,0
2023-11-17 00:01:17.1805900,6758,500
""",
    "bailian": """\
{"chat_id": 7, "parent_chat_id": -1, "timestamp": 27, "input_length": 374, "output_length": 44, "turn": 1}
{"chat_id": 8, "parent_chat_id": -1, "timestamp": 27.25, "input_length": 396, "output_length": 109, "turn": 1}
{"chat_id": 9, "parent_chat_id": 7, "timestamp": 27.25, "input_length": 879, "output_length": 55, "turn": 2}
{"chat_id": 10, "parent_chat_id": -1, "timestamp": 88, "input_length": 91, "output_length": 0, "turn": 1}
{"chat_id": 11, "parent_chat_id": 9, "timestamp": 117.5, "input_length": 6758, "output_length": 500, "turn": 3}
""",
    "burstgpt": """\
Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5.5,s1,3.2,ChatGPT,374,44,418,Conversation log
5.75,s2,4.1,GPT-4,396,109,505,API log
5.75,,,ChatGPT,879,55,934,Conversation log
66.5,s1,0.0,ChatGPT,91,0,91,Conversation log
96,s4,21.0,GPT-4,6758,500,7258,API log
""",
    "lmcache": "".join(
        f'{{"session_id": "s{i}", "turn_idx": 0, "input_toks": {prompt}, "output_toks": {output}, '
        f'"arrival_time_ns": {27_000_000_000 + round(at_s * 1e9)}, "intra_session_gap_ns": 0, "model": "{"ab"[i % 2]}"}}\n'
        for i, (at_s, prompt, output) in enumerate(zip(ARRIVAL_S, PROMPT_TOKENS, OUTPUT_TOKENS, strict=True))
    ),
    "mooncake": """\
{"timestamp": 27000, "input_length": 374, "output_length": 44, "hash_ids": [0]}
{"timestamp": 27250, "input_length": 396, "output_length": 109, "hash_ids": [0]}
{"timestamp": 27250, "input_length": 879, "output_length": 55, "hash_ids": [0, 1]}
{"timestamp": 88000, "input_length": 91, "output_length": 0, "hash_ids": [2]}
{"timestamp": 117500, "input_length": 6758, "output_length": 500, "hash_ids": [0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, \
13, 14, 15]}
""",
    "tracelab": "".join(
        f'{{"session_id": "claude:{i}", "round_index": 0, "model": "{"ab"[i % 2]}", "input_tokens_total": {prompt}, '
        f'"prefix_tokens": 50, "newly_append_tokens": {prompt - 50}, "output_tokens": {output}, "timing_events": '
        f'[{{"event_type": "user_message", "timestamp": "2026-05-01T00:0{int(at_s // 60)}:{at_s % 60:06.3f}Z"}}, '
        f'{{"event_type": "text", "timestamp": "2026-05-01T00:02:00Z"}}]}}\n'
        for i, (at_s, prompt, output) in enumerate(zip(ARRIVAL_S, PROMPT_TOKENS, OUTPUT_TOKENS, strict=True))
    ),
    "vidur": """\
arrived_at,num_prefill_tokens,num_decode_tokens
0.0,374,44
0.25,396,109
0.25,879,55
61.0,91,0
90.5,6758,500
""",
    "vllm-bench": """\
{"date": "20261129-101500", "backend": "vllm", "num_prompts": 5, "request_rate": 2.0, "max_concurrency": null, \
"start_times": [15.5, 15.75, 15.75, 76.5, 106.0], "input_lens": [374, 396, 879, 91, 6758], \
"output_lens": [44, 109, 55, 0, 500], "errors": ["", "", "", "Service Unavailable", ""]}
""",
}

SESSIONS = """\
arrival_s,prompt_tokens,output_tokens,session,round,think_s,prefix,prefix_tokens,model
0.0,100,20,x,0,,sys,50,a
,150,30,x,1,2.5,,,b
0.5,80,10,y,0,,sys,50,a
,200,10,x,2,1.0,,,a
1.5,30,5,z,0,0,,,b
"""
"""Three sessions in the format csv, of which two begin with the same 50 tokens."""


def file_name(name: str) -> str:
    """What a file in the format `name` is called."""
    return f"{name}.{'jsonl' if name in JSON_LINES else 'json' if name in ONE_OBJECT else 'csv'}"


def places(name: str) -> list[int]:
    """The line of each of the five requests."""
    first = 1 if name in JSON_LINES else 2
    return [1] * 5 if name in ONE_OBJECT else list(range(first, first + 5))


def write(folder: Path, name: str, text: str | None = None) -> Path:
    """A file in the format `name`, the requests above if no text is given."""
    path = folder / file_name(name)
    path.write_text(TEXTS[name] if text is None else text, encoding="utf-8")
    return path
