"""What can serve an arm."""

from enum import StrEnum


class Target(StrEnum):
    """By the names that its users have for it."""

    vllm = "vllm"
    llm_d = "llm-d"
    dynamo = "dynamo"
