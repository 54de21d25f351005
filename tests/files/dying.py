"""A writer that dies as one killed does: at a chosen call to the system, and without cleaning up."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STEPS = ("replace", "fsync", "unlink")


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def die_at(nth: int, act: Callable[[], Any], steps: tuple[str, ...] = STEPS) -> bool:
    """Whether `act` was killed at the `nth` of these steps, counted from 1; it ends before if it has fewer."""
    left = nth
    with pytest.MonkeyPatch.context() as patch:

        def counted(step: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    # What a dead process would have cleaned up stays; its locks are gone.
                    patch.setattr(shutil, "rmtree", lambda *_, **__: None)
                if left <= 0:
                    raise KilledError
                return step(*arguments, **options)

            return call

        for name in steps:
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            act()
        except KilledError:
            return True
    return False


def tree(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder, by its path in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_over(folder: Path) -> list[Path]:
    """What writers have left behind."""
    return sorted(folder.rglob("*.partial"))
