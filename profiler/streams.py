"""Request streams to replay: read from csv, checked before an engine is started, and how long each will last.

A csv has columns `arrival_s` (seconds after the stream's start, not falling), `prompt_tokens` and `output_tokens`,
found by name in its first line; other columns, `request_id` and `model` among them, are carried to the results. One with
a column `session` has rounds of conversations (`profiler.rounds`), and comes by sessions.

On the command line a stream is `STREAM.csv[:ROLE][:rates=R1/R2/...]`; the rates, vLLM's synthetic_acceptance_rates, are
for an engine that drafts.
"""

import csv
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from profiler.rounds import SESSION, TOKEN_S, Rounds, read_rounds
from sunsim.errors import clipped, clipped_list

Role = Literal["decode", "prefill", "colocated"]
ROLES: tuple[Role, ...] = get_args(Role)

RATES = "rates="

INPUT_COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens")
REPLAY_COLUMNS = (
    "submit_s",
    "queued_s",
    "scheduled_s",
    "first_token_s",
    "last_token_s",
    "client_first_token_s",
    "client_last_token_s",
    "preemptions",
    "cached_tokens",
    "bursts",
)

# What an H100 does with an 8B model in bf16 that has much to do, so that a stream rather ends before its time than after.
DECODE_TOKENS_PER_S = 12_000
PREFILL_TOKENS_PER_S = 40_000


class StreamError(ValueError):
    """A stream that cannot be replayed; says where it is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One csv.

    arrival_s: None where a request waits for another one's end.
    output_tokens: what the engine is asked for, so 1 each for a prefill worker, whatever the csv says.
    carried: the csv's other columns, always with request_id, which is the row's number from 0 if the csv has none.
    acceptance_rates: of drafts, as given with the stream: entry i is the share whose first i + 1 tokens are all accepted.
    """

    name: str
    role: Role
    csv_sha256: str
    arrival_s: list[float | None]
    prompt_tokens: list[int]
    output_tokens: list[int]
    carried: dict[str, list[Any]]
    rounds: Rounds | None = None
    acceptance_rates: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.arrival_s)

    def expected_s(self) -> float:
        """Seconds from the first moment to the last token: a queue drained at a worker's rate."""
        busy_until_s = end_s = 0.0
        for arrival_s, prompt, output in sorted(self._expected()):
            work_s = 0.0 if self.role == "prefill" else output / DECODE_TOKENS_PER_S
            work_s += 0.0 if self.role == "decode" else prompt / PREFILL_TOKENS_PER_S
            busy_until_s = max(busy_until_s, arrival_s) + work_s
            end_s = max(end_s, busy_until_s + output * TOKEN_S)
        return end_s

    def _expected(self) -> list[tuple[float, int, int]]:
        """Arrival, tokens to compute and output of each; a round comes as if the one before had not been held up."""
        new, come_s = self.prompt_tokens, [arrival_s or 0.0 for arrival_s in self.arrival_s]
        if self.rounds:
            come_s = self.rounds.expected_s(self.arrival_s, self.output_tokens)
            new = [prompt - kept for prompt, kept in zip(new, self.rounds.kept_tokens, strict=True)]
        return list(zip(come_s, new, self.output_tokens, strict=True))


def split_argument(argument: str, default: Role) -> tuple[Path, Role, tuple[float, ...] | None]:
    """File, role and acceptance rates of `STREAM.csv[:ROLE][:rates=R1/R2/...]`, the latter two in any order.

    Raises StreamError for rates that are no numbers.
    """
    role: Role | None = None
    rates: tuple[float, ...] | None = None
    while True:
        rest, colon, last = argument.rpartition(":")
        if colon and last.startswith(RATES) and rates is None:
            rates = parse_rates(last.removeprefix(RATES).split("/"), rest)
        elif colon and role is None and (named := next((each for each in ROLES if each == last), None)):
            role = named
        else:
            return Path(argument), role or default, rates
        argument = rest


def parse_rates(texts: Sequence[str], place: str) -> tuple[float, ...]:
    """Numbers; raises StreamError, which begins with the place, where one is none."""
    try:
        return tuple(float(text) for text in texts)
    except ValueError as error:
        msg = f"{place}: acceptance rates are {clipped_list(texts)}, must be numbers such as 0.75, 0.55, 0.4"
        raise StreamError(msg) from error


def read_streams(arguments: Sequence[str], default: Role, *, limit_tokens: int) -> list[Stream]:
    """All streams of a command; each must have a name of its own, as its results are named after it."""
    streams: dict[str, Stream] = {}
    for argument in arguments:
        path, role, rates = split_argument(argument, default)
        if path.stem in streams:
            msg = f"{path}: a stream named {path.stem} is there already, each must have a file name of its own"
            raise StreamError(msg)
        stream = read_stream(path, role, limit_tokens=limit_tokens)
        streams[path.stem] = replace(stream, acceptance_rates=rates)
    return list(streams.values())


def read_stream(path: Path, role: Role, *, limit_tokens: int) -> Stream:
    """One stream, no request of which is longer than `limit_tokens`, prompt and output together."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}), must be a csv file"
        raise StreamError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: is not UTF-8 text, must be a csv file"
        raise StreamError(msg) from error
    lines = text.rstrip("\r\n").splitlines()
    columns = _columns(path, _values(path, 1, lines[0]) if lines else [])
    rounds, order = read_rounds(path) if SESSION in columns else (None, None)
    rows: list[list[str]] = []
    previous_s = 0.0
    for number, line in enumerate(lines[1:], 2):
        values = _values(path, number, line)
        row = dict(zip(columns, values, strict=False))
        fault = _fault(row, len(values) - len(columns), previous_s, may_wait=rounds is not None)
        if fault is None:
            length = int(row["prompt_tokens"])
            length += 1 if role == "prefill" else int(row["output_tokens"])
            if length > limit_tokens:
                fault = f"prompt and output are {length} tokens, must be at most {limit_tokens}"
        if fault is not None:
            msg = f"{path}:{number}: {fault}"
            raise StreamError(msg)
        previous_s = float(row["arrival_s"] or previous_s)
        rows.append(values)
    if not rows:
        msg = f"{path}: has no request, must have at least one line after the column names"
        raise StreamError(msg)
    if order:
        rows = [rows[line - 2] for line in order]
    by_column = dict(zip(columns, zip(*rows, strict=True), strict=True))
    return _stream(path, role, hashlib.sha256(data).hexdigest(), by_column, rounds)


def _values(path: Path, number: int, line: str) -> list[str]:
    """A line's values; each line by itself, so that a quote which is not closed takes no others with it."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        msg = f"{path}:{number}: the line is no csv ({error}), must have a value a column, each quote closed"
        raise StreamError(msg) from error


def _columns(path: Path, header: list[str]) -> list[str]:
    columns = [name.strip() for name in header]
    for name in INPUT_COLUMNS:
        if name not in columns:
            msg = (
                f"{path}:1: column {name} is missing, must be there; the columns are {clipped_list(columns) or 'none'}"
            )
            raise StreamError(msg)
    for name in columns:
        if name in REPLAY_COLUMNS or columns.count(name) > 1 or not name:
            problem = "is one that replay writes" if name in REPLAY_COLUMNS else "is there twice or has no name"
            msg = f"{path}:1: column {name!r} {problem}, must have another name"
            raise StreamError(msg)
    return columns


def _fault(row: dict[str, str], surplus: int, previous_s: float, *, may_wait: bool) -> str | None:
    """What is wrong with one line, or None; with `may_wait` it may have no `arrival_s`."""
    if surplus:
        return f"the line has {abs(surplus)} values too {'many' if surplus > 0 else 'few'}, must have one a column"
    for name in ("prompt_tokens", "output_tokens"):
        try:
            tokens = int(row[name])
        except ValueError:
            tokens = 0
        if tokens < 1:
            return f"{name} is '{clipped(row[name])}', must be a whole number of at least 1"
    if may_wait and not row["arrival_s"].strip():
        return None
    try:
        arrival_s = float(row["arrival_s"])
    except ValueError:
        arrival_s = math.nan
    if not 0 <= arrival_s < math.inf:
        return f"arrival_s is '{clipped(row['arrival_s'])}', must be a number of seconds from 0"
    if arrival_s < previous_s:
        return f"arrival_s is {arrival_s:g} after {previous_s:g} in the line before, must not fall"
    return None


def _stream(path: Path, role: Role, sha256: str, values: dict[str, tuple[str, ...]], rounds: Rounds | None) -> Stream:
    read = {*INPUT_COLUMNS, *(rounds.columns() if rounds else ())}
    carried = {name: _typed(texts) for name, texts in values.items() if name not in read}
    outputs = [int(text) for text in values["output_tokens"]]
    return Stream(
        name=path.stem,
        role=role,
        csv_sha256=sha256,
        arrival_s=[float(text) if text.strip() else None for text in values["arrival_s"]],
        prompt_tokens=[int(text) for text in values["prompt_tokens"]],
        output_tokens=[1] * len(outputs) if role == "prefill" else outputs,
        carried={"request_id": list(range(len(outputs)))} | carried,
        rounds=rounds,
    )


def _typed(texts: Sequence[str]) -> list[Any]:
    """Whole numbers or numbers if all are, else text."""
    kinds: tuple[Callable[[str], Any], ...] = (int, float)
    for kind in kinds:
        try:
            return [kind(text) for text in texts]
        except ValueError:
            continue
    return list(texts)
