"""vLLM's own parser of `vllm serve`, where vLLM is installed.

`python -m tests.export.vllm_parser record tests/export/vllm_0_24_serve_flags.json` writes down every option: whether it
takes a value, how many, and which. `python -m tests.export.vllm_parser parse FILE` reads commands, a JSON list of
arguments a line, and fails on the first that vLLM would not take.
"""

import json
import sys
from argparse import Action, BooleanOptionalAction
from pathlib import Path
from typing import Any

from tests.profiler.fake_platform import install_platform


def parser() -> Any:
    """As `vllm serve` makes it."""
    install_platform()
    from vllm.entrypoints.openai.cli_args import make_arg_parser  # noqa: PLC0415 - after the platform
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    return make_arg_parser(FlexibleArgumentParser())


def entry(action: Action) -> dict[str, Any]:
    """`values`: 0, 1, ``?``, ``*`` or ``+``; `choices`: as text, where there are any."""
    plain = action.nargs == 0 or isinstance(action, BooleanOptionalAction)
    values = 0 if plain else 1 if action.nargs is None else action.nargs
    return {"values": values} | ({"choices": sorted(map(str, action.choices))} if action.choices else {})


def main(verb: str, file: str) -> None:
    """Record the options in a file, or parse what one has."""
    made = parser()
    if verb == "record":
        flags = {flag: entry(action) for action in made._actions for flag in action.option_strings}
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(flags[key])}" for key in sorted(flags))
        Path(file).write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        return
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415

    for line in Path(file).read_text(encoding="utf-8").splitlines():
        AsyncEngineArgs.from_cli_args(made.parse_args(json.loads(line)))


if __name__ == "__main__":
    main(*sys.argv[1:])
