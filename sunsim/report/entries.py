"""Parts of `summary.json` and `plan.json` as plain data, of which texts, tables and pictures are made."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Entry: TypeAlias = Mapping[str, Any]
"""What is said of an arm, a model, a worker or a pool; or all that such a file says."""
Arms: TypeAlias = Mapping[str, Entry]
"""The entries of arms, by their names."""
