"""How benchmarks print: as wide as the pages that show it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from sunsim.report.blocks import Block
from sunsim.report.terminal import plain

WIDTH = 120
"""Columns."""


def show(blocks: Iterable[Block]) -> None:
    """Prints sentences and tables."""
    sys.stdout.write(plain([*blocks], WIDTH))
