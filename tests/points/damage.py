"""Ways in which a kept point's file comes to differ from what was written."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[Path, Path], object]


def of_bytes(change: Callable[[bytes], bytes]) -> Damage:
    """Another content."""
    return lambda path, _: path.write_bytes(change(path.read_bytes()))


def holding(content: bytes) -> Damage:
    """This instead."""
    return of_bytes(lambda _: content)


def of_content(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Another document, in JSON as written otherwise; the checksum stays."""

    def damage(path: Path, _: Path) -> None:
        content = json.loads(path.read_bytes())
        made = change(content)
        path.write_text(json.dumps(content if made is None else made) + "\n")

    return damage


def of_row(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Another first row."""

    def damage(content: dict[str, Any]) -> None:
        change(content["rows"][0])

    return of_content(damage)


def with_rows(rows: object) -> Damage:
    return of_content(lambda content: content.update(rows=rows))


def flipped(place: float) -> Damage:
    """One bit of the byte that lies so far into the file."""

    def change(raw: bytes) -> bytes:
        at = int(place * (len(raw) - 1))
        return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]

    return of_bytes(change)


def instead(make: Callable[[Path, Path], object]) -> Damage:
    """Something else in the file's place."""

    def damage(path: Path, other: Path) -> None:
        path.unlink()
        make(path, other)

    return damage


def full_folder(path: Path, _: Path) -> None:
    path.mkdir()
    (path / "file").touch()


def swapped(path: Path, other: Path) -> None:
    aside = path.with_suffix(".aside")
    path.rename(aside)
    shutil.copyfile(other, path)
    aside.unlink()


KINDS: dict[str, Damage] = {
    "empty": holding(b""),
    "cut to a half": of_bytes(lambda raw: raw[: len(raw) // 2]),
    "without the last byte": of_bytes(lambda raw: raw[:-1]),
    "without the first byte": of_bytes(lambda raw: raw[1:]),
    "only its end": of_bytes(lambda raw: raw[-80:]),
    "a bit flipped at the beginning": flipped(0),
    "a bit flipped in what it was made from": flipped(0.1),
    "a bit flipped in the rows": flipped(0.8),
    "a bit flipped in the checksum": flipped(0.999),
    "garbage behind": of_bytes(lambda raw: raw + b"garbage"),
    "a blank line behind": of_bytes(lambda raw: raw + b"\n"),
    "a byte order mark": of_bytes(lambda raw: b"\xef\xbb\xbf" + raw),
    "twice": of_bytes(lambda raw: raw + raw),
    "gz": of_bytes(gzip.compress),
    "UTF-16": of_bytes(lambda raw: raw.decode().encode("utf-16")),
    "no UTF-8": of_bytes(lambda raw: raw.replace(b"arm", b"\xff\xfe\xfd")),
    "zeros of its length": of_bytes(lambda raw: bytes(len(raw))),
    "a page of zeros": of_bytes(lambda raw: raw[:512] + bytes(512) + raw[1024:]),
    "no JSON": holding(b"<html></html>"),
    "deep JSON": holding(b"[" * 100_000),
    "the rows twice": of_bytes(lambda raw: raw.replace(b'"rows": ', b'"rows": [], "rows": ')),
    "a digit changed": of_bytes(lambda raw: raw.replace(b'"completed": 12', b'"completed": 11')),
    "a list": of_content(lambda content: [content]),
    "null": holding(b"null"),
    "a number": holding(b"1"),
    "without rows": of_content(lambda content: content.pop("rows") and None),
    "rows of null": with_rows(None),
    "no rows": with_rows([]),
    "rows of text": with_rows("rows"),
    "rows of numbers": with_rows([1, 2]),
    "a row missing": of_content(lambda content: content["rows"].pop() and None),
    "a row twice": of_content(lambda content: content["rows"].append(content["rows"][0])),
    "rows in another order": of_content(lambda content: content["rows"].reverse()),
    "a figure missing": of_row(lambda row: row.pop("mean_tpot_ms")),
    "a figure more": of_row(lambda row: row.update(more=1)),
    "a figure as text": of_row(lambda row: row.update(mean_tpot_ms="7.2")),
    "a figure of null": of_row(lambda row: row.update(mean_tpot_ms=None)),
    "NaN": of_row(lambda row: row.update(mean_tpot_ms=float("nan"))),
    "infinity": of_row(lambda row: row.update(mean_tpot_ms=float("inf"))),
    "another arm": of_row(lambda row: row.update(arm="other")),
    "without a checksum": of_content(lambda content: content.pop("sha256") and None),
    "another checksum": of_content(lambda content: content.update(sha256="0" * 64)),
    "another version": of_content(lambda content: content.update(kept_version=1)),
    "another code": of_content(lambda content: content.update(code_sha256="0" * 64)),
    "another seed": of_content(lambda content: content["scenario"].update(seed=99)),
    "another point's": swapped,
    "a link to another point": instead(lambda path, other: path.symlink_to(other)),
    "a link to nothing": instead(lambda path, _: path.symlink_to("nothing")),
    "a folder": instead(lambda path, _: path.mkdir()),
    "a folder that holds something": instead(full_folder),
    "a pipe": instead(lambda path, _: os.mkfifo(path)),
}
if os.geteuid():
    KINDS["one that may not be read"] = lambda path, _: path.chmod(0)
