"""What the formats are called, for scenarios and for the command line, which does not wait for the formats."""

from typing import Literal, TypeAlias

FormatName: TypeAlias = Literal[
    "csv", "azure", "bailian", "burstgpt", "lmcache", "mooncake", "tracelab", "vidur", "vllm-bench"
]
