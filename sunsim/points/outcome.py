"""What becomes of a simulation in whatever process."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sunsim.errors import InputError

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a point: its rows, one an arm, or the reason why there are none."""

    rows: list[Row]
    fault: str | None = None


def attempt(simulate: Callable[[], list[Row]]) -> Outcome:
    """The rows that `simulate` returns, or the fault that it raises."""
    try:
        return Outcome(simulate())
    except InputError as error:
        return Outcome([], str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other points go on
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        return Outcome([], f"{type(error).__name__} in {where}: {' '.join(str(error).split())}")
